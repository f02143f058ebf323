import {
  Clock,
  Data,
  Deferred,
  Duration,
  Effect,
  Either,
  Exit,
  Fiber,
  Option,
  Schedule,
  type Scope
} from "effect"
import * as EventLine from "../host/EventLine.js"
import { codes, ofMany } from "../host/ExitCodes.js"
import type * as CommandRun from "../supervision/CommandRun.js"
import type * as ScheduledRuns from "../supervision/ScheduledRuns.js"
import * as Cancellation from "../task/Cancellation.js"
import { checkOptions, count, someTime, time } from "../text/Numbers.js"
import { outputTail } from "./internal/outputTail.js"
import * as claims from "./internal/scheduleClaims.js"
import * as Presence from "./internal/schedulePresence.js"
import type * as rows from "./internal/scheduleRows.js"
import * as Schedules from "./Schedules.js"
import * as Store from "./Store.js"

// Runs what is due in a store. The record decides: a run is claimed in the transaction that plans the next one, and what a
// server holds when it ends is taken back by the next one, or by another.

// model

/**
 * A run that is due, for the code that runs it.
 *
 * @since 0.1.0
 * @category models
 */
export interface DueRun {
  /** The same as long as this run has not been recorded as started; of a retry, another. */
  readonly id: string
  readonly schedule: string
  readonly name: string
  readonly number: number
  readonly attempt: number
  /** Milliseconds since the epoch. */
  readonly due: number
  readonly work: Schedules.Spec["work"]
}

/**
 * Runs one kind of work. It runs `started` when it has begun, and may give output, whose end is recorded.
 *
 * @since 0.1.0
 * @category models
 */
export type Runner = (
  run: DueRun,
  context: {
    readonly started: Effect.Effect<void>
    readonly output: (stream: "stdout" | "stderr", bytes: Uint8Array) => Effect.Effect<void>
    readonly lingering: (left: number, pid: number) => Effect.Effect<void>
  }
) => Effect.Effect<CommandRun.Ended>

/**
 * An event of {@link serve}: those of `ScheduledRuns`, with the id of the schedule and of the run; `closing` when it has
 * been asked to end and waits for `running` runs, and `note` when the store fails or a schedule cannot be read.
 *
 * @since 0.1.0
 * @category events
 */
export type ServerEvent =
  | (ScheduledRuns.RunEvent & { readonly schedule?: string; readonly run?: string })
  | { readonly event: "closing"; readonly running: number; readonly grace: number }
  | { readonly event: "note"; readonly reason: string }

/**
 * Settings of {@link serve}.
 *
 * @since 0.1.0
 * @category options
 */
export interface Options {
  /** What runs each kind of work: `command`, or `timer:NAME`. */
  readonly runners: ReadonlyMap<string, Runner>
  /** How long a change of the store by another process may stay unseen; default 1 second. */
  readonly poll?: Duration.DurationInput | undefined
  /** Most runs at once; default 100. */
  readonly concurrency?: number | undefined
  /** How many ended runs of a schedule stay on record; default 20. */
  readonly keep?: number | undefined
  /** How long runs may continue when the server is asked to end; default 30 seconds. Then they are cancelled. */
  readonly drain?: Duration.DurationInput | undefined
  /** Ends when no schedule that it runs has a further run; default false. */
  readonly untilDone?: boolean | undefined
  /** Called when it serves the store, with an effect that makes it look for changes at once. Default: does nothing. */
  readonly onServing?: ((wake: Effect.Effect<void>) => Effect.Effect<void>) | undefined
  readonly handle: (event: ServerEvent) => Effect.Effect<void>
}

// errors

/**
 * Another process serves the SQLite file.
 *
 * @since 0.1.0
 * @category errors
 */
export class AlreadyServed extends Data.TaggedError("AlreadyServed")<{
  readonly store: string
  readonly pid: number
  readonly host: string
}> {
  readonly exitCode = codes.failed
  override get message() {
    return `process ${this.pid} on ${this.host} serves the schedules of ${this.store}; only one process can`
  }
}

// settings

/** Most schedules that are decided on in one turn. */
const batch = 100

interface Active {
  readonly fiber: Fiber.RuntimeFiber<void>
  readonly run: rows.RunRow
}

/**
 * Runs the schedules of the store until it is interrupted. Then it starts no further run, waits for those that run, and
 * cancels the others. On SQLite one process serves a file: another one fails with `AlreadyServed`. Fails with `StoreError`
 * when the store fails for good; while it cannot be reached, runs continue, and their ends are recorded later.
 *
 * @since 0.1.0
 * @category effects
 */
export const serve = (
  options: Options
): Effect.Effect<
  ScheduledRuns.RunsSummary,
  AlreadyServed | Store.StoreError | Schedules.ScheduleError,
  Store.Store | Scope.Scope
> =>
  Effect.gen(function* () {
    checkOptions(options, { poll: someTime, drain: time, concurrency: count, keep: count })
    const store = yield* Store.Store
    const { concurrency = 100, handle, onServing, runners, untilDone = false } = options
    const poll = Duration.toMillis(options.poll ?? "1 second")
    const drain = Duration.toMillis(options.drain ?? "30 seconds")
    const keep: claims.Keep = { runs: options.keep ?? 20 }
    const works = [...runners.keys()]
    const isShared = store.dialect === "pg"
    const clock = yield* Effect.clock
    const monotonic = () => Number(clock.unsafeCurrentTimeNanos()) / 1e6
    const begun = monotonic()
    const counts = EventLine.tally([])
    const failures: Array<number> = []
    const active = new Map<string, Active>()
    let isClosed = false
    let woken = yield* Deferred.make<void>()
    const wake = Effect.asVoid(Effect.suspend(() => Deferred.succeed(woken, undefined)))

    const presence = Presence.make({
      store,
      keep,
      monotonic,
      refuse: ({ host, pid }) => new AlreadyServed({ store: store.shown, pid, host })
    })
    const reported = (cut: Presence.Cut) =>
      Effect.forEach(
        cut,
        ({ ended, name = "", retry, run }) =>
          Effect.gen(function* () {
            const fields = { index: Math.max(1, run.number), name, schedule: run.job, run: run.id }
            counts[ended.status]++
            failures.push(codes.failed)
            const duration = Math.max(0, (run.ended ?? 0) - (run.started ?? 0))
            const { failureCode: _, ...how } = ended
            yield* handle({ event: "finished", ...fields, duration, ...how })
            if (retry !== undefined)
              yield* handle({ event: "retrying", ...fields, ...retry, reason: ended.reason ?? "" })
          }),
        { discard: true }
      )
    yield* Effect.flatMap(presence.register, reported)
    if (onServing !== undefined) yield* onServing(wake)

    const beat = Effect.gen(function* () {
      const cut = yield* presence.beat
      if (cut !== "taken back") return yield* reported(cut)
      // It was stopped for longer than its lease.
      yield* handle({
        event: "note",
        reason: "this server was silent for too long; its runs were taken back"
      })
      yield* cancelAll("the server was silent for too long")
      return yield* Effect.flatMap(presence.register, reported)
    })

    // runs

    const lost = (error: Store.StoreError) => handle({ event: "note", reason: error.message })
    const reportedOnce = <A, E>(write: Effect.Effect<A, E | Store.StoreError>) => {
      let isFirst = true
      return Effect.tapError(write, (error) => {
        const isNew = isFirst && error instanceof Store.StoreError && error.isTransient
        isFirst = false
        return isNew ? lost(error) : Effect.void
      })
    }
    /** Again until the store answers, or until the server has closed; the first failure is reported. */
    const persist = <A, E>(write: Effect.Effect<A, E | Store.StoreError>) =>
      Effect.retry(reportedOnce(write), {
        schedule: Schedule.spaced(Math.max(100, poll)),
        while: (error) => error instanceof Store.StoreError && error.isTransient && !isClosed
      })

    const execute = (
      { row, run }: { readonly row: rows.ScheduleRow; readonly run: rows.RunRow },
      owner: string
    ) =>
      Effect.uninterruptibleMask((restore) =>
        Effect.gen(function* () {
          const from = monotonic()
          const index = Math.max(1, run.number)
          const fields = { index, name: row.name, schedule: row.id, run: run.id }
          const kept = outputTail()
          const runner = runners.get(run.work)
          const spec = Schedules.specOf(row.spec)
          const started = Effect.gen(function* () {
            const now = yield* Clock.currentTimeMillis
            yield* Effect.catchAll(persist(store.use((sql) => claims.started(sql, run.id, owner, now))), lost)
            yield* handle({ event: "started", ...fields, at: run.due, skipped: run.moved ?? undefined })
          })
          const body =
            runner === undefined || Either.isLeft(spec)
              ? Effect.succeed<CommandRun.Ended>({
                  status: "failed",
                  reason: Either.isLeft(spec) ? spec.left : `nothing here runs ${run.work}`,
                  failureCode: codes.failed
                })
              : runner(
                  {
                    ...fields,
                    number: run.number,
                    attempt: run.attempt,
                    due: run.due,
                    id: run.id,
                    work: spec.right.work
                  },
                  {
                    started,
                    output: (stream, bytes) =>
                      Effect.suspend(() => {
                        kept.add(bytes)
                        return handle({ event: "output", ...fields, stream, bytes })
                      }),
                    lingering: (left, pid) =>
                      handle({ event: "lingering", ...fields, pid, left: EventLine.ms(left) })
                  }
                )
          const exit = yield* Effect.exit(restore(body))
          const ended: CommandRun.Ended = Exit.isSuccess(exit)
            ? exit.value
            : {
                status: "cancelled",
                reason: Cancellation.fromExit(exit)[0]?.reason ?? "it was cancelled"
              }
          const now = yield* Clock.currentTimeMillis
          const written = yield* Effect.either(
            persist(
              store.transaction((sql) =>
                claims.end(sql, isShared, {
                  run: run.id,
                  job: run.job,
                  owner,
                  ended,
                  keep,
                  now,
                  output: kept.text()
                })
              )
            )
          )
          active.delete(run.id)
          if (Either.isLeft(written)) yield* lost(written.left)
          counts[ended.status]++
          const { failureCode, ...how } = ended
          if (failureCode !== undefined) failures.push(failureCode)
          yield* handle({ event: "finished", ...fields, duration: EventLine.ms(monotonic() - from), ...how })
          const retry = Either.getOrUndefined(written)?.retry
          if (retry !== undefined) {
            const delay = EventLine.ms(retry.delay)
            yield* handle({ event: "retrying", ...fields, ...retry, delay, reason: ended.reason ?? "" })
          }
          yield* wake
        })
      )

    const cancelAll = (reason: string) =>
      Effect.forEach(
        [...active.values()],
        ({ fiber }) => Cancellation.cancel(fiber, { reason, origin: "schedule" }),
        { concurrency: "unbounded", discard: true }
      )

    // one turn

    const decide = (id: string, now: number) =>
      Effect.gen(function* () {
        const fired = yield* store.transaction((sql) => claims.fire(sql, isShared, id, now))
        if (fired === undefined) return
        const { decision, name } = fired
        for (const { _tag, ...skip } of decision.skips) {
          counts.skipped += skip.count
          yield* handle({ event: "skipped", name, schedule: id, ...skip })
        }
        const { next } = decision.state
        if (next !== undefined)
          yield* handle({ event: "scheduled", name, schedule: id, at: next.at, skipped: next.skipped })
      }).pipe(
        // A schedule that cannot be read costs itself.
        Effect.catchTag("ScheduleError", ({ message }) =>
          Effect.zipRight(
            handle({ event: "note", reason: `${message}; it is paused` }),
            store.use((sql) => sql`UPDATE aio_schedules SET state = 'paused' WHERE id = ${id}`)
          )
        )
      )

    /** The store has not answered the last turn. */
    let failing = false
    let offset = (yield* Clock.currentTimeMillis) - monotonic()
    /** What is due now; returns how long nothing else is, in milliseconds, or undefined when nothing will ever be. */
    const turn = Effect.gen(function* () {
      yield* beat
      const now = yield* Clock.currentTimeMillis
      if (failing) {
        const mine = { held: [...active.keys()], now, owner: presence.id() }
        yield* store.transaction((sql) => claims.giveBack(sql, mine))
      }
      const isSetBack = now - monotonic() < offset - 1000
      offset = now - monotonic()
      if (isSetBack) yield* store.transaction((sql) => claims.replan(sql, now))
      const due = yield* store.use(
        (sql) => sql<{ id: string }>`SELECT id FROM aio_schedules
          WHERE state = 'active' AND deadline <= ${now} AND work IN ${sql.in(works)} ORDER BY deadline LIMIT ${batch}`
      )
      yield* Effect.forEach(due, ({ id }) => decide(id, now), { discard: true })
      const stops = yield* store.use(
        (sql) => sql<rows.RunRow>`SELECT id, stop FROM aio_schedule_runs
          WHERE status IN ('claimed', 'running') AND owner = ${presence.id()} AND stop IS NOT NULL`
      )
      for (const { id, stop } of stops) {
        const fiber = active.get(id)?.fiber
        if (fiber !== undefined)
          yield* Effect.forkDaemon(Cancellation.cancel(fiber, { reason: stop!, origin: "schedule" }))
      }
      const limit = Math.min(batch, concurrency - active.size)
      // Nothing is locked while nothing is to be done.
      const isReady = yield* store.use(
        (sql) => sql`SELECT id FROM aio_schedule_runs
          WHERE status = 'waiting' AND ready <= ${now} AND work IN ${sql.in(works)} LIMIT 1`
      )
      const claimed =
        limit > 0 && isReady.length > 0
          ? yield* store.transaction((sql) =>
              claims.claim(sql, isShared, { limit, now, owner: presence.id(), works })
            )
          : []
      for (const one of claimed) {
        const fiber = yield* Effect.forkDaemon(execute(one, presence.id()))
        active.set(one.run.id, { fiber, run: one.run })
      }
      // Before the store is asked: a run that ends meanwhile makes the next one in its queue ready.
      const isIdle = active.size === 0
      const [next] = yield* store.use(
        (sql) => sql<{ at: number | null; more: number | null }>`SELECT
          (SELECT min(deadline) FROM aio_schedules WHERE state = 'active' AND work IN ${sql.in(works)}) AS at,
          (SELECT min(ready) FROM aio_schedule_runs WHERE status = 'waiting' AND work IN ${sql.in(works)}) AS more`
      )
      const times = [next?.at, next?.more].filter((at) => at != null)
      if (untilDone && times.length === 0 && isIdle) {
        // What another server holds is this one's if that one dies.
        const held = yield* store.use(
          (sql) => sql`SELECT id FROM aio_schedule_runs
            WHERE status IN ('claimed', 'running') AND owner <> ${presence.id()} AND work IN ${sql.in(works)} LIMIT 1`
        )
        if (held.length === 0) return undefined
      }
      const wait = Math.max(0, Math.min(...times.map((at) => at - now)))
      return Math.min(poll, limit > claimed.length ? wait : poll)
    })

    const loop = Effect.gen(function* () {
      for (;;) {
        woken = yield* Deferred.make<void>()
        const wait = yield* Effect.catchIf(
          turn,
          (error): error is Store.StoreError => error instanceof Store.StoreError && error.isTransient,
          (error) => {
            const said = failing ? Effect.void : lost(error)
            failing = true
            return Effect.as(said, -1)
          }
        )
        if (wait === undefined) return
        if (wait >= 0) failing = false
        const pause = Effect.sleep(wait < 0 ? Math.max(poll, 100) : wait)
        yield* Effect.raceFirst(pause, Deferred.await(woken))
      }
    })

    const close = (exit: Exit.Exit<void, unknown>) =>
      Effect.gen(function* () {
        const fibers = [...active.values()].map(({ fiber }) => fiber)
        if (fibers.length > 0) yield* handle({ event: "closing", running: fibers.length, grace: drain })
        const drained = yield* Effect.forkDaemon(
          Effect.interruptible(Effect.timeoutOption(Fiber.awaitAll(fibers), drain))
        )
        const ended = yield* Fiber.join(drained)
        isClosed = true
        const why = Cancellation.fromExit(exit)[0]?.reason ?? "the server has ended"
        if (Option.isNone(ended)) yield* cancelAll(why)
        yield* Effect.ignore(presence.leave)
        const summary: ScheduledRuns.RunsSummary = {
          event: "summary",
          ...counts,
          duration: EventLine.ms(monotonic() - begun),
          exitCode: ofMany(failures, Exit.isFailure(exit) ? why : undefined)
        }
        yield* handle(summary)
        return summary
      })

    return yield* Effect.uninterruptibleMask((restore) =>
      Effect.flatMap(Effect.exit(restore(loop)), (exit) =>
        Effect.flatMap(close(exit), (all) => Exit.as(exit, all))
      )
    )
  })
