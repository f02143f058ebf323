import type * as Activity from "@effect/workflow/Activity"
import type * as WorkflowModule from "@effect/workflow/Workflow"
import type * as EngineModule from "@effect/workflow/WorkflowEngine"
import {
  Cause,
  Clock,
  Context,
  Duration,
  Effect,
  Either,
  Exit,
  Fiber,
  FiberId,
  Schedule,
  Scope
} from "effect"
import * as Causes from "../../task/Causes.js"
import type * as Store from "../Store.js"
import * as codec from "./workflowCodec.js"
import * as rows from "./workflowRows.js"

// What a process runs: each claimed execution in a fiber, until it waits for an event, has a result, or is dropped. A run is
// a replay: its body runs from the beginning, and its finished steps give their recorded results.

type Instance = EngineModule.WorkflowInstance["Type"]
type Result = WorkflowModule.Result<unknown, unknown>

/** The modules of `@effect/workflow`, which is loaded when it is needed. */
export interface Lib {
  readonly workflow: typeof WorkflowModule
  readonly engine: typeof EngineModule
}

/** A workflow of this process, and what its registration had in its context. */
export interface Registered {
  readonly workflow: WorkflowModule.Any
  readonly execute: Parameters<EngineModule.Encoded["register"]>[1]
  readonly context: Context.Context<never>
  /** Its registration ends: no further execution and no further step starts. */
  isClosing: boolean
}

export interface Run {
  readonly claim: rows.Claim
  readonly entry: Registered
  readonly instance: Instance
  fiber: Fiber.RuntimeFiber<void> | undefined
  /** The body has ended: what starts now belongs to its compensations. */
  isCompensating: boolean
  /** A step did not start because the process ends. */
  isHeldBack: boolean
  /** How often its process died since a step of it finished. */
  cuts: number
  /** Its steps have most likely finished before. */
  isReplay: boolean
  /** It records nothing any more: others have its execution, or shall have it. */
  isDropped: boolean
}

/**
 * How often a step has started, from 1: more than 1 after its process was killed or dropped it.
 *
 * @since 0.1.0
 * @category services
 */
export class CurrentStart extends Context.Reference<CurrentStart>()(
  "effect-asyncio/services/DurableWorkflows/CurrentStart",
  { defaultValue: () => 1 }
) {}

export interface Options {
  readonly store: Store.Store["Type"]
  readonly lib: Lib
  readonly results: codec.Results
  /** The engine that bodies get. */
  readonly engine: () => EngineModule.WorkflowEngine["Type"]
  /** Called when an execution is ready, or a run has ended. */
  readonly onChange: () => void
  /** Called when an execution has a result, or is suspended. */
  readonly onSettled: (id: string, state: rows.State) => void
}

const named = ({ claim, instance }: Run) =>
  Effect.annotateLogs({
    workflow: instance.workflow.name,
    execution: instance.executionId,
    claim: claim.claim
  })

/** The clock of a sleep that began before: a sleep that was cut off does not start over. */
const since = (begun: number) =>
  Effect.flatMap(Effect.clock, (clock) =>
    Effect.map(Clock.currentTimeMillis, (now): Clock.Clock => {
      const sleep: Clock.Clock["sleep"] = (duration) =>
        clock.sleep(Duration.subtract(duration, Math.max(0, now - begun)))
      return Object.assign(Object.create(clock), { sleep })
    })
  )

export const make = ({ engine, lib, onChange, onSettled, results, store }: Options) => {
  const { Complete, Suspended, intoResult } = lib.workflow
  const { WorkflowEngine, WorkflowInstance } = lib.engine
  const active = new Set<Run>()
  // Copies of an instance, and those of its steps, are of the same run; a copy keeps the scope.
  const ofScope = new WeakMap<Scope.Scope, Run>()
  const suspended = Effect.sync((): Result => new Suspended({}))

  const persist = <A>(run: Run, query: Effect.Effect<A, Store.StoreError>) =>
    Effect.retry(query, {
      schedule: Schedule.union(Schedule.exponential("20 millis"), Schedule.spaced("1 second")),
      while: ({ isTransient }) => isTransient && !run.isDropped
    })

  /** Asks the store for a run, as long as its failures may pass; else the run is dropped. */
  const ask = <A>(run: Run, query: Effect.Effect<A, Store.StoreError>): Effect.Effect<A | undefined> =>
    Effect.catchAll(persist(run, query), (error) => {
      run.isDropped = true
      return Effect.as(named(run)(Effect.logError(error.message)), undefined)
    })

  /** Whether it starts nothing new, because the execution or the process ends. */
  const isOver = (run: Run): boolean => {
    if (run.isDropped) return true
    if (run.isCompensating) return false
    if (run.instance.interrupted) return true
    if (run.entry.isClosing) run.isHeldBack = true
    return run.isHeldBack
  }

  /** Finds out why a step could not start. */
  const refused = (run: Run) =>
    Effect.map(ask(run, rows.find(store, run.claim.id)), (row) => {
      const isMine = row?.state === "running" && row.claim === run.claim.claim
      if (isMine && row.interrupt === 1) run.instance.interrupted = true
      else run.isDropped = true
    })

  const step = (instance: Instance, run: Run, activity: Activity.Any, attempt: number) =>
    Effect.gen(function* () {
      const key = { ...run.claim, name: activity.name, attempt }
      const finished = (text: string) =>
        Effect.map(codec.readExit(text), (exit): Result => new Complete({ exit }))
      if (run.isReplay || isOver(run)) {
        const known = yield* ask(run, rows.stepResult(store, key.id, key.name, attempt))
        if (known !== undefined) return yield* finished(known)
        if (isOver(run)) return yield* suspended
        run.isReplay = false
      }
      const now = yield* Clock.currentTimeMillis
      const start = yield* ask(run, rows.beginStep(store, { ...key, last: run.isCompensating, now }))
      if (start === undefined) return yield* Effect.zipRight(refused(run), suspended)
      if (start.result !== null) return yield* finished(start.result)
      const inner = WorkflowInstance.initial(instance.workflow, instance.executionId)
      ofScope.set(inner.scope, run)
      const own = activity.executeEncoded as Effect.Effect<unknown, unknown, EngineModule.WorkflowInstance>
      // Of `DurableClock.sleep` up to its `inMemoryThreshold`.
      const timed = activity.name.startsWith("DurableClock/")
        ? Effect.flatMap(since(start.begun), (clock) => Effect.withClock(own, clock))
        : own
      const result = yield* timed.pipe(
        Effect.provideService(CurrentStart, start.starts),
        intoResult,
        Effect.provideService(WorkflowInstance, inner)
      )
      if (result._tag === "Suspended") return result
      const what = `the result of the step '${activity.name}'`
      const text = yield* codec.writeExit(what, result.exit).pipe(
        Effect.catchAll((error) => codec.writeExit(what, Exit.die(error))),
        Effect.orDie
      )
      const isRecorded = yield* ask(run, rows.finishStep(store, { ...key, result: text }))
      if (isRecorded !== true) {
        run.isDropped = true
        return yield* suspended
      }
      if (run.cuts > 0) {
        run.cuts = 0
        yield* ask(run, rows.forgive(store, run.claim))
      }
      return yield* finished(text)
    })

  /** The last steps of a body, from the end of its own code: its compensations have run when it succeeds. */
  const ended = (run: Run, exit: Exit.Exit<Result>): Effect.Effect<Result> =>
    Effect.gen(function* () {
      const { instance } = run
      if (Exit.isSuccess(exit)) {
        if (exit.value._tag === "Complete" || !instance.interrupted || run.isDropped) return exit.value
        run.isCompensating = true
        instance.suspended = false
        const interrupted = Exit.interrupt(FiberId.none)
        const closed = yield* Effect.exit(Scope.close(instance.scope, interrupted))
        if (Exit.isSuccess(closed)) return new Complete({ exit: interrupted })
        return yield* ended(run, Exit.failCause(closed.cause))
      }
      // A compensation that waits for an event.
      if (instance.suspended) return yield* suspended
      if (Cause.isInterruptedOnly(exit.cause)) return new Complete({ exit })
      yield* Effect.logError(`suspended by a defect: ${Causes.headline(exit.cause)}`, exit.cause)
      return new Suspended({ cause: Causes.failures(exit.cause) })
    })

  const record = (run: Run, result: Result) =>
    Effect.gen(function* () {
      const { claim, entry } = run
      const now = yield* Clock.currentTimeMillis
      if (run.isDropped || (result._tag === "Suspended" && run.isHeldBack && !run.isCompensating)) {
        yield* rows.release(store, claim, now)
      } else if (result._tag === "Suspended") {
        const text = results.suspended(result.cause)
        const isReady = yield* persist(run, rows.suspend(store, { ...claim, result: text, now }))
        if (!isReady) onSettled(claim.id, "suspended")
      } else {
        const text = yield* results.write(entry.workflow, result, entry.context)
        if (yield* persist(run, rows.complete(store, { ...claim, result: text, now })))
          onSettled(claim.id, "done")
      }
    }).pipe(
      // Its row has no run any more: the next look of the worker gives it back.
      Effect.catchAll(({ message }) => Effect.logError(message))
    )

  const body = (run: Run, row: rows.Execution) =>
    Effect.gen(function* () {
      const { entry, instance } = run
      const payload = yield* Effect.either(codec.readPayload(entry.workflow, row.payload, entry.context))
      if (Either.isLeft(payload)) {
        const why = `the payload on record does not have the type of the workflow now: ${payload.left}`
        yield* Effect.logError(`suspended: ${why}`)
        return yield* record(run, new Suspended({ cause: Cause.die(new Error(why)) }))
      }
      const exit = yield* Effect.suspend(() => entry.execute(payload.right, row.execution)).pipe(
        Effect.onExit(() =>
          Effect.sync(() => {
            run.isCompensating = !instance.suspended
          })
        ),
        intoResult,
        Effect.provideService(WorkflowInstance, instance),
        Effect.provideService(WorkflowEngine, engine()),
        Effect.exit
      )
      yield* record(run, yield* ended(run, exit))
    }).pipe(named(run))

  const drop = (run: Run): Effect.Effect<void> =>
    Effect.suspend(() => {
      run.isDropped = true
      // Without it the body's compensations would run.
      run.instance.suspended = true
      return run.fiber === undefined
        ? Effect.void
        : Effect.asVoid(Effect.forkDaemon(Fiber.interrupt(run.fiber)))
    })

  return {
    active,
    ask,
    isOver,
    of: (instance: Instance): Run | undefined => ofScope.get(instance.scope),
    step: (instance: Instance, run: Run, activity: Activity.Any, attempt: number) =>
      Effect.uninterruptible(step(instance, run, activity, attempt)),

    start: (row: rows.Execution, entry: Registered): Effect.Effect<void> =>
      Effect.gen(function* () {
        const instance = WorkflowInstance.initial(entry.workflow, row.execution)
        instance.interrupted = row.interrupt === 1
        const run: Run = {
          claim: { id: row.id, claim: row.claim },
          entry,
          instance,
          fiber: undefined,
          isCompensating: false,
          isHeldBack: false,
          cuts: row.cuts,
          isReplay: row.claim > 1,
          isDropped: false
        }
        ofScope.set(instance.scope, run)
        active.add(run)
        const over = Effect.sync(() => {
          active.delete(run)
          onChange()
        })
        run.fiber = yield* Effect.forkDaemon(Effect.uninterruptible(Effect.ensuring(body(run, row), over)))
      }),

    /** The runs of others' claims are dropped. */
    keepOnly: (claims: ReadonlyArray<rows.Claim>): Effect.Effect<void> => {
      const mine = new Set(claims.map(({ claim, id }) => `${claim} ${id}`))
      const lost = [...active].filter(({ claim: { claim, id } }) => !mine.has(`${claim} ${id}`))
      return Effect.forEach(lost, drop, { discard: true })
    },

    /** Waits for the runs of a workflow so long, then drops them. */
    drain: (entry: Registered, limit: Duration.DurationInput): Effect.Effect<void> =>
      Effect.gen(function* () {
        const left = [...active].filter((run) => run.entry === entry)
        const all = Fiber.awaitAll(left.flatMap(({ fiber }) => fiber ?? []))
        // In a fiber of its own: that of a finalizer may have been interrupted.
        const waited = yield* Effect.forkDaemon(Effect.interruptible(Effect.timeoutOption(all, limit)))
        yield* Fiber.join(waited)
        yield* Effect.forEach(left, (run) => (active.has(run) ? drop(run) : Effect.void), { discard: true })
        yield* all
      })
  }
}

export type Runs = ReturnType<typeof make>
