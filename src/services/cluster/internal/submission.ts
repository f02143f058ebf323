import { Cause, Effect, Either, type Either as EitherType, Fiber } from "effect"
import * as Sleep from "../../task/Sleep.js"
import { plural } from "../../text/Plural.js"
import { type ExecutorError, JobRefused, NotSerializable } from "../../thread/ExecutorError.js"
import type { Cancel } from "../../thread/internal/starter.js"
import type { Settled } from "../../thread/Job.js"
import type * as Store from "../Store.js"
import * as Objects from "./objects.js"
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
  args: string
  /** Inputs that go to the storage before the row is sent. */
  large: Uint8Array | undefined
  readonly count: number
  readonly wants: string | undefined
  readonly onSettled: (settled: ReadonlyArray<Settled<any>>, runner?: string | null) => void
  /** Whether it is in the store, and its result is not known. */
  sent: boolean
}

/** How many objects a submitter sends or receives at a time. */
const objectsAtOnce = 4

export interface Options {
  readonly location: Store.Location
  readonly queue: Queue.Queue
  readonly objects: Objects.Objects
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
  objects,
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
  let removing: Array<{ readonly idx: number; readonly args: string; readonly onGone: () => void }> = []
  let arrived: Array<{ readonly row: Row; readonly result: string; readonly runner: string | null }> = []
  /** Rows that are on their way into the store. */
  const adding = new Set<number>()
  const unsent = makeSignal()
  const unfetched = makeSignal()
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
    const encoded: EitherType.Either<Wire.EncodedRequest, ExecutorError> =
      broken === undefined
        ? Wire.encodeRequest(job, request, { limit: maxSize, isStored: objects.isThere })
        : Either.left(broken)
    if (Either.isLeft(encoded)) {
      if (count === 1 || broken !== undefined) {
        onSettled(failures(encoded.left, count))
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
      ...encoded.right,
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
      removing.push({ idx: row.idx, args: row.args, onGone })
      unwanted.set()
    }
  }

  /** Puts the inputs into the storage, under a name that another submitter of the same run and inputs gives them too. */
  const store = (row: Row, large: Uint8Array) =>
    Effect.gen(function* () {
      const stored = yield* Effect.either(
        objects.put(id, `${row.idx}-${Objects.sha256(large).slice(0, 32)}`, large)
      )
      if (Either.isLeft(stored)) {
        const { message: detail } = stored.left
        return settle(row, failures(new NotSerializable({ job, part: "arguments", detail }), row.count))
      }
      row.args = stored.right + row.args
      row.large = undefined
      if (!rows.has(row.idx)) yield* objects.remove(id, [row.args])
    })
  const storeLarge = (some: ReadonlyArray<Row>) =>
    Effect.gen(function* () {
      const large = some.filter(({ large }) => large !== undefined)
      if (large.length === 0) return some
      yield* ask(queue.noteStored(id, group))
      yield* Effect.forEach(large, (row) => store(row, row.large!), {
        concurrency: objectsAtOnce,
        discard: true
      })
      // Those that were cancelled meanwhile, or cannot be stored, do not go.
      return some.filter(({ idx }) => rows.has(idx))
    })

  const send = Effect.gen(function* () {
    yield* unsent.wait
    while (outbox.length > 0) {
      const some = yield* storeLarge(
        outbox.splice(
          0,
          Queue.batchOf(outbox, ({ args }) => args)
        )
      )
      if (some.length === 0) continue
      for (const { idx } of some) adding.add(idx)
      const added = yield* ask(
        queue.add(
          id,
          group,
          owner,
          some.map(({ args, idx, wants }) => ({ idx, args, ...(wants === undefined ? {} : { wants }) }))
        )
      )
      adding.clear()
      if (removing.length > 0) unwanted.set()
      if (added < 0) return yield* lost
      if (added < some.length) {
        const idx = some.map(({ idx }) => idx)
        const known = new Map((yield* ask(queue.inputs(id, idx))).map(({ args, idx }) => [idx, args]))
        for (const { args, idx } of some) {
          const before = known.get(idx) ?? args
          if (yield* Wire.areSame(before, args, (text) => objects.get(id, text))) continue
          return yield* refused(
            `input ${idx + 1} is not that of the run ${id}; a run continues with the same inputs`
          )
        }
      }
      for (const row of some) row.sent = true
      // A run that is continued has results already; and a quick runner may have been ahead of this line.
      wake!.now()
    }
  }).pipe(Effect.forever)

  /** Removes rows whose results have been read, and the objects that these texts of theirs refer to. */
  const removeRead = (
    read: ReadonlyArray<{ readonly idx: number; readonly texts: ReadonlyArray<string> }>
  ) =>
    read.length === 0 || resumable
      ? Effect.void
      : Effect.zipRight(
          ask(
            queue.remove(
              id,
              read.map(({ idx }) => idx)
            )
          ),
          objects.remove(
            id,
            read.flatMap(({ texts }) => texts)
          )
        )

  const fetch = Effect.gen(function* () {
    yield* unfetched.wait
    const some = arrived
    arrived = []
    yield* Effect.forEach(
      some,
      ({ result, row, runner }) =>
        Effect.gen(function* () {
          const bytes = yield* Effect.either(objects.get(id, result))
          settle(
            row,
            Either.isRight(bytes)
              ? Wire.decodeResult(job, row.count, bytes.right)
              : failures(new NotSerializable({ job, part: "result", detail: bytes.left }), row.count),
            runner
          )
          yield* removeRead([{ idx: row.idx, texts: [row.args, result] }])
        }),
      { concurrency: objectsAtOnce, discard: true }
    )
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
      const read: Array<{ readonly idx: number; readonly texts: ReadonlyArray<string> }> = []
      for (const { idx, result, runner } of found) {
        const row = rows.get(idx)
        if (row !== undefined && Objects.isReference(result)) {
          row.sent = false
          arrived.push({ row, result, runner })
          unfetched.set()
          continue
        }
        read.push({ idx, texts: row === undefined ? [result] : [row.args] })
        if (row !== undefined) settle(row, Wire.decodeResult(job, row.count, result), runner)
      }
      yield* removeRead(read)
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
    // What is not in the store yet would be removed before it is there, and run.
    const some = removing.filter(({ idx }) => !adding.has(idx))
    removing = removing.filter(({ idx }) => adding.has(idx))
    if (some.length === 0) return
    const idx = some.map(({ idx }) => idx)
    const removed = yield* Effect.either(ask(queue.cancel(id, group, idx)))
    for (const { onGone } of some) onGone()
    const results = Either.getOrElse(removed, () => []).map(({ result }) => result ?? "")
    yield* objects.remove(id, [...some.map(({ args }) => args), ...results])
  }).pipe(Effect.forever)

  const work = Effect.gen(function* () {
    wake = yield* Wake.make(location, Queue.channels.run(id))
    if (!taken) yield* ask(queue.createRun(run, group, owner, resumable))
    yield* onRun(id)
    yield* Effect.all([send, receive, fetch, beat, remove], { concurrency: "unbounded", discard: true })
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
    // Objects that are left here are removed by a runner.
    const end = Effect.flatMap(ask(queue.endRun(id, group, owner)), (ended) =>
      ended ? objects.removeRun(id) : Effect.void
    )
    return healthy ? within("5 seconds")(end) : Effect.void
  })

  return { size: () => rows.size, submit, work, close }
}

/** The submission and the fiber that works for it. */
export interface Working extends Submission {
  readonly fiber: Fiber.RuntimeFiber<void>
}

export const end = ({ close, fiber }: Working): Effect.Effect<void> =>
  Effect.zipRight(Fiber.interrupt(fiber), close)
