import { Cause, Clock, Effect, Exit, FastCheck, Fiber, Logger, Stream } from "effect"
import { expect } from "vitest"
import * as MapConcurrent from "../../src/services/stream/MapConcurrent.js"
import * as Gather from "../../src/services/task/Gather.js"
import * as TaskGroup from "../../src/services/task/TaskGroup.js"
import * as Programs from "./RandomPrograms.js"

// What holds of groups, gather and mapped streams whatever they run: by property in the tests, as campaigns in fuzz/.

const programs = FastCheck.array(Programs.program, { maxLength: 7 })
const concurrency = FastCheck.oneof(
  FastCheck.integer({ min: 1, max: 4 }),
  FastCheck.constant(Number.POSITIVE_INFINITY)
)
const interruptedAt = FastCheck.option(FastCheck.integer({ min: 0, max: 12 }), { nil: undefined })
const onFailure = FastCheck.constantFrom("cancel" as const, "continue" as const, "collect" as const)

const gathers: Programs.Nest = (inner) => Gather.gather(inner, { onFailure: "collect" })
const groups: Programs.Nest = (inner) =>
  Effect.gen(function* () {
    const tasks = []
    for (const each of inner) tasks.push(yield* TaskGroup.start("inner", each))
    return yield* Effect.forEach(tasks, (task) => task.await)
  }).pipe(TaskGroup.scoped({ onFailure: "collect" }))

/** Runs the effect, and interrupts it after so many milliseconds. */
const run = <A, E, R>(effect: Effect.Effect<A, E, R>, after: number | undefined) =>
  Effect.gen(function* () {
    const fiber = yield* Effect.fork(effect)
    if (after !== undefined) {
      yield* Effect.sleep(after)
      yield* Fiber.interrupt(fiber)
    }
    return yield* Fiber.await(fiber)
  })

const causeOf = (exit: Exit.Exit<unknown, unknown>): Cause.Cause<unknown> =>
  Exit.isFailure(exit) ? exit.cause : Cause.empty

export interface Law<T> {
  readonly title: string
  readonly cases: FastCheck.Arbitrary<T>
  readonly holds: (given: T) => Effect.Effect<void>
}

const law = <T>(
  title: string,
  cases: FastCheck.Arbitrary<T>,
  holds: (given: T) => Effect.Effect<void>
): Law<T> => ({
  title,
  cases,
  // The clean-up of an element that is cancelled is logged where it breaks.
  holds: (given) => Effect.provide(holds(given), Logger.remove(Logger.defaultLogger))
})

export const gatherLosesNothing = law(
  "gather: what was raised is in the cause or among the outcomes",
  FastCheck.record({ programs, concurrency, onFailure, interruptedAt }),
  ({ concurrency, interruptedAt, onFailure, programs }) =>
    Effect.gen(function* () {
      const raised: Array<string> = []
      const items = programs.map((program, n) =>
        Programs.toEffect(program, `${n}`, (what) => raised.push(what))
      )
      const settled: Array<string> = []
      const exit = yield* run(
        (onFailure === "collect"
          ? Gather.gather(items, {
              concurrency,
              onFailure,
              onExit: (_, exit) => settled.push(...Programs.failures(causeOf(exit)))
            })
          : Gather.gather(items, { concurrency, onFailure })) as Effect.Effect<
          ReadonlyArray<unknown>,
          string
        >,
        interruptedAt
      )
      if (onFailure !== "collect") {
        expect(Programs.failures(causeOf(exit))).toEqual(raised.sort())
        return
      }
      // Outcomes that were settled before an interruption are values that no fiber observes.
      expect(settled.sort()).toEqual(raised.sort())
      if (Exit.isSuccess(exit)) {
        expect(
          exit.value.flatMap((one) => Programs.failures(causeOf(one as Exit.Exit<unknown, unknown>))).sort()
        ).toEqual(raised)
      }
    })
)

export const gatherIsForEach = law(
  "gather: each outcome is that of a fiber of its own",
  FastCheck.record({ programs, concurrency }),
  ({ concurrency, programs }) =>
    Effect.gen(function* () {
      const gathered = yield* Gather.gather(
        programs.map((program, n) => Programs.toEffect(program, `${n}`, undefined, gathers)),
        { concurrency, onFailure: "collect" }
      )
      const alone = yield* Effect.forEach(programs, (program, n) =>
        Effect.flatMap(Effect.forkDaemon(Programs.toEffect(program, `${n}`)), Fiber.await)
      )
      expect(gathered.map(Programs.comparable)).toEqual(alone.map(Programs.comparable))
    })
)

const thrown = new Error("thrown")
const sources = FastCheck.constantFrom(
  "ends" as const,
  "fails" as const,
  "dies" as const,
  "throws" as const,
  "interrupts" as const
)

export const orderedIsSequential = law(
  "mapConcurrent: in order it is Stream.mapEffect, whatever throws",
  FastCheck.record({
    programs: FastCheck.array(Programs.program, { maxLength: 12 }),
    concurrency,
    ahead: FastCheck.integer({ min: 0, max: 9 }),
    chunk: FastCheck.integer({ min: 1, max: 5 }),
    source: sources,
    slow: FastCheck.integer({ min: 0, max: 4 }),
    take: FastCheck.option(FastCheck.nat(8), { nil: undefined }),
    keyThrowsAt: FastCheck.option(FastCheck.nat(12), { nil: undefined }),
    throwsAt: FastCheck.option(FastCheck.nat(12), { nil: undefined }),
    keys: FastCheck.integer({ min: 0, max: 3 })
  }),
  ({ ahead, chunk, concurrency, keys, keyThrowsAt, programs, slow, source, take, throwsAt }) =>
    Effect.gen(function* () {
      const end: Stream.Stream<never, string> = {
        ends: Stream.empty,
        fails: Stream.fail("source fails"),
        dies: Stream.die("source dies"),
        throws: Stream.suspend((): Stream.Stream<never> => {
          throw thrown
        }),
        interrupts: Stream.execute(Effect.interrupt)
      }[source]
      const elements = Stream.concat(
        Stream.rechunk(Stream.fromIterable(programs.map((_, n) => n)), chunk),
        end
      )
      const body = (n: number) => {
        if (n === throwsAt) throw thrown
        return Programs.toEffect(programs[n]!, `${n}`)
      }
      const key = (n: number) => {
        if (n === keyThrowsAt) throw thrown
        return n % keys
      }
      const keyed = keys > 0
      const seen = (stream: Stream.Stream<string, string>) =>
        Effect.gen(function* () {
          const got: Array<string> = []
          const taken = take === undefined ? stream : Stream.take(stream, take)
          const exit = yield* Effect.exit(
            Stream.runForEach(taken, (value) =>
              Effect.zipRight(
                Effect.sleep(slow),
                Effect.sync(() => got.push(value))
              )
            )
          )
          return { got, exit: Programs.comparable(exit) }
        })
      const expected = yield* seen(
        Stream.mapEffect(elements, (n) => {
          if (keyed) key(n)
          return Programs.isolated(body(n))
        })
      )
      const options = {
        concurrency,
        backpressure: ahead + (Number.isFinite(concurrency) ? concurrency : 1),
        ...(keyed ? { key } : {})
      }
      expect(yield* seen(MapConcurrent.mapConcurrent(elements, body, options))).toEqual(expected)
    })
)

export const mapEndsWhatItStarts = law(
  "mapConcurrent: interrupted or failed at any step, each body that has begun has ended, and no result comes twice",
  FastCheck.record({
    programs: FastCheck.array(Programs.program, { maxLength: 12 }),
    concurrency,
    ahead: FastCheck.integer({ min: 0, max: 9 }),
    slow: FastCheck.integer({ min: 0, max: 4 }),
    keys: FastCheck.integer({ min: 0, max: 3 }),
    unordered: FastCheck.boolean(),
    interruptedAt
  }),
  ({ ahead, concurrency, interruptedAt, keys, programs, slow, unordered }) =>
    Effect.gen(function* () {
      const raised: Array<string> = []
      const running = new Set<number>()
      const got: Array<number> = []
      const body = (n: number) =>
        Effect.suspend(() => {
          running.add(n)
          return Programs.toEffect(programs[n]!, `${n}`, (what) => raised.push(what))
        }).pipe(Effect.as(n), Effect.ensuring(Effect.sync(() => running.delete(n))))
      const options = {
        concurrency,
        backpressure: ahead + (Number.isFinite(concurrency) ? concurrency : 1),
        unordered,
        ...(keys > 0 ? { key: (n: number) => n % keys } : {})
      }
      const mapped = MapConcurrent.mapConcurrent(Stream.fromIterable(programs.keys()), body, options)
      const take = (n: number) =>
        Effect.zipRight(
          Effect.sleep(slow),
          Effect.sync(() => got.push(n))
        )
      const exit = yield* run(Stream.runForEach(mapped, take), interruptedAt)
      expect([...running]).toEqual([])
      expect(new Set(got).size).toBe(got.length)
      if (!unordered) expect(got).toEqual(got.map((_, n) => n))
      if (keys > 0) {
        for (let key = 0; key < keys; key++) {
          const ofKey = got.filter((n) => n % keys === key)
          expect(ofKey).toEqual(ofKey.toSorted((a, b) => a - b))
        }
      }
      if (Exit.isSuccess(exit)) {
        expect(raised).toEqual([])
        expect(got.toSorted((a, b) => a - b)).toEqual([...programs.keys()])
      } else expect(raised).toEqual(expect.arrayContaining([...Programs.failures(exit.cause)]))
    })
)

export const groupLosesNothing = law(
  "TaskGroup: what was raised is in the cause or was reported",
  FastCheck.record({ body: Programs.program, programs, onFailure, interruptedAt, concurrency }),
  ({ body, concurrency, interruptedAt, onFailure, programs }) =>
    Effect.gen(function* () {
      const raised: Array<string> = []
      const reported: Array<string> = []
      const effect = (program: Programs.Program, name: string) =>
        Programs.toEffect(program, name, (what) => raised.push(what))
      const exit = yield* run(
        Effect.gen(function* () {
          for (const [n, program] of programs.entries()) {
            const task = yield* TaskGroup.start(`${n}`, effect(program, `${n}`))
            if (n % 3 === 1) yield* task.onDone(() => effect(body, `callback ${n}`))
          }
          return yield* effect(body, "body")
        }).pipe(
          TaskGroup.scoped({
            onFailure,
            concurrency,
            // Every second report fails in its turn.
            report: ({ cause }) =>
              reported.length % 2 === 0
                ? Effect.sync(() => void reported.push(...Programs.failures(cause), ""))
                : Effect.sync(() => {
                    reported.push("")
                    raised.push("report")
                    throw "report"
                  })
          })
        ),
        interruptedAt
      )
      const inCause = flat(causeOf(exit))
      const told = new Set([...inCause, ...reported])
      told.delete("")
      expect([...told].sort()).toEqual([...new Set(raised)].sort())
    })
)

// A report that fails leaves the failure that it was given in the cause.
const flat = (cause: Cause.Cause<unknown>): ReadonlyArray<string> =>
  [...Cause.failures(cause), ...Cause.defects(cause)].flatMap((error) =>
    error instanceof TaskGroup.TaskFailed ? flat(error.cause) : [String(error)]
  )

/**
 * Without what docs/asyncio.md names as different: a task that interrupts itself does not fail its group, and of two that
 * fail in one turn the second does not begin. Here no two programs take a step at the same time.
 */
const steady = (program: Programs.Program): Programs.Program =>
  program.kind === "interrupts"
    ? { kind: "succeeds" }
    : "next" in program
      ? ({
          ...program,
          ...("ms" in program ? { ms: program.ms * 10 } : {}),
          ...("inner" in program ? { inner: program.inner.map(steady) } : {}),
          next: steady(program.next)
        } as Programs.Program)
      : program

export const groupIsAll = law(
  "TaskGroup: ends when Effect.all does, and fails if it does, with no failure less",
  FastCheck.record({ programs, interruptedAt }),
  ({ interruptedAt, programs }) =>
    Effect.gen(function* () {
      const steadied = programs.map(
        (program, n): Programs.Program => ({ kind: "sleeps", ms: n + 1, next: steady(program) })
      )
      const timed = <A, E>(effect: Effect.Effect<A, E>) =>
        Effect.gen(function* () {
          const begun = yield* Clock.currentTimeMillis
          const exit = yield* run(effect, interruptedAt === undefined ? undefined : interruptedAt * 10)
          return { exit, took: (yield* Clock.currentTimeMillis) - begun }
        })
      const reported: Array<string> = []
      const group = yield* timed(
        Effect.gen(function* () {
          const tasks = []
          for (const [n, program] of steadied.entries())
            tasks.push(yield* TaskGroup.start("task", Programs.toEffect(program, `${n}`, undefined, groups)))
          return yield* Effect.forEach(tasks, (task) => Effect.orDie(task.result))
        }).pipe(
          TaskGroup.scoped({
            report: ({ cause }) => Effect.sync(() => void reported.push(...Programs.failures(cause)))
          })
        )
      )
      const all = yield* timed(
        Effect.all(
          steadied.map((program, n) => Programs.toEffect(program, `${n}`)),
          { concurrency: "unbounded" }
        )
      )
      expect(group.took).toBe(all.took)
      if (Exit.isSuccess(all.exit)) {
        expect(group.exit).toEqual(all.exit)
        return
      }
      expect(Exit.isFailure(group.exit)).toBe(true)
      const told = [...Programs.failures(causeOf(group.exit)), ...reported]
      expect(told).toEqual(expect.arrayContaining([...Programs.failures(all.exit.cause)]))
    })
)

export const taskIsFiber = law(
  "TaskGroup: each outcome is that of a fiber of its own",
  FastCheck.record({ programs, concurrency }),
  ({ concurrency, programs }) =>
    Effect.gen(function* () {
      const grouped = yield* Effect.gen(function* () {
        const tasks = []
        for (const [n, program] of programs.entries())
          tasks.push(yield* TaskGroup.start("task", Programs.toEffect(program, `${n}`, undefined, groups)))
        return yield* Effect.forEach(tasks, (task) => task.await)
      }).pipe(TaskGroup.scoped({ onFailure: "collect", concurrency }))
      const alone = yield* Effect.forEach(programs, (program, n) =>
        Effect.flatMap(Effect.forkDaemon(Programs.toEffect(program, `${n}`)), Fiber.await)
      )
      expect(grouped.map(Programs.comparable)).toEqual(alone.map(Programs.comparable))
    })
)

export const laws: ReadonlyArray<Law<any>> = [
  groupIsAll,
  taskIsFiber,
  gatherLosesNothing,
  gatherIsForEach,
  orderedIsSequential,
  mapEndsWhatItStarts,
  groupLosesNothing
]
