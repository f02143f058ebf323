import { Cause, Effect, Either, type Either as EitherType, Fiber } from "effect"
import * as Sleep from "../../task/Sleep.js"
import { plural } from "../../text/Plural.js"
import { type ExecutorError, JobRefused } from "../../thread/ExecutorError.js"
import type { Cancel } from "../../thread/internal/starter.js"
import type { Settled } from "../../thread/Job.js"
import type * as Store from "../Store.js"
import { within } from "./patience.js"
import * as Queue from "./queue.js"
import { isEarly, makeSignal } from "./signal.js"
import * as Wake from "./wake.js"
import * as Wire from "./wire.js"

// A run from its submitter's side: rows out in batches, results in, each in one fiber.

/** How often a submitter shows that it lives, and looks for runners while no result comes, in milliseconds. */
const beatEvery = 10_000
const lookEvery = 1000

interface Row {
  readonly idx: number
  readonly args: string
  readonly count: number
  readonly wants: string | undefined
  readonly onSettled: (settled: ReadonlyArray<Settled<any>>, runner?: string | null) => void
  sent: boolean
}

export interface Options {
  readonly location: Store.Location
  readonly queue: Queue.Queue
  readonly ask: <A>(ask: Effect.Effect<A, Store.StoreError>) => Effect.Effect<A, Store.StoreError>
  readonly job: string
  readonly run: Queue.Run
  readonly group: string
  readonly owner: string
  readonly resumable: boolean
  /** Whether the run is in the store already. */
  readonly taken: boolean
  readonly maxSize: number
  readonly onRun: (id: string) => Effect.Effect<void>
}

export interface Submission {
  /** Rows without a result. */
  readonly size: () => number
  /** Asks for some inputs in one row. */
  readonly submit: (
    request: Wire.Request,
    onSettled: Row["onSettled"],
    at?: {
      /** The row of this number, which only a run that is continued has already; default the next one. */
      readonly idx?: number
      /** For this runner, unless it is gone; default for any. */
      readonly wants?: string
    }
  ) => Cancel
  /** Sends and receives until it fails; then every row has failed. */
  readonly work: Effect.Effect<void>
  /** Settles what is left, and removes the run, unless the store has failed: another process may continue it. */
  readonly close: Effect.Effect<void>
}

export const make = ({
  ask,
  group,
  job,
  location,
  maxSize,
  onRun,
  owner,
  queue,
  resumable,
  run,
  taken
}: Options): Submission => {
  const { id } = run
  const rows = new Map<number, Row>()
  let outbox: Array<Row> = []
  let removing: Array<{ readonly idx: number; readonly onGone: () => void }> = []
  const unsent = makeSignal()
  const unwanted = makeSignal()
  let next = 0
  let broken: ExecutorError | undefined
  let wake: Wake.Wake | undefined

  const settle = (row: Row, settled: ReadonlyArray<Settled<any>>, runner?: string | null) => {
    if (rows.delete(row.idx)) row.onSettled(settled, runner)
  }
  const refused = (reason: string) => new JobRefused({ job, reason })
  const failures = (error: ExecutorError, count: number): ReadonlyArray<Settled<any>> =>
    Array.from({ length: count }, () => ({ run: 0, result: Either.left(error) }))
  const fail = (error: ExecutorError) => {
    broken ??= error
    outbox = []
    for (const row of [...rows.values()]) settle(row, failures(error, row.count))
    for (const { onGone } of removing.splice(0)) onGone()
  }
  const lost = refused(`the run ${id} was ended, or is continued by another process`)

  const submit: Submission["submit"] = (request, onSettled, at = {}) => {
    const { length: count } = request.inputs
    const args: EitherType.Either<string, ExecutorError> =
      broken === undefined ? Wire.encodeRequest(job, request, maxSize) : Either.left(broken)
    if (Either.isLeft(args)) {
      if (count === 1 || broken !== undefined) {
        onSettled(failures(args.left, count))
        return (onGone) => onGone()
      }
      // One of the inputs cannot cross: each goes by itself.
      const settled: Array<Settled<any>> = []
      let left = count
      const cancels = request.inputs.map((input, i) =>
        submit({ ...request, inputs: [input] }, ([one]) => {
          settled[i] = one!
          if (--left === 0) onSettled(settled)
        })
      )
      return (onGone) => {
        let open = cancels.length
        for (const cancel of cancels) cancel(() => --open === 0 && onGone())
      }
    }
    const row: Row = {
      idx: at.idx ?? next++,
      wants: at.wants,
      args: args.right,
      count,
      onSettled,
      sent: false
    }
    rows.set(row.idx, row)
    outbox.push(row)
    unsent.set()
    return (onGone) => {
      if (!rows.delete(row.idx)) return onGone()
      const at = outbox.indexOf(row)
      if (at >= 0 || broken !== undefined) {
        if (at >= 0) outbox.splice(at, 1)
        return onGone()
      }
      removing.push({ idx: row.idx, onGone })
      unwanted.set()
    }
  }

  const send = Effect.gen(function* () {
    yield* unsent.wait
    while (outbox.length > 0) {
      const some = outbox.splice(
        0,
        Queue.batchOf(outbox, ({ args }) => args)
      )
      const added = yield* ask(
        queue.add(
          id,
          group,
          owner,
          some.map(({ args, idx, wants }) => ({ idx, args, ...(wants === undefined ? {} : { wants }) }))
        )
      )
      if (added < 0) return yield* lost
      if (added < some.length) {
        const idx = some.map(({ idx }) => idx)
        const known = new Map((yield* ask(queue.inputs(id, idx))).map(({ args, idx }) => [idx, args]))
        const other = some.find(({ args, idx }) => {
          const before = known.get(idx)
          return before !== undefined && Wire.inputsOf(before) !== Wire.inputsOf(args)
        })
        if (other !== undefined) {
          return yield* refused(
            `input ${other.idx + 1} is not that of the run ${id}; a run continues with the same inputs`
          )
        }
      }
      for (const row of some) row.sent = true
      // A run that is continued has results already; and a quick runner may have been ahead of this line.
      wake!.now()
    }
  }).pipe(Effect.forever)

  const receive = Effect.gen(function* () {
    let looked = performance.now()
    let warned = false
    while (true) {
      yield* wake!.wait
      const waiting: Array<number> = []
      for (const row of rows.values()) if (row.sent) waiting.push(row.idx)
      const found = waiting.length === 0 ? [] : yield* ask(queue.results(id, waiting))
      if (waiting.length === 0 || found.length > 0) looked = performance.now()
      for (const { idx, result, runner } of found) {
        const row = rows.get(idx)
        if (row !== undefined) settle(row, Wire.decodeResult(job, row.count, result), runner)
      }
      if (found.length > 0 && !resumable) {
        const idx = found.map(({ idx }) => idx)
        yield* ask(queue.remove(id, group, idx, false))
      }
      if (isEarly(looked, lookEvery)) continue
      looked = performance.now()
      const { refusals, runners } = yield* ask(queue.prospects(id, group))
      if (runners > 0 && refusals.length === runners) {
        return yield* refused(`no runner of group ${group} can run it: ${refusals[0]}`)
      }
      if (runners === 0 && !warned) {
        warned = true
        yield* Effect.logWarning(
          `no runner of group ${group} is there; ${plural(waiting.length, "job")} wait`
        )
      }
    }
  })

  const beat = Effect.gen(function* () {
    yield* Sleep.sleep(beatEvery)
    if (!(yield* ask(queue.beatRun(id, owner)))) return yield* lost
  }).pipe(Effect.forever)

  const remove = Effect.gen(function* () {
    yield* unwanted.wait
    const some = removing
    removing = []
    const idx = some.map(({ idx }) => idx)
    yield* Effect.ignore(ask(queue.remove(id, group, idx, true)))
    for (const { onGone } of some) onGone()
  }).pipe(Effect.forever)

  const work = Effect.gen(function* () {
    wake = yield* Wake.make(location, Queue.channels.run(id))
    if (!taken) yield* ask(queue.createRun(run, group, owner, resumable))
    yield* onRun(id)
    yield* Effect.all([send, receive, beat, remove], { concurrency: "unbounded", discard: true })
  }).pipe(
    Effect.scoped,
    Effect.catchAllCause((cause) => {
      if (Cause.isInterruptedOnly(cause)) return Effect.void
      const error = Cause.squash(cause) as Error
      return Effect.sync(() => fail(error instanceof JobRefused ? error : refused(error.message)))
    })
  )

  const close = Effect.suspend(() => {
    const healthy = broken === undefined
    fail(refused("its executor was closed"))
    return healthy ? within("5 seconds")(ask(queue.endRun(id, group, owner))) : Effect.void
  })

  return { size: () => rows.size, submit, work, close }
}

/** The submission and the fiber that works for it. */
export interface Working extends Submission {
  readonly fiber: Fiber.RuntimeFiber<void>
}

export const end = ({ close, fiber }: Working): Effect.Effect<void> =>
  Effect.zipRight(Fiber.interrupt(fiber), close)
