import { afterAll, beforeAll, describe, expect, it } from "@effect/vitest"
import * as Activity from "@effect/workflow/Activity"
import * as DurableDeferred from "@effect/workflow/DurableDeferred"
import * as Workflow from "@effect/workflow/Workflow"
import { Deferred, Effect, Fiber, Layer, Schema } from "effect"
import * as DurableWorkflows from "../../src/services/cluster/DurableWorkflows.js"
import * as Store from "../../src/services/cluster/Store.js"
import { workflowContract } from "../services/cluster/workflowContract.js"
import { workflowKills } from "../services/cluster/workflowKills.js"
import * as Postgres from "./postgres.js"
import * as PgSchema from "./schema.js"

// Workflows on a real PostgreSQL, each test in a schema of its own.

const fresh = () => PgSchema.fresh([DurableWorkflows.tables])

workflowContract("DurableWorkflows, PostgreSQL", fresh)

describe("DurableWorkflows, PostgreSQL", () => {
  it.live(
    "records an execution after an event of it that is on its way: the execution sees it, or is woken by it",
    () =>
      Effect.gen(function* () {
        const { transaction, use } = yield* Store.Store
        const Trip = Workflow.make({ name: "trip", payload: {}, idempotencyKey: () => "" })
        const executionId = yield* Trip.executionId(undefined as never)
        const waits = use((sql) => sql`SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND NOT granted`)
        const locked = yield* Deferred.make<void>()
        // Outside of the transaction, whose connection it would use.
        const executed = yield* Deferred.await(locked).pipe(
          Effect.zipRight(Trip.execute(undefined, { discard: true })),
          Effect.provide(Layer.fresh(DurableWorkflows.layerClient())),
          Effect.fork
        )
        yield* transaction((sql) =>
          Effect.gen(function* () {
            yield* sql`SELECT pg_advisory_xact_lock(hashtextextended(${JSON.stringify(["trip", executionId])}, 0))`
            yield* Deferred.succeed(locked, undefined)
            yield* Effect.repeat(Effect.zipRight(Effect.sleep(5), waits), {
              until: ({ length }) => length > 0,
              times: 2000
            })
            expect(yield* waits).toHaveLength(1)
          })
        )
        yield* Fiber.join(executed)
        expect(yield* DurableWorkflows.list()).toHaveLength(1)
      }).pipe(Effect.provide(fresh()))
  )
})

const places = Array.from({ length: 3 }, PgSchema.inSchema)
beforeAll(() => Effect.runPromise(Effect.forEach(places, ({ made }) => made)))
workflowKills("workflows in PostgreSQL", () => places.pop()!.url)

describe("workflows, and PostgreSQL that is killed", () => {
  let postgres: Postgres.Postgres
  beforeAll(async () => {
    postgres = await Postgres.make()
  })
  afterAll(() => postgres.remove())

  it.live(
    "continue when it is there again, and run no finished step again",
    () =>
      Effect.gen(function* () {
        const Trip = Workflow.make({
          name: "trip",
          payload: {},
          success: Schema.Number,
          idempotencyKey: () => ""
        })
        const noted: Array<string> = []
        const begun = yield* Deferred.make<void>()
        const away = yield* Deferred.make<void>()
        const landed = DurableDeferred.make("landed", { success: Schema.Number })
        const live = Trip.toLayer(() =>
          Effect.gen(function* () {
            yield* Activity.make({ name: "one", execute: Effect.sync(() => noted.push("one")) })
            yield* Activity.make({
              name: "two",
              execute: Effect.sync(() => noted.push("two")).pipe(
                Effect.zipRight(Deferred.succeed(begun, undefined)),
                Effect.zipRight(Deferred.await(away))
              )
            })
            return yield* DurableDeferred.await(landed)
          })
        )
        const main = Effect.gen(function* () {
          const executed = yield* Effect.fork(Trip.execute(undefined))
          yield* Deferred.await(begun)
          yield* Effect.promise(() => postgres.kill())
          // Its result cannot be recorded yet.
          yield* Deferred.succeed(away, undefined)
          const executionId = yield* Trip.executionId(undefined as never)
          const token = DurableDeferred.tokenFromExecutionId(landed, { workflow: Trip, executionId })
          const done = yield* Effect.fork(DurableDeferred.succeed(landed, { token, value: 7 }))
          yield* Effect.promise(() => postgres.start())
          yield* Fiber.join(done)
          return yield* Fiber.join(executed)
        })
        const store = Store.layer(PgSchema.parse(postgres.url), [DurableWorkflows.tables])
        const engine = Layer.provideMerge(live, DurableWorkflows.layer({ poll: "50 millis" }))
        const result = yield* Effect.scoped(
          Effect.flatMap(Layer.build(Layer.provide(engine, store)), (context) =>
            Effect.provide(main, context)
          )
        )
        expect(result).toBe(7)
        expect(noted).toEqual(["one", "two"])
      }),
    60_000
  )
})
