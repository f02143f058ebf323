import { Data, Effect, Option } from "effect"
import type * as Events from "../services/host/Events.js"
import { codes } from "../services/host/ExitCodes.js"
import * as Output from "../services/host/Output.js"
import type * as Analysis from "../services/source/Analysis.js"
import * as Diagnostics from "../services/source/Diagnostics.js"
import type { DiagnosticsError } from "../services/source/DiagnosticsError.js"
import * as Tracked from "../services/task/Tracked.js"

// #region example
const printFoobar1 = Tracked.tracked("print_foobar1", () => Output.print("foobar1"))

const printFoobar2 = Tracked.tracked("print_foobar2", () => Output.print("foobar2"))

const foobar = Effect.gen(function* () {
  yield* printFoobar1()
  // @effect-diagnostics-next-line floatingEffect:off
  printFoobar2() // won't run: an effect is a value, and this one is dropped
})

const run = Effect.gen(function* () {
  yield* foobar
  // @effect-diagnostics-next-line floatingEffect:off
  printFoobar1() // won't run
})

/**
 * The guide's "ALL YOUR ASYNC BELONGS TO US": prints `foobar1`, and reports on stderr the two effects that are made and
 * never run.
 *
 * @since 0.1.0
 * @category examples
 */
export const example: Effect.Effect<void, never, Output.Output> = Tracked.tracking(run, {
  report: ({ message }) => Output.note(message)
})
// #endregion

/**
 * {@link example} with the places of its warnings from `siteOf`: the command is one minified file, so its stacks do not
 * name lines of the source.
 *
 * @since 0.1.0
 * @category examples
 */
export const exampleAt = (
  siteOf: (name: string) => Tracked.Site
): Effect.Effect<void, never, Output.Output> =>
  Tracked.tracking(run, {
    report: ({ name }) =>
      Output.note(new Tracked.NeverRunWarning({ name, site: Option.some(siteOf(name)) }).message)
  })

// effects that are built and dropped in source code

/**
 * A place in source code where an effect, a promise or a generator is built and dropped.
 *
 * @since 0.1.0
 * @category models
 */
export class Finding extends Data.TaggedClass("Finding")<Analysis.Problem> {
  /** The problem, in a few words. */
  get what() {
    return explanations[this.rule].what.replace("CODE", () => this.code)
  }
  /** How to fix it. */
  get mend() {
    return explanations[this.rule].mend
  }
}

const explanations: Readonly<Record<Analysis.Rule, { readonly what: string; readonly mend: string }>> = {
  floatingEffect: {
    what: "effect dropped: CODE is built and never runs",
    mend: "put yield* before it, return it, or compose it into an effect that runs"
  },
  floatingStream: {
    what: "stream dropped: CODE is built and never runs",
    mend: "run it, for instance with yield* Stream.runDrain(…), or return it"
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
    what: "yield without its star: CODE passes the effect out of the generator and does not run it",
    mend: "write yield* instead of yield"
  },
  returnEffectInGen: {
    what: "effect returned inside an effect: CODE returns the effect itself, not its result",
    mend: "write return yield*"
  },
  effectInVoidSuccess: {
    what: "effect inside an effect: CODE succeeds with an effect that never runs",
    mend: "use Effect.flatMap instead of Effect.map, or add Effect.flatten"
  },
  effectInVoidCallback: {
    what: "effect dropped: a callback returns CODE where its result is ignored, so it never runs",
    mend: "run it there, for instance with Runtime.runFork, or loop in an effect, for instance with Effect.forEach"
  },
  effectInEffect: {
    what: "effect inside an effect: CODE succeeds with an effect that never runs",
    mend: "use Effect.suspend instead of Effect.sync, or add Effect.flatten"
  },
  effectInPromise: {
    what: "effect inside a promise: CODE resolves to an effect that never runs",
    mend: "run it, for instance with Runtime.runPromise, or make an effect of the promise with Effect.promise and add Effect.flatten"
  },
  effectInFailure: {
    what: "effect as an error: CODE fails with an effect that never runs",
    mend: "fail with a value, and run the effect before, for instance with Effect.tapError"
  },
  promiseInEffectSuccess: {
    what: "promise inside an effect: CODE succeeds with a promise that is never awaited",
    mend: "make the effect with Effect.promise or Effect.tryPromise, or use Effect.andThen"
  },
  lazyPromiseInEffectSync: {
    what: "promise inside an effect: CODE returns a promise to Effect.sync, which does not await it",
    mend: "use Effect.promise or Effect.tryPromise"
  },
  floatingPromise: {
    what: "promise dropped: CODE is never awaited, and its failure is lost",
    mend: "put await before it, return it, give it a .catch, or write void before it if that is intended"
  },
  floatingGenerator: {
    what: "generator dropped: CODE is made and its body never starts",
    mend: "loop over it (for … of, for await … of), or put yield* before it in a generator"
  }
}

/**
 * The files that {@link find} analysed, and its findings.
 *
 * @since 0.1.0
 * @category models
 */
export interface Findings {
  readonly files: ReadonlyArray<string>
  readonly findings: ReadonlyArray<Finding>
  /** Imports that cannot be resolved: their values are not checked. */
  readonly unresolved: ReadonlyArray<Analysis.Unresolved>
  /** Places for which TypeScript gives no type: effects there are not checked. */
  readonly unjudged: ReadonlyArray<Analysis.Place>
}

/**
 * The findings as the events of `aio await --json`.
 *
 * @since 0.1.0
 * @category functions
 */
export const events = ({
  files,
  findings,
  unjudged,
  unresolved
}: Findings): ReadonlyArray<typeof Events.Await.Type> => {
  const [lost] = unresolved
  const [blind] = unjudged
  return [
    ...findings.map(({ code, column, file, line, mend, rule, what }) => ({
      event: "finding" as const,
      ...{ file, line, column, rule, code, reason: what, mend }
    })),
    ...(lost === undefined ? [] : [{ event: "unresolved" as const, count: unresolved.length, ...lost }]),
    ...(blind === undefined ? [] : [{ event: "unjudged" as const, count: unjudged.length, ...blind }]),
    {
      event: "summary",
      files: files.length,
      findings: findings.length,
      unresolved: unresolved.length,
      unjudged: unjudged.length,
      exitCode: findings.length > 0 ? codes.failed : codes.ok
    }
  ]
}

/**
 * Finds the effects, promises and generators that are built and dropped in TypeScript source, before it runs: in the
 * given files, or in all of a project's. The findings are in the order of files and lines.
 *
 * Fails with `AnalyserMissing` when `@effect/tsgo` or TypeScript 7 is not installed, with `InvalidTarget` when a file
 * or project does not exist or does not parse, with `EffectMissing` when a file imports `effect`, or a package built on
 * it, that is not installed or not of version 3, with `AnalyserFailed` when an analyser breaks.
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
 *
 * @since 0.1.0
 * @category effects
 */
export const find = Effect.fn("Await.find")(function* (
  target: Analysis.Target
): Effect.fn.Return<Findings, DiagnosticsError, Diagnostics.Diagnostics> {
  const diagnostics = yield* Diagnostics.Diagnostics
  const { files, problems, unjudged, unresolved } = yield* diagnostics.analyse(target)
  return {
    files,
    findings: problems.map((problem) => new Finding(problem)),
    unresolved,
    unjudged
  }
})
