import type * as WorkflowEngine from "@effect/workflow/WorkflowEngine"
import { Context, Duration, Effect, Layer } from "effect"
import * as NetworkSettings from "../network/NetworkSettings.js"
import { checkOptions, count, someTime, time } from "../text/Numbers.js"
import * as Engine from "./internal/workflowEngine.js"
import type { State } from "./internal/workflowRows.js"
import * as rows from "./internal/workflowRows.js"
import * as Store from "./Store.js"

// The engine of `@effect/workflow` over a store: workflows of several steps, of which a finished one never runs again.

export { Unrecordable } from "./internal/workflowCodec.js"
export type { State } from "./internal/workflowRows.js"
export { CurrentStart } from "./internal/workflowRuns.js"

// model

/**
 * An execution on record.
 *
 * @since 0.1.0
 * @category models
 */
export interface Execution {
  readonly workflow: string
  readonly executionId: string
  readonly state: State
  /** Whether `interrupt` was called for it. */
  readonly isInterrupted: boolean
  /** Milliseconds since the epoch. */
  readonly created: number
  /** How many of its steps have a result. */
  readonly steps: number
}

/**
 * Settings of {@link layer}.
 *
 * @since 0.1.0
 * @category options
 */
export interface Options {
  /** How long a change of the store by another process may stay unseen; default 1 second. */
  readonly poll?: Duration.DurationInput | undefined
  /** Most executions that run at once in this process; default 100. One that is suspended does not run. */
  readonly concurrency?: number | undefined
  /** How long an execution that is done stays on record; default 7 days. After that the same payload executes again. */
  readonly keep?: Duration.DurationInput | undefined
  /** How long steps may continue when the layer ends; default 30 seconds. Then they are interrupted, and run again elsewhere. */
  readonly drain?: Duration.DurationInput | undefined
}

// tables

/**
 * The tables of workflows, for `Store.layer`.
 *
 * @since 0.1.0
 * @category constants
 */
export const tables: Store.Tables = rows.tables

// operations

/**
 * The executions that are on record, the newest first: at most `limit` (default 100), of one workflow or state if asked for.
 *
 * @since 0.1.0
 * @category effects
 */
export const list = ({
  limit = 100,
  state,
  workflow
}: {
  readonly limit?: number | undefined
  readonly state?: State | undefined
  readonly workflow?: string | undefined
} = {}): Effect.Effect<ReadonlyArray<Execution>, Store.StoreError, Store.Store> =>
  Effect.gen(function* () {
    checkOptions({ limit }, { limit: count })
    const store = yield* Store.Store
    const found = yield* rows.list(store, { limit, state, workflow })
    return found.map(({ created, execution, interrupt, state, steps, workflow }) => ({
      ...{ workflow, executionId: execution, state, created },
      isInterrupted: interrupt === 1,
      steps: Number(steps)
    }))
  })

// layers

const engine = (options: Options, isClient: boolean) =>
  Layer.scopedContext(
    Effect.gen(function* () {
      checkOptions(options, { poll: someTime, concurrency: count, keep: time, drain: time })
      const load = <A>(module: () => Promise<A>) =>
        NetworkSettings.load("@effect/workflow", "DurableWorkflows", module)
      const lib = {
        workflow: yield* load(() => import("@effect/workflow/Workflow")),
        engine: yield* load(() => import("@effect/workflow/WorkflowEngine"))
      }
      const made = yield* Engine.make({
        store: yield* Store.Store,
        lib,
        poll: Duration.toMillis(options.poll ?? "1 second"),
        concurrency: options.concurrency ?? 100,
        keep: Duration.toMillis(options.keep ?? "7 days"),
        drain: Duration.toMillis(options.drain ?? "30 seconds"),
        isClient
      })
      return Context.make(lib.engine.WorkflowEngine, made)
    })
  )

type EngineLayer = Layer.Layer<
  WorkflowEngine.WorkflowEngine,
  NetworkSettings.MissingPackage | Store.StoreError,
  Store.Store
>

/**
 * `WorkflowEngine` of `@effect/workflow` over the store, in the place of `WorkflowEngine.layerMemory`: executions outlive their
 * process, and any process with the same workflows continues them. A step (`Activity`) that has finished does not run again;
 * one that was cut off does. Any number of processes share a store, an SQLite file or PostgreSQL. Needs `@effect/workflow`;
 * fails with `StoreError`. The engine's operations, which have no errors, ask a store that cannot be reached for a minute,
 * and then die with `StoreError`; they die with {@link Unrecordable} if a value takes more than 1 MiB of JSON.
 *
 * @example
 * ```ts
 * import * as Activity from "@effect/workflow/Activity"
 * import * as Workflow from "@effect/workflow/Workflow"
 * import { Effect, Either, Layer, Schema } from "effect"
 * import * as DurableWorkflows from "effect-asyncio/services/DurableWorkflows"
 * import * as Store from "effect-asyncio/services/Store"
 *
 * const Order = Workflow.make({
 *   name: "order",
 *   payload: { id: Schema.String },
 *   success: Schema.String,
 *   idempotencyKey: ({ id }) => id
 * })
 * const OrderLive = Order.toLayer(({ id }) =>
 *   Effect.gen(function* () {
 *     yield* Activity.make({ name: "pay", execute: Effect.log(`pay ${id}`) })
 *     return yield* Activity.make({ name: "ship", success: Schema.String, execute: Effect.succeed(`parcel of ${id}`) })
 *   })
 * )
 * const store = Store.layer(Either.getOrThrow(Store.parse("orders.sqlite")), [DurableWorkflows.tables])
 *
 * export const program = Order.execute({ id: "1" }).pipe(
 *   Effect.provide(OrderLive.pipe(Layer.provideMerge(DurableWorkflows.layer()), Layer.provide(store)))
 * )
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options = {}): EngineLayer => engine(options, false)

/**
 * Runs nothing: executes, polls, interrupts and resumes workflows that other processes run, and completes their deferreds.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerClient = (options: Pick<Options, "poll"> = {}): EngineLayer => engine(options, true)
