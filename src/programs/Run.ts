import type * as CommandExecutor from "@effect/platform/CommandExecutor"
import type * as FileSystem from "@effect/platform/FileSystem"
import type * as Path from "@effect/platform/Path"
import type * as Runtime from "@effect/platform/Runtime"
import type * as Terminal from "@effect/platform/Terminal"
import type * as Worker from "@effect/platform/Worker"
import { Effect, Exit, Layer, Logger } from "effect"
import { dual } from "effect/Function"
import { codes } from "../services/host/ExitCodes.js"
import * as Output from "../services/host/Output.js"
import * as Signals from "../services/host/Signals.js"
import * as MainProgram from "../services/supervision/MainProgram.js"
import { keepAlive, nextTurn } from "../services/task/EventLoop.js"
import * as StderrLogger from "../services/task/StderrLogger.js"
import * as Unobserved from "../services/task/Unobserved.js"

// #region example
/**
 * The guide's first program: prints `hi`.
 *
 * @since 0.1.0
 * @category examples
 */
export const example: Effect.Effect<void, never, Output.Output> = Output.print("hi")
// #endregion

/**
 * Settings of {@link supervise}.
 *
 * @since 0.1.0
 * @category options
 */
export interface Options {
  /** Report fibers that failed unobserved, and exit with 1 for them. Default: true. */
  readonly unobserved?: boolean | undefined
  /** Paths in reports are relative to this folder. Default of `runMain`: the working directory; else `/`. */
  readonly cwd?: string | undefined
}

/**
 * Settings of {@link runMain}.
 *
 * @since 0.1.0
 * @category options
 */
export interface MainOptions extends Options {
  /** Replaces Effect's default logger. Default: lines on stderr. */
  readonly logger?: Logger.Logger<unknown, unknown> | undefined
  /**
   * Whether the process has no other purpose, so that state shared by all copies of `effect` in it may be changed for good.
   * `Logger.defaultLogger` itself then becomes the logger, which `Logger.json` and `Logger.replace(Logger.defaultLogger,
   * …)` in the program replace; else they add to it. And `Supervisor.none` reports fibers, so that unobserved fibers of a
   * user's own copy of `effect` are found too. Default: false.
   */
  readonly ownProcess?: boolean | undefined
  /** Reports no failure of the program; its exit code stays. Default: false. */
  readonly disableErrorReporting?: boolean | undefined
  /** Leaves Effect's default logger as it is, which writes to stdout. Default: false. */
  readonly disablePrettyLogger?: boolean | undefined
  /**
   * Receives the exit of the program, when all has been cleaned up, and ends the process with the code that it passes on.
   * Default: the code of {@link supervise}.
   */
  readonly teardown?: Runtime.Teardown | undefined
}

/**
 * The services that {@link runMain} provides: `Output`, `Signals`, and those of `NodeContext` if `@effect/platform-node` is
 * installed.
 *
 * @since 0.1.0
 * @category models
 */
export type MainServices =
  | Output.Output
  | Signals.Signals
  | CommandExecutor.CommandExecutor
  | FileSystem.FileSystem
  | Path.Path
  | Terminal.Terminal
  | Worker.WorkerManager

/**
 * {@link runMain} without the process: runs a program and returns its exit code. The first signal cancels it, fibers that
 * outlive it are cancelled and awaited, and each failure is reported once, on stderr.
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
 *
 * @since 0.1.0
 * @category effects
 */
export const supervise: {
  (
    options?: Options
  ): <A, E, R>(
    program: Effect.Effect<A, E, R>
  ) => Effect.Effect<number, never, R | Output.Output | Signals.Signals>
  <A, E, R>(
    program: Effect.Effect<A, E, R>,
    options?: Options
  ): Effect.Effect<number, never, R | Output.Output | Signals.Signals>
} = dual(
  (args) => Effect.isEffect(args[0]),
  <A, E, R>(program: Effect.Effect<A, E, R>, options: Options = {}) =>
    Effect.map(MainProgram.supervise(program, options), ({ code }) => code)
)

// No dependency: its name is not resolved before the program runs, and a bundle does not contain it.
const platform: string = "@effect/platform-node/NodeContext"

const nodeContext: Layer.Layer<MainServices> = Layer.unwrapEffect(
  Effect.tryPromise(async () => (await import(platform)).layer as Layer.Layer<MainServices>).pipe(
    Effect.orElseSucceed(() => Layer.empty as Layer.Layer<any>)
  )
)

/**
 * Runs a program as this process: `asyncio.run` for a whole executable. As {@link supervise}, with the process's own
 * signals and streams; the process stays alive while fibers wait, a second signal ends it at once, and Effect's log goes
 * to stderr. Call it once, last. It ends the process, whatever handles are still open. It takes the options of
 * `NodeRuntime.runMain`, provides {@link MainServices}, and changes nothing outside of the program, unless `ownProcess` is
 * set.
 *
 * @example
 * import { Effect } from "effect"
 * import * as Run from "effect-asyncio/programs/Run"
 *
 * Run.runMain(Effect.never.pipe(Effect.ensuring(Effect.log("closed in order"))))
 *
 * @since 0.1.0
 * @category functions
 */
export const runMain: {
  (options?: MainOptions): <A, E>(program: Effect.Effect<A, E, MainServices>) => void
  <A, E>(program: Effect.Effect<A, E, MainServices>, options?: MainOptions): void
} = dual(
  (args) => Effect.isEffect(args[0]),
  (given: Effect.Effect<unknown, unknown, MainServices>, options: MainOptions = {}): void => {
    // `aio` brings its own, and loads them only where a command needs them.
    const program = (
      options.ownProcess === true ? given : Effect.provide(given, nodeContext)
    ) as Effect.Effect<unknown, unknown, Output.Output | Signals.Signals>
    // Node ends when no timer and no handle is left, even while fibers wait for each other.
    keepAlive()
    const cwd = options.cwd ?? process.cwd()
    const ended = Effect.gen(function* () {
      const output = yield* Output.Output
      const logger = options.logger ?? StderrLogger.stderr(output, cwd)
      const supervised = Effect.withFiberRuntime<
        MainProgram.Supervised,
        never,
        Output.Output | Signals.Signals
      >((self) => MainProgram.supervise(program, { ...options, cwd }, (fiber) => fiber !== self))
      if (options.disablePrettyLogger === true) return yield* supervised
      if (options.ownProcess !== true)
        return yield* Effect.provide(supervised, Logger.replace(Logger.defaultLogger, logger))
      Object.assign(Logger.defaultLogger, logger)
      return yield* Effect.zipRight(Unobserved.watchEveryCopy, supervised)
    }).pipe(
      Effect.provide(Output.layer),
      // Closing the output has written the rest; a closed stdout is reported in the next turn.
      Effect.zipLeft(nextTurn),
      Effect.flatMap(({ code, exit }) =>
        Effect.map(Signals.Signals, (signals) => signals.first).pipe(
          Effect.flatten,
          Effect.map((late) => ({ code: MainProgram.settle(code, late), exit }))
        )
      ),
      Effect.provide(Signals.layer)
    )
    Effect.runFork(ended).addObserver((ended) => {
      const { code, exit } = Exit.getOrElse(ended, (cause) => ({
        code: codes.failed,
        exit: Exit.failCause(cause)
      }))
      if (options.teardown === undefined) process.exit(code)
      options.teardown(exit, (code) => process.exit(code))
    })
  }
)
