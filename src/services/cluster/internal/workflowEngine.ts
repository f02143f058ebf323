import type * as WorkflowModule from "@effect/workflow/Workflow"
import type * as EngineModule from "@effect/workflow/WorkflowEngine"
import { Cause, Clock, Duration, Effect, Exit, FiberRef, Option, type Scope } from "effect"
import * as Store from "../Store.js"
import { patient, within } from "./patience.js"
import { makeSignal } from "./signal.js"
import * as codec from "./workflowCodec.js"
import * as rows from "./workflowRows.js"
import * as Runs from "./workflowRuns.js"
import * as Workers from "./workflowWorkers.js"

// `WorkflowEngine` of `@effect/workflow` over a store: its operations are changes of the record, and a loop runs what the
// record has for the workflows of this process.

type Engine = EngineModule.WorkflowEngine["Type"]

/** How long an operation asks a store that cannot be reached, in milliseconds, before it dies. */
const patience = 60_000
/** How often executions that are too old are removed, in milliseconds. */
const pruning = 600_000
/** Most executions that are claimed, or whose ends are looked for, in one statement. */
const batch = 100

export interface Options {
  readonly store: Store.Store["Type"]
  readonly lib: Runs.Lib
  readonly poll: number
  readonly concurrency: number
  readonly keep: number
  readonly drain: number
  /** Runs nothing. */
  readonly isClient: boolean
}

interface Waiter {
  readonly id: string
  readonly isWoken: (state: rows.State) => boolean
  readonly set: () => void
}

/** Whether `execute` returns when the execution is suspended, for a schedule of the caller's. */
const returnsSuspended = FiberRef.unsafeMake(false)

export const make = (options: Options): Effect.Effect<Engine, Store.StoreError, Scope.Scope> =>
  Effect.gen(function* () {
    const { lib, store } = options
    const { Suspended } = lib.workflow
    const clock = yield* Effect.clock
    const monotonic = () => Number(clock.unsafeCurrentTimeNanos()) / 1e6
    const entries = new Map<string, Runs.Registered>()
    const waiters = new Set<Waiter>()
    const changed = makeSignal()
    const results = codec.make(lib.workflow)
    let failure: Store.StoreError | undefined

    const runs = Runs.make({
      store,
      lib,
      results,
      engine: () => engine,
      onChange: changed.set,
      onSettled: (id, state) => {
        for (const waiter of waiters) if (waiter.id === id && waiter.isWoken(state)) waiter.set()
      }
    })
    const workers = yield* Workers.make({
      store,
      cutOff: results.suspended(
        Cause.die(new Error("the process that ran it died each time; resume it to try again"))
      ),
      holds: ({ claim, id }) =>
        [...runs.active].some((run) => run.claim.id === id && run.claim.claim === claim),
      keepOnly: runs.keepOnly
    })

    // operations

    const ask = <A>(query: Effect.Effect<A, Store.StoreError>): Effect.Effect<A> =>
      Effect.orDie(patient(patience)(query))
    /** The run that the calling fiber belongs to. */
    const caller = Effect.map(Effect.serviceOption(lib.engine.WorkflowInstance), (instance) =>
      Option.getOrUndefined(Option.flatMapNullable(instance, runs.of))
    )
    /** Asks the store, within a run as its owner. */
    const askHere = <A>(query: Effect.Effect<A, Store.StoreError>): Effect.Effect<A | undefined> =>
      Effect.flatMap(caller, (run) => (run === undefined ? ask(query) : runs.ask(run, query)))
    const change = (query: (now: number) => Effect.Effect<unknown, Store.StoreError>) =>
      Effect.zipRight(
        Effect.flatMap(Clock.currentTimeMillis, (now) => askHere(query(now))),
        Effect.sync(changed.set)
      )
    const resultOf = (
      workflow: WorkflowModule.Any,
      row: Pick<rows.Execution, "result" | "state"> | undefined
    ) =>
      row?.result != null && (row.state === "done" || row.state === "suspended")
        ? results.read(workflow, row.result)
        : Effect.succeed(undefined)

    const warned = new Set<string>()
    const warn = (name: string) =>
      Effect.suspend(() => {
        if (options.isClient || entries.has(name) || warned.has(name)) return Effect.void
        warned.add(name)
        return Effect.logWarning(`the workflow ${name} is not registered here; another process has to run it`)
      })

    const waitFor = (workflow: WorkflowModule.Any, row: Parameters<typeof rows.add>[1]) =>
      Effect.gen(function* () {
        const returns = yield* FiberRef.get(returnsSuspended)
        const signal = makeSignal()
        const waiter: Waiter = {
          id: row.id,
          isWoken: (state) => state === "done" || (returns && state === "suspended"),
          set: signal.set
        }
        const look = Effect.gen(function* () {
          const isNew = yield* Effect.flatMap(Clock.currentTimeMillis, (now) =>
            ask(rows.add(store, row, now))
          )
          changed.set()
          if (isNew && failure === undefined) yield* signal.wait
          for (;;) {
            const found = yield* ask(rows.find(store, row.id))
            if (found === undefined) return yield* Effect.dieMessage(`execution ${row.execution} was removed`)
            if (waiter.isWoken(found.state)) return (yield* resultOf(workflow, found))!
            if (failure !== undefined) return yield* Effect.die(failure)
            yield* signal.wait
          }
        })
        return yield* Effect.acquireUseRelease(
          Effect.sync(() => waiters.add(waiter)),
          () => look,
          () => Effect.sync(() => waiters.delete(waiter))
        )
      })

    /** The result of a child, or its parent is woken when there is one. */
    const childOf = (run: Runs.Run, workflow: WorkflowModule.Any, row: Parameters<typeof rows.add>[1]) =>
      Effect.gen(function* () {
        const found = runs.isOver(run)
          ? yield* runs.ask(run, rows.find(store, row.id))
          : yield* runs.ask(run, rows.addChild(store, row, run.claim.id, yield* Clock.currentTimeMillis))
        changed.set()
        const result = found?.state === "done" ? yield* resultOf(workflow, found) : undefined
        return result ?? new Suspended({})
      })

    const encoded: EngineModule.Encoded = {
      register: (workflow, execute) =>
        Effect.gen(function* () {
          const entry: Runs.Registered = {
            workflow,
            execute,
            context: yield* Effect.context<never>(),
            isClosing: false
          }
          if (options.isClient)
            return yield* Effect.dieMessage(
              `the workflow ${workflow.name} cannot be registered with layerClient, which runs nothing`
            )
          if (entries.has(workflow.name))
            return yield* Effect.dieMessage(
              `there are two workflows '${workflow.name}'; give each another name`
            )
          yield* Effect.acquireRelease(
            Effect.sync(() => {
              entries.set(workflow.name, entry)
              changed.set()
            }),
            () =>
              Effect.suspend(() => {
                entry.isClosing = true
                return Effect.ensuring(
                  runs.drain(entry, options.drain),
                  Effect.sync(() => entries.delete(workflow.name))
                )
              })
          )
        }),

      execute: ((
        workflow: WorkflowModule.Any,
        { discard, executionId, parent, payload }: Parameters<EngineModule.Encoded["execute"]>[1]
      ) =>
        Effect.gen(function* () {
          const text = yield* Effect.orDie(codec.writePayload(workflow, payload))
          const id = rows.idOf(workflow.name, executionId)
          const row = { id, workflow: workflow.name, execution: executionId, payload: text }
          yield* warn(workflow.name)
          if (discard) return yield* change((now) => rows.add(store, row, now))
          const run = parent && runs.of(parent)
          return yield* run === undefined ? waitFor(workflow, row) : childOf(run, workflow, row)
        })) as EngineModule.Encoded["execute"],

      poll: (workflow, executionId) =>
        Effect.flatMap(askHere(rows.find(store, rows.idOf(workflow.name, executionId))), (row) =>
          resultOf(workflow, row)
        ),

      interrupt: ({ name }, executionId) =>
        change((now) => rows.interrupt(store, rows.idOf(name, executionId), now)),

      resume: ({ name }, executionId) =>
        change((now) => rows.resume(store, rows.idOf(name, executionId), now)),

      activityExecute: (activity, attempt) =>
        Effect.flatMap(lib.engine.WorkflowInstance, (instance) =>
          Effect.suspend(() => {
            const run = runs.of(instance)
            return run === undefined
              ? Effect.dieMessage(`the step ${activity.name} is not in a workflow of this engine`)
              : runs.step(instance, run, activity, attempt)
          })
        ),

      deferredResult: (deferred) =>
        Effect.gen(function* () {
          const { executionId, workflow } = yield* lib.engine.WorkflowInstance
          const text = yield* askHere(
            rows.eventExit(store, rows.idOf(workflow.name, executionId), deferred.name)
          )
          return text === undefined ? undefined : yield* codec.readExit(text)
        }),

      deferredDone: ({ deferredName, executionId, exit, workflowName }) =>
        Effect.gen(function* () {
          const id = rows.idOf(workflowName, executionId)
          const run = yield* caller
          // What a run says of itself counts as long as it is its owner.
          const by = run?.claim.id === id ? run.claim : undefined
          if (by !== undefined && run!.isDropped) return
          const text = yield* Effect.orDie(codec.writeExit(`the exit of '${deferredName}'`, exit))
          yield* change((now) => rows.finishEvent(store, { id, name: deferredName, exit: text, now }, by))
        }),

      scheduleClock: (workflow, { clock, executionId }) =>
        change((now) =>
          rows.addClock(store, {
            id: rows.idOf(workflow.name, executionId),
            name: clock.deferred.name,
            due: Math.min(now + Duration.toMillis(clock.duration), Number.MAX_SAFE_INTEGER),
            created: now
          })
        )
    }
    const base = lib.engine.makeUnsafe(encoded)
    const engine: Engine = lib.engine.WorkflowEngine.of({
      ...base,
      execute: (workflow, given) =>
        Effect.locally(
          base.execute(workflow, given),
          returnsSuspended,
          given.suspendedRetrySchedule !== undefined
        )
    })

    // the loop

    const openNames = () =>
      [...entries.values()].flatMap(({ isClosing, workflow }) => (isClosing ? [] : [workflow.name]))
    // Of those that may have killed their process one runs at a time: the others are not cut off with it again.
    const hasSuspect = () => [...runs.active].some(({ cuts }) => cuts >= rows.suspectCuts)
    const claim = (now: number, limit: number, isSuspect: boolean) =>
      Effect.gen(function* () {
        const workflows = openNames()
        if (limit <= 0 || workflows.length === 0) return 0
        const claimed = yield* rows.claim(store, { limit, now, owner: workers.me(), workflows, isSuspect })
        for (const row of claimed) {
          const entry = entries.get(row.workflow)
          yield* entry === undefined || entry.isClosing
            ? rows.release(store, { id: row.id, claim: row.claim }, now)
            : runs.start(row, entry)
        }
        return claimed.length
      })

    const settle = Effect.gen(function* () {
      const ids = [...new Set([...waiters].map(({ id }) => id))]
      for (let i = 0; i < ids.length; i += batch) {
        const found = yield* rows.settled(store, ids.slice(i, i + batch))
        const states = new Map(found.map(({ id, state }) => [id, state]))
        for (const waiter of waiters) {
          const state = states.get(waiter.id)
          if (state !== undefined && waiter.isWoken(state)) waiter.set()
        }
      }
    })

    let settledAt = Number.NEGATIVE_INFINITY
    let prunedAt = Number.NEGATIVE_INFINITY
    /** Does what is due; returns how long nothing else is, in milliseconds. */
    const turn = Effect.gen(function* () {
      // Ends of this process are known without the store.
      if (monotonic() - settledAt >= options.poll) {
        settledAt = monotonic()
        yield* settle
      }
      if (options.isClient) return options.poll
      yield* workers.beat
      const now = yield* Clock.currentTimeMillis
      if (Number.isFinite(options.keep) && monotonic() - prunedAt >= pruning) {
        prunedAt = monotonic()
        yield* Effect.iterate(true, { while: Boolean, body: () => rows.prune(store, now - options.keep) })
      }
      const next = yield* rows.next(store, openNames(), !hasSuspect())
      if (next.clock !== null && next.clock <= now) {
        yield* rows.fireClocks(store, codec.voidExit, now)
        return 0
      }
      const limit = Math.min(batch, options.concurrency - runs.active.size)
      const wait = Math.min(options.poll, Workers.heartbeat, (next.clock ?? Number.POSITIVE_INFINITY) - now)
      if (next.ready === null || limit <= 0) return wait
      if (next.ready > now) return Math.min(wait, next.ready - now)
      const claimed = yield* claim(now, limit, false)
      const suspects = claimed < limit && !hasSuspect() ? yield* claim(now, 1, true) : 0
      // None is claimed while others claim the same.
      return claimed + suspects > 0 ? 0 : Math.min(wait, 10)
    })

    const loop = Effect.gen(function* () {
      let isFailing = false
      for (;;) {
        const wait = yield* Effect.catchIf(
          turn,
          ({ isTransient }) => isTransient,
          ({ message }) => {
            const log = isFailing ? Effect.void : Effect.logWarning(message)
            isFailing = true
            return Effect.as(log, -1)
          }
        )
        if (wait >= 0) isFailing = false
        if (wait === 0) yield* Effect.yieldNow()
        else
          yield* Effect.raceFirst(Effect.sleep(wait < 0 ? Math.max(options.poll, 100) : wait), changed.wait)
      }
    })

    if (!options.isClient)
      yield* Effect.acquireRelease(workers.join, () => within("5 seconds")(workers.leave))
    yield* Effect.forkScoped(
      Effect.onExit(loop, (exit) =>
        Effect.suspend(() => {
          if (Exit.isSuccess(exit) || Cause.isInterruptedOnly(exit.cause)) return Effect.void
          const error = Cause.squash(exit.cause)
          if (error instanceof Store.StoreError) failure = error
          for (const waiter of waiters) waiter.set()
          return Effect.logError("the workflows of this process have stopped", exit.cause)
        })
      )
    )
    return engine
  })
