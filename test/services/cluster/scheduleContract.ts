import { describe, expect, it } from "@effect/vitest"
import { Clock, Deferred, Effect, Fiber, type Layer, Ref } from "effect"
import * as ScheduleServer from "../../../src/services/cluster/ScheduleServer.js"
import * as Schedules from "../../../src/services/cluster/Schedules.js"
import * as Store from "../../../src/services/cluster/Store.js"
import type * as CommandRun from "../../../src/services/supervision/CommandRun.js"
import * as Cancellation from "../../../src/services/task/Cancellation.js"

// What holds for schedules in SQLite and in PostgreSQL alike.

const ok: CommandRun.Ended = { status: "succeeded", exitCode: 0 }
const bad: CommandRun.Ended = { status: "failed", reason: "exit code 3", exitCode: 3, failureCode: 1 }

export const command: Schedules.Spec["work"] = { _tag: "Command", file: "job", args: [] }
export const later = (delay: number, rules: Schedules.Spec["rules"] = {}): Schedules.Spec => ({
  when: { _tag: "Later", delay },
  zone: "UTC",
  rules,
  work: command
})
export const every = (interval: number, rules: Schedules.Spec["rules"] = {}): Schedules.Spec => ({
  ...later(0, rules),
  when: { _tag: "Every", interval, align: false }
})

/** A server whose runs are an effect; `events` is what it has reported. */
export const server = (
  body: (run: ScheduleServer.DueRun) => Effect.Effect<CommandRun.Ended>,
  options: Partial<ScheduleServer.Options> = {}
) => {
  const events: Array<ScheduleServer.ServerEvent> = []
  const runs: Array<ScheduleServer.DueRun> = []
  const runner: ScheduleServer.Runner = (run, { started }) =>
    Effect.zipRight(
      started,
      Effect.suspend(() => {
        runs.push(run)
        return body(run)
      })
    )
  return {
    events,
    runs,
    serve: ScheduleServer.serve({
      runners: new Map([["command", runner]]),
      poll: 50,
      untilDone: true,
      handle: (event) => Effect.sync(() => void events.push(event)),
      ...options
    })
  }
}

/** A clock that a test sets. */
export const shifted = (offset: Ref.Ref<number>) =>
  Effect.map(
    Effect.clock,
    (clock): Clock.Clock => ({
      [Clock.ClockTypeId]: Clock.ClockTypeId,
      sleep: (duration: Parameters<Clock.Clock["sleep"]>[0]) => clock.sleep(duration),
      unsafeCurrentTimeNanos: () => clock.unsafeCurrentTimeNanos(),
      currentTimeNanos: clock.currentTimeNanos,
      unsafeCurrentTimeMillis: () => clock.unsafeCurrentTimeMillis() + Effect.runSync(Ref.get(offset)),
      currentTimeMillis: Effect.zipWith(clock.currentTimeMillis, Ref.get(offset), (now, by) => now + by)
    })
  )

export const scheduleContract = (name: string, fresh: () => Layer.Layer<Store.Store, unknown>): void => {
  describe(name, () => {
    const test = (text: string, body: Effect.Effect<void, unknown, Store.Store>) =>
      it.live(text, () => Effect.provide(body, fresh()))

    test(
      "runs what is due once, with an id, and records its end",
      Effect.gen(function* () {
        const id = yield* Schedules.add("tea", later(20))
        const [before] = yield* Schedules.list()
        expect(before).toMatchObject({ id, name: "tea", state: "active", missed: 0, last: undefined })
        const { events, runs, serve } = server(() => Effect.succeed(ok))
        const summary = yield* Effect.scoped(serve)
        expect(runs).toMatchObject([
          { id: `${id}-1-1`, schedule: id, name: "tea", attempt: 1, due: before!.next }
        ])
        expect(summary).toMatchObject({ succeeded: 1, failed: 0, exitCode: 0 })
        expect(events.map(({ event }) => event)).toEqual(["started", "finished", "summary"])
        const shown = yield* Schedules.show(id)
        expect(shown).toMatchObject({
          state: "done",
          next: undefined,
          last: { status: "succeeded", exitCode: 0 }
        })
        expect(shown.runs.length).toBe(1)
        expect(yield* Schedules.list()).toEqual([])
        expect((yield* Schedules.list({ all: true })).length).toBe(1)
      })
    )

    test(
      "tries a run again by its policy, as another run with another id",
      Effect.gen(function* () {
        const id = yield* Schedules.add("tea", later(0, { retries: 2, backoff: { first: 10, jitter: 0 } }))
        const { events, runs, serve } = server(({ attempt }) => Effect.succeed(attempt < 3 ? bad : ok))
        yield* Effect.scoped(serve)
        expect(runs.map(({ id }) => id)).toEqual([1, 2, 3].map((attempt) => `${id}-1-${attempt}`))
        expect(events.flatMap((event) => (event.event === "retrying" ? [event.delay] : []))).toEqual([10, 20])
        expect((yield* Schedules.show(id)).runs.map(({ status }) => status)).toEqual([
          "failed",
          "failed",
          "succeeded"
        ])
      })
    )

    test(
      "runs a series as often as it says, and keeps the last runs on record",
      Effect.gen(function* () {
        const id = yield* Schedules.add("tick", every(20, { times: 5, overlap: "queueAll", catchUp: "all" }))
        const { runs, serve } = server(() => Effect.succeed(ok), { keep: 2 })
        yield* Effect.scoped(serve)
        expect(runs.map(({ number }) => number)).toEqual([1, 2, 3, 4, 5])
        expect(runs.map(({ due }) => due - runs[0]!.due)).toEqual([0, 20, 40, 60, 80])
        const shown = yield* Schedules.show(id)
        expect(shown.runs.map(({ number }) => number)).toEqual([4, 5])
        expect(shown.state).toBe("done")
      })
    )

    test(
      "serves until all is done, also when a run ends while the store answers",
      Effect.gen(function* () {
        const store = yield* Store.Store
        // The question what is due next is answered late, of all that the server asks.
        const isNext = (rows: unknown) => JSON.stringify(rows).startsWith('[{"at":')
        const late = ((query) =>
          Effect.tap(store.use(query), (rows) =>
            isNext(rows) ? Effect.sleep(40) : Effect.void
          )) as typeof store.use
        yield* Schedules.add("tick", every(1, { times: 6, overlap: "queueAll", catchUp: "all" }))
        const { runs, serve } = server(() => Effect.as(Effect.sleep(5), ok), { poll: 10 })
        yield* Effect.provideService(Effect.scoped(serve), Store.Store, { ...store, use: late })
        expect(runs.map(({ number }) => number)).toEqual([1, 2, 3, 4, 5, 6])
      })
    )

    test(
      "keeps its place in the series, and what it missed, from one server to the next",
      Effect.gen(function* () {
        const offset = yield* Ref.make(0)
        const clock = yield* shifted(offset)
        const id = yield* Schedules.add("hourly", every(3_600_000, { catchUp: "last" }))
        const { events, runs, serve } = server(() => Effect.succeed(ok), { untilDone: false })
        // Five and a half hours pass while nothing serves.
        yield* Ref.set(offset, 5.5 * 3_600_000)
        const fiber = yield* Effect.fork(Effect.withClock(Effect.scoped(serve), clock))
        yield* Effect.repeat(Effect.sleep(10), { until: () => runs.length > 0 && events.length > 3 })
        yield* Fiber.interrupt(fiber)
        const [run] = runs
        const shown = yield* Schedules.show(id)
        expect(run).toMatchObject({ number: 1, due: shown.created + 5 * 3_600_000 })
        expect(shown).toMatchObject({ missed: 4, next: shown.created + 6 * 3_600_000 })
        expect(events.find(({ event }) => event === "skipped")).toMatchObject({ count: 4, schedule: id })
      })
    )

    test(
      "holds the overlap policy across servers: a run that waits starts when the other has ended",
      Effect.gen(function* () {
        const id = yield* Schedules.add("tick", every(30, { times: 2, overlap: "queueOne" }))
        const gate = yield* Deferred.make<void>()
        const { runs, serve } = server(() => Effect.as(Deferred.await(gate), ok))
        const fiber = yield* Effect.fork(Effect.scoped(serve))
        const queued = Effect.map(Schedules.show(id), ({ runs }) =>
          runs.filter(({ status }) => status === "queued")
        )
        yield* Effect.repeat(Effect.zipRight(Effect.sleep(10), queued), {
          until: (found) => found.length === 1
        })
        yield* Deferred.succeed(gate, undefined)
        yield* Fiber.join(fiber)
        expect(runs.map(({ number }) => number)).toEqual([1, 2])
      })
    )

    test(
      "cancels a schedule and its run, and says so when it was over already",
      Effect.gen(function* () {
        const id = yield* Schedules.add("tick", every(10, { retries: 5 }))
        const { runs, serve } = server(() => Effect.never)
        const fiber = yield* Effect.fork(Effect.scoped(serve))
        yield* Effect.repeat(Effect.sleep(10), { until: () => runs.length > 0 })
        expect(yield* Schedules.cancel(id)).toBe(true)
        expect(yield* Schedules.cancel(id)).toBe(false)
        const summary = yield* Fiber.join(fiber)
        expect(summary).toMatchObject({ cancelled: 1, succeeded: 0 })
        const shown = yield* Schedules.show(id)
        expect(shown).toMatchObject({ state: "cancelled", next: undefined })
        expect(shown.last).toMatchObject({ status: "cancelled", reason: "the schedule was cancelled" })
      })
    )

    test(
      "pauses, resumes without what was due meanwhile, and runs what is triggered",
      Effect.gen(function* () {
        const id = yield* Schedules.add("tick", every(60_000, {}))
        expect([yield* Schedules.pause(id), yield* Schedules.pause(id)]).toEqual([true, false])
        expect(yield* Schedules.list()).toMatchObject([{ state: "paused", next: undefined }])
        const run = yield* Schedules.trigger(id)
        const { runs, serve } = server(() => Effect.succeed(ok))
        yield* Effect.scoped(serve)
        expect(runs.map(({ id }) => id)).toEqual([run])
        expect([yield* Schedules.resume(id), yield* Schedules.resume(id)]).toEqual([true, false])
        expect((yield* Schedules.list())[0]!.next).toBeGreaterThan(Date.now())
      })
    )

    test(
      "refuses what it does not know, and what never runs",
      Effect.gen(function* () {
        const unknown = yield* Effect.flip(Schedules.cancel("nothing"))
        expect(unknown.message).toMatch(
          /^there is no schedule 'nothing' in .+; aio schedule list --all shows/
        )
        expect(unknown).toMatchObject({ exitCode: 2 })
        const never = yield* Effect.flip(Schedules.add("tick", every(1000, { until: 0 })))
        expect(never.message).toBe("'tick' has no run: it would end before the first one")
        const id = yield* Schedules.add("tick", every(1000))
        yield* Schedules.cancel(id)
        const steps: ReadonlyArray<Effect.Effect<unknown, { readonly _tag: string }, Store.Store>> = [
          Schedules.pause(id),
          Schedules.resume(id),
          Schedules.trigger(id)
        ]
        for (const step of steps)
          expect(yield* Effect.flip(step)).toMatchObject({ _tag: "ScheduleError", exitCode: 2 })
      })
    )

    test(
      "waits for its runs when it is asked to end, and cancels those that take too long",
      Effect.gen(function* () {
        const id = yield* Schedules.add("long", later(0))
        const gate = yield* Deferred.make<void>()
        const { events, runs, serve } = server(() => Effect.as(Deferred.await(gate), ok))
        const fiber = yield* Effect.fork(Effect.scoped(serve))
        yield* Effect.repeat(Effect.sleep(10), { until: () => runs.length > 0 })
        const ending = yield* Effect.fork(Cancellation.cancel(fiber, { reason: "SIGTERM", origin: "signal" }))
        yield* Effect.repeat(Effect.sleep(10), {
          until: () => events.some(({ event }) => event === "closing")
        })
        yield* Deferred.succeed(gate, undefined)
        yield* Fiber.join(ending)
        expect((yield* Schedules.show(id)).last).toMatchObject({ status: "succeeded" })

        const stuck = yield* Schedules.add("stuck", later(0))
        const short = server(() => Effect.never, { drain: 20 })
        const other = yield* Effect.fork(Effect.scoped(short.serve))
        yield* Effect.repeat(Effect.sleep(10), { until: () => short.runs.length > 0 })
        yield* Cancellation.cancel(other, { reason: "SIGTERM", origin: "signal" })
        expect((yield* Schedules.show(stuck)).last).toMatchObject({ status: "cancelled", reason: "SIGTERM" })
        expect(short.events.at(-1)).toMatchObject({ event: "summary", cancelled: 1, exitCode: 143 })
      })
    )

    test(
      "continues by the new time when the clock is set back",
      Effect.gen(function* () {
        const offset = yield* Ref.make(0)
        const clock = yield* shifted(offset)
        const spec: Schedules.Spec = { ...later(0), when: { _tag: "Cron", expression: "* * * * * *" } }
        const id = yield* Schedules.add("ticking", spec)
        const { runs, serve } = server(() => Effect.succeed(ok), { untilDone: false })
        const fiber = yield* Effect.fork(Effect.withClock(Effect.scoped(serve), clock))
        yield* Effect.repeat(Effect.sleep(10), { until: () => runs.length > 0 })
        yield* Ref.set(offset, -3_600_000)
        const before = runs.length
        yield* Effect.repeat(Effect.sleep(10), { until: () => runs.length > before + 1 })
        yield* Fiber.interrupt(fiber)
        expect(runs[0]!.due - runs.at(-1)!.due).toBeGreaterThan(3_500_000)
        expect((yield* Schedules.show(id)).runs.length).toBe(runs.length)
      })
    )

    test(
      "pauses a schedule that it cannot read, and runs the others",
      Effect.gen(function* () {
        const store = yield* Store.Store
        const broken = yield* Schedules.add("broken", later(0))
        yield* Schedules.add("whole", later(0))
        yield* store.use((sql) => sql`UPDATE aio_schedules SET spec = '{}' WHERE id = ${broken}`)
        const { events, runs, serve } = server(() => Effect.succeed(ok))
        yield* Effect.scoped(serve)
        expect(runs.map(({ name }) => name)).toEqual(["whole"])
        expect(events.find(({ event }) => event === "note")).toMatchObject({
          reason: expect.stringMatching(/^schedule .+; it is paused$/)
        })
      })
    )
  })
}
