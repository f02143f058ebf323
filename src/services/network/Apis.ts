import { Context, Data, type Duration, Effect, Layer } from "effect"

// model

/** A document that others keep for a user. */
export interface Document {
  readonly title: string
}

/** What somebody wrote to a user. */
export interface ChatMessage {
  readonly from: string
  readonly text: string
}

// errors

/** An API of others answered with a failure, or not at all. */
export class ApiError extends Data.TaggedError("ApiError")<{
  readonly api: "drive" | "chat"
  readonly reason: string
}> {
  override get message() {
    return `${this.api}: ${this.reason}`
  }
}

// tag

/** The APIs of others that an application server asks: a drive of documents and a chat. */
export class Apis extends Context.Tag("effect-asyncio/services/Apis")<
  Apis,
  {
    /** The user's documents; none for a user that is not known. */
    readonly documents: (user: string) => Effect.Effect<ReadonlyArray<Document>, ApiError>
    /** What the user has not read yet, the oldest first. */
    readonly unread: (user: string) => Effect.Effect<ReadonlyArray<ChatMessage>, ApiError>
  }
>() {}

/** What embedded APIs hold and how they behave. */
export interface Embedded {
  readonly documents: Readonly<Record<string, ReadonlyArray<Document>>>
  readonly unread: Readonly<Record<string, ReadonlyArray<ChatMessage>>>
  /** How long each answer takes. */
  readonly latency: { readonly drive: Duration.DurationInput; readonly chat: Duration.DurationInput }
  /** These answer with this failure instead. */
  readonly down?: { readonly drive?: string; readonly chat?: string }
}

// make

/** APIs in memory. They take their time by the clock at hand. */
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

/** Embedded: documents of the user `ada` after 130 ms each time, messages to her after 110 ms. */
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

/** Empty and at once, but for what is given. */
export const layerTest = (given: Partial<Embedded> = {}): Layer.Layer<Apis> =>
  Layer.succeed(Apis, make({ latency: { drive: 0, chat: 0 }, documents: {}, unread: {}, ...given }))
