import { Clock, Duration, Effect, Either, Option } from "effect"
import * as Output from "../services/host/Output.js"
import * as Api from "../services/network/Api.js"
import * as Cache from "../services/network/Cache.js"
import * as Database from "../services/network/Database.js"
import type { Unavailable } from "../services/network/Neighbour.js"
import * as Neighbours from "../services/network/Neighbours.js"
import * as NetworkDemo from "../services/network/NetworkDemo.js"
import * as OAuth from "../services/network/OAuth.js"
import * as Storage from "../services/network/Storage.js"
import * as Gather from "../services/task/Gather.js"
import { formatDuration } from "../services/text/Durations.js"
import { plural } from "../services/text/Plural.js"
import { formatSize } from "../services/text/Sizes.js"

/**
 * The parts of a page, one for each question over the network, and the names of their neighbours.
 *
 * @since 0.1.0
 * @category constants
 */
export const names = ["database", "cache", "oauth", "storage", "drive", "chat"] as const

/**
 * One of {@link names}.
 *
 * @since 0.1.0
 * @category models
 */
export type PartName = (typeof names)[number]

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
  /** Why the value is the last answer instead of a new one. */
  readonly stale: Unavailable | undefined
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
    readonly database: Part<ReadonlyArray<NetworkDemo.Order>>
    /** Visits of the user. */
    readonly cache: Part<number>
    /** What the issuer says of this program's token. */
    readonly oauth: Part<OAuth.Introspection>
    readonly storage: Part<ReadonlyArray<Storage.Stored>>
    readonly drive: Part<typeof NetworkDemo.Documents.Type>
    readonly chat: Part<typeof NetworkDemo.Messages.Type>
  }
  /** Time from the first question to the last answer. */
  readonly total: Duration.Duration
  /** Time that the questions would take one after the other. */
  readonly sum: Duration.Duration
}

type Value<K extends PartName> = Page["parts"][K] extends Part<infer A> ? A : never

/**
 * Settings of {@link page}.
 *
 * @since 0.1.0
 * @category options
 */
export interface PageOptions {
  /**
   * The effect of an unavailable part on the page: `"collect"` shows it as unavailable, `"cancel"` fails the page and
   * cancels the other parts, `"continue"` fails the page when the others are done. Default `"collect"`.
   */
  readonly onFailure?: Gather.OnFailure | undefined
  /** Whether the last answer stands in for one that fails, except for the OAuth part. Default true. */
  readonly fallback?: boolean | undefined
  /** How many parts are asked at once; 1 is one after the other. Default all. */
  readonly concurrency?: number | undefined
  /** Receives each part when it has ended. */
  readonly onPart?: ((name: PartName, part: Part<unknown>) => Effect.Effect<void>) | undefined
}

/**
 * What a page asks.
 *
 * @since 0.1.0
 * @category models
 */
export type Services =
  | Api.Api
  | Cache.Cache
  | Database.Database
  | Neighbours.Neighbours
  | OAuth.OAuth
  | Storage.Storage

// #region example
const questions = Effect.fnUntraced(function* (user: string) {
  const api = yield* Api.Api
  const cache = yield* Cache.Cache
  const database = yield* Database.Database
  const oauth = yield* OAuth.OAuth
  const storage = yield* Storage.Storage
  return {
    database: database.use(
      (sql) =>
        sql<NetworkDemo.Order>`SELECT id, item FROM orders WHERE customer = ${user} ORDER BY id DESC LIMIT 100`
    ),
    cache: Effect.map(cache.get(`visits:${user}`), (count) => Number(Option.getOrElse(count, () => 0))),
    oauth: Effect.flatMap(oauth.token, ({ value }) =>
      Effect.filterOrFail(
        oauth.introspect(value),
        ({ isActive }) => isActive,
        () => new OAuth.OAuthError({ reason: "the token is not active", isTransient: true })
      )
    ),
    storage: storage.list(`${user}/`),
    drive: api.get(`users/${user}/documents`, NetworkDemo.Documents),
    chat: api.get(`users/${user}/messages`, NetworkDemo.Messages)
  }
})

/**
 * Asks all questions of a user's page at once, so that the page takes as long as its slowest part, not as long as all
 * together. Each is asked by the policy of its neighbour. A part that fails or times out is unavailable, with the reason, and
 * the page succeeds without it; with another {@link PageOptions.onFailure} the page fails with `Unavailable`.
 *
 * @since 0.1.0
 * @category effects
 */
export const page = Effect.fnUntraced(
  function* (user: string, options: PageOptions = {}) {
    const { concurrency = names.length, fallback = true, onFailure = "collect", onPart } = options
    if (!NetworkDemo.isUser(user)) return yield* new NetworkDemo.InvalidUser({ user })
    const { get } = yield* Neighbours.Neighbours
    const part = Effect.fnUntraced(function* <A, E>(name: PartName, question: Effect.Effect<A, E>) {
      const neighbour = yield* get(name)
      const before = yield* Clock.currentTimeNanos
      const answer = yield* Effect.either(
        fallback && name !== "oauth"
          ? neighbour.callOrLast(user, question)
          : Effect.map(neighbour.call(question), (value) => ({ value, stale: undefined }))
      )
      const part: Part<A> = {
        took: Duration.nanos((yield* Clock.currentTimeNanos) - before),
        value: Either.map(answer, ({ value }) => value),
        stale: Option.getOrUndefined(Either.getRight(answer))?.stale
      }
      yield* onPart?.(name, part) ?? Effect.void
      return onFailure !== "collect" && Either.isLeft(part.value) ? yield* part.value.left : part
    })
    const ask = yield* questions(user)
    const before = yield* Clock.currentTimeNanos
    const [database, cache, oauth, storage, drive, chat] = yield* Gather.gather(
      [
        part("database", ask.database),
        part("cache", ask.cache),
        part("oauth", ask.oauth),
        part("storage", ask.storage),
        part("drive", ask.drive),
        part("chat", ask.chat)
      ],
      { name: "page", concurrency, onFailure: onFailure === "continue" ? "continue" : "cancel" }
    )
    const total = Duration.nanos((yield* Clock.currentTimeNanos) - before)
    const parts: Page["parts"] = { database, cache, oauth, storage, drive, chat }
    const sum = Object.values(parts).reduce((sum, { took }) => Duration.sum(sum, took), Duration.zero)
    return { user, parts, total, sum } satisfies Page as Page
  },
  Effect.withSpan("Network.page", { captureStackTrace: false })
)
// #endregion

const shortDuration = (took: Duration.Duration) => {
  const ms = Duration.toMillis(took)
  return ms < 9.95 ? `${ms.toFixed(1)} ms` : formatDuration(ms)
}

const row = (name: string, took: Duration.Duration, what: string) =>
  `${name.padEnd(8)}  ${shortDuration(took).padStart(7)}  ${what}`

const said: { readonly [K in PartName]: (value: Value<K>) => string } = {
  database: (orders) => plural(orders.length, "order"),
  cache: (visits) => plural(visits, "visit"),
  oauth: ({ scopes, subject = "a client" }) => `${subject}, may ${scopes.join(" and ")}`,
  storage: (files) => {
    const size = formatSize(files.reduce((sum, file) => sum + file.size, 0))
    return `${plural(files.length, "file")}, ${size}`
  },
  drive: (documents) => plural(documents.length, "document"),
  chat: (messages) => `${plural(messages.length, "message")} unread`
}

/**
 * What a part says, in a few words.
 *
 * @since 0.1.0
 * @category formatting
 */
export const text = <K extends PartName>(name: K, { stale, value }: Part<Value<K>>): string =>
  Either.match(value, {
    onLeft: ({ reason }) => `unavailable: ${reason}`,
    onRight: (value) => said[name](value) + (stale === undefined ? "" : ` (the last answer: ${stale.reason})`)
  })

/**
 * A page as a small table: a line for each part, and the total beside the sum.
 *
 * @since 0.1.0
 * @category formatting
 */
export const render = ({ parts, sum, total }: Page): ReadonlyArray<string> => [
  ...names.map((name) => row(name, parts[name].took, text(name, parts[name] as Part<never>))),
  row("total", total, `one after another ${shortDuration(sum)}`)
]

/**
 * Whether every part of the page is available and new.
 *
 * @since 0.1.0
 * @category predicates
 */
export const isComplete = ({ parts }: Page): boolean =>
  Object.values(parts).every(({ stale, value }) => stale === undefined && value._tag === "Right")

// #region example
/**
 * The guide's list of where network traffic is used, as one page: prints {@link render} of the page of user `ada`.
 *
 * @since 0.1.0
 * @category examples
 */
export const example: Effect.Effect<void, NetworkDemo.InvalidUser | Unavailable, Output.Output | Services> =
  Effect.flatMap(page("ada"), (page) => Effect.forEach(render(page), Output.print, { discard: true }))
// #endregion
