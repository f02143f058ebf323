import { Cause, Clock, Data, Duration, Effect, Either, Exit, Option } from "effect"
import { codes } from "../services/host/ExitCodes.js"
import * as Output from "../services/host/Output.js"
import * as Apis from "../services/network/Apis.js"
import * as Cache from "../services/network/Cache.js"
import * as Database from "../services/network/Database.js"
import * as OAuth from "../services/network/OAuth.js"
import * as Storage from "../services/network/Storage.js"
import * as Causes from "../services/task/Causes.js"
import * as Deadline from "../services/task/Deadline.js"
import * as Gather from "../services/task/Gather.js"
import { formatDuration } from "../services/text/Durations.js"
import { checkedDuration } from "../services/text/Numbers.js"
import { plural } from "../services/text/Plural.js"
import { formatSize } from "../services/text/Sizes.js"

/**
 * The parts of a page, one for each question over the network.
 *
 * @since 0.1.0
 * @category models
 */
export type PartName = "database" | "cache" | "oauth" | "storage" | "drive" | "chat"

/**
 * One part of a page.
 *
 * @since 0.1.0
 * @category models
 */
export interface Part<A> {
  /** Time until its answer or its failure. */
  readonly took: Duration.Duration
  readonly value: Either.Either<A, Unavailable>
}

/**
 * A user's page.
 *
 * @since 0.1.0
 * @category models
 */
export interface Page {
  readonly user: string
  readonly parts: {
    readonly database: Part<ReadonlyArray<Database.Order>>
    /** Visits of the user. */
    readonly cache: Part<number>
    readonly oauth: Part<OAuth.Account>
    readonly storage: Part<ReadonlyArray<Storage.Stored>>
    readonly drive: Part<ReadonlyArray<Apis.Document>>
    readonly chat: Part<ReadonlyArray<Apis.ChatMessage>>
  }
  /** Time from the first question to the last answer. */
  readonly total: Duration.Duration
  /** Time that the questions would take one after the other. */
  readonly sum: Duration.Duration
}

/**
 * A part failed, or did not answer within `timeout`.
 *
 * @since 0.1.0
 * @category errors
 */
export class Unavailable extends Data.TaggedError("Unavailable")<{
  readonly part: PartName
  /** `"connection refused"`, `"no answer within 500 ms"`. */
  readonly reason: string
  /** The failure of the service, or the interruption of a part that timed out. */
  readonly cause: Cause.Cause<unknown>
}> {
  readonly exitCode = codes.failed
  override get message() {
    return `${this.part} is unavailable: ${this.reason}`
  }
}

/**
 * Settings of {@link dashboard}.
 *
 * @since 0.1.0
 * @category options
 */
export interface DashboardOptions {
  /** Timeout of a part, which is then cancelled and unavailable. Default 1 s. */
  readonly timeout?: Duration.DurationInput | undefined
  /**
   * The effect of an unavailable part on the page: `"collect"` shows it as unavailable, `"cancel"` fails the page and
   * cancels the other parts, `"continue"` fails the page when the others are done. Default `"collect"`.
   */
  readonly onFailure?: Gather.OnFailure | undefined
}

const ask = Effect.fnUntraced(function* <A, E extends { readonly reason: string }, R>(
  part: PartName,
  limit: Duration.Duration,
  effect: Effect.Effect<A, E, R>
) {
  const reason = `no answer within ${formatDuration(Duration.toMillis(limit))}`
  const late = { reason, origin: part }
  const before = yield* Clock.currentTimeNanos
  const exit = yield* Effect.exit(Deadline.timeout(effect, { limit, late, onTimeout: () => ({ reason }) }))
  const took = Duration.nanos((yield* Clock.currentTimeNanos) - before)
  const unavailable = (cause: Cause.Cause<{ readonly reason: string }>) =>
    new Unavailable({
      part,
      cause,
      reason: Option.match(Cause.failureOption(cause), {
        onNone: () => Causes.headline(cause),
        onSome: (error) => error.reason
      })
    })
  const value: Either.Either<A, Unavailable> = Exit.isSuccess(exit)
    ? Either.right(exit.value)
    : Either.left(unavailable(exit.cause))
  return { took, value }
})

// #region example
/**
 * Asks all questions of a user's page at once, so that the page takes as long as its slowest part, not as long as all
 * together. A part that fails or times out is unavailable, with the reason, and the page succeeds without it; with another
 * {@link DashboardOptions.onFailure} the page fails with {@link Unavailable}.
 *
 * @example
 * ```ts
 * import { Effect, Layer } from "effect"
 * import * as Network from "effect-asyncio/programs/Network"
 * import * as Apis from "effect-asyncio/services/Apis"
 * import * as Cache from "effect-asyncio/services/Cache"
 * import * as Database from "effect-asyncio/services/Database"
 * import * as OAuth from "effect-asyncio/services/OAuth"
 * import * as Storage from "effect-asyncio/services/Storage"
 *
 * const embedded = Layer.mergeAll(Apis.layer, Cache.layer, Database.layer, OAuth.layer, Storage.layer)
 *
 * export const page = Network.dashboard("ada", { timeout: "500 millis" }).pipe(Effect.provide(embedded))
 * ```
 *
 * @since 0.1.0
 * @category effects
 */
export const dashboard = Effect.fn("Network.dashboard")(function* (
  user: string,
  options: DashboardOptions = {}
) {
  const { onFailure = "collect" } = options
  const limit = checkedDuration("timeout", options.timeout ?? "1 second")
  const { documents, unread } = yield* Apis.Apis
  const cache = yield* Cache.Cache
  const database = yield* Database.Database
  const oauth = yield* OAuth.OAuth
  const storage = yield* Storage.Storage

  const part = <A, E extends { readonly reason: string }>(name: PartName, effect: Effect.Effect<A, E>) =>
    Effect.filterOrFail(
      ask(name, limit, effect),
      (part) => onFailure === "collect" || Either.isRight(part.value),
      (part) => Option.getOrThrow(Either.getLeft(part.value))
    )
  const visits = Effect.map(
    cache.get(`visits:${user}`),
    Option.match({ onNone: () => 0, onSome: (count) => Number(count) })
  )
  const before = yield* Clock.currentTimeNanos
  const answers = yield* Gather.gather(
    [
      part("database", database.orders(user)),
      part("cache", visits),
      part("oauth", oauth.account(user)),
      part("storage", storage.list(`${user}/`)),
      part("drive", documents(user)),
      part("chat", unread(user))
    ],
    { name: "dashboard", onFailure: onFailure === "continue" ? "continue" : "cancel" }
  )
  const total = Duration.nanos((yield* Clock.currentTimeNanos) - before)
  const [orders, count, account, files, drive, chat] = answers
  return {
    user,
    parts: { database: orders, cache: count, oauth: account, storage: files, drive, chat },
    total,
    sum: answers.reduce((sum, { took }) => Duration.sum(sum, took), Duration.zero)
  } satisfies Page as Page
})
// #endregion

const row = (name: string, took: Duration.Duration, what: string) =>
  `${name.padEnd(8)}  ${formatDuration(Duration.toMillis(took)).padStart(7)}  ${what}`

/**
 * A page as a small table: a line for each part, and the total beside the sum.
 *
 * @since 0.1.0
 * @category formatting
 */
export const render = ({ parts, sum, total }: Page): ReadonlyArray<string> => {
  const line = <A>(name: PartName, { took, value }: Part<A>, show: (value: A) => string) =>
    row(name, took, Either.match(value, { onLeft: ({ reason }) => `unavailable: ${reason}`, onRight: show }))
  return [
    line("database", parts.database, (orders) => plural(orders.length, "order")),
    line("cache", parts.cache, (visits) => plural(visits, "visit")),
    line("oauth", parts.oauth, ({ email, scopes }) => `${email}, may ${scopes.join(" and ")}`),
    line("storage", parts.storage, (files) => {
      const size = formatSize(files.reduce((sum, file) => sum + file.size, 0))
      return `${plural(files.length, "file")}, ${size}`
    }),
    line("drive", parts.drive, (documents) => plural(documents.length, "document")),
    line("chat", parts.chat, (messages) => `${plural(messages.length, "message")} unread`),
    row("total", total, `one after another ${formatDuration(Duration.toMillis(sum))}`)
  ]
}

/**
 * Whether every part of the page is available.
 *
 * @since 0.1.0
 * @category predicates
 */
export const isComplete = ({ parts }: Page): boolean =>
  Object.values(parts).every(({ value }) => value._tag === "Right")

// #region example
/**
 * The guide's list of where network traffic is used, as one page: prints {@link render} of the page of user `ada`.
 *
 * @since 0.1.0
 * @category examples
 */
export const example: Effect.Effect<
  void,
  Unavailable,
  Apis.Apis | Cache.Cache | Database.Database | OAuth.OAuth | Output.Output | Storage.Storage
> = Effect.flatMap(dashboard("ada"), (page) => Effect.forEach(render(page), Output.print, { discard: true }))
// #endregion
