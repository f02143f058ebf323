import type * as Command from "@effect/platform/Command"
import * as FileSystem from "@effect/platform/FileSystem"
import { Config, Effect, Option } from "effect"
import * as CommandText from "./CommandText.js"
import * as ProcessError from "./ProcessError.js"

/** The path that `execvp` searches without `PATH`. */
const standard = "/usr/bin:/bin"

/**
 * Checks that the command's program exists and may be run, looked up as `execvp` does, so that a command that is due later
 * can be refused at once. Fails as `Processes.run` would: with `CommandNotFound` or `CommandNotExecutable`. It starts no
 * process and promises nothing: the program may be gone by the time it runs.
 *
 * @example
 * ```ts
 * import * as Command from "@effect/platform/Command"
 * import { Effect } from "effect"
 * import * as Executables from "effect-asyncio/services/Executables"
 * import * as Processes from "effect-asyncio/services/Processes"
 *
 * const backup = Command.make("restic", "backup", "/home")
 * export const program = Executables.check(backup).pipe(
 *   Effect.zipRight(Effect.sleep("1 hour")),
 *   Effect.zipRight(Processes.run(backup))
 * )
 * ```
 *
 * @since 0.1.0
 * @category effects
 */
export const check = Effect.fn("Executables.check")(function* (command: Command.Command) {
  const fs = yield* FileSystem.FileSystem
  const file = CommandText.programOf(command)
  const line = CommandText.commandLine(command)
  const byPath = file.includes("/")
  const path = Option.getOrElse(yield* Effect.option(Config.string("PATH")), () => standard)
  let found = false
  for (const folder of byPath ? [""] : path.split(":")) {
    const info = yield* Effect.option(fs.stat(folder === "" ? file : `${folder}/${file}`))
    if (Option.isNone(info) || !(byPath || info.value.type === "File")) continue
    if (info.value.type === "File" && (info.value.mode & 0o111) !== 0) return
    found = true
  }
  return yield* found
    ? new ProcessError.CommandNotExecutable({ command: line, detail: "permission denied" })
    : new ProcessError.CommandNotFound({ command: line })
})
