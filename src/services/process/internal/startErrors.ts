import { existsSync, statSync } from "node:fs"
import { resolve } from "node:path"
import type * as Command from "@effect/platform/Command"
import { Option } from "effect"
import { commandLine } from "../CommandText.js"
import { CommandNotExecutable, CommandNotFound, CommandNotStarted } from "../ProcessError.js"

// Errors of a start: the command requires an unsupported feature, or the system refused it.

/** The folder that a command runs in. */
export const cwdOf = (command: Command.StandardCommand): string =>
  Option.getOrElse(command.cwd, () => process.cwd())

/** The command, unless it requires a feature that `Processes` does not support. */
export const supported = (command: Command.Command): Command.StandardCommand | CommandNotStarted => {
  const refused = (detail: string) => new CommandNotStarted({ command: commandLine(command), detail })
  if (process.platform === "win32") {
    return refused("Windows has no process groups; run it on Linux or macOS, or in WSL")
  }
  if (command._tag === "PipedCommand") {
    return refused("pipelines are for services/CommandExecutor; run its parts, or a shell by name")
  }
  if (typeof command.stdout !== "string" || typeof command.stderr !== "string") {
    return refused("output into a Sink is for services/CommandExecutor; it is captured or inherited")
  }
  return command.command.includes("\0") || command.args.some((word) => word.includes("\0"))
    ? refused("its words must not contain null bytes")
    : command
}

const isFolder = (path: string): boolean => statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false

/** The error for a system error's code, as in `ENOENT`. */
export const startError = (
  command: Command.StandardCommand,
  code: string,
  message: string
): CommandNotFound | CommandNotExecutable | CommandNotStarted => {
  const line = commandLine(command)
  const cwd = cwdOf(command)
  // Node reports ENOENT for a missing folder as well, and for the interpreter in a script's first line.
  if (code !== "" && !isFolder(cwd)) {
    return new CommandNotStarted({ command: line, detail: `there is no folder ${cwd}` })
  }
  switch (code) {
    case "ENOENT":
    case "ENOTDIR":
      return command.command.includes("/") && existsSync(resolve(cwd, command.command))
        ? new CommandNotExecutable({
            command: line,
            detail: "the interpreter in its first line does not exist"
          })
        : new CommandNotFound({ command: line })
    case "EACCES":
      return new CommandNotExecutable({ command: line, detail: "permission denied" })
    case "ENOEXEC":
      return new CommandNotExecutable({ command: line, detail: "it is not a program of this machine" })
    case "E2BIG":
      return new CommandNotStarted({ command: line, detail: "arguments and environment are too long" })
    default:
      return new CommandNotStarted({ command: line, detail: message })
  }
}
