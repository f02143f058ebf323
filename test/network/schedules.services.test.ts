import { describe, expect, it } from "@effect/vitest"
import { Effect, Either, Layer } from "effect"
import * as Schedules from "../../src/services/cluster/Schedules.js"
import * as Store from "../../src/services/cluster/Store.js"
import { later, scheduleContract, server } from "../services/cluster/scheduleContract.js"
import { settings } from "./settings.js"

// Durable schedules on a real PostgreSQL, each test in a schema of its own.

const url = settings["DATABASE_URL"] ?? ""
const parse = (text: string) => Either.getOrThrow(Store.parse(text))
let schemas = 0

/** The tables of a test, in a schema that is made for it. */
const fresh = () => {
  const name = `schedules_${process.pid}_${++schemas}`
  const made = Effect.flatMap(Store.open(parse(url), []), ({ use }) =>
    use((sql) => sql`CREATE SCHEMA ${sql(name)}`)
  )
  const location = parse(`${url}?options=${encodeURIComponent(`-c search_path=${name}`)}`)
  return Layer.unwrapEffect(Effect.as(Effect.scoped(made), Store.layer(location, [Schedules.tables])))
}

scheduleContract("Schedules, PostgreSQL", fresh)

describe("Schedules, PostgreSQL", () => {
  it.live("runs each run once, with several servers at work", () =>
    Effect.gen(function* () {
      const ids = yield* Effect.forEach(Array.from({ length: 60 }), (_, i) =>
        Schedules.add(`job ${i}`, later(i % 7))
      )
      const servers = [1, 2, 3].map(() =>
        server(() => Effect.as(Effect.sleep(20), { status: "succeeded", exitCode: 0 }), { concurrency: 5 })
      )
      yield* Effect.all(
        servers.map(({ serve }) => Effect.scoped(serve)),
        { concurrency: "unbounded" }
      )
      const ran = servers.flatMap(({ runs }) => runs.map(({ schedule }) => schedule))
      expect(ran.sort()).toEqual([...ids].sort())
      expect(servers.every(({ runs }) => runs.length > 0)).toBe(true)
      expect((yield* Schedules.list({ all: true })).every(({ state }) => state === "done")).toBe(true)
    }).pipe(Effect.provide(fresh()))
  )

  it.live("brings the tables up to date once, when several processes open the store", () =>
    Effect.gen(function* () {
      const name = `schedules_${process.pid}_${++schemas}`
      yield* Effect.scoped(
        Effect.flatMap(Store.open(parse(url), []), ({ use }) => use((sql) => sql`CREATE SCHEMA ${sql(name)}`))
      )
      const location = parse(`${url}?options=${encodeURIComponent(`-c search_path=${name}`)}`)
      const versions = yield* Effect.all(
        Array.from({ length: 5 }, () =>
          Effect.scoped(
            Effect.flatMap(Store.open(location, [Schedules.tables]), ({ use }) =>
              use((sql) => sql`SELECT version FROM aio_schema`)
            )
          )
        ),
        { concurrency: "unbounded" }
      )
      expect(versions).toEqual(Array.from({ length: 5 }, () => [{ version: 1 }]))
    })
  )

  it.live(
    "refuses wrong credentials and a database that does not exist, and reports a server that is down",
    () =>
      Effect.gen(function* () {
        const refusal = (text: string) =>
          Effect.map(Effect.flip(Effect.scoped(Store.open(parse(text), [Schedules.tables]))), (error) => ({
            code: error.exitCode,
            message: error.message
          }))
        const at = (change: (url: URL) => void) => {
          const changed = new URL(url)
          change(changed)
          return changed.href
        }
        const unknown = yield* refusal(
          at((one) => Object.assign(one, { username: "nobody_such", password: "secret" }))
        )
        expect(unknown).toMatchObject({ code: 2 })
        expect(unknown.message).not.toContain("secret")
        expect(yield* refusal(at((one) => Object.assign(one, { pathname: "/nothing" })))).toMatchObject({
          code: 2
        })
        const down = yield* refusal("postgres://ada@127.0.0.1:1/jobs")
        expect(down).toEqual({
          code: 1,
          message:
            "the store postgres://ada@127.0.0.1:1/jobs: the server cannot be reached: connection refused"
        })
      })
  )
})
