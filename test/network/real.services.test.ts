import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import { afterAll, describe, expect, it } from "@effect/vitest"
import { Duration, Effect, Fiber, Layer, Option, Redacted, Schema, Stream } from "effect"
import * as Network from "../../src/programs/Network.js"
import * as Api from "../../src/services/network/Api.js"
import * as Cache from "../../src/services/network/Cache.js"
import * as Database from "../../src/services/network/Database.js"
import * as Neighbours from "../../src/services/network/Neighbours.js"
import * as NetworkDemo from "../../src/services/network/NetworkDemo.js"
import * as OAuth from "../../src/services/network/OAuth.js"
import * as Storage from "../../src/services/network/Storage.js"
import * as Loopback from "../support/Loopback.js"
import { texts } from "../support/Neighbourhood.js"
import * as contract from "./contract.js"
import { configured, settings } from "./settings.js"

// The services on real servers, which scripts/services.mjs has started.

const database = configured(Database.layer)
const cache = configured(Cache.layer)
const oauth = configured(OAuth.layer)
const storage = configured(Storage.layer)
const api = Layer.provide(configured(Api.layer(() => undefined)), NodeHttpClient.layerUndici)

contract.databaseContract("Database, PostgreSQL", database)
contract.cacheContract("Cache, Redis", cache)
contract.oauthContract("OAuth, OpenID Connect", oauth)
contract.verificationContract("OAuth, OpenID Connect", configured(OAuth.layer, { OAUTH_RESOURCE: "urn:aio" }))
contract.storageContract("Storage, S3", storage)
contract.apiContract("Api, nginx", api)

const { serve } = Loopback
afterAll(Loopback.close)

describe("Database, PostgreSQL", () => {
  it.live("loses one query when its connection is killed, as an error that may pass, and no other", () =>
    Effect.gen(function* () {
      const { use } = yield* Database.Database
      const pids = use(
        (sql) => sql<{ pid: number }>`
        SELECT pid FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'SELECT pg_sleep(30)%'`
      )
      const killed = yield* Effect.fork(Effect.flip(use((sql) => sql`SELECT pg_sleep(30)`)))
      const [row] = yield* Effect.repeat(Effect.zipLeft(pids, Effect.sleep(10)), {
        until: (rows) => rows.length > 0
      })
      const others = yield* Effect.fork(
        Effect.forEach(Array.from({ length: 20 }), () => use((sql) => sql`SELECT pg_sleep(0.02)`), {
          concurrency: 5,
          discard: true
        })
      )
      yield* use((sql) => sql`SELECT pg_terminate_backend(${row!.pid})`)
      expect(yield* Fiber.join(killed)).toMatchObject({ _tag: "DatabaseError", isTransient: true })
      yield* Fiber.join(others)
    }).pipe(Effect.provide(database))
  )

  it.live("cancels the query on the server when its fiber is interrupted", () =>
    Effect.gen(function* () {
      const { use } = yield* Database.Database
      const running = Effect.map(
        use(
          (sql) =>
            sql`SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'SELECT pg_sleep(31)%'`
        ),
        ({ length }) => length
      )
      const fiber = yield* Effect.fork(use((sql) => sql`SELECT pg_sleep(31)`))
      yield* Effect.repeat(Effect.zipLeft(running, Effect.sleep(10)), { until: (n) => n === 1 })
      yield* Fiber.interrupt(fiber)
      yield* Effect.repeat(Effect.zipLeft(running, Effect.sleep(10)), { until: (n) => n === 0 })
    }).pipe(Effect.provide(database))
  )

  it.live("names a wrong database and password, which will not pass", () =>
    Effect.gen(function* () {
      const { check } = yield* Database.Database
      expect(yield* Effect.flip(check)).toMatchObject({
        message: 'database: database "none" does not exist',
        isTransient: false
      })
    }).pipe(
      Effect.provide(
        configured(Database.layer, { DATABASE_URL: settings["DATABASE_URL"]!.replace("/postgres", "/none") })
      )
    )
  )
})

describe("Cache, Redis", () => {
  it.live("names wrong credentials, which will not pass", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(Effect.flatMap(Cache.Cache, ({ get }) => get("a")))
      expect(error.message).toMatch(/^cache: (WRONGPASS|NOAUTH)[^\n]*$/)
      expect(error.message).not.toContain("wrong-password")
    }).pipe(
      Effect.provide(
        configured(Cache.layer, {
          REDIS_URL: settings["REDIS_URL"]!.replace("redis-password", "wrong-password")
        })
      )
    )
  )
})

describe("OAuth, OpenID Connect", () => {
  it.live("names a client that the issuer does not know, and an issuer that is none", () =>
    Effect.gen(function* () {
      const said = (more: Record<string, string>) =>
        Effect.flatMap(OAuth.OAuth, ({ token }) => Effect.flip(token)).pipe(
          Effect.provide(configured(OAuth.layer, more)),
          Effect.map(({ message }) => message)
        )
      expect(yield* said({ OAUTH_CLIENT_SECRET: "wrong" })).toBe("oauth: client authentication failed")
      expect(
        yield* said({
          OAUTH_ISSUER: yield* Effect.promise(() => serve((_, response) => response.writeHead(404).end()))
        })
      ).toMatch(/^oauth: [^\n]+$/)
    })
  )
})

describe("Storage, S3", () => {
  it.live("gives URLs with which a client without credentials downloads and uploads", () =>
    Effect.gen(function* () {
      const { get, presign, put } = yield* Storage.Storage
      yield* put("signed/a", new Uint8Array([1, 2, 3]))
      const download = yield* presign("signed/a", { method: "GET", expires: "1 minute" })
      const answer = yield* Effect.promise(() => fetch(download))
      expect([...new Uint8Array(yield* Effect.promise(() => answer.arrayBuffer()))]).toEqual([1, 2, 3])
      const upload = yield* presign("signed/b", { method: "PUT", expires: "1 minute" })
      yield* Effect.promise(() => fetch(upload, { method: "PUT", body: "abc" }))
      expect(Option.map(yield* get("signed/b"), (bytes) => Buffer.from(bytes).toString())).toEqual(
        Option.some("abc")
      )
    }).pipe(Effect.provide(storage))
  )

  it.live("names a missing bucket, SlowDown and a body that is cut", () =>
    Effect.gen(function* () {
      const bad = yield* Effect.promise(() =>
        serve((request, response) => {
          if (request.method === "PUT") {
            const xml = "<Error><Code>SlowDown</Code><Message>slow</Message></Error>"
            return response.writeHead(503, { "content-type": "application/xml" }).end(xml)
          }
          response.writeHead(200, { "content-length": "1000" }).write("abc")
          setTimeout(() => response.destroy(), 10)
          return undefined
        })
      )
      yield* Effect.gen(function* () {
        const { get, put, stream } = yield* Storage.Storage
        expect(yield* Effect.flip(put("a", new Uint8Array(1)))).toMatchObject({
          message: "storage: status 503, SlowDown",
          isTransient: true
        })
        expect(yield* Effect.flip(get("a"))).toMatchObject({ isTransient: true })
        expect(yield* Effect.flip(Stream.runDrain(stream("a")))).toMatchObject({ isTransient: true })
      }).pipe(Effect.provide(configured(Storage.layer, { S3_ENDPOINT: bad })))
      const error = yield* Effect.flip(Effect.flatMap(Storage.Storage, ({ check }) => check)).pipe(
        Effect.provide(configured(Storage.layer, { S3_BUCKET: "missing" }))
      )
      expect(error.message).toBe("storage: there is no bucket 'missing'")
    })
  )
})

describe("Api, nginx", () => {
  it.live("reads Retry-After, and follows a redirect within the API", () =>
    Effect.gen(function* () {
      const { get } = yield* Api.Api
      expect(yield* Effect.flip(get("busy", Schema.Unknown))).toMatchObject({
        message: "api: status 503",
        isTransient: true,
        retryAfter: 7000
      })
      expect(yield* get("moved", Schema.Unknown)).toEqual([{ title: "é" }])
    }).pipe(Effect.provide(api))
  )
})

describe("the page", () => {
  it.live("is whole on real services, and shows what they hold", () =>
    Effect.gen(function* () {
      yield* NetworkDemo.prepare({ all: true })
      const page = yield* Network.page("ada")
      expect(texts(page)).toEqual({
        database: "3 orders",
        cache: "41 visits",
        storage: "2 files, 50 KiB",
        oauth: "aio, may read and write",
        drive: "2 documents",
        chat: "1 message unread"
      })
      expect(Duration.toMillis(page.total)).toBeLessThan(Duration.toMillis(page.sum))
    }).pipe(
      Effect.provide(
        Layer.mergeAll(
          database,
          cache,
          oauth,
          storage,
          api,
          Neighbours.layer(Network.names, { policy: { deadline: "20 seconds" } })
        )
      )
    )
  )

  it.live("prints no secret of any service", () =>
    Effect.gen(function* () {
      const services = [
        yield* Database.Database,
        yield* Cache.Cache,
        yield* OAuth.OAuth,
        yield* Storage.Storage
      ]
      const shown = JSON.stringify(services.map(({ configured }) => configured))
      for (const secret of ["redis-password", "client-secret", "S3RVER"]) expect(shown).not.toContain(secret)
      expect(String((yield* (yield* OAuth.OAuth).token).value)).toBe(String(Redacted.make("")))
    }).pipe(Effect.provide(Layer.mergeAll(database, cache, oauth, storage)))
  )
})
