import { spawn } from "node:child_process"
import { once } from "node:events"
import { createServer } from "node:net"
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import { afterAll, describe, expect, it } from "@effect/vitest"
import { Context, Duration, Effect, Fiber, Layer, Redacted } from "effect"
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
import { binaries, configured, settings } from "./settings.js"

// What goes wrong at real servers; no other request is lost by it.

afterAll(Loopback.close)

const freePort = async () => {
  const server = createServer().listen(0, "127.0.0.1")
  await once(server, "listening")
  const { port } = server.address() as { readonly port: number }
  server.close()
  await once(server, "close")
  return port
}

/** A Redis of the test's own, which can be stopped and started again. */
const redis = Effect.gen(function* () {
  const port = yield* Effect.promise(freePort)
  const start = Effect.acquireRelease(
    Effect.promise(async () => {
      const child = spawn(binaries["redis"]!, ["--port", `${port}`, "--bind", "127.0.0.1", "--save", ""], {
        stdio: ["ignore", "pipe", "ignore"]
      })
      for await (const bytes of child.stdout) if (String(bytes).includes("Ready to accept")) break
      child.stdout.resume()
      const exit = once(child, "exit")
      return async () => {
        child.kill("SIGKILL")
        await exit
      }
    }),
    (stop) => Effect.promise(stop)
  )
  return { start, url: `redis://127.0.0.1:${port}/0` }
})

/** All real services, with other settings for some, and the policy of the page. */
const services = (more: Record<string, string>, policy = {}) =>
  Layer.mergeAll(
    configured(Database.layer, more),
    configured(Cache.layer, more),
    configured(OAuth.layer, more),
    configured(Storage.layer, more),
    Layer.provide(
      configured(
        Api.layer(() => undefined),
        more
      ),
      NodeHttpClient.layerUndici
    ),
    Neighbours.layer(Network.names, { policy: { deadline: "20 seconds", ...policy } })
  )

const whole = { oauth: "aio, may read and write", drive: "2 documents", chat: "1 message unread" }

describe("faults of real services", () => {
  it.scopedLive(
    "a Redis that is down at start costs the page its part, and comes back, is killed and comes back again",
    () =>
      Effect.gen(function* () {
        const { start, url } = yield* redis
        yield* Effect.gen(function* () {
          yield* NetworkDemo.prepare()
          const page = Network.page("ada", { fallback: false })
          const complete = Effect.repeat(Effect.zipLeft(page, Effect.sleep(50)), {
            until: (page) => Network.isComplete(page),
            times: 200
          })
          for (let round = 0; round < 2; round++) {
            const without = yield* page
            expect(texts(without)).toMatchObject({ ...whole, cache: expect.stringMatching(/^unavailable: /) })
            yield* Effect.scoped(
              Effect.gen(function* () {
                yield* start
                expect(texts(yield* complete)).toMatchObject({ ...whole, cache: "0 visits" })
              })
            )
          }
        }).pipe(Effect.provide(services({ REDIS_URL: url }, { breaker: { reset: "200 millis" } })))
      })
  )

  it.scopedLive("a pool that is exhausted makes a query wait; one that gives up frees its place", () =>
    Effect.gen(function* () {
      const { use } = yield* Database.Database
      const one = (n: number) => use((sql) => sql<{ n: number }>`SELECT CAST(${n} AS INTEGER) AS n`)
      const busy = yield* Effect.fork(
        Effect.forEach(Array.from({ length: 10 }), () => use((sql) => sql`SELECT pg_sleep(1)`), {
          concurrency: "unbounded"
        })
      )
      // From a pool of its own: the busy one has no place to ask.
      const other = Context.get(
        yield* Layer.build(Layer.fresh(configured(Database.layer))),
        Database.Database
      )
      const sleeping = other.use(
        (sql) =>
          sql`SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'SELECT pg_sleep(1)%'`
      )
      yield* Effect.repeat(Effect.zipLeft(sleeping, Effect.sleep(10)), {
        until: ({ length }) => length === 10,
        times: 100
      })
      const late = yield* Effect.forEach([1, 2, 3], (n) => Effect.timeoutOption(one(n), 50), {
        concurrency: "unbounded"
      })
      expect(late.map(({ _tag }) => _tag)).toEqual(["None", "None", "None"])
      const waiting = yield* Effect.fork(one(4))
      expect(yield* Fiber.join(waiting)).toEqual([{ n: 4 }])
      expect(yield* Fiber.join(busy)).toHaveLength(10)
      const after = yield* Effect.forEach(
        Array.from({ length: 30 }, (_, n) => n),
        one,
        {
          concurrency: "unbounded"
        }
      )
      expect(after.map(([row]) => row?.n)).toEqual(Array.from({ length: 30 }, (_, n) => n))
    }).pipe(Effect.provide(configured(Database.layer)))
  )

  it.live("a connection that ends within a transaction is an error that may pass, and no defect", () =>
    Effect.gen(function* () {
      const { use } = yield* Database.Database
      const ends = (more: Effect.Effect<unknown>) =>
        Effect.flip(
          use((sql) =>
            sql.withTransaction(
              Effect.zipRight(Effect.ignore(sql`SELECT pg_terminate_backend(pg_backend_pid())`), more)
            )
          )
        )
      // At its commit, and at its rollback.
      for (const more of [Effect.void, Effect.die("no")]) {
        expect(yield* ends(more)).toMatchObject({ _tag: "DatabaseError", isTransient: true })
        expect(yield* use((sql) => sql`SELECT 1 AS one`)).toEqual([{ one: 1 }])
      }
    }).pipe(Effect.provide(configured(Database.layer)))
  )

  it.live("a server without a free connection is an error that may pass", () =>
    Effect.gen(function* () {
      const { use } = yield* Database.Database
      yield* use((sql) =>
        Effect.zipRight(sql`DROP ROLE IF EXISTS crowded`, sql`CREATE ROLE crowded LOGIN CONNECTION LIMIT 0`)
      )
      const url = settings["DATABASE_URL"]!.replace("aio@", "crowded@")
      const error = yield* Effect.flip(Effect.flatMap(Database.Database, ({ check }) => check)).pipe(
        Effect.provide(Layer.fresh(configured(Database.layer, { DATABASE_URL: url })))
      )
      expect(error).toMatchObject({
        message: 'database: too many connections for role "crowded"',
        isTransient: true
      })
    }).pipe(Effect.provide(configured(Database.layer)))
  )

  it.live("a token that is revoked at the issuer is asked for once, then replaced", () =>
    Effect.gen(function* () {
      const { introspect, token } = yield* OAuth.OAuth
      const { value } = yield* token
      const { OAUTH_CLIENT_ID: id, OAUTH_CLIENT_SECRET: secret, OAUTH_ISSUER: issuer } = settings
      const { status } = yield* Effect.promise(() =>
        fetch(`${issuer}/token/revocation`, {
          method: "POST",
          headers: { authorization: `Basic ${Buffer.from(`${id}:${secret}`).toString("base64")}` },
          body: new URLSearchParams({ token: Redacted.value(value) })
        })
      )
      expect(status).toBe(200)
      // The page's question is one that may pass, so that it is asked again with the next token.
      const page = yield* Network.page("ada")
      expect(texts(page)["oauth"]).toBe(whole.oauth)
      const next = (yield* token).value
      expect(Redacted.value(next)).not.toBe(Redacted.value(value))
      expect(yield* introspect(next)).toMatchObject({ isActive: true })
    }).pipe(Effect.provide(services({})))
  )

  it.live("a storage that says SlowDown and then cuts a body costs the page its part and no other", () =>
    Effect.gen(function* () {
      let asked = 0
      const bad = yield* Effect.promise(() =>
        Loopback.serve((_, response) => {
          if (++asked % 2 === 1) {
            const xml = "<Error><Code>SlowDown</Code><Message>slow</Message></Error>"
            return response.writeHead(503, { "content-type": "application/xml" }).end(xml)
          }
          response.writeHead(200, { "content-length": "1000" }).write("<List")
          setImmediate(() => response.destroy())
          return undefined
        })
      )
      const page = yield* Network.page("ada").pipe(
        Effect.provide(services({ S3_ENDPOINT: bad }, { retries: 3, backoff: { first: 1, max: 2 } }))
      )
      expect(texts(page)).toMatchObject({ ...whole, storage: expect.stringMatching(/^unavailable: /) })
      expect(asked).toBe(4)
      expect(Duration.toMillis(page.total)).toBeLessThan(20_000)
    })
  )
})
