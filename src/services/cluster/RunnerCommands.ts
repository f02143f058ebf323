import { hostname } from "node:os"
import { Effect, Either } from "effect"
import * as CommandText from "../process/CommandText.js"
import { OutputTooLarge } from "../process/ProcessError.js"
import * as Processes from "../process/Processes.js"
import { NotSerializable } from "../thread/ExecutorError.js"
import * as Builtins from "./internal/builtins.js"
import * as CommandWire from "./internal/commandWire.js"
import type * as Runner from "./Runner.js"

// The runner's side of `ClusterProcesses`.

/** Bytes of a result beside the output. */
const besides = 4096

/**
 * Lets a runner run the command lines of `ClusterProcesses`: in its working directory and environment, as its user, each as a
 * process group of its own, with the job's id as `AIO_JOB_ID`. A command that is cancelled, and one that still runs when the
 * runner has drained, ends as `Processes.run` ends it. Output is kept up to the runner's `maxResult`; a command that writes more
 * ends with `OutputTooLarge`.
 *
 * Whoever can write to the store can run any command as the runner's user.
 *
 * @example
 * ```ts
 * import { Effect, Layer } from "effect"
 * import * as InlineExecutor from "effect-asyncio/services/InlineExecutor"
 * import * as Processes from "effect-asyncio/services/Processes"
 * import * as Runner from "effect-asyncio/services/Runner"
 * import * as RunnerCommands from "effect-asyncio/services/RunnerCommands"
 *
 * const runner = Layer.unwrapEffect(
 *   Effect.map(RunnerCommands.job, (commands) => Runner.layer({ store: "jobs.sqlite", builtins: [commands] }))
 * )
 *
 * export const main = Effect.flatMap(Runner.Runner, ({ failure }) => failure).pipe(
 *   Effect.provide(Layer.provide(runner, [Processes.layer, InlineExecutor.layer]))
 * )
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const job: Effect.Effect<Runner.BuiltinJob, never, Processes.Processes> = Effect.map(
  Processes.Processes,
  (processes) => ({
    module: Builtins.commands.module,
    version: Builtins.commands.version,
    run: (given, { id, job, maxResult }) =>
      Effect.gen(function* () {
        const request = yield* CommandWire.decodeRequest(given)
        const command = CommandWire.commandOf(request, { AIO_JOB_ID: id })
        const limit = Math.max(0, maxResult - besides)
        const output = { stdout: [] as Array<Uint8Array>, stderr: [] as Array<Uint8Array> }
        let pid = 0
        let room = limit
        const ended = yield* Effect.either(
          processes.run(command, {
            stopSignal: request.stopSignal as NodeJS.Signals | undefined,
            grace: request.grace,
            timeout: request.timeout,
            onStarted: (started) => {
              pid = started
            },
            onOutput: (stream, bytes) => {
              const taken = bytes.subarray(0, room)
              if (taken.length > 0) output[stream].push(taken)
              room -= taken.length
              return taken.length === bytes.length
                ? undefined
                : new OutputTooLarge({ command: CommandText.commandLine(command), stream, limit })
            }
          })
        )
        const result: CommandWire.Result = {
          host: hostname(),
          pid,
          stdout: Buffer.concat(output.stdout),
          stderr: Buffer.concat(output.stderr),
          ended: Either.match(ended, { onLeft: CommandWire.failedOf, onRight: CommandWire.exitedOf })
        }
        return result
      }).pipe(
        Effect.mapError(({ message: detail }) => new NotSerializable({ job, part: "arguments", detail }))
      )
  })
)
