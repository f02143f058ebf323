import { Cause, Deferred, Effect, Exit, Fiber, FiberRef, Layer, Logger, Option } from "effect"
import { codes } from "../services/host/ExitCodes.js"
import * as Failures from "../services/host/Failures.js"
import * as Output from "../services/host/Output.js"
import * as Signals from "../services/host/Signals.js"
import * as Modules from "../services/source/Modules.js"
import * as Cancellation from "../services/task/Cancellation.js"
import { keepAlive, nextTurn } from "../services/task/EventLoop.js"
import * as StderrLogger from "../services/task/StderrLogger.js"
import * as Unobserved from "../services/task/Unobserved.js"
import { guarded } from "../services/text/Foreign.js"

// #region example
/** The guide's first program: prints `hi`. */
export const example: Effect.Effect<void, never, Output.Output> = Output.print("hi")
// #endregion

/** How to run a program. */
export interface Options {
  /** Report fibers that have failed while nobody joined them, and exit with 1 for them. Default: true. */
  readonly unobserved?: boolean | undefined
  /** The folder that paths in reports are relative to. Default of `runMain`: the working directory; else `/`. */
  readonly cwd?: string | undefined
}

/** How {@link runMain} runs a program. */
export interface MainOptions extends Options {
  /** Takes the place of Effect's default logger. Default: lines on stderr. */
  readonly logger?: Logger.Logger<unknown, unknown> | undefined
  /**
   * Whether the process has no other purpose, so that what all copies of `effect` in it share may be changed for good.
   * `Logger.defaultLogger` itself then becomes the logger, which `Logger.json` and `Logger.replace(Logger.defaultLogger,
   * …)` in the program replace; else they add to it. And `Supervisor.none` reports fibers, so that unobserved fibers
   * of a copy of `effect` that came with a user's file are found too. Default: false.
   */
  readonly ownProcess?: boolean | undefined
}

type AnyFiber = Fiber.RuntimeFiber<unknown, unknown>

// Inherited by every fiber that a supervised program starts, daemons included: how they are told from others.
const family = FiberRef.unsafeMake<object | undefined>(undefined)

const settle = (code: number, late: Signals.Name | undefined): number =>
  code === codes.ok && late !== undefined ? Signals.exitCode(late) : code

// Effect's run loop looks for a property in what was thrown. A proxy that throws then breaks the fiber, which from then on
// neither runs nor answers. A whole one answers between two of its steps.
const isBroken = (fiber: AnyFiber): Effect.Effect<boolean> =>
  Effect.raceFirst(Effect.as(fiber.status, false), Effect.as(Effect.repeatN(nextTurn, 100), true))

const superviseWith = <A, E, R>(
  program: Effect.Effect<A, E, R>,
  options: Options,
  isOurs: (fiber: AnyFiber, token: object) => boolean
): Effect.Effect<number, never, R | Output.Output | Signals.Signals> =>
  Effect.uninterruptible(
    Effect.gen(function* () {
      const output = yield* Output.Output
      const signals = yield* Signals.Signals
      const unobserved = yield* Unobserved.make
      const broken = yield* Deferred.make<void>()
      const token = {}
      let failed = false

      const style = { colors: output.stderr.colors, cwd: options.cwd ?? "/", told: new WeakSet<object>() }
      const report = (cause: Cause.Cause<unknown>, label?: string) =>
        Effect.suspend(() => {
          const lines = Failures.render(cause, label === undefined ? style : { ...style, label })
          failed ||= lines.length > 0
          return Effect.forEach(lines, output.note, { discard: true })
        })
      const reportLost = ({ cause, fiber, span }: Unobserved.Lost) =>
        report(cause, `error in fiber #${fiber}${span === undefined ? "" : ` (${span})`} that nobody joined`)

      // A daemon: a fiber that is broken would hold up the end of the one that has forked it.
      const main = yield* Effect.forkDaemon(
        (options.unobserved === false ? program : unobserved.watch(program)).pipe(
          Effect.locally(family, token),
          Effect.interruptible
        )
      )
      yield* signals.next.pipe(
        Effect.flatMap((event) => {
          const reason = event._tag === "Signal" ? event.name : "an uncaught error"
          const cancel = Fiber.interruptAsFork(main, Cancellation.toFiberId({ reason, origin: "process" }))
          if (event._tag === "Signal") return cancel
          // That stdout cannot be written to says enough by itself.
          const label = guarded(() => event.error instanceof Output.OutputError, false)
            ? undefined
            : "error that nothing caught"
          return report(Cause.die(event.error), label).pipe(
            Effect.zipRight(cancel),
            Effect.zipRight(Effect.whenEffect(Deferred.succeed(broken, undefined), isBroken(main)))
          )
        }),
        Effect.forever,
        Effect.interruptible,
        Effect.fork
      )
      yield* unobserved.next.pipe(
        Effect.flatMap(reportLost),
        Effect.forever,
        Effect.interruptible,
        Effect.fork
      )

      const over = Effect.raceFirst(Fiber.await(main), Effect.as(Deferred.await(broken), undefined))
      const waited = yield* Effect.exit(Effect.interruptible(over))
      if (Exit.isSuccess(waited) && waited.value === undefined) {
        yield* Effect.zipRight(output.flushed, nextTurn)
        return settle(codes.failed, yield* signals.first)
      }
      const exit = Exit.isSuccess(waited) ? waited.value! : yield* Fiber.interrupt(main)
      const signal = yield* signals.first
      if (Exit.isFailure(exit)) {
        yield* report(exit.cause)
        if (signal === undefined && !failed && Cause.isInterruptedOnly(exit.cause)) {
          const [why] = Cancellation.fromCause(exit.cause)
          yield* output.note(
            `error: cancelled${why === undefined ? "" : `: ${why.reason} (by ${why.origin})`}`
          )
        }
      }

      // As asyncio.run does: what still runs is cancelled and waited for, and what that starts in turn.
      const reason = signal ?? "the program has ended"
      const id = Cancellation.toFiberId({ reason, origin: signal === undefined ? "Run" : "process" })
      const remaining = () =>
        Fiber.unsafeRoots().filter((fiber) => isOurs(fiber as AnyFiber, token)) as ReadonlyArray<AnyFiber>
      for (let fibers = remaining(); fibers.length > 0; fibers = remaining()) {
        for (const fiber of fibers) fiber.unsafeInterruptAsFork(id)
        for (const fiber of fibers) {
          const ended = yield* Fiber.await(fiber)
          if (Exit.isFailure(ended) && !Cause.isInterruptedOnly(ended.cause)) {
            yield* reportLost({ fiber: fiber.id().id, span: undefined, cause: ended.cause })
          }
        }
      }
      for (const lost of yield* unobserved.take) yield* reportLost(lost)

      // What cannot be written is told by then.
      yield* Effect.zipRight(output.flushed, nextTurn)
      const code =
        signal !== undefined
          ? Signals.exitCode(signal)
          : Exit.isFailure(exit)
            ? Failures.exitCode(exit.cause)
            : failed
              ? codes.failed
              : codes.ok
      return settle(code, yield* signals.first)
    })
  ).pipe(
    // What fails is reported here, once; Effect would log it too.
    Effect.locally(FiberRef.unhandledErrorLogLevel, Option.none()),
    // A user's file comes with an `effect` of its own.
    Effect.locally(FiberRef.versionMismatchErrorLogLevel, Option.none())
  )

/**
 * Runs a program as a whole process does, and gives its exit code: the first signal cancels it, fibers that outlive
 * it are cancelled and waited for, what failed is reported on stderr, and once. {@link runMain} without the process.
 *
 * The code is 0; 1 for a failure, a defect, a program that was cancelled without a signal, and for fibers that failed
 * unobserved; the `exitCode` of an error that has one; 124 for a `TimeoutException`; 128 and the signal's number.
 *
 * @example
 * import { Effect, Layer } from "effect"
 * import * as Run from "effect-asyncio/programs/Run"
 * import * as Output from "effect-asyncio/services/Output"
 * import * as Signals from "effect-asyncio/services/Signals"
 *
 * const code = Run.supervise(Effect.fail("no")).pipe(
 *   Effect.provide(Layer.merge(Output.layerTest, Signals.layerTest))
 * )
 * Effect.runPromise(code) // 1
 */
export const supervise = <A, E, R>(
  program: Effect.Effect<A, E, R>,
  options: Options = {}
): Effect.Effect<number, never, R | Output.Output | Signals.Signals> =>
  superviseWith(program, options, (fiber, token) => fiber.getFiberRef(family) === token)

/**
 * Runs a program as this process: `asyncio.run` for a whole executable. What {@link supervise} says, with the
 * process's own signals and streams; the process stays alive while fibers wait, a second signal ends it at once, and
 * Effect's log goes to stderr. Call it once, last. It ends the process, whatever handles are still open.
 *
 * This is the one place where effects are run and the process is touched: programs elsewhere only describe.
 *
 * @example
 * import { Effect } from "effect"
 * import * as Run from "effect-asyncio/programs/Run"
 *
 * Run.runMain(Effect.never.pipe(Effect.ensuring(Effect.log("closed in order"))))
 */
export const runMain = <A, E>(
  program: Effect.Effect<A, E, Output.Output | Signals.Signals>,
  options: MainOptions = {}
): void => {
  // Node ends when no timer and no handle is left, even while fibers wait for each other.
  keepAlive()
  const cwd = options.cwd ?? process.cwd()
  const ended = Effect.gen(function* () {
    const output = yield* Output.Output
    const logger = options.logger ?? StderrLogger.stderr(output, cwd)
    const supervised = Effect.withFiberRuntime<number, never, Output.Output | Signals.Signals>((self) =>
      superviseWith(program, { ...options, cwd }, (fiber) => fiber !== (self as AnyFiber))
    )
    if (options.ownProcess !== true)
      return yield* Effect.provide(supervised, Logger.replace(Logger.defaultLogger, logger))
    Object.assign(Logger.defaultLogger, logger)
    return yield* Effect.zipRight(Unobserved.watchEveryCopy, supervised)
  }).pipe(
    Effect.provide(Output.layer),
    // Closing the output has written the rest; that nobody reads it is told in the next turn.
    Effect.zipLeft(nextTurn),
    Effect.flatMap((code) =>
      Effect.map(Signals.Signals, (signals) => signals.first).pipe(
        Effect.flatten,
        Effect.map((late) => settle(code, late))
      )
    ),
    Effect.provide(Signals.layer)
  )
  Effect.runFork(ended).addObserver((exit) => process.exit(Exit.getOrElse(exit, () => codes.failed)))
}

const describe = (value: unknown): string => {
  if (value === null || value === undefined) return String(value)
  if (typeof value === "function") return "a class"
  if (typeof value !== "object") return `a ${typeof value}`
  if (Layer.isLayer(value)) return "a Layer (give Layer.launch of it)"
  if ("~effect/Effect" in value)
    return "an Effect of another major version (effect 3.17 and later 3.x are run here)"
  if (Symbol.iterator in value && "next" in value) return "a generator (give Effect.gen of its function)"
  return Array.isArray(value) ? "an array" : "an object"
}

const isPromise = (value: unknown): value is PromiseLike<unknown> =>
  typeof value === "object" && value !== null && "then" in value && typeof value.then === "function"

const isClass = (value: object): boolean => /^class\b/.test(Function.prototype.toString.call(value))

const noProgram = (found: Modules.Export, what: string) =>
  new Modules.ModuleError({
    reason: "NotProgram",
    file: found.file,
    message: `${found.file}: export '${found.name}' ${what}; a program is an Effect, or a function that returns an Effect or a promise`
  })

const fromPromise = (promise: PromiseLike<unknown>): Effect.Effect<unknown, unknown> =>
  Effect.async((resume) => {
    promise.then(
      (value) => resume(Effect.isEffect(value) ? (value as Effect.Effect<unknown, unknown>) : Effect.void),
      (error) => resume(Effect.fail(error))
    )
  })

// An older `effect` shares neither references nor services with another copy, and refuses that copy's effects.
const tooOld = (value: Effect.Effect<unknown, unknown>): string | undefined => {
  const { _V: version } = value[Effect.EffectTypeId]
  const [major, minor] = version.split(".").map(Number)
  return major === 3 && minor! < 17 ? version : undefined
}

/**
 * What an export of a file means as a program: an Effect is itself; a function is called, without arguments, and
 * gives an Effect or a promise. A promise is waited for, but nothing can cancel what it stands for. Fails with
 * `ModuleError` for anything else. The program's scope, when it needs one, is closed at its end.
 */
export const fromExport = (found: Modules.Export): Effect.Effect<unknown, unknown> => {
  const interpret = (value: unknown, verb: string): Effect.Effect<unknown, unknown> => {
    if (isPromise(value)) return fromPromise(value)
    if (!Effect.isEffect(value)) return Effect.fail(noProgram(found, `${verb} ${describe(value)}`))
    const effect = value as Effect.Effect<unknown, unknown>
    const version = tooOld(effect)
    return version === undefined
      ? Effect.scoped(effect)
      : Effect.fail(
          noProgram(found, `${verb} an Effect of effect ${version} (3.17 and later 3.x are run here)`)
        )
  }
  return Effect.suspend(() => {
    const { value } = found
    if (Effect.isEffect(value) || typeof value !== "function" || isClass(value)) return interpret(value, "is")
    return interpret(value(), "returned")
  })
}

/**
 * The program in a file: its export of this name, or else `default` or `main`. It finds the services that are in the
 * context; which ones it needs is not known before it runs. Fails with `ModuleError` and `ModuleThrew`.
 */
export const load = (file: string, exportName?: string) =>
  Effect.flatMap(Modules.Modules, (modules) =>
    Effect.map(modules.load(file, exportName === undefined ? undefined : [exportName]), fromExport)
  )
