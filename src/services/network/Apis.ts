import { Context, Data, type Duration, Effect, Layer } from "effect"

// model

/**
 * A document of a user in the drive.
 *
 * @since 0.1.0
 * @category models
 */
export interface Document {
  readonly title: string
}

/**
 * A message to a user.
 *
 * @since 0.1.0
 * @category models
 */
export interface ChatMessage {
  readonly from: string
  readonly text: string
}

// errors

/**
 * An API of a third party answered with a failure, or not at all.
 *
 * @since 0.1.0
 * @category errors
 */
export class ApiError extends Data.TaggedError("ApiError")<{
  readonly api: "drive" | "chat"
  readonly reason: string
}> {
  override get message() {
    return `${this.api}: ${this.reason}`
  }
}

// tag

/**
 * APIs of third parties that an application server asks: a drive of documents and a chat.
 *
 * @since 0.1.0
 * @category services
 */
export class Apis extends Context.Tag("effect-asyncio/services/Apis")<
  Apis,
  {
    /** The documents of the user; empty for an unknown user. */
    readonly documents: (user: string) => Effect.Effect<ReadonlyArray<Document>, ApiError>
    /** The unread messages of the user, the oldest first. */
    readonly unread: (user: string) => Effect.Effect<ReadonlyArray<ChatMessage>, ApiError>
  }
>() {}

/**
 * The content of embedded APIs and their behaviour.
 *
 * @since 0.1.0
 * @category models
 */
export interface Embedded {
  readonly documents: Readonly<Record<string, ReadonlyArray<Document>>>
  readonly unread: Readonly<Record<string, ReadonlyArray<ChatMessage>>>
  /** Time that each answer takes. */
  readonly latency: { readonly drive: Duration.DurationInput; readonly chat: Duration.DurationInput }
  /** The APIs that answer with this failure instead. */
  readonly down?: { readonly drive?: string; readonly chat?: string }
}

// make

/**
 * APIs in memory; fail with {@link ApiError} if `down` says so. Their latency is a time of the current clock.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = ({ documents, down, latency, unread }: Embedded): Context.Tag.Service<Apis> => {
  const ask = <A>(api: "drive" | "chat", answers: Readonly<Record<string, ReadonlyArray<A>>>, user: string) =>
    Effect.zipRight(
      Effect.sleep(latency[api]),
      Effect.suspend(() => {
        const reason = down?.[api]
        return reason === undefined ? Effect.succeed(answers[user] ?? []) : new ApiError({ api, reason })
      })
    )
  return {
    documents: (user) => ask("drive", documents, user),
    unread: (user) => ask("chat", unread, user)
  }
}

// layers

/**
 * Embedded: documents of the user `ada` after 130 ms each time, messages to her after 110 ms.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<Apis> = Layer.succeed(
  Apis,
  make({
    latency: { drive: 130, chat: 110 },
    documents: { ada: ["Note A", "Note B", "Note G", "Letters"].map((title) => ({ title })) },
    unread: {
      ada: [
        { from: "charles", text: "the mill is ready" },
        { from: "mary", text: "dinner at eight?" }
      ]
    }
  })
)

/**
 * Empty and without latency, except for the given content.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerTest = (given: Partial<Embedded> = {}): Layer.Layer<Apis> =>
  Layer.succeed(Apis, make({ latency: { drive: 0, chat: 0 }, documents: {}, unread: {}, ...given }))
