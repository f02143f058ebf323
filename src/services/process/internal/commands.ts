import { existsSync, statSync } from "node:fs"
import { resolve } from "node:path"
import type * as Command from "@effect/platform/Command"
import { Option } from "effect"
import { commandLine } from "../CommandText.js"
import { CommandNotExecutable, CommandNotFound, CommandNotStarted } from "../ProcessError.js"
import type { Request } from "./backend.js"

// Commands as a backend takes them, and errors of a start: the command requires an unsupported feature, or the system
// refused it.

/** The folder that a command runs in. */
export const cwdOf = (command: Pick<Command.StandardCommand, "cwd">): string =>
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

/** What to start for a command that is supported; `marker` is the value of `variable` in its environment. */
export const requestOf = (
  { args, command: file, shell, stdin, ...command }: Command.StandardCommand,
  variable: string,
  marker: string
): Request => ({
  file: shell === false ? file : typeof shell === "string" ? shell : "/bin/sh",
  args: shell === false ? args : ["-c", [file, ...args].join(" ")],
  cwd: cwdOf(command),
  env: { ...Object.fromEntries(command.env), [variable]: marker },
  extendEnv: command.extendEnv,
  uid: Option.getOrUndefined(command.uid),
  gid: Option.getOrUndefined(command.gid),
  stdin: typeof stdin !== "string" ? "pipe" : stdin === "inherit" ? "inherit" : "ignore",
  stdout: command.stdout as "pipe" | "inherit",
  stderr: command.stderr as "pipe" | "inherit"
})

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
    case "E2BIG":
      return new CommandNotStarted({ command: line, detail: "arguments and environment are too long" })
    default:
      return new CommandNotStarted({ command: line, detail: message })
  }
}
