import * as Command from "@effect/platform/Command"
import { Effect } from "effect"
import * as Processes from "../process/Processes.js"
import * as CommandRun from "../supervision/CommandRun.js"
import type * as ScheduleServer from "./ScheduleServer.js"

/**
 * Runs the commands of schedules: in their folder, without a shell, with the id of the run as `AIO_RUN_ID`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make: Effect.Effect<ScheduleServer.Runner, never, Processes.Processes> = Effect.map(
  Processes.Processes,
  (processes): ScheduleServer.Runner =>
    ({ id, work }, { lingering, output, started }) => {
      if (work._tag !== "Command") return Effect.dieMessage(`${work.timer} is not a command`)
      const { args, cwd, env, file, grace, stdin, stopSignal, timeout } = work
      const command = Command.make(file, ...args).pipe(Command.env({ ...env, AIO_RUN_ID: id }), (command) =>
        stdin === undefined ? command : Command.feed(command, stdin)
      )
      const attempt = CommandRun.attempt(
        cwd === undefined ? command : Command.workingDirectory(command, cwd),
        {
          grace,
          stopSignal: stopSignal as NodeJS.Signals | undefined,
          timeout,
          started,
          onOutput: output,
          onLingering: lingering
        }
      )
      return Effect.flatMap(Effect.exit(attempt), CommandRun.ended).pipe(
        Effect.provideService(Processes.Processes, processes)
      )
    }
)
