import { Data, type Duration, Effect, Layer, Option, Schema } from "effect"
import { codes } from "../host/ExitCodes.js"
import { checkedDuration } from "../text/Numbers.js"
import * as Api from "./Api.js"
import * as Cache from "./Cache.js"
import * as Database from "./Database.js"
import type * as NetworkSettings from "./NetworkSettings.js"
import * as OAuth from "./OAuth.js"
import * as Storage from "./Storage.js"

// The schema and the content of the guide's page, for the user `ada`.

/**
 * An order of a user, in the database.
 *
 * @since 0.1.0
 * @category models
 */
export interface Order {
  readonly id: number
  readonly item: string
}

/**
 * The documents of a user, as the API answers.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Documents = Schema.Array(Schema.Struct({ title: Schema.String }))
/**
 * The unread messages of a user, as the API answers.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Messages = Schema.Array(Schema.Struct({ from: Schema.String, text: Schema.String }))

/**
 * Whether the name can be part of a path.
 *
 * @since 0.1.0
 * @category predicates
 */
export const isUser = (user: string): boolean => /^[a-z\d][\w@.+-]{0,63}$/i.test(user)

/**
 * The name cannot be part of a path.
 *
 * @since 0.1.0
 * @category errors
 */
export class InvalidUser extends Data.TaggedError("InvalidUser")<{ readonly user: string }> {
  readonly exitCode = codes.usage
  override get message() {
    return `'${this.user}' is not a user; expected up to 64 letters, digits or any of @ . _ + -, the first none of them`
  }
}

/**
 * The schema of the page's orders.
 *
 * @since 0.1.0
 * @category constants
 */
export const migrations: Database.Migrations = [
  {
    name: "orders",
    up: (sql) => sql`
      CREATE TABLE orders (id INTEGER PRIMARY KEY, customer VARCHAR(64) NOT NULL, item VARCHAR(200) NOT NULL)`
  },
  { name: "orders_by_customer", up: (sql) => sql`CREATE INDEX orders_by_customer ON orders (customer, id)` }
]

const orders = [
  { id: 1833, customer: "ada", item: "difference engine" },
  { id: 1842, customer: "ada", item: "punched cards" },
  { id: 1843, customer: "ada", item: "notes on a sketch" }
]

const files = { "ada/portrait.png": 48_128, "ada/notes.txt": 3_072 }

const answers: Readonly<Record<string, unknown>> = {
  "/users/ada/documents": ["Note A", "Note B", "Note G", "Letters"].map((title) => ({ title })),
  "/users/ada/messages": [
    { from: "charles", text: "the mill is ready" },
    { from: "mary", text: "dinner at eight?" }
  ]
}

/**
 * The answers of the embedded API: documents and messages of `ada`, none of others.
 *
 * @since 0.1.0
 * @category constants
 */
export const answer: Api.Answer = (path) =>
  answers[path] ?? (/^\/users\/[^/]+\/(documents|messages)$/.test(path) ? [] : undefined)

/**
 * Settings of {@link prepare}.
 *
 * @since 0.1.0
 * @category options
 */
export interface PrepareOptions {
  /** Whether the content is written to services that are not of this process, too. Default false. */
  readonly all?: boolean | undefined
  /** The time limit of each service. Default 5 seconds. */
  readonly timeout?: Duration.DurationInput | undefined
}

/**
 * Brings the schema up to date, and writes the content where it is missing. A service that is down or late is left as it is;
 * an error that will not pass is a failure: a schema from the future, a wrong password.
 *
 * @since 0.1.0
 * @category effects
 */
export const prepare = Effect.fn("NetworkDemo.prepare")(function* (options: PrepareOptions = {}) {
  const { all = false } = options
  const timeout = checkedDuration("timeout", options.timeout ?? "5 seconds")
  const cache = yield* Cache.Cache
  const database = yield* Database.Database
  const storage = yield* Storage.Storage
  const writeOrders = Effect.zipRight(
    database.migrate(migrations, "aio_migrations"),
    Effect.when(
      database.use((sql) => sql`INSERT INTO orders ${sql.insert(orders)} ON CONFLICT DO NOTHING`),
      () => all || database.isEmbedded
    )
  )
  const writeVisits = Effect.gen(function* () {
    if ((all || cache.isEmbedded) && Option.isNone(yield* cache.get("visits:ada")))
      yield* cache.set("visits:ada", "41")
  })
  const writeFiles = Effect.gen(function* () {
    if ((all || storage.isEmbedded) && (yield* storage.list("ada/")).length === 0)
      for (const [key, size] of Object.entries(files)) yield* storage.put(key, new Uint8Array(size))
  })
  yield* Effect.forEach(
    [writeOrders, writeVisits, writeFiles] as ReadonlyArray<
      Effect.Effect<unknown, Cache.CacheError | Database.DatabaseError | Storage.StorageError>
    >,
    (write) =>
      Effect.catchIf(
        Effect.timeoutOption(write, timeout),
        ({ isTransient }) => isTransient,
        () => Effect.void
      ),
    { concurrency: "unbounded", discard: true }
  )
})

/**
 * All services of the page in this process, with the content.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerEmbedded: Layer.Layer<
  Api.Api | Cache.Cache | Database.Database | OAuth.OAuth | Storage.Storage,
  NetworkSettings.MissingPackage | NetworkSettings.SettingError
> = Layer.effectDiscard(Effect.orDie(prepare())).pipe(
  Layer.provideMerge(
    Layer.mergeAll(
      Api.layerEmbedded(answer),
      Cache.layerEmbedded,
      Database.layerEmbedded,
      OAuth.layerEmbedded,
      Storage.layerEmbedded
    )
  )
)
