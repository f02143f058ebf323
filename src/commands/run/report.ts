import { Cause, Effect, Exit } from "effect"
import * as EventLine from "../../services/host/EventLine.js"
import type * as Events from "../../services/host/Events.js"
import * as ExitCodes from "../../services/host/ExitCodes.js"
import * as Failures from "../../services/host/Failures.js"
import * as Output from "../../services/host/Output.js"
import * as Cancellation from "../../services/task/Cancellation.js"
import { headline } from "../../services/task/Causes.js"

type Ended = Pick<
  Extract<typeof Events.Run.Type, { readonly event: "finished" }>,
  "exitCode" | "reason" | "status"
>

const endOf = (exit: Exit.Exit<unknown, unknown>): Ended => {
  if (Exit.isSuccess(exit)) return { status: "succeeded", exitCode: ExitCodes.codes.ok }
  const { cause } = exit
  if (Cause.isInterruptedOnly(cause)) {
    const reason = Cancellation.fromCause(cause)[0]?.reason ?? "cancelled"
    return { status: "cancelled", reason, exitCode: ExitCodes.cancelled(reason) }
  }
  const exitCode = Failures.exitCode(cause)
  const status = exitCode === ExitCodes.codes.timedOut ? "timed_out" : "failed"
  return { status, reason: headline(cause).replace(/^aio run: /, ""), exitCode }
}

/**
 * Runs the program with its start and its end as events on stderr, for `--json`: stdout is the program's own. The time is
 * the real one.
 */
export const events = <A, E, R>(
  name: string,
  program: Effect.Effect<A, E, R>
): Effect.Effect<A, E, R | Output.Output> =>
  Effect.suspend(() => {
    const begun = performance.now()
    const item = { index: 1, name }
    const print = (event: typeof Events.Run.Type) => Output.note(EventLine.encode(event))
    return Effect.zipRight(print({ event: "started", ...item, pid: process.pid }), program).pipe(
      Effect.onExit((exit) =>
        print({
          event: "finished",
          ...item,
          duration: EventLine.ms(performance.now() - begun),
          ...endOf(exit)
        })
      )
    )
  })
