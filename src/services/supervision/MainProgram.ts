import { Cause, Deferred, Effect, Exit, Fiber, FiberRef, Option } from "effect"
import { codes } from "../host/ExitCodes.js"
import * as Failures from "../host/Failures.js"
import * as Output from "../host/Output.js"
import * as Signals from "../host/Signals.js"
import * as Cancellation from "../task/Cancellation.js"
import { nextTurn } from "../task/EventLoop.js"
import * as Unobserved from "../task/Unobserved.js"
import { guarded } from "../text/Foreign.js"

// A program as the main program of a process: signals cancel it, what it leaves behind is cancelled and awaited, each
// failure is reported once, and its end has an exit code.

type AnyFiber = Fiber.RuntimeFiber<unknown, unknown>

// Inherited by every fiber that a supervised program starts, daemons included: it distinguishes them from other fibers.
const family = FiberRef.unsafeMake<object | undefined>(undefined)

/** The exit code of a program during whose clean-up a signal may have come. */
export const settle = (code: number, late: Signals.Name | undefined): number =>
  code === codes.ok && late !== undefined ? Signals.exitCode(late) : code

// Effect's run loop reads a property of a thrown value. A proxy that throws there breaks the fiber, which from then on
// neither runs nor handles messages. An intact fiber handles them between two steps.
const isBroken = (fiber: AnyFiber): Effect.Effect<boolean> =>
  Effect.raceFirst(Effect.as(fiber.status, false), Effect.as(Effect.repeatN(nextTurn, 100), true))

/** How a program has ended, with its exit code. */
export interface Supervised {
  readonly code: number
  readonly exit: Exit.Exit<unknown, unknown>
}

/** Settings of {@link supervise}; see `Run`. */
export interface Options {
  readonly unobserved?: boolean | undefined
  readonly cwd?: string | undefined
  readonly disableErrorReporting?: boolean | undefined
}

/** Runs a program to its end. `isOurs`: which fibers end with it; those that it has started, unless given. */
export const supervise = <A, E, R>(
  program: Effect.Effect<A, E, R>,
  options: Options,
  isOurs = (fiber: AnyFiber, token: object): boolean => fiber.getFiberRef(family) === token
): Effect.Effect<Supervised, never, R | Output.Output | Signals.Signals> =>
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
        report(
          cause,
          `error in fiber #${fiber}${span === undefined ? "" : ` (${span})`} that was never joined`
        )

      // A daemon, because a broken fiber would prevent the end of its parent.
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
          // The message about stdout needs no label.
          const label = guarded(() => event.error instanceof Output.OutputError, false)
            ? undefined
            : "uncaught error"
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
        const exit = Exit.die(new Error("the fiber of the program is broken"))
        return { code: settle(codes.failed, yield* signals.first), exit }
      }
      const exit = Exit.isSuccess(waited) ? waited.value! : yield* Fiber.interrupt(main)
      const signal = yield* signals.first
      if (Exit.isFailure(exit) && options.disableErrorReporting !== true) {
        yield* report(exit.cause)
        if (signal === undefined && !failed && Cause.isInterruptedOnly(exit.cause)) {
          const [why] = Cancellation.fromCause(exit.cause)
          yield* output.note(
            `error: cancelled${why === undefined ? "" : `: ${why.reason} (by ${why.origin})`}`
          )
        }
      }

      // As asyncio.run does: fibers that still run are cancelled and awaited, and fibers that those start in turn.
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

      // A failure to write is reported by then.
      yield* Effect.zipRight(output.flushed, nextTurn)
      const code =
        signal !== undefined
          ? Signals.exitCode(signal)
          : Exit.isFailure(exit)
            ? Failures.exitCode(exit.cause)
            : failed
              ? codes.failed
              : codes.ok
      return { code: settle(code, yield* signals.first), exit }
    })
  ).pipe(
    // A failure is reported here, once; Effect would log it too.
    Effect.locally(FiberRef.unhandledErrorLogLevel, Option.none()),
    // A user's file has its own copy of `effect`.
    Effect.locally(FiberRef.versionMismatchErrorLogLevel, Option.none())
  )
