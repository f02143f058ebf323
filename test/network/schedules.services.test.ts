import { describe, expect, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import * as Schedules from "../../src/services/cluster/Schedules.js"
import * as Store from "../../src/services/cluster/Store.js"
import { durableTimersContract } from "../services/cluster/durableTimersContract.js"
import { later, scheduleContract, server } from "../services/cluster/scheduleContract.js"
import * as PgSchema from "./schema.js"

// Durable schedules on a real PostgreSQL, each test in a schema of its own.

const fresh = () => PgSchema.fresh([Schedules.tables])

scheduleContract("Schedules, PostgreSQL", fresh)
durableTimersContract("DurableTimers, PostgreSQL", fresh)

describe("Schedules, PostgreSQL", () => {
  it.live("say which tables the store was opened without", () =>
    Effect.gen(function* () {
      const { message } = yield* Effect.flip(Schedules.list())
      expect(message).toContain(
        "it has no table aio_schedules; open it with the tables of each service that uses it"
      )
    }).pipe(Effect.provide(Store.layer(PgSchema.parse(PgSchema.url), [])))
  )

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

  it.live(
    "takes back the runs of a server that is silent, and no others",
    () =>
      Effect.gen(function* () {
        const { use } = yield* Store.Store
        const ok = { status: "succeeded", exitCode: 0 } as const
        const [cut, claimed] = [
          yield* Schedules.add("cut", later(0)),
          yield* Schedules.add("claimed", later(0))
        ]
        // A server that has been killed: one of its runs had started, one had not.
        yield* use((sql) => sql`UPDATE aio_schedules SET next_at = NULL, deadline = NULL, accepted = 1`)
        for (const [job, status, started] of [
          [cut, "running", 1],
          [claimed, "claimed", null]
        ] as const)
          yield* use(
            (sql) =>
              sql`INSERT INTO aio_schedule_runs ${sql.insert({
                ...{
                  id: `${job}-1-1`,
                  job,
                  work: "command",
                  number: 1,
                  attempt: 1,
                  due: 1,
                  ready: 1,
                  count: 1
                },
                ...{ status, started, owner: "gone" }
              })}`
          )
        yield* use(
          (sql) =>
            sql`INSERT INTO aio_schedule_servers ${sql.insert({
              ...{ id: "gone", pid: 1, host: "elsewhere", process: "1:1", started: 1, beat: 1 }
            })}`
        )
        const isCut = Effect.map(Schedules.show(cut), ({ last }) => last?.status === "failed")
        const context = yield* Effect.context<Store.Store>()
        const cutOff = Effect.repeat(Effect.zipRight(Effect.sleep(100), isCut), { until: (is) => is })
        // Its own run lasts until the other one has been taken back.
        const alive = server(({ name }) =>
          Effect.as(name === "mine" ? Effect.orDie(Effect.provide(cutOff, context)) : Effect.void, ok)
        )
        yield* Schedules.add("mine", later(0))
        const other = yield* Effect.fork(Effect.scoped(alive.serve))
        yield* Effect.repeat(Effect.sleep(10), { until: () => alive.runs.length > 0 })
        const { events, runs, serve } = server(() => Effect.succeed(ok), { untilDone: false })
        const second = yield* Effect.fork(Effect.scoped(serve))
        yield* Fiber.join(other)
        yield* Effect.repeat(Effect.sleep(10), { until: () => runs.length + alive.runs.length > 1 })
        yield* Fiber.interrupt(second)
        expect((yield* Schedules.show(cut)).last).toMatchObject({
          status: "failed",
          reason: "cut off: the process that ran it has ended"
        })
        expect((yield* Schedules.show(claimed)).last).toMatchObject({
          id: `${claimed}-1-1`,
          status: "succeeded"
        })
        // Each of them was taken back by one of the two, and the run of the live server by none.
        const all = [...events, ...alive.events]
        expect(all.filter((event) => event.event === "finished" && event.schedule === cut).length).toBe(1)
        expect([...runs, ...alive.runs].map(({ name }) => name).sort()).toEqual(["claimed", "mine"])
      }).pipe(Effect.provide(fresh())),
    60_000
  )

  it.live("brings the tables up to date once, when several processes open the store", () =>
    Effect.gen(function* () {
      const { made, url } = PgSchema.inSchema()
      yield* made
      const location = PgSchema.parse(url)
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
          Effect.map(
            Effect.flip(Effect.scoped(Store.open(PgSchema.parse(text), [Schedules.tables]))),
            (error) => ({
              code: error.exitCode,
              message: error.message
            })
          )
        const at = (change: (url: URL) => void) => {
          const changed = new URL(PgSchema.url)
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
