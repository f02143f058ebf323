import * as PersistedCache from "@effect/experimental/PersistedCache"
import * as Persistence from "@effect/experimental/Persistence"
import { describe, expect, it } from "@effect/vitest"
import { Effect, Layer, Option, PrimaryKey, Redacted, Schema, Stream } from "effect"
import * as Api from "../../src/services/network/Api.js"
import * as Cache from "../../src/services/network/Cache.js"
import * as CachePersistence from "../../src/services/network/CachePersistence.js"
import * as Database from "../../src/services/network/Database.js"
import * as OAuth from "../../src/services/network/OAuth.js"
import * as Storage from "../../src/services/network/Storage.js"

// What each service promises, whatever is behind it: the same tests run on the embedded layers (npm test) and on real
// servers (npm run test:services).

type Test<R> = Effect.Effect<unknown, unknown, R>

const suite =
  <R>(tests: Readonly<Record<string, Test<R>>>) =>
  (name: string, layer: Layer.Layer<R, unknown>) =>
    describe(name, () => {
      for (const [title, test] of Object.entries(tests)) {
        it.live(
          title,
          () => test.pipe(Effect.provide(Layer.fresh(layer)), Effect.timeout("20 seconds")) as never
        )
      }
    })

const schema: Database.Migrations = [
  { name: "first", up: (sql) => sql`CREATE TABLE contract (id INTEGER PRIMARY KEY, name TEXT NOT NULL)` },
  { name: "second", up: (sql) => sql`INSERT INTO contract ${sql.insert([{ id: 1, name: "one" }])}` }
]
const emptied = Effect.flatMap(Database.Database, ({ use }) =>
  use((sql) =>
    Effect.zipRight(sql`DROP TABLE IF EXISTS contract`, sql`DROP TABLE IF EXISTS effect_sql_migrations`)
  )
)
const database = (body: (db: typeof Database.Database.Service) => Test<never>) =>
  Effect.zipRight(emptied, Effect.flatMap(Database.Database, body))

export const databaseContract = suite<Database.Database>({
  "runs each migration once, and refuses a schema from the future": database(({ migrate, use }) =>
    Effect.gen(function* () {
      yield* migrate(schema.slice(0, 1))
      yield* migrate(schema)
      yield* migrate(schema)
      expect(yield* use((sql) => sql`SELECT * FROM contract`)).toMatchObject([{ id: 1, name: "one" }])
      expect(yield* Effect.flip(migrate(schema.slice(0, 1)))).toMatchObject({
        message: "database: the schema has migration 2, this program knows 1; use a newer program",
        exitCode: 1
      })
    })
  ),
  "passes values as parameters, whatever they contain": database(({ migrate, use }) =>
    Effect.gen(function* () {
      yield* migrate(schema)
      const name = `'; DROP TABLE contract; -- \\ " $1 ? é 😀`
      yield* use((sql) => sql`INSERT INTO contract ${sql.insert([{ id: 2, name }])}`)
      expect(yield* use((sql) => sql`SELECT id FROM contract WHERE name = ${name}`)).toMatchObject([
        { id: 2 }
      ])
    })
  ),
  "undoes a transaction that fails, and goes on": database(({ migrate, use }) =>
    Effect.gen(function* () {
      yield* migrate(schema)
      const failing = use((sql) =>
        sql.withTransaction(Effect.zipRight(sql`DELETE FROM contract`, Effect.fail("no" as const)))
      )
      expect(yield* Effect.flip(failing)).toBe("no")
      expect(yield* use((sql) => sql`SELECT id FROM contract`)).toHaveLength(1)
    })
  ),
  "names what is wrong with a statement in one line, and a failed migration": database(({ migrate, use }) =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(use((sql) => sql`SELECT id FROM nowhere`))
      expect(error).toMatchObject({ _tag: "DatabaseError", isTransient: false, exitCode: 1 })
      expect(error.message).toMatch(/^database: .*nowhere[^\n]*$/)
      const bad = yield* Effect.flip(migrate([{ name: "bad", up: (sql) => sql`CREATE GARBAGE` }]))
      expect(bad.message).toMatch(/^database: [^\n]*GARBAGE[^\n]*$/i)
    })
  ),
  "answers many queries at once": database(({ migrate, use }) =>
    Effect.gen(function* () {
      yield* migrate(schema)
      const answers = yield* Effect.forEach(
        Array.from({ length: 50 }, (_, n) => n),
        (n) => use((sql) => sql<{ n: number }>`SELECT CAST(${n} AS INTEGER) AS n FROM contract`),
        { concurrency: "unbounded" }
      )
      expect(answers.map(([row]) => row?.n)).toEqual(Array.from({ length: 50 }, (_, n) => n))
    })
  )
})

const cache = (body: (cache: typeof Cache.Cache.Service) => Test<Cache.Cache>) =>
  Effect.flatMap(Cache.Cache, (cache) => Effect.zipRight(cache.clear("contract:"), body(cache)))

class Square extends Schema.TaggedRequest<Square>()("Square", {
  failure: Schema.String,
  success: Schema.DateFromNumber,
  payload: { of: Schema.Number }
}) {
  [PrimaryKey.symbol]() {
    return String(this.of)
  }
}

export const cacheContract = suite<Cache.Cache>({
  "keeps the results of Effect's PersistedCache, failures too, and looks each up once": cache((cache) =>
    Effect.gen(function* () {
      const looked: Array<number> = []
      const make = PersistedCache.make({
        storeId: "contract:squares",
        lookup: ({ of }: Square) =>
          Effect.suspend(() => {
            looked.push(of)
            return of < 0 ? Effect.fail("negative") : Effect.succeed(new Date(of * of))
          }),
        timeToLive: () => "1 minute"
      })
      // Each has a memory of its own, as after a restart.
      for (const squares of [yield* make, yield* make]) {
        expect(yield* squares.get(new Square({ of: 3 }))).toEqual(new Date(9))
        expect(yield* Effect.flip(squares.get(new Square({ of: -1 })))).toBe("negative")
      }
      expect(looked).toEqual([3, -1])
      const store = yield* Effect.flatMap(Persistence.BackingPersistence, ({ make }) =>
        make("contract:squares")
      )
      yield* cache.set("contract:squares:3", "not JSON")
      expect(yield* store.getMany(["3", "4"])).toEqual([Option.none(), Option.none()])
      yield* store.setMany([["4", { a: [1] }, Option.none()]])
      expect(yield* store.get("4")).toEqual(Option.some({ a: [1] }))
      yield* cache.set("contract:other", "1")
      yield* store.clear
      expect(yield* store.getMany(["3", "4", "-1"])).toEqual([Option.none(), Option.none(), Option.none()])
      expect(yield* cache.get("contract:other")).toEqual(Option.some("1"))
    }).pipe(
      Effect.scoped,
      Effect.provide(Layer.provideMerge(Persistence.layerResult, CachePersistence.layer))
    )
  ),
  "returns what was set, byte for byte, and nothing for what was not or is removed": cache((cache) =>
    Effect.gen(function* () {
      const value = "a\r\n\0é😀 "
      yield* cache.set("contract:a", value)
      expect(yield* cache.get("contract:a")).toEqual(Option.some(value))
      expect(yield* cache.get("contract:b")).toEqual(Option.none())
      yield* cache.remove("contract:a")
      expect(yield* cache.get("contract:a")).toEqual(Option.none())
    })
  ),
  "forgets a value when its time to live is over": cache((cache) =>
    Effect.gen(function* () {
      yield* cache.set("contract:short", "1", 30)
      yield* cache.set("contract:long", "1", "1 minute")
      const isGone = Effect.map(cache.get("contract:short"), Option.isNone)
      yield* Effect.repeat(Effect.zipRight(Effect.sleep(10), isGone), { until: (gone) => gone })
      expect(yield* cache.get("contract:long")).toEqual(Option.some("1"))
    })
  ),
  "counts without losing one of many increments at once": cache((cache) =>
    Effect.gen(function* () {
      yield* Effect.forEach(Array.from({ length: 50 }), () => cache.increment("contract:n"), {
        concurrency: "unbounded"
      })
      expect(yield* cache.increment("contract:n", -20)).toBe(30)
      yield* cache.set("contract:text", "abc")
      expect(yield* Effect.flip(cache.increment("contract:text"))).toMatchObject({
        isTransient: false,
        exitCode: 1
      })
    })
  ),
  "clears the keys with a prefix, taken literally, and no others": cache((cache) =>
    Effect.gen(function* () {
      for (const key of ["contract:*:a", "contract:*:b", "contract:x:a"]) yield* cache.set(key, "1")
      yield* cache.clear("contract:*")
      expect(yield* cache.get("contract:*:a")).toEqual(Option.none())
      expect(yield* cache.get("contract:x:a")).toEqual(Option.some("1"))
    })
  )
})

const oauth = (body: (oauth: typeof OAuth.OAuth.Service) => Test<never>) => Effect.flatMap(OAuth.OAuth, body)

export const oauthContract = suite<OAuth.OAuth>({
  "gives a token that the issuer knows, and gives it again": oauth(({ introspect, token }) =>
    Effect.gen(function* () {
      const { expires, value } = yield* token
      expect(expires).toBeGreaterThan(Date.now())
      expect(yield* introspect(value)).toMatchObject({ isActive: true })
      expect(Redacted.value((yield* token).value)).toBe(Redacted.value(value))
      expect(String(value)).toBe("<redacted>")
    })
  ),
  "does not take a text for a token": oauth(({ introspect }) =>
    Effect.gen(function* () {
      expect(yield* introspect(Redacted.make("abc.def.ghi"))).toEqual({
        isActive: false,
        subject: undefined,
        scopes: []
      })
    })
  )
})

/** Of an issuer whose tokens are JWTs. */
export const verificationContract = suite<OAuth.OAuth>({
  "verifies a token by the issuer's keys, and refuses one that was changed": oauth(({ token, verify }) =>
    Effect.gen(function* () {
      const text = Redacted.value((yield* token).value)
      expect(yield* verify(Redacted.make(text))).toMatchObject({ exp: expect.any(Number) })
      const [header, payload, signature] = text.split(".")
      const claims = JSON.parse(Buffer.from(payload!, "base64url").toString())
      const other = Buffer.from(JSON.stringify({ ...claims, sub: "root" })).toString("base64url")
      for (const bad of [
        `${header}.${other}.${signature}`,
        `${header}.${payload}.`,
        "",
        "a.b",
        "..",
        "{}.{}.{}"
      ]) {
        expect(yield* Effect.flip(verify(Redacted.make(bad)))).toMatchObject({
          _tag: "OAuthError",
          isTransient: false
        })
      }
    })
  )
})

const storage = (body: (storage: typeof Storage.Storage.Service) => Test<never>) =>
  Effect.gen(function* () {
    const storage = yield* Storage.Storage
    for (const { key } of yield* storage.list("contract/")) yield* storage.remove(key)
    return yield* body(storage)
  })

const bytes = (size: number) => Uint8Array.from({ length: size }, (_, n) => (n * 31) % 251)

export const storageContract = suite<Storage.Storage>({
  "returns what was stored, lists it by prefix in the order of bytes, and removes it": storage((storage) =>
    Effect.gen(function* () {
      for (const key of ["contract/b", "contract/a b+c%.txt", "contract/é/x", "contract/empty"]) {
        yield* storage.put(key, bytes(key.endsWith("empty") ? 0 : key.length))
      }
      yield* storage.put("contract/b", bytes(3))
      expect((yield* storage.list("contract/")).map(({ key, size }) => `${key} ${size}`)).toEqual([
        "contract/a b+c%.txt 19",
        "contract/b 3",
        "contract/empty 0",
        "contract/é/x 12"
      ])
      expect((yield* storage.list("contract/é")).map(({ key }) => key)).toEqual(["contract/é/x"])
      expect(Option.map(yield* storage.get("contract/b"), (some) => [...some])).toEqual(
        Option.some([...bytes(3)])
      )
      yield* storage.remove("contract/b")
      yield* storage.remove("contract/b")
      expect(yield* storage.get("contract/b")).toEqual(Option.none())
      expect(yield* Effect.flip(Stream.runDrain(storage.stream("contract/b")))).toMatchObject({
        message: "storage: there is no 'contract/b'"
      })
    })
  ),
  "stores a stream of many parts, and returns its size and checksum": storage((storage) =>
    Effect.gen(function* () {
      const part = bytes(1024 * 1024)
      const stored = yield* storage.put(
        "contract/large",
        Stream.repeatEffectOption(Effect.succeed(part)).pipe(Stream.take(18))
      )
      expect(stored).toMatchObject({ size: 18 * 1024 * 1024, sha256: expect.stringMatching(/^[\da-f]{64}$/) })
      const sums = yield* Stream.runFold(
        storage.stream("contract/large"),
        { size: 0, sum: 0 },
        ({ size, sum }, some) => ({
          size: size + some.length,
          sum: some.reduce((sum, byte) => (sum + byte) % 65_521, sum)
        })
      )
      const once = part.reduce((sum, byte) => (sum + byte) % 65_521, 0)
      expect(sums).toEqual({ size: stored.size, sum: (once * 18) % 65_521 })
    })
  ),
  "stores nothing when the stream fails, and keeps what was there": storage((storage) =>
    Effect.gen(function* () {
      yield* storage.put("contract/kept", bytes(5))
      const broken = Stream.concat(Stream.make(bytes(9 * 1024 * 1024)), Stream.fail("broken" as const))
      expect(yield* Effect.flip(storage.put("contract/kept", broken))).toBe("broken")
      expect(Option.map(yield* storage.get("contract/kept"), ({ length }) => length)).toEqual(Option.some(5))
      expect(yield* storage.list("contract/")).toHaveLength(1)
    })
  ),
  "refuses keys that are no paths below it": storage((storage) =>
    Effect.gen(function* () {
      for (const key of [
        "",
        "/etc/passwd",
        "../a",
        "a/../../b",
        "a//b",
        "a/./b",
        "a\\b",
        "a\0b",
        "a".repeat(1025)
      ]) {
        expect(yield* Effect.flip(storage.put(key, bytes(1)))).toMatchObject({
          _tag: "StorageError",
          isTransient: false
        })
        expect(yield* Effect.flip(storage.get(key))).toMatchObject({
          reason: expect.stringContaining("the key '")
        })
      }
    })
  )
})

const Note = Schema.Struct({ title: Schema.String })

/** The API has GET notes and redirects, errors and garbage, as {@link Api.answer} of the tests does. */
export const apiContract = suite<Api.Api>({
  "decodes an answer, and refuses one that is another": Effect.flatMap(Api.Api, (api) =>
    Effect.gen(function* () {
      expect(yield* api.get("notes", Schema.Array(Note))).toEqual([{ title: "é" }])
      expect(yield* Effect.flip(api.get("notes", Note))).toMatchObject({
        isTransient: false,
        message: expect.stringMatching(/^api: the answer is not what was expected: [^\n]+$/)
      })
      expect(yield* Effect.flip(api.get("none", Note))).toMatchObject({ message: "api: status 404" })
      yield* api.check
    })
  ),
  "asks below its URL only": Effect.flatMap(Api.Api, (api) =>
    Effect.gen(function* () {
      expect(yield* Effect.flip(api.get("../admin", Note))).toMatchObject({
        message: "api: '../admin' is not below the URL of the API"
      })
    })
  )
})
