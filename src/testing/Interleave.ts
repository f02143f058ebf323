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
  Logger,
  Random,
  Runtime,
  type Scope
} from "effect"
import { dual } from "effect/Function"
import * as EventLoop from "../services/task/EventLoop.js"
import { type AnyFiber, watchForever } from "../services/task/internal/fiberRuntime.js"
import * as Waiting from "../services/task/internal/waiting.js"
import {
  checkedDuration,
  checkedNumber,
  checkOptions,
  count,
  countOrInfinity
} from "../services/text/Numbers.js"
import * as VirtualTime from "../services/time/internal/virtualTime.js"
import { Deadlock } from "../services/time/VirtualClock.js"
import * as Explorer from "./internal/explorer.js"

// model

/**
 * How the fiber that goes on is chosen.
 *
 * - `"random"`: at each step of a fiber there is some chance that another goes on, and whoever does is drawn.
 * - `"pct"`: probabilistic concurrency testing. Each fiber has a priority that is drawn, the highest goes on, and at a
 *   few steps (`depth - 1`) whoever runs falls below all others. Finds what needs a long run of one fiber at the wrong
 *   time, and with a bound on the chance to miss it.
 */
export type Strategy = "random" | "pct"

/** Settings of {@link explore}. */
export interface Options {
  /** How many orders to try, the plain one first. Default 100. */
  readonly runs?: number | undefined
  /** The seed of the second run; those that follow count up from it. Default 1. */
  readonly seed?: number | undefined
  /** Default `"random"`. */
  readonly strategy?: Strategy | undefined
  /** For `"pct"`: how many ordering constraints a bug is to need, 1 or more. Default 3. */
  readonly depth?: number | undefined
  /** After so many steps of all its fibers a run is given up as one that never ends. Default 100,000. */
  readonly maxSteps?: number | undefined
  /** How long, in real time, nothing must have happened before the first deadlock is believed. Default 100 ms. */
  readonly patience?: Duration.DurationInput | undefined
}

/** What {@link explore} has tried without finding anything. */
export interface Explored {
  readonly runs: number
  /** How many of the runs differed from all others in their order. */
  readonly orders: number
  /** The steps of the longest run. */
  readonly steps: number
}

/** A place where another fiber goes on than would have in plain order. */
export type Switch = Explorer.Switch

/** What one fiber did until another went on. */
export interface Step {
  /** The name of its task, or of its own outermost span; else `main` or `fiber N`. */
  readonly fiber: string
  /** When it went on, in milliseconds of virtual time. */
  readonly time: number
  /** The fibers that it started, the spans that it entered, what it logged; in order. */
  readonly did: ReadonlyArray<string>
  /** Why it did not go on. */
  readonly stopped: string
}

// errors

/** An order in which the program fails. Its message tells the order, step by step. */
export class InterleavingFailed extends Data.TaggedError("InterleavingFailed")<{
  /** For {@link replay}: the order that was found. */
  readonly seed: string
  /** Which run it was, from 1. */
  readonly run: number
  /** How the program failed in it. */
  readonly cause: Cause.Cause<unknown>
  /** The fewest switches with which it was made to fail in the same way. */
  readonly switches: ReadonlyArray<Switch>
  /** The run with those switches alone. */
  readonly steps: ReadonlyArray<Step>
  /** Whether the same order failed in the same way again. If not, something real has a part in it. */
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

/** A run that was given up: it made more steps than {@link Options.maxSteps}. */
export class Endless extends Data.TaggedError("Endless")<{ readonly steps: number }> {
  override get message() {
    return `it has not ended after ${this.steps} steps; if it should need more, raise maxSteps`
  }
}

// seeds

// What replays a run: how it was drawn, as text.
type Seed =
  | { readonly kind: "plain" }
  | { readonly kind: "random"; readonly seed: number }
  | { readonly kind: "pct"; readonly seed: number; readonly depth: number; readonly choices: number }

const writeSeed = (seed: Seed): string =>
  seed.kind === "plain"
    ? "plain"
    : seed.kind === "random"
      ? `random/${seed.seed}`
      : `pct/${seed.seed}/${seed.depth}/${seed.choices}`

const readSeed = (text: string): Seed | undefined => {
  if (text === "plain") return { kind: "plain" }
  const random = /^random\/(-?\d+)$/.exec(text)
  if (random !== null) return { kind: "random", seed: Number(random[1]) }
  const pct = /^pct\/(-?\d+)\/(\d+)\/(\d+)$/.exec(text)
  if (pct === null) return undefined
  return { kind: "pct", seed: Number(pct[1]), depth: Number(pct[2]), choices: Number(pct[3]) }
}

const policyOf = (seed: Seed): Explorer.Policy =>
  seed.kind === "plain"
    ? Explorer.plain
    : seed.kind === "random"
      ? Explorer.randomly(seed.seed)
      : Explorer.prioritised(seed.seed, seed.depth, seed.choices)

// one run

interface Host {
  readonly run: <A, E>(effect: Effect.Effect<A, E>, scheduler: Explorer.Explorer) => Fiber.RuntimeFiber<A, E>
  readonly maxSteps: number
  /** Only the first deadlock is waited for. */
  patience: number
}

interface Outcome<A, E> {
  readonly exit: Exit.Exit<A, E>
  readonly explorer: Explorer.Explorer
  readonly steps: ReadonlyArray<Step>
}

const ended = FiberId.none

// In virtual time, with random numbers of its own and without any log: as many runs as one likes are alike.
const runOnce = <A, E>(
  host: Host,
  program: Effect.Effect<A, E>,
  policy: Explorer.Policy,
  seed: number,
  tracer?: Tracer
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
    // What is left is cancelled, in plain order: the next run is to find nothing of this one.
    const end = (found: Exit.Exit<A, E>) => {
      if (exit !== undefined) return
      exit = found
      tracer?.close()
      explorer.policy = Explorer.plain
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

// What a run did, for the person.
class Tracer implements Explorer.Watcher {
  explorer: Explorer.Explorer | undefined
  clock: VirtualTime.Virtual | undefined
  private readonly steps: Array<{
    readonly thread: Explorer.Thread
    readonly time: number
    readonly made: number
    readonly did: Array<string | Explorer.Thread>
    stopped: string
  }> = []
  private readonly spans = new WeakSet<object>()
  private readonly until = new WeakMap<object, number>()
  private open = true

  readonly logger = Logger.make(({ message }) => {
    const words = (Array.isArray(message) ? message : [message]).map(String).join(" ")
    if (this.open) this.steps.at(-1)?.did.push(JSON.stringify(words))
  })

  readonly sleeps = (fiber: AnyFiber, until: number) => {
    this.until.set(fiber, until)
  }

  goes(thread: Explorer.Thread): void {
    if (!this.open) return
    const last = this.steps.at(-1)
    const time = this.clock!.unsafeCurrentTimeMillis()
    if (last?.thread === thread && last.time === time) return
    this.steps.push({ thread, time, made: thread.steps, did: [], stopped: "" })
  }

  forks(thread: Explorer.Thread): void {
    for (const span of Waiting.spansIn(thread.fiber!)) this.spans.add(span)
    if (this.open) this.steps.at(-1)?.did.push(thread)
  }

  step(thread: Explorer.Thread): void {
    const fiber = thread.fiber!
    thread.task ??= Waiting.taskOf(fiber)
    for (const span of Waiting.spansIn(fiber)) {
      if (this.spans.has(span)) break
      this.spans.add(span)
      thread.own ??= span.name
      if (this.open) this.steps.at(-1)?.did.push(span.name)
    }
  }

  stops(thread: Explorer.Thread): void {
    const last = this.steps.at(-1)
    if (!this.open || last === undefined) return
    const exit = thread.fiber?.unsafePoll() ?? null
    // It was only told something, and waits on.
    if (exit === null && last.made === thread.steps && last.did.length === 0) this.steps.pop()
    else last.stopped = this.why(thread, exit)
  }

  private why(thread: Explorer.Thread, exit: Exit.Exit<unknown, unknown> | null): string {
    if (exit !== null) {
      return Exit.isSuccess(exit) ? "ends" : Cause.isInterruptedOnly(exit.cause) ? "is cancelled" : "fails"
    }
    if (thread.held) return "is held up"
    if (thread.pending) return "lets others go on"
    const fiber = thread.fiber!
    const until = this.until.get(fiber)
    this.until.delete(fiber)
    if (until !== undefined)
      return until === Number.POSITIVE_INFINITY ? "sleeps for ever" : `sleeps until ${until} ms`
    const all = this.explorer!.threads.flatMap((one) => one.fiber ?? [])
    return `waits ${Waiting.waitOf(fiber, all, (id) => `\0${id}\0`, false)}`
  }

  /** From here on it is clean-up. */
  close(): void {
    // Whose end it is has not stopped yet.
    const last = this.steps.at(-1)
    if (last !== undefined) last.stopped = this.why(last.thread, last.thread.fiber?.unsafePoll() ?? null)
    this.open = false
  }

  result(): ReadonlyArray<Step> {
    const threads = this.explorer!.threads
    const plain = threads.map((one, i) => one.task ?? one.own ?? (i === 0 ? "main" : `fiber ${i}`))
    const names = new Map<Explorer.Thread, string>()
    const ids = new Map<string, string>()
    for (const [i, thread] of threads.entries()) {
      const name = plain[i]!
      const same = plain.filter((one) => one === name).length
      const which = plain.slice(0, i + 1).filter((one) => one === name).length
      names.set(thread, same === 1 ? name : `${name} (${which})`)
      if (thread.fiber !== undefined) ids.set(String(thread.fiber.id().id), names.get(thread)!)
    }
    const told = (text: string) =>
      text.replace(/\0(\d+)\0/g, (_, id: string) => ids.get(id) ?? `fiber #${id}`)
    return this.steps.map(({ did, stopped, thread, time }) => ({
      fiber: names.get(thread) ?? "?",
      time,
      did: did
        .map((one) => (typeof one === "string" ? one : `starts ${names.get(one)}`))
        .filter((one) => one !== thread.own),
      stopped: told(stopped)
    }))
  }
}

// shrinking

/** So many runs are spent on it. */
const shrinkRuns = 400

// Whether two runs have failed in the same way: numbers in a message may differ.
const signature = (exit: Exit.Exit<unknown, unknown>): string => {
  if (Exit.isSuccess(exit)) return "success"
  if (Cause.isInterruptedOnly(exit.cause)) return "interrupted"
  const error = Cause.squash(exit.cause) as { readonly _tag?: unknown; readonly name?: unknown } | null
  return `${Cause.isFailure(exit.cause) ? "fail" : "die"} ${String(error?._tag ?? error?.name ?? error)}`
}

type Switches = ReadonlyArray<Switch>

// Gives the switches that were made in fact when the run still fails in the same way, else undefined.
type Attempt = (switches: Switches) => Effect.Effect<Switches | undefined>

// Takes away halves, quarters and so on of them, as long as it still fails (Zeller's delta debugging).
const withoutNeedless = (attempt: Attempt, found: Switches) =>
  Effect.gen(function* () {
    let rest = found
    let parts = 1
    while (rest.length > 0) {
      const size = Math.ceil(rest.length / parts)
      let shorter: Switches | undefined
      for (let from = 0; from < rest.length && shorter === undefined; from += size) {
        const fewer = yield* attempt([...rest.slice(0, from), ...rest.slice(from + size)])
        if (fewer !== undefined && fewer.length < rest.length) shorter = fewer
      }
      if (shorter !== undefined) {
        rest = shorter
        parts = Math.max(1, parts - 1)
      } else if (size === 1) break
      else parts = Math.min(rest.length, parts * 2)
    }
    return rest
  })

// Where one switch would do, it may be one that was not among those drawn: each place is tried.
const single = (attempt: Attempt, places: Switches) =>
  Effect.gen(function* () {
    for (const place of places) {
      const one = yield* attempt([place])
      if (one !== undefined && one.length <= 1) return one
    }
    return undefined
  })

// The plain order, but told of every place where another could go on.
const noting = (places: Array<Switch>): Explorer.Policy => ({
  hold: (running, ready) => {
    for (const { path: to } of ready) {
      places.push({ fiber: running.path, step: running.steps, stop: 0, held: true, to })
    }
    return undefined
  },
  pick: (stopped, ready) => {
    for (const { path: to } of ready.slice(1)) {
      places.push({ fiber: stopped.path, step: stopped.steps, stop: stopped.stop, held: false, to })
    }
    return ready[0]!
  }
})

// exploring

const numberOf = (seed: Seed): number => (seed.kind === "plain" ? 0 : seed.seed)

const explain = <A, E>(
  host: Host,
  program: Effect.Effect<A, E>,
  seed: Seed,
  run: number,
  failed: Outcome<A, E>
): Effect.Effect<InterleavingFailed> =>
  Effect.gen(function* () {
    const number = numberOf(seed)
    const wanted = signature(failed.exit)
    let left = shrinkRuns
    const attempt: Attempt = (switches) =>
      Effect.suspend(() => {
        if (left-- <= 0) return Effect.succeed(undefined)
        return Effect.map(runOnce(host, program, Explorer.guided(switches), number), ({ exit, explorer }) =>
          signature(exit) === wanted ? explorer.switches : undefined
        )
      })
    const same = yield* attempt(failed.explorer.switches)
    let switches = same ?? failed.explorer.switches
    if (same !== undefined) {
      switches = yield* withoutNeedless(attempt, same)
      if (switches.length > 1) {
        const places: Array<Switch> = []
        yield* runOnce(host, program, noting(places), number)
        switches = (yield* single(attempt, places)) ?? switches
      }
    }
    const told = yield* runOnce(host, program, Explorer.guided(switches), number, new Tracer())
    return new InterleavingFailed({
      seed: writeSeed(seed),
      run,
      cause: Exit.isFailure(told.exit) && same !== undefined ? told.exit.cause : causeOf(failed.exit),
      switches,
      steps: told.steps,
      again: same !== undefined && signature(told.exit) === wanted
    })
  })

const causeOf = (exit: Exit.Exit<unknown, unknown>): Cause.Cause<unknown> =>
  Exit.isFailure(exit) ? exit.cause : Cause.empty

// With the runtime of the caller, whose scope is the program's: what it acquires there outlives the run.
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
 * Runs the program again and again, in virtual time, each time with its fibers in another order, until it fails. Every
 * step of a fiber may be one where another goes on. The order that was found is then made as simple as can be.
 *
 * Fails with {@link InterleavingFailed} when a run fails, dies, is interrupted or comes to a deadlock; its message has
 * the steps, by the names of tasks and spans. The same program and options try the same orders: what was found once is
 * found again. Real work (sockets, files, timers) in the program is waited for, but not in the same order each time.
 *
 * Each run starts from nothing only if the program does: make its state (`Ref.make`) inside. Random numbers come from
 * the run's seed, and logs are kept off.
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
          const seed: Seed =
            run === 1
              ? { kind: "plain" }
              : strategy === "random"
                ? { kind: "random", seed: number }
                : { kind: "pct", seed: number, depth, choices }
          const outcome = yield* runOnce(host, own, policyOf(seed), numberOf(seed))
          if (Exit.isFailure(outcome.exit)) return yield* yield* explain(host, own, seed, run, outcome)
          const { explorer } = outcome
          choices = Math.max(choices, explorer.choices)
          steps = Math.max(steps, explorer.steps)
          orders.add(JSON.stringify(explorer.switches))
          // Let the program's surroundings have their turn.
          yield* EventLoop.nextTurn
        }
        return { runs, orders: orders.size, steps }
      }).pipe(Effect.scoped)
    ) as Effect.Effect<Explored, InterleavingFailed, R>
)

/**
 * Runs the program once in the order that a seed stands for, as {@link InterleavingFailed} has named it. Gives its
 * result, or fails as {@link explore} does. Dies of a text that is no seed.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Interleave } from "effect-asyncio/testing"
 *
 * export const again = Effect.succeed(1).pipe(Interleave.replay("random/17"))
 * ```
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
        const seed = readSeed(text)
        if (seed === undefined) {
          return yield* Effect.dieMessage(
            `Interleave.replay: '${text}' is no seed; give one that was reported, like "random/17" or "pct/17/3/240"`
          )
        }
        const host = yield* open(caller, options)
        const own = program as Effect.Effect<A, E>
        const outcome = yield* runOnce(host, own, policyOf(seed), numberOf(seed))
        if (Exit.isFailure(outcome.exit)) return yield* yield* explain(host, own, seed, 1, outcome)
        return outcome.exit.value
      }).pipe(Effect.scoped)
    ) as Effect.Effect<A, InterleavingFailed, R>
)

// for test runners

/** What is needed of `it`: that of vitest, `@effect/vitest` and `node:test` will do. */
export type TestFunction = (name: string, body: (context: any) => Promise<void>, timeout?: number) => unknown

/** A test that passes when no order of its program's fibers fails. The timeout is in ms; by default the runner's own. */
export type Interleaving = (
  name: string,
  program: Effect.Effect<unknown, unknown, Scope.Scope>,
  options?: Options & { readonly timeout?: number | undefined }
) => void

/**
 * `it` with `it.interleave`, which explores a program: the test fails with the steps of the order that was found.
 * A program may need a scope; it is one of each run. Tests are cancelled with their runner's signal, where it has one.
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
