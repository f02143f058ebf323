import { describe, expect, it } from "@effect/vitest"
import { Cause, Context, Deferred, Effect, Exit, Layer, Schema, type Scope } from "effect"
import * as DurableTimers from "../../../src/services/cluster/DurableTimers.js"
import * as Schedules from "../../../src/services/cluster/Schedules.js"
import type * as Store from "../../../src/services/cluster/Store.js"

// What holds for durable timers in SQLite and in PostgreSQL alike.

const Mail = Schema.Struct({ to: Schema.String, at: Schema.Date })
export const mail = { to: "ada", at: new Date(1e12) }

/** A timer that keeps its runs; `body` is what it does. */
export const mailer = (
  body: (run: DurableTimers.Run) => Effect.Effect<unknown, unknown> = () => Effect.void
) => {
  const runs: Array<readonly [payload: typeof Mail.Type, run: DurableTimers.Run]> = []
  const timer = DurableTimers.make({
    name: "mail",
    payload: Mail,
    run: (payload, run) => {
      runs.push([payload, run])
      return body(run)
    }
  })
  return { runs, timer }
}

export const quiet: DurableTimers.Options = { handle: () => Effect.void }

/** Until the schedule is over: no run waits, and none runs. */
const over = (id: string) =>
  Effect.repeat(Effect.zipRight(Effect.sleep(10), Schedules.show(id)), {
    until: ({ state }) => state !== "active",
    times: 1000
  })

/** `fresh` makes the tables of a test. */
export const durableTimersContract = (name: string, fresh: () => Layer.Layer<Store.Store, unknown>) => {
  const test = (text: string, body: Effect.Effect<void, unknown, Store.Store | Scope.Scope>) =>
    it.live(text, () => Effect.provide(Effect.scoped(body), fresh()))

  describe(name, () => {
    test(
      "runs a call once at its time, with a payload of its type, without waiting for the next poll",
      Effect.gen(function* () {
        const { runs, timer } = mailer()
        const context = yield* Layer.build(DurableTimers.layer([timer], { ...quiet, poll: "1 hour" }))
        const timers = Context.get(context, DurableTimers.DurableTimers)
        const begun = Date.now()
        const { id } = yield* timers.callLater(timer, 50, mail, { name: "mail to ada" })
        const shown = yield* over(id)
        expect(shown).toMatchObject({ name: "mail to ada", state: "done", missed: 0 })
        expect(shown.runs).toMatchObject([{ id: `${id}-1-1`, status: "succeeded" }])
        expect(runs).toMatchObject([[mail, { runId: `${id}-1-1`, id, number: 1, attempt: 1 }]])
        expect(runs[0]![0].at).toBeInstanceOf(Date)
        expect(runs[0]![1].due).toBeGreaterThanOrEqual(begun + 50)
        expect(shown.last!.started).toBeGreaterThanOrEqual(runs[0]![1].due)
        // By now the server waits for its poll, an hour long.
        yield* Effect.sleep(100)
        yield* over((yield* timers.callLater(timer, 0, mail)).id)
        expect(runs.length).toBe(2)
      })
    )

    test(
      "runs a call in the next layer that was recorded in one that has ended",
      Effect.gen(function* () {
        const first = mailer()
        const second = mailer()
        const id = yield* Effect.gen(function* () {
          const timers = yield* DurableTimers.DurableTimers
          return (yield* timers.callAt(first.timer, Date.now() + 300, mail)).id
        }).pipe(Effect.provide(DurableTimers.layer([first.timer], quiet)))
        expect((yield* Schedules.show(id)).state).toBe("active")
        yield* Layer.build(DurableTimers.layer([second.timer], quiet))
        yield* over(id)
        expect(first.runs).toEqual([])
        expect(second.runs.map(([payload]) => payload)).toEqual([mail])
      })
    )

    test(
      "fails a run whose payload an older schema wrote, with the reason on record, and does not call its code",
      Effect.gen(function* () {
        const { runs, timer } = mailer()
        const older = DurableTimers.make({
          name: "mail",
          payload: Schema.Struct({ to: Schema.Number }),
          run: () => Effect.void
        })
        const { id } = yield* Effect.flatMap(DurableTimers.DurableTimers, ({ callLater }) =>
          callLater(older, 0, { to: 5 })
        ).pipe(Effect.provide(DurableTimers.layerClient))
        yield* Layer.build(DurableTimers.layer([timer], quiet))
        const { last } = yield* over(id)
        expect(last).toMatchObject({
          status: "failed",
          reason:
            "the payload on record does not have the type of the timer now: to: Expected string, actual 5"
        })
        expect(runs).toEqual([])
      })
    )

    test(
      "tries a run again that fails or throws, as its rules say, with an id of its own",
      Effect.gen(function* () {
        const { runs, timer } = mailer(({ attempt }) => {
          if (attempt === 1) throw new Error("thrown")
          return attempt === 2 ? Effect.fail("no route") : Effect.void
        })
        const context = yield* Layer.build(DurableTimers.layer([timer], quiet))
        const { callLater } = Context.get(context, DurableTimers.DurableTimers)
        const { id } = yield* callLater(timer, 0, mail, { retries: 2, backoff: { first: 10 } })
        const shown = yield* over(id)
        expect(shown.runs).toMatchObject([
          { status: "failed", reason: "thrown" },
          { status: "failed", reason: "no route" },
          { status: "succeeded" }
        ])
        expect(runs.map(([, { runId }]) => runId)).toEqual([1, 2, 3].map((attempt) => `${id}-1-${attempt}`))
      })
    )

    test(
      "cancels: a call before its time never runs, and a run in progress is interrupted",
      Effect.gen(function* () {
        const started = yield* Deferred.make<void>()
        const ended = yield* Deferred.make<void>()
        const { runs, timer } = mailer(() =>
          Effect.onInterrupt(Effect.zipRight(Deferred.succeed(started, undefined), Effect.never), () =>
            Deferred.succeed(ended, undefined)
          )
        )
        const context = yield* Layer.build(DurableTimers.layer([timer], { ...quiet, poll: "1 hour" }))
        const { callLater } = Context.get(context, DurableTimers.DurableTimers)
        const later = yield* callLater(timer, "1 hour", mail)
        const now = yield* callLater(timer, 0, mail)
        yield* Deferred.await(started)
        expect([yield* later.cancel, yield* later.cancel]).toEqual([true, false])
        expect(yield* now.cancel).toBe(true)
        yield* Deferred.await(ended)
        const { runs: recorded } = yield* Effect.repeat(
          Effect.zipRight(Effect.sleep(10), Schedules.show(now.id)),
          {
            until: ({ runs }) => runs[0]?.ended !== undefined,
            times: 1000
          }
        )
        expect(recorded).toMatchObject([{ status: "cancelled", reason: "the schedule was cancelled" }])
        expect((yield* Schedules.show(later.id)).runs).toEqual([])
        expect(runs.length).toBe(1)
      })
    )

    test(
      "runs series: every interval as often as it says, and by a cron expression, without a payload",
      Effect.gen(function* () {
        const numbers: Array<number> = []
        const timer = DurableTimers.make({
          name: "tick",
          payload: Schema.Void,
          run: (_, { number }) => Effect.sync(() => numbers.push(number))
        })
        const context = yield* Layer.build(DurableTimers.layer([timer], quiet))
        const { cron, every } = Context.get(context, DurableTimers.DurableTimers)
        const rules = { times: 3, overlap: "queueAll", catchUp: "all", jitter: 0, window: Infinity } as const
        const { id } = yield* every(timer, 20, undefined, rules)
        yield* over(id)
        expect(numbers).toEqual([1, 2, 3])
        const yearly = yield* cron(timer, "0 0 1 1 *", undefined, { until: new Date("2500-01-01") })
        const { next, spec } = yield* Schedules.show(yearly.id)
        expect(new Date(next!)).toMatchObject(new Date(new Date().getFullYear() + 1, 0, 1))
        expect(spec).toMatchObject({ rules: { until: Date.UTC(2500, 0, 1) }, work: { payload: null } })
        expect(yield* Effect.flip(cron(timer, "0 0 31 2 *", undefined))).toMatchObject({
          _tag: "ScheduleError"
        })
      })
    )

    test(
      "gives each run what its timer requires, and a scope that ends with it",
      Effect.gen(function* () {
        class Name extends Context.Tag("test/Name")<Name, string>() {}
        const log: Array<string> = []
        const timer = DurableTimers.make({
          name: "scoped",
          payload: Schema.String,
          run: (word) =>
            Effect.acquireRelease(
              Effect.map(Name, (name) => log.push(`${word} ${name}`)),
              () => Effect.sync(() => log.push("released"))
            )
        })
        const layer: Layer.Layer<DurableTimers.DurableTimers, unknown, Store.Store | Name> =
          DurableTimers.layer([timer], quiet)
        const context = yield* Layer.build(Layer.provide(layer, Layer.succeed(Name, "ada")))
        const { id } = yield* Context.get(context, DurableTimers.DurableTimers).callLater(timer, 0, "hello")
        yield* over(id)
        expect(log).toEqual(["hello ada", "released"])
      })
    )

    test(
      "leaves a timer that is not declared to other servers, and refuses two of one name",
      Effect.gen(function* () {
        const { timer } = mailer()
        const other = { ...timer, name: "other" }
        const context = yield* Layer.build(DurableTimers.layer([timer], quiet))
        const { callLater } = Context.get(context, DurableTimers.DurableTimers)
        const left = yield* callLater(other, 0, mail)
        yield* over((yield* callLater(timer, 0, mail)).id)
        expect(yield* Schedules.show(left.id)).toMatchObject({ state: "active", runs: [] })
        for (const [timers, message] of [
          [[timer, timer], "there are two timers 'mail'; give each another name"],
          [[], "there are no timers; DurableTimers.layerClient records without running"]
        ] as const) {
          const exit = yield* Effect.exit(Effect.scoped(Layer.build(DurableTimers.layer(timers, quiet))))
          expect(Exit.isFailure(exit) && Cause.squash(exit.cause)).toMatchObject({ message })
        }
      })
    )

    test(
      "refuses a payload that its schema refuses, or that JSON changes, before it is on record",
      Effect.gen(function* () {
        const context = yield* Layer.build(DurableTimers.layerClient)
        const { callLater } = Context.get(context, DurableTimers.DurableTimers)
        const of = <A, I>(payload: Schema.Schema<A, I>, value: A) =>
          Effect.flip(callLater(DurableTimers.make({ name: "t", payload, run: () => Effect.void }), 0, value))
        expect(yield* of(Schema.NonEmptyString, "")).toMatchObject({ _tag: "InvalidPayload", exitCode: 2 })
        expect((yield* of(Schema.DateFromSelf, new Date(0))).message).toBe(
          'the payload of the timer t cannot be recorded: after JSON, Expected DateFromSelf, actual "1970-01-01T00:00:00.000Z"'
        )
        expect((yield* of(Schema.BigIntFromSelf, 1n)).message).toContain("BigInt")
        expect(yield* Schedules.list({ all: true })).toEqual([])
      })
    )
  })
}
