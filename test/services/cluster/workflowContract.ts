import { describe, expect, it } from "@effect/vitest"
import * as Activity from "@effect/workflow/Activity"
import * as DurableClock from "@effect/workflow/DurableClock"
import * as DurableDeferred from "@effect/workflow/DurableDeferred"
import * as Workflow from "@effect/workflow/Workflow"
import * as WorkflowEngine from "@effect/workflow/WorkflowEngine"
import {
  Cause,
  Context,
  Deferred,
  Duration,
  Effect,
  Exit,
  Fiber,
  Layer,
  Schedule,
  Schema,
  Scope,
  TestClock,
  TestServices
} from "effect"
import * as DurableWorkflows from "../../../src/services/cluster/DurableWorkflows.js"
import * as Store from "../../../src/services/cluster/Store.js"

// What holds for workflows on SQLite and on PostgreSQL alike.

class OutOfStock extends Schema.TaggedError<OutOfStock>()("OutOfStock", { item: Schema.String }) {}

/** What steps have done, in order. */
const notes = () => {
  const noted: Array<string> = []
  const step = (name: string, body: Effect.Effect<unknown> = Effect.void) =>
    Activity.make({ name, execute: Effect.zipRight(Effect.sync(() => noted.push(name)), body) })
  return { noted, step }
}

const Order = Workflow.make({
  name: "order",
  payload: { id: Schema.String, at: Schema.Date },
  success: Schema.Struct({ id: Schema.String, at: Schema.Date }),
  error: OutOfStock,
  idempotencyKey: ({ id }) => id
})
const order = { id: "1", at: new Date(1e12) }

type Engine = WorkflowEngine.WorkflowEngine

/** A process with these workflows: it ends with the scope. */
const serving = <E, R>(
  workflows: Layer.Layer<never, E, R>,
  options: DurableWorkflows.Options = {}
): Layer.Layer<Engine, any, Store.Store | Exclude<R, Engine>> =>
  Layer.fresh(
    Layer.provideMerge(workflows, DurableWorkflows.layer({ poll: "20 millis", drain: "1 second", ...options }))
  ) as never

/** Runs in a process with these workflows, that ends afterwards. */
const within =
  <E, R>(workflows: Layer.Layer<never, E, R>, options?: DurableWorkflows.Options) =>
  <A, E2, R2>(body: Effect.Effect<A, E2, R2>) =>
    Effect.scoped(
      Effect.flatMap(Layer.build(serving(workflows, options)), (context) => Effect.provide(body, context))
    ) as Effect.Effect<A, E2, Exclude<R2, Engine | Scope.Scope> | Store.Store>

const sleep = (ms: number) => TestServices.provideLive(Effect.sleep(ms))
const untilState = (state: DurableWorkflows.Execution["state"], n = 1) =>
  Effect.repeat(Effect.zipRight(sleep(5), DurableWorkflows.list({ state })), {
    until: ({ length }) => length >= n,
    times: 4000
  })

export const workflowContract = (name: string, fresh: () => Layer.Layer<Store.Store, any>) => {
  const test = (text: string, body: Effect.Effect<void, unknown, Store.Store | Scope.Scope>) =>
    it.scopedLive(text, () => Effect.provide(body, fresh()), 20_000)

  describe(name, () => {
    test(
      "executes a payload once, and gives its result to all that execute it, in later processes too",
      Effect.gen(function* () {
        const { noted, step } = notes()
        const live = Order.toLayer(({ at, id }) => Effect.as(step("pay"), { id, at }))
        const two = Effect.all([Order.execute(order), Order.execute({ ...order, at: new Date(0) })], {
          concurrency: "unbounded"
        })
        expect(yield* within(live)(two)).toEqual([order, order])
        expect(yield* within(live)(Order.execute(order))).toEqual(order)
        expect(noted).toEqual(["pay"])
        expect(yield* DurableWorkflows.list()).toMatchObject([
          { workflow: "order", state: "done", steps: 1, isInterrupted: false }
        ])
      })
    )
  })
}
