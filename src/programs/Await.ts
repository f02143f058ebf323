import { fileURLToPath } from "node:url"
import { Data, Effect, Fiber, FiberRef, Function as Fn, GlobalValue, Option } from "effect"
import * as Output from "../services/host/Output.js"
import * as Diagnostics from "../services/source/Diagnostics.js"

// effects that are made and never run

/** A place in a source file; lines and columns count from 1. */
export interface Site {
  readonly file: string
  readonly line: number
  readonly column: number
}

/** An effect that was made inside {@link tracking} and never run, and where it was made, if the stack told. */
export class NeverRunWarning extends Data.TaggedClass("NeverRunWarning")<{
  readonly name: string
  readonly site: Option.Option<Site>
}> {
  get message() {
    const where = Option.match(this.site, {
      onNone: () => "",
      onSome: ({ file, line }) => ` at ${file}:${line}`
    })
    return `NeverRunWarning: effect '${this.name}' was made${where} and never run`
  }
}

// A stack is captured for each effect made and turned into text only for those that are reported.
interface Made {
  readonly name: string
  readonly trace: { readonly stack?: unknown }
}

// A FiberRef of which there is one even where a user's file loads a second copy of us.
const made = GlobalValue.globalValue("effect-asyncio/programs/Await/made", () =>
  FiberRef.unsafeMake<Set<Made> | undefined>(undefined)
)

// A program may format stacks in its own way (Error.prepareStackTrace); then they name no place.
const siteOf = (stack: unknown): Option.Option<Site> => {
  for (const frame of typeof stack === "string" ? stack.split("\n").slice(1) : []) {
    const match = /\(?((?:file:\/\/)?[^()\s][^()]*):(\d+):(\d+)\)?$/.exec(
      frame.replace(/^\s*at (async )?/, "")
    )
    // Made by a callback that Effect or Node called: the caller above it says more.
    if (match === null || /^node:|\/node_modules\/effect\//.test(match[1]!)) continue
    const file = match[1]!.startsWith("file://") ? fileURLToPath(match[1]!) : match[1]!
    return Option.some({ file, line: Number(match[2]), column: Number(match[3]) })
  }
  return Option.none()
}

type Body<Args extends ReadonlyArray<any>, A, E, R> = (...args: Args) => Effect.Effect<A, E, R>

const track = <A, E, R>(
  name: string,
  effect: Effect.Effect<A, E, R>,
  caller: (...args: Array<any>) => unknown
): Effect.Effect<A, E, R> => {
  const set = Option.getOrUndefined(Fiber.getCurrentFiber())?.getFiberRef(made)
  if (set === undefined) return effect
  const trace = {}
  Error.captureStackTrace(trace, caller)
  const one: Made = { name, trace }
  set.add(one)
  return Effect.suspend(() => {
    set.delete(one)
    return effect
  })
}

/**
 * Gives an effect a name under which {@link tracking} misses it when it is made and never run; of a function, each
 * call makes one (Python's `async def`). Made outside of `tracking`, or by code that no fiber is running, it is the
 * effect as it was.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import * as Await from "effect-asyncio/programs/Await"
 *
 * const save = Await.tracked("save", (text: string) => Effect.log(`saving ${text}`))
 *
 * export const program = Await.tracking(
 *   Effect.gen(function* () {
 *     yield* save("one")
 *     const forgotten = save("two")
 *     return typeof forgotten
 *   })
 * ) // logs: NeverRunWarning: effect 'save' was made at FILE:9 and never run
 * ```
 */
export const tracked: {
  <A, E, R>(name: string, effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R>
  <Args extends ReadonlyArray<any>, A, E, R>(
    name: string,
    body: Body<Args, A, E, R>
  ): (...args: Args) => Effect.Effect<A, E, R>
} = (name: string, what: Effect.Effect<any, any, any> | Body<Array<any>, any, any, any>): any => {
  // A Tag is a class and an effect.
  if (Effect.isEffect(what)) return track(name, what, tracked)
  const body = what as Body<Array<any>, any, any, any>
  const make = (...args: Array<any>) => track(name, body(...args), make)
  return make
}

/** Settings of {@link tracking}. */
export interface TrackingOptions<R = never> {
  /** Told of each effect that was made and never run, in the order in which they were made. Default: logs a warning. */
  readonly report?: (warning: NeverRunWarning) => Effect.Effect<void, never, R>
}

const warn = (warning: NeverRunWarning): Effect.Effect<void> => Effect.logWarning(warning.message)

/** What was made in the innermost {@link tracking} and has not run so far, in the order in which it was made. */
export const neverRun: Effect.Effect<ReadonlyArray<NeverRunWarning>> = Effect.map(FiberRef.get(made), (set) =>
  Array.from(set ?? [], ({ name, trace }) => new NeverRunWarning({ name, site: siteOf(trace.stack) }))
)

/**
 * Runs the effect and reports, when it has ended (however it ended), what {@link tracked} made in it and nobody ever
 * started, as Python warns of a coroutine that was never awaited. What has started once is not reported, nor is what
 * is made in a `tracking` of its own inside.
 */
export const tracking: {
  <R2 = never>(
    options?: TrackingOptions<R2>
  ): <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R | R2>
  <A, E, R, R2 = never>(
    effect: Effect.Effect<A, E, R>,
    options?: TrackingOptions<R2>
  ): Effect.Effect<A, E, R | R2>
} = Fn.dual(
  (args) => Effect.isEffect(args[0]),
  <A, E, R, R2 = never>(effect: Effect.Effect<A, E, R>, options?: TrackingOptions<R2>) =>
    Effect.suspend(() => {
      const report: (warning: NeverRunWarning) => Effect.Effect<void, never, R2> = options?.report ?? warn
      const told = Effect.flatMap(neverRun, (warnings) => Effect.forEach(warnings, report, { discard: true }))
      return Effect.locally(Effect.ensuring(effect, told), made, new Set())
    })
)

// #region example

const printFoobar1 = tracked("print_foobar1", () => Output.print("foobar1"))

const printFoobar2 = tracked("print_foobar2", () => Output.print("foobar2"))

const foobar = Effect.gen(function* () {
  yield* printFoobar1()
  // @effect-diagnostics-next-line floatingEffect:off
  printFoobar2() // won't run: an effect is a value, and nobody runs this one
})

const run = Effect.gen(function* () {
  yield* foobar
  // @effect-diagnostics-next-line floatingEffect:off
  printFoobar1() // won't run
})
// #endregion
// The command is shipped as one minified file, and stacks name lines of that; a test holds these to the source.
const lines: Readonly<Record<string, number>> = { print_foobar2: 153, print_foobar1: 159 }

// #region example
/**
 * The guide's "ALL YOUR ASYNC BELONGS TO US": prints `foobar1`; tells on stderr of the two effects that are made and
 * never run.
 */
export const example: Effect.Effect<void, never, Output.Output> = tracking(run, {
  report: ({ name }) => {
    const site = { file: "src/programs/Await.ts", line: lines[name] ?? 0, column: 3 }
    return Output.note(new NeverRunWarning({ name, site: Option.some(site) }).message)
  }
})
// #endregion

// what is built and dropped in source code

/** A place in source code where something is built and dropped. */
export class Finding extends Data.TaggedClass("Finding")<Diagnostics.Problem> {
  /** What is dropped, in a few words. */
  get what() {
    return explanations[this.rule].what.replace("CODE", () => this.code)
  }
  /** How to mend it. */
  get mend() {
    return explanations[this.rule].mend
  }
}

const explanations: Readonly<Record<Diagnostics.Rule, { readonly what: string; readonly mend: string }>> = {
  floatingEffect: {
    what: "effect dropped: CODE is built and never runs",
    mend: "put yield* before it, return it, or compose it into an effect that runs"
  },
  floatingStream: {
    what: "stream dropped: CODE is built and never runs",
    mend: "run it, say with yield* Stream.runDrain(…), or return it"
  },
  floatingLayer: {
    what: "layer dropped: CODE is described and never built",
    mend: "provide it to an effect, merge it into a layer that is provided, or run it with Layer.launch"
  },
  floatingEffectInVitest: {
    what: "effect dropped: the test returns CODE, which Vitest does not run",
    mend: "use it.effect of @effect/vitest"
  },
  missingStarInYieldEffectGen: {
    what: "yield without its star: CODE hands the effect out and does not run it",
    mend: "write yield* instead of yield"
  },
  returnEffectInGen: {
    what: "effect returned inside an effect: CODE gives the effect itself, not its result",
    mend: "write return yield*"
  },
  effectInVoidSuccess: {
    what: "effect inside an effect: CODE succeeds with an effect that nobody runs",
    mend: "use Effect.flatMap instead of Effect.map, or add Effect.flatten"
  },
  effectInVoidCallback: {
    what: "effect dropped: a callback gives CODE where nothing is expected, so it never runs",
    mend: "run it there, say with Runtime.runFork, or go through the values in an effect, say with Effect.forEach"
  },
  effectInEffect: {
    what: "effect inside an effect: CODE succeeds with an effect that nobody runs",
    mend: "use Effect.suspend instead of Effect.sync, or add Effect.flatten"
  },
  effectInPromise: {
    what: "effect inside a promise: CODE gives an effect that nobody runs",
    mend: "run it, say with Runtime.runPromise, or make an effect of the promise with Effect.promise and add Effect.flatten"
  },
  effectInFailure: {
    what: "effect as an error: CODE fails with an effect that nobody runs",
    mend: "fail with a value, and run the effect before, say with Effect.tapError"
  },
  promiseInEffectSuccess: {
    what: "promise inside an effect: CODE succeeds with a promise that nobody awaits",
    mend: "make the effect with Effect.promise or Effect.tryPromise, or use Effect.andThen"
  },
  lazyPromiseInEffectSync: {
    what: "promise inside an effect: CODE gives a promise to Effect.sync, which does not await it",
    mend: "use Effect.promise or Effect.tryPromise"
  },
  floatingPromise: {
    what: "promise dropped: nobody awaits CODE, nor hears of its failure",
    mend: "put await before it, return it, give it a .catch, or write void before it if that is meant"
  },
  floatingGenerator: {
    what: "generator dropped: CODE is made and its body never starts",
    mend: "loop over it (for … of, for await … of), or put yield* before it in a generator"
  }
}

/** What {@link find} looked at and found. */
export interface Findings {
  readonly files: ReadonlyArray<string>
  readonly findings: ReadonlyArray<Finding>
  /** Imports that lead nowhere: what they give is not judged. */
  readonly unresolved: ReadonlyArray<Diagnostics.Unresolved>
  /** Places over which TypeScript fails: effects there are not judged. */
  readonly unjudged: ReadonlyArray<Diagnostics.Place>
}

/**
 * Finds the effects, promises and generators that are built and dropped in TypeScript source, before it runs: in the
 * given files, or in all of a project's. The findings come in the order of files and lines.
 *
 * Fails with `AnalyserMissing` when `@effect/tsgo` or TypeScript 7 is not installed, with `InvalidTarget` when a file
 * or project does not exist or does not parse, with `EffectMissing` when a file imports `effect`, or a package built on
 * it, that is not there or not of version 3, with `AnalyserFailed` when an analyser breaks.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import * as Await from "effect-asyncio/programs/Await"
 *
 * export const program = Effect.gen(function* () {
 *   const { findings } = yield* Await.find({ files: [], project: "tsconfig.json" })
 *   for (const { file, line, mend, what } of findings) yield* Effect.log(`${file}:${line} ${what}: ${mend}`)
 * })
 * ```
 */
export const find = Effect.fn("Await.find")(function* (target: Diagnostics.Target) {
  const diagnostics = yield* Diagnostics.Diagnostics
  const { files, problems, unjudged, unresolved } = yield* diagnostics.analyse(target)
  return {
    files,
    findings: problems.map((problem) => new Finding(problem)),
    unresolved,
    unjudged
  } satisfies Findings
})
