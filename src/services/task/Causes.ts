import { Cause, Effect, Exit } from "effect"
import { isError, printable } from "../text/Foreign.js"
import * as Printable from "../text/Printable.js"

const ofError = (error: unknown): string => {
  if (typeof error === "object" && error !== null) {
    const { _tag, message, name } = error as { _tag?: unknown; message?: unknown; name?: unknown }
    if (typeof message === "string" && message !== "") return message
    if (isError(error) && typeof name === "string") return name
    if (typeof _tag === "string") return _tag
  }
  return String(error)
}

/**
 * A cause in one short line, for reasons and reports; an error that cannot be read is reported as such.
 *
 * @since 0.1.0
 * @category formatting
 */
export const headline = (cause: Cause.Cause<unknown>): string =>
  Cause.isInterruptedOnly(cause)
    ? "cancelled"
    : Printable.line(printable("an error", () => ofError(Cause.squash(cause)).split("\n", 1)[0] ?? ""))

type Join = <E>(left: Cause.Cause<E>, right: Cause.Cause<E>) => Cause.Cause<E>

const joined =
  (join: Join): Join =>
  (left, right) =>
    Cause.isEmptyType(left) ? right : Cause.isEmptyType(right) ? left : join(left, right)

/**
 * Both causes, the second after the first; without empty ones.
 *
 * @since 0.1.0
 * @category functions
 */
export const sequential: Join = joined(Cause.sequential)

/**
 * Both causes, side by side; without empty ones.
 *
 * @since 0.1.0
 * @category functions
 */
export const parallel: Join = joined(Cause.parallel)

/**
 * The cause without its interruptions: the failures and defects of a cancelled effect, from its clean-up or an
 * uninterruptible region. Empty if there are none.
 *
 * @since 0.1.0
 * @category functions
 */
export const failures = <E>(cause: Cause.Cause<E>): Cause.Cause<E> =>
  Cause.match<Cause.Cause<E>, E>(cause, {
    onEmpty: Cause.empty,
    onFail: Cause.fail,
    onDie: Cause.die,
    onInterrupt: () => Cause.empty,
    onSequential: sequential,
    onParallel: parallel
  })

/**
 * {@link failures} of an exit; empty for a success.
 *
 * @since 0.1.0
 * @category functions
 */
export const failuresOf = <A, E>(exit: Exit.Exit<A, E>): Cause.Cause<E> =>
  Exit.isFailure(exit) ? failures(exit.cause) : Cause.empty

/**
 * Fails with the cause, or does nothing if it is empty. For clean-up, which has no error type: its failure is added to the
 * exit of the effect itself.
 *
 * @since 0.1.0
 * @category effects
 */
export const raise = (cause: Cause.Cause<unknown>): Effect.Effect<void> =>
  Cause.isEmptyType(cause) ? Effect.void : Effect.failCause(cause as Cause.Cause<never>)
