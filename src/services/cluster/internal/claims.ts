import { randomUUID } from "node:crypto"
import { type Duration, Effect, Either, Fiber, FiberRef, Tracer } from "effect"
import * as Backoff from "../../task/Backoff.js"
import * as Sleep from "../../task/Sleep.js"
import { Executor, withRefs, withTimeout } from "../../thread/Executor.js"
import type { ExecutorError } from "../../thread/ExecutorError.js"
import { reasonOf } from "../../thread/internal/task.js"
import type { Job, Settled } from "../../thread/Job.js"
import * as MapJobs from "../../thread/MapJobs.js"
import type * as Store from "../Store.js"
import * as Objects from "./objects.js"
import * as Queue from "./queue.js"
import { makeSignal } from "./signal.js"
import * as Wire from "./wire.js"

// What a runner holds: rows that it has claimed, each in a fiber, until their results are recorded.

/** Rows of one kind: those of the code, or of one job that the runner has itself. */
export interface Lane {
  /** How many run at once. */
  readonly atOnce: number
  /** Rows that are claimed and not recorded. */
  held: number
  /** Below so many the runner claims more at once, and not at its next poll. */
  room: number
  /** Milliseconds that a row takes, about. */
  rowTime: number
}

/** How long a drain waits for what it has interrupted. */
const lastWait = "20 seconds"

/** Milliseconds of work that a runner claims ahead of its workers, and the most rows. */
const ahead = { time: 100, rows: 512 }

/** A lane; until its first row has run, a row is taken to last `rowTime` milliseconds. */
export const makeLane = (atOnce: number, rowTime: number): Lane => ({ atOnce, held: 0, room: 0, rowTime })

/** How many rows a lane may hold: those that run, and those that are soon over. */
export const wanted = ({ atOnce, rowTime }: Lane): number =>
  atOnce + Math.min(ahead.rows, Math.floor((atOnce * ahead.time) / Math.max(0.05, rowTime)))

/** What runs the rows of a run. */
export interface Target {
  readonly lane: Lane
  /** The calls of a row, each to its end. */
  readonly calls: (
    run: Queue.Run,
    inputs: Wire.Request["inputs"],
    /** The job's id. */
    id: string
  ) => Effect.Effect<ReadonlyArray<Settled<unknown>>, never, Executor>
}

interface Held {
  readonly claim: Queue.Claimed
  readonly lane: Lane
  readonly fiber: Fiber.RuntimeFiber<unknown>
}

interface Done {
  readonly run: string
  readonly idx: number
  readonly attempt: number
  readonly result: string
}

export interface Options {
  readonly ask: <A>(ask: Effect.Effect<A, Store.StoreError>) => Effect.Effect<A, Store.StoreError>
  readonly queue: Queue.Queue
  readonly group: string
  readonly objects: Objects.Objects
  readonly maxResult: number
  /** The id under which it claims at this moment. */
  readonly runner: () => string
  /** Called when fewer rows are held than were wanted. */
  readonly onRoom: () => void
}

const jobOf = ({ module, name }: Queue.Run) => `${module}#${name}`

const keyOf = ({ idx, run }: { readonly run: string; readonly idx: number }) => `${run} ${idx}`

/** The job of a row, once for each of its inputs, with the further attempts of those that have failed. */
const runRow = (
  job: Job<Array<any>, unknown>,
  inputs: Wire.Request["inputs"],
  { backoff, retries = 0 }: Queue.Settings
): Effect.Effect<ReadonlyArray<Settled<unknown>>, never, Executor> => {
  const isChunk = inputs.every(({ length }) => length === 1)
  const once = (
    some: Wire.Request["inputs"]
  ): Effect.Effect<ReadonlyArray<Settled<unknown>>, never, Executor> =>
    isChunk
      ? MapJobs.runChunk(
          job as Job<[unknown], unknown>,
          some.map(([input]) => input)
        )
      : Effect.flatMap(Executor, ({ run }) =>
          Effect.forEach(some, (args) =>
            Effect.suspend(() => {
              const begun = performance.now()
              return Effect.map(Effect.either(run(job, [...args])), (result) => ({
                result,
                run: performance.now() - begun
              }))
            })
          )
        )
  const pauseBefore = Backoff.make(backoff)
  return Effect.gen(function* () {
    const settled = [...(yield* once(inputs))]
    for (let attempt = 1; attempt <= retries; attempt++) {
      const failed = settled.flatMap(({ result }, i) =>
        Either.isLeft(result) && MapJobs.canRetry(result.left) ? [i] : []
      )
      if (failed.length === 0) break
      yield* Sleep.sleep(yield* pauseBefore(attempt - 1))
      const again = yield* once(failed.map((i) => inputs[i]!))
      for (const [at, i] of failed.entries()) settled[i] = { ...again[at]!, attempts: attempt + 1 }
    }
    return settled
  })
}

/** Rows that name an export of this file. */
export const ofModule = (lane: Lane, url: string): Target => ({
  lane,
  calls: (run, inputs) =>
    runRow({ name: jobOf(run), task: { _tag: "Module", url, name: run.name } }, inputs, run.settings)
})

/** Rows for a job that the runner has itself; those claimed ahead wait here. */
export const ofBuiltin = (
  lane: Lane,
  call: (
    request: unknown,
    about: { readonly job: string; readonly id: string; readonly maxResult: number }
  ) => Effect.Effect<unknown, ExecutorError>,
  maxResult: number
): Target => {
  const running = Effect.unsafeMakeSemaphore(lane.atOnce)
  return {
    lane,
    calls: (run, inputs, id) =>
      Effect.forEach(inputs, ([request]) =>
        Effect.suspend(() => {
          const begun = performance.now()
          return Effect.map(
            Effect.either(call(request, { job: jobOf(run), id, maxResult })),
            (result): Settled<unknown> => ({ result, run: performance.now() - begun })
          )
        })
      ).pipe(running.withPermits(1))
  }
}

/** Where the fiber that asked for the job was: its log annotations, span and FiberRefs, its timeout, and the job's id. */
const asRequested =
  ({ context, timeout }: Wire.Request, id: string) =>
  <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> => {
    const refs = Object.entries({ ...context?.refs, "aio.job": id }).map(
      ([name, value]) => [name, FiberRef.unsafeMake(value)] as const
    )
    let placed = withRefs(self, Object.fromEntries(refs))
    if (timeout !== undefined) placed = withTimeout(placed, timeout)
    if (context === undefined) return placed
    placed = Effect.annotateLogs(placed, context.annotations)
    if (context.span === undefined) return placed
    return Effect.withParentSpan(placed, Tracer.externalSpan(context.span)) as Effect.Effect<A, E, R>
  }

export const make = ({
  ask,
  group,
  maxResult,
  objects,
  onRoom,
  queue,
  runner
}: Options): Effect.Effect<
  {
    /** Records results, until the store fails for good. */
    readonly recordLoop: Effect.Effect<never, Store.StoreError>
    readonly size: () => number
    readonly recorded: () => number
    readonly dropped: () => number
    readonly start: (
      run: Queue.Run,
      target: Target,
      rows: ReadonlyArray<Queue.Claimed>
    ) => Effect.Effect<void, Store.StoreError>
    /** Cancels the rows that others have now, or that were cancelled. */
    readonly dropLost: Effect.Effect<void, Store.StoreError>
    readonly dropAll: Effect.Effect<void>
    /** Gives back what it does not hold: of a claim whose answer was lost. */
    readonly returnLost: Effect.Effect<void, Store.StoreError>
    /** Ends with the rows that run, or without them after the grace period. */
    readonly drain: (grace: Duration.Duration) => Effect.Effect<void>
  },
  never,
  Executor
> =>
  Effect.gen(function* () {
    const executor = yield* Executor
    const held = new Map<string, Held>()
    let done: Array<Done> = []
    let recorded = 0
    let dropped = 0
    const finished = makeSignal()

    const noted = new Set<string>() // runs that are known to have objects
    const store = (run: string, idx: number, bytes: Uint8Array) =>
      Effect.gen(function* () {
        if (!noted.has(run)) {
          yield* ask(queue.noteStored(run, group))
          if (noted.size >= 10_000) noted.clear()
          noted.add(run)
        }
        // A name of its own: another attempt may store its result at the same time.
        return yield* objects.put(run, `${idx}-${randomUUID()}`, bytes)
      })
    /** Removes the objects of results that were not recorded. The answer to a record may have been lost: the row decides. */
    const removeUnrecorded = (some: ReadonlyArray<Done>) =>
      Effect.forEach(
        some.filter(({ result }) => Objects.isReference(result)),
        ({ idx, result, run }) =>
          Effect.flatMap(ask(queue.results(run, [idx])), ([row]) =>
            row?.result === result ? Effect.void : objects.remove(run, [result])
          ),
        { discard: true }
      )

    const execute = (run: Queue.Run, { calls, lane }: Target, { args, attempt, idx }: Queue.Claimed) =>
      Effect.gen(function* () {
        const inputs = Objects.isReference(args) ? objects.get(run.id, args) : Effect.succeed(undefined)
        const request = yield* Effect.either(
          Effect.flatMap(inputs, (stored) =>
            Effect.try({ try: () => Wire.decodeRequest(args, stored), catch: reasonOf })
          )
        )
        if (Either.isLeft(request)) return Wire.unreadable(request.left)
        const id = `${run.id}/${idx}`
        const settled = yield* asRequested(request.right, id)(calls(run, request.right.inputs, id))
        let time = 0
        for (const { run } of settled) time += run
        lane.rowTime += (Math.max(0.05, time) - lane.rowTime) * 0.1
        const job = jobOf(run)
        const bytes = Wire.encodeResult(job, settled, { limit: maxResult, isStored: objects.isThere })
        if (bytes.length <= maxResult || !objects.isThere) return Buffer.from(bytes).toString("base64")
        return yield* Effect.catchAll(store(run.id, idx, bytes), ({ message }) =>
          Effect.succeed(Wire.unstored(job, settled, message))
        )
      }).pipe(
        Effect.provideService(Executor, executor),
        Effect.flatMap((result) =>
          Effect.sync(() => {
            done.push({ run: run.id, idx, attempt, result })
            finished.set()
          })
        )
      )

    const forget = (claim: { readonly run: string; readonly idx: number }) => {
      const key = keyOf(claim)
      const lane = held.get(key)?.lane
      if (lane === undefined) return
      held.delete(key)
      lane.held--
      if (lane.held < lane.room) {
        lane.room = 0
        onRoom()
      }
    }

    const record = Effect.gen(function* () {
      const some = done.slice(
        0,
        Queue.batchOf(done, ({ result }) => result)
      )
      const count = yield* ask(queue.record(runner(), some))
      // Removed afterwards: a drain waits until there are none.
      const gone = new Set(some)
      done = done.filter((one) => !gone.has(one))
      recorded += count
      dropped += some.length - count
      if (count < some.length) yield* removeUnrecorded(some)
      for (const one of some) forget(one)
    })
    const recordLoop = Effect.forever(
      Effect.zipRight(
        finished.wait,
        Effect.whileLoop({ while: () => done.length > 0, body: () => record, step: () => undefined })
      )
    )

    /** The fiber ends when all that ran has ended. */
    const drop = (some: ReadonlyArray<Held>) =>
      Effect.suspend(() => {
        for (const { claim } of some) {
          dropped++
          forget(claim)
        }
        return Effect.forkDaemon(Fiber.interruptAll(some.map(({ fiber }) => fiber)))
      })

    return {
      recordLoop,
      size: () => held.size,
      recorded: () => recorded,
      dropped: () => dropped,
      start: (run, target, rows) =>
        Effect.gen(function* () {
          // Under a row that was claimed before a runner may have died: it does not wait behind others, so that rows which
          // only waited do not count as tried.
          const back: Array<Queue.Claimed> = []
          for (const claim of rows) {
            const { lane } = target
            if (claim.attempt > 1 && lane.held >= lane.atOnce) {
              back.push(claim)
              continue
            }
            const fiber = yield* Effect.forkDaemon(Effect.interruptible(execute(run, target, claim)))
            held.set(keyOf(claim), { claim, lane, fiber })
            lane.held++
          }
          if (back.length > 0) yield* ask(queue.giveBack(runner(), back))
        }),
      dropLost: Effect.gen(function* () {
        if (held.size === 0) return
        const all = [...held.values()]
        const mine = new Set(
          (yield* ask(
            queue.held(
              runner(),
              all.map(({ claim: { attempt, idx, run } }) => ({ run, idx, attempt }))
            )
          )).map(keyOf)
        )
        const waiting = new Set(done.map(keyOf))
        yield* drop(
          all.filter(
            ({ claim }) => held.has(keyOf(claim)) && !mine.has(keyOf(claim)) && !waiting.has(keyOf(claim))
          )
        )
      }),
      returnLost: Effect.gen(function* () {
        const lost = (yield* ask(queue.owned(runner()))).filter((claim) => !held.has(keyOf(claim)))
        if (lost.length > 0) yield* ask(queue.giveBack(runner(), lost))
      }),
      dropAll: Effect.suspend(() => {
        done = []
        return Effect.asVoid(drop([...held.values()]))
      }),
      drain: (grace) =>
        Effect.gen(function* () {
          const waiting = new Set(done.map(keyOf))
          const unfinished = [...held.values()].filter(({ claim }) => !waiting.has(keyOf(claim)))
          // Jobs start in the order of their claims.
          const started = new Map<Lane, number>()
          const waits = ({ lane }: Held) => {
            const nth = (started.get(lane) ?? 0) + 1
            started.set(lane, nth)
            return nth > lane.atOnce
          }
          yield* drop(unfinished.filter(waits))
          const empty = Effect.iterate(undefined, {
            while: () => held.size > 0,
            body: () => Sleep.sleep(10)
          })
          yield* Effect.timeoutOption(Effect.interruptible(empty), grace)
          // A command has a grace period of its own; only then does it go back to the others.
          const gone = yield* drop([...held.values()])
          yield* Effect.timeoutOption(Effect.interruptible(Fiber.await(gone)), lastWait)
        })
    }
  })
