import {
  Cause,
  Data,
  Duration,
  Effect,
  Exit,
  type Fiber,
  FiberId,
  FiberRef,
  HashSet,
  Random,
  Runtime,
  type Scope
} from "effect"
import { dual } from "effect/Function"
import * as EventLoop from "../services/task/EventLoop.js"
import { watchForever } from "../services/task/internal/fiberRuntime.js"
import {
  checkedDuration,
  checkedNumber,
  checkOptions,
  count,
  countOrInfinity
} from "../services/text/Numbers.js"
import * as VirtualTime from "../services/time/internal/virtualTime.js"
import { Deadlock } from "../services/time/VirtualClock.js"
import type { Switch } from "./internal/explorer.js"
import * as Explorer from "./internal/explorer.js"
import * as Policies from "./internal/policies.js"
import * as Shrink from "./internal/shrink.js"
import type { Step } from "./internal/tracer.js"
import * as Tracer from "./internal/tracer.js"

// How the next fiber is chosen, what a run did and how an order is made simpler are in internal/. What stays here is one loop
// with its contract: make a run, compare it, explain the first that fails.

// model

/**
 * How the next fiber to run is chosen.
 *
 * - `"random"`: at each step of a fiber it may be held up with some probability, and the next one is drawn.
 * - `"pct"`: probabilistic concurrency testing. Each fiber has a random priority, the highest runs, and at a few steps
 *   (`depth - 1`) the running fiber falls below all others. Finds bugs that need a long run of one fiber at the wrong time,
 *   with a bound on the probability to miss them.
 *
 * @since 0.1.0
 * @category models
 */
export type Strategy = "random" | "pct"

/**
 * Settings of {@link explore}.
 *
 * @since 0.1.0
 * @category options
 */
export interface Options {
  /** How many orders to try, the usual one first. Default 100. */
  readonly runs?: number | undefined
  /** The seed of the second run; each further run increments it. Default 1. */
  readonly seed?: number | undefined
  /** Default `"random"`. */
  readonly strategy?: Strategy | undefined
  /** For `"pct"`: the number of ordering constraints of the bugs to find, 1 or more. Default 3. */
  readonly depth?: number | undefined
  /** After this many steps of all its fibers a run fails with {@link Endless}. Default 100,000. */
  readonly maxSteps?: number | undefined
  /** Real time without activity before the first deadlock is reported. Default 100 ms. */
  readonly patience?: Duration.DurationInput | undefined
}

/**
 * The result of {@link explore} when no run failed.
 *
 * @since 0.1.0
 * @category models
 */
export interface Explored {
  readonly runs: number
  /** The number of distinct orders among the runs. */
  readonly orders: number
  /** The steps of the longest run. */
  readonly steps: number
}

export type { Switch } from "./internal/explorer.js"
export type { Step } from "./internal/tracer.js"

// errors

/**
 * An order in which the program fails. Its message shows the order, step by step.
 *
 * @since 0.1.0
 * @category errors
 */
export class InterleavingFailed extends Data.TaggedError("InterleavingFailed")<{
  /** For {@link replay}: the failing order. */
  readonly seed: string
  /** The number of the run, from 1. */
  readonly run: number
  /** The failure of the program. */
  readonly cause: Cause.Cause<unknown>
  /** The fewest switches found with which it fails in the same way. */
  readonly switches: ReadonlyArray<Switch>
  /** The run with those switches alone. */
  readonly steps: ReadonlyArray<Step>
  /** Whether the same order failed in the same way again. If not, the program depends on real work, time or state. */
  readonly again: boolean
}> {
  override get message() {
    const count = this.switches.length
    const how =
      count === 0
        ? "in plain order, without any switch"
        : `with ${count} ${count === 1 ? "switch" : "switches"} of fibers`
    const clock = Math.max(...this.steps.map(({ time }) => `${time} ms`.length))
    const timed = this.steps.some(({ time }) => time > 0)
    const width = Math.min(24, Math.max(...this.steps.map(({ fiber }) => fiber.length)))
    const shown = this.steps.slice(0, shownSteps).map(({ did, fiber, stopped, time }, i) => {
      const at = timed ? `${`${time} ms`.padStart(clock)}  ` : ""
      return `${String(i + 1).padStart(4)}. ${at}${fiber.padEnd(width)}  ${[...did, stopped].join(", ")}`
    })
    const more = this.steps.length - shown.length
    return [
      `fails ${how} (run ${this.run})`,
      ...reasons(this.cause).map((line) => `  ${line}`),
      ...shown,
      ...(more > 0 ? [`      and ${more} more`] : []),
      this.again
        ? `again: Interleave.replay("${this.seed}")`
        : `the same order ("${this.seed}") did not fail again: real time, real work or state from outside has a part in it`
    ].join("\n")
  }
}

const shownSteps = 60

const reasons = (cause: Cause.Cause<unknown>): ReadonlyArray<string> =>
  Cause.isInterruptedOnly(cause)
    ? ["it was interrupted"]
    : Cause.prettyErrors(cause).flatMap((error) => `${error.name}: ${error.message}`.split("\n"))

/**
 * A run made more steps than {@link Options.maxSteps}.
 *
 * @since 0.1.0
 * @category errors
 */
export class Endless extends Data.TaggedError("Endless")<{ readonly steps: number }> {
  override get message() {
    return `it has not ended after ${this.steps} steps; if it should need more, raise maxSteps`
  }
}

// one run

interface Host {
  readonly run: <A, E>(effect: Effect.Effect<A, E>, scheduler: Explorer.Explorer) => Fiber.RuntimeFiber<A, E>
  readonly maxSteps: number
  /** Only the first deadlock waits for it. */
  patience: number
}

interface Outcome<A, E> {
  readonly exit: Exit.Exit<A, E>
  readonly explorer: Explorer.Explorer
  readonly steps: ReadonlyArray<Step>
}

const ended = FiberId.none

// In virtual time, with seeded random numbers and without logs, so that runs are reproducible.
const runOnce = <A, E>(
  host: Host,
  program: Effect.Effect<A, E>,
  policy: Explorer.Policy,
  seed: number,
  tracer?: Tracer.Tracer
): Effect.Effect<Outcome<A, E>> =>
  Effect.async((resume) => {
    let exit: Exit.Exit<A, E> | undefined
    let whenDone: () => void = () => undefined
    const explorer = new Explorer.Explorer(
      policy,
      host.maxSteps,
      () => {
        if (exit === undefined) return end(Exit.die(new Endless({ steps: host.maxSteps })))
        explorer.abandon()
        done()
      },
      tracer
    )
    const surroundings = new VirtualTime.Surroundings(host.patience, explorer)
    const clock = new VirtualTime.Virtual(0, surroundings, explorer, true)
    const { onRest } = explorer
    const alive = () => explorer.threads.filter(({ fiber }) => fiber?.unsafePoll() === null)
    explorer.onRest = () => {
      if (exit !== undefined && alive().length === 0) done()
      else onRest()
    }
    const done = () => {
      clock.close()
      whenDone()
      resume(Effect.succeed({ exit: exit!, explorer, steps: tracer?.result() ?? [] }))
    }
    // Cancels the remaining fibers, in the usual order, so that the next run starts afresh.
    const end = (found: Exit.Exit<A, E>) => {
      if (exit !== undefined) return
      exit = found
      tracer?.close()
      explorer.policy = Policies.plain
      surroundings.patience = 0
      for (const { fiber } of alive()) fiber?.unsafeInterruptAsFork(ended)
    }
    const loggers = tracer === undefined ? HashSet.empty() : HashSet.make(tracer.logger)
    if (tracer !== undefined) {
      tracer.explorer = explorer
      tracer.clock = clock
      clock.onSleep = tracer.sleeps
    }
    const fiber = host.run(
      program.pipe(
        Effect.withClock(clock),
        Effect.withRandom(Random.make(seed)),
        Effect.locally(FiberRef.currentLoggers, loggers)
      ),
      explorer
    )
    fiber.addObserver(end)
    clock.watchOver((fibers) => {
      if (exit !== undefined) return done()
      host.patience = 0
      end(Exit.die(new Deadlock({ fibers, time: clock.unsafeCurrentTimeMillis() })))
    })
    return Effect.async<void>((stopped) => {
      whenDone = () => stopped(Effect.void)
      end(Exit.interrupt(ended))
    })
  })

// exploring

const explain = <A, E>(
  host: Host,
  program: Effect.Effect<A, E>,
  seed: Policies.Seed,
  run: number,
  failed: Outcome<A, E>
): Effect.Effect<InterleavingFailed> =>
  Effect.gen(function* () {
    const number = Policies.numberOf(seed)
    const wanted = Shrink.signature(failed.exit)
    let left = Shrink.shrinkRuns
    const attempt: Shrink.Attempt = (switches) =>
      Effect.suspend(() => {
        if (left-- <= 0) return Effect.succeed(undefined)
        return Effect.map(runOnce(host, program, Policies.guided(switches), number), ({ exit, explorer }) =>
          Shrink.signature(exit) === wanted ? explorer.switches : undefined
        )
      })
    const same = yield* attempt(failed.explorer.switches)
    let switches = same ?? failed.explorer.switches
    if (same !== undefined) {
      switches = yield* Shrink.withoutNeedless(attempt, same)
      if (switches.length > 1) {
        const places: Array<Switch> = []
        yield* runOnce(host, program, Policies.noting(places), number)
        switches = (yield* Shrink.single(attempt, places)) ?? switches
      }
    }
    const told = yield* runOnce(host, program, Policies.guided(switches), number, new Tracer.Tracer())
    return new InterleavingFailed({
      seed: Policies.writeSeed(seed),
      run,
      cause: Exit.isFailure(told.exit) && same !== undefined ? told.exit.cause : causeOf(failed.exit),
      switches,
      steps: told.steps,
      again: same !== undefined && Shrink.signature(told.exit) === wanted
    })
  })

const causeOf = (exit: Exit.Exit<unknown, unknown>): Cause.Cause<unknown> =>
  Exit.isFailure(exit) ? exit.cause : Cause.empty

// With the runtime of the caller, whose scope is the program's: resources that it acquires there outlive the run.
const open = <R>(caller: Runtime.Runtime<R>, options: Options): Effect.Effect<Host, never, Scope.Scope> =>
  Effect.gen(function* () {
    yield* EventLoop.nextTurn
    yield* Effect.acquireRelease(Effect.sync(watchForever), (close) => Effect.sync(close))
    const runtime = caller as Runtime.Runtime<never>
    return {
      run: (effect, scheduler) => Runtime.runFork(runtime)(effect, { scheduler, immediate: false }),
      maxSteps: checkedNumber("maxSteps", options.maxSteps ?? 100_000, countOrInfinity),
      patience: Duration.toMillis(checkedDuration("patience", options.patience ?? "100 millis"))
    }
  })

/**
 * Runs the program repeatedly, in virtual time, each time with its fibers in another order, until it fails. At every step
 * of a fiber another one may run next. The failing order is then simplified.
 *
 * Fails with {@link InterleavingFailed} when a run fails, dies, is interrupted or deadlocks; its message has the steps, by
 * the names of tasks and spans. The same program and options try the same orders, so failures are reproducible. Real work
 * (sockets, files, timers) in the program is awaited, but not in the same order each time.
 *
 * Runs are independent only if the program creates its own state (`Ref.make`). Random numbers come from the run's seed,
 * and logs are suppressed.
 *
 * @example
 * ```ts
 * import { Effect, Ref } from "effect"
 * import { Interleave } from "effect-asyncio/testing"
 *
 * const program = Effect.gen(function* () {
 *   const total = yield* Ref.make(0)
 *   const add = Effect.flatMap(Ref.get(total), (was) => Ref.set(total, was + 1))
 *   yield* Effect.all([add, add], { concurrency: 2 })
 *   if ((yield* Ref.get(total)) !== 2) return yield* Effect.fail("an update was lost")
 * })
 *
 * // fails: both may read before either writes
 * export const check = Interleave.explore(program, { runs: 200 })
 * ```
 *
 * @since 0.1.0
 * @category effects
 */
export const explore: {
  (
    options?: Options
  ): <A, E, R>(program: Effect.Effect<A, E, R>) => Effect.Effect<Explored, InterleavingFailed, R>
  <A, E, R>(
    program: Effect.Effect<A, E, R>,
    options?: Options
  ): Effect.Effect<Explored, InterleavingFailed, R>
} = dual(
  (args) => Effect.isEffect(args[0]),
  <A, E, R>(program: Effect.Effect<A, E, R>, options: Options = {}) =>
    Effect.flatMap(Effect.runtime<R>(), (caller) =>
      Effect.gen(function* () {
        checkOptions(options, { depth: count, runs: count, seed: { least: Number.MIN_SAFE_INTEGER } })
        const { depth = 3, runs = 100, seed: first = 1, strategy = "random" } = options
        const host = yield* open(caller, options)
        const own = program as Effect.Effect<A, E>
        const orders = new Set<string>()
        let choices = 0
        let steps = 0
        for (let run = 1; run <= runs; run++) {
          const number = first + run - 2
          const seed: Policies.Seed =
            run === 1
              ? { kind: "plain" }
              : strategy === "random"
                ? { kind: "random", seed: number }
                : { kind: "pct", seed: number, depth, choices }
          const outcome = yield* runOnce(host, own, Policies.policyOf(seed), Policies.numberOf(seed))
          if (Exit.isFailure(outcome.exit)) return yield* yield* explain(host, own, seed, run, outcome)
          const { explorer } = outcome
          choices = Math.max(choices, explorer.choices)
          steps = Math.max(steps, explorer.steps)
          orders.add(JSON.stringify(explorer.switches))
          // Lets timers of the surroundings start first.
          yield* EventLoop.nextTurn
        }
        return { runs, orders: orders.size, steps }
      }).pipe(Effect.scoped)
    ) as Effect.Effect<Explored, InterleavingFailed, R>
)

/**
 * Runs the program once in the order of a seed of {@link InterleavingFailed}. Returns its result, or fails as
 * {@link explore} does. Dies if the text is not a seed.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Interleave } from "effect-asyncio/testing"
 *
 * export const again = Effect.succeed(1).pipe(Interleave.replay("random/17"))
 * ```
 *
 * @since 0.1.0
 * @category effects
 */
export const replay: {
  (
    seed: string,
    options?: Pick<Options, "maxSteps" | "patience">
  ): <A, E, R>(program: Effect.Effect<A, E, R>) => Effect.Effect<A, InterleavingFailed, R>
  <A, E, R>(
    program: Effect.Effect<A, E, R>,
    seed: string,
    options?: Pick<Options, "maxSteps" | "patience">
  ): Effect.Effect<A, InterleavingFailed, R>
} = dual(
  (args) => Effect.isEffect(args[0]),
  <A, E, R>(program: Effect.Effect<A, E, R>, text: string, options: Options = {}) =>
    Effect.flatMap(Effect.runtime<R>(), (caller) =>
      Effect.gen(function* () {
        const seed = Policies.readSeed(text)
        if (seed === undefined) {
          return yield* Effect.dieMessage(
            `Interleave.replay: '${text}' is not a seed; expected one that was reported, like "random/17" or "pct/17/3/240"`
          )
        }
        const host = yield* open(caller, options)
        const own = program as Effect.Effect<A, E>
        const outcome = yield* runOnce(host, own, Policies.policyOf(seed), Policies.numberOf(seed))
        if (Exit.isFailure(outcome.exit)) return yield* yield* explain(host, own, seed, 1, outcome)
        return outcome.exit.value
      }).pipe(Effect.scoped)
    ) as Effect.Effect<A, InterleavingFailed, R>
)

// for test runners

/**
 * The required part of `it`: that of vitest, `@effect/vitest` or `node:test`.
 *
 * @since 0.1.0
 * @category models
 */
export type TestFunction = (name: string, body: (context: any) => Promise<void>, timeout?: number) => unknown

/**
 * A test that passes when no order of its program's fibers fails. The timeout is in ms; by default the runner's own.
 *
 * @since 0.1.0
 * @category models
 */
export type Interleaving = (
  name: string,
  program: Effect.Effect<unknown, unknown, Scope.Scope>,
  options?: Options & { readonly timeout?: number | undefined }
) => void

/**
 * `it` with `it.interleave`, which explores a program: the test fails with the steps of the failing order. A program may
 * require a scope, a new one for each run. Tests are cancelled by their runner's signal, if it has one.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Interleave } from "effect-asyncio/testing"
 * import { test } from "node:test" // or: import { it } from "vitest"
 *
 * const { interleave } = Interleave.extend(test)
 *
 * export const suite = () => interleave("adds up", Effect.void, { runs: 500 })
 * ```
 *
 * @since 0.1.0
 * @category functions
 */
export const extend = <T extends TestFunction>(it: T): T & { readonly interleave: Interleaving } => {
  const interleave: Interleaving = (name, program, { timeout, ...options } = {}) => {
    const body = async (context?: { readonly signal?: AbortSignal }) => {
      const signal = context?.signal
      const exit = await Effect.runPromiseExit(explore(Effect.scoped(program), options), signal && { signal })
      if (Exit.isFailure(exit)) throw Cause.squash(exit.cause)
    }
    if (timeout === undefined) it(name, body)
    else it(name, body, timeout)
  }
  return new Proxy(it, {
    get: (target, key, receiver) => (key === "interleave" ? interleave : Reflect.get(target, key, receiver))
  }) as T & { readonly interleave: Interleaving }
}
