import type * as Command from "@effect/platform/Command"
import { Duration, Effect } from "effect"
import { anyCount, checkOptions, time } from "../../text/Numbers.js"
import { commandLine } from "../CommandText.js"
import { CommandFailed, CommandTimedOut, OutputTooLarge } from "../ProcessError.js"
import type { Exited, Result } from "../ProcessOutcome.js"

// The part of `run` beyond `start`: collects the output within bounds, and turns the end into a result or a failure.

/** The part of `Processes.RunOptions` for this module, which checks all of it. */
interface Bounds {
  readonly grace?: Duration.DurationInput | undefined
  readonly maxOutput?: number | undefined
  readonly onTooLarge?: "fail" | "truncate" | undefined
  readonly timeout?: Duration.DurationInput | undefined
  readonly check?: boolean | undefined
}

const maxOutputDefault = 8 * 1024 * 1024
const nothing = new Uint8Array(0)

/** Makes the capture of one run of the command. */
export const make = (command: Command.Command, options: Bounds) => {
  checkOptions(options, { grace: time, maxOutput: anyCount, timeout: time })
  const { check, maxOutput = maxOutputDefault, onTooLarge = "fail", timeout } = options
  const captured = { stdout: [] as Array<Uint8Array>, stderr: [] as Array<Uint8Array> }
  const sizes = { stdout: 0, stderr: 0 }
  const whole = (chunks: Array<Uint8Array>) =>
    chunks.length === 0 ? nothing : new Uint8Array(Buffer.concat(chunks))
  return {
    /** Takes output; a returned effect is the failure of the run. */
    onOutput: (
      stream: keyof typeof sizes,
      bytes: Uint8Array
    ): Effect.Effect<void, OutputTooLarge> | undefined => {
      const room = maxOutput - sizes[stream]
      sizes[stream] += bytes.length
      if (bytes.length > room && onTooLarge === "fail") {
        return new OutputTooLarge({ command: commandLine(command), stream, limit: maxOutput })
      }
      if (room > 0) captured[stream].push(bytes.length <= room ? bytes : bytes.subarray(0, room))
      return undefined
    },
    /** Bounds the time from the start to the end of the process. */
    limit: <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E | CommandTimedOut, R> =>
      timeout === undefined
        ? effect
        : Effect.timeoutFail(effect, {
            duration: timeout,
            onTimeout: () =>
              new CommandTimedOut({ command: commandLine(command), after: Duration.decode(timeout) })
          }),
    result: (ended: Exited): Effect.Effect<Result, CommandFailed> => {
      const result: Result = {
        ...ended,
        stdout: whole(captured.stdout),
        stderr: whole(captured.stderr),
        truncated: Math.max(sizes.stdout, sizes.stderr) > maxOutput
      }
      return check === true && result.exitCode !== 0
        ? new CommandFailed({ command: commandLine(command), result })
        : Effect.succeed(result)
    }
  }
}
