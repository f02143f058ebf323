import * as Command from "@effect/platform/Command"
import * as ShellWords from "../text/ShellWords.js"

/**
 * One string as the command of a POSIX shell.
 *
 * @since 0.1.0
 * @category constructors
 */
export const shell = (text: string): Command.Command => Command.make("/bin/sh", "-c", text)

/**
 * A command as typed in a shell: words that a POSIX shell would split or interpret are quoted.
 *
 * @since 0.1.0
 * @category formatting
 */
export const commandLine = (command: Command.Command): string => {
  if (command._tag === "PipedCommand") return `${commandLine(command.left)} | ${commandLine(command.right)}`
  return [command.command, ...command.args].map(ShellWords.quote).join(" ")
}

/**
 * A command as it was written: the text itself of a {@link shell} command, else its {@link commandLine}.
 *
 * @since 0.1.0
 * @category formatting
 */
export const commandText = (command: Command.Command): string =>
  command._tag === "StandardCommand" && command.command === "/bin/sh" && command.args[0] === "-c"
    ? command.args.slice(1).join(" ")
    : commandLine(command)

/**
 * The program that a command starts; of a pipeline, the first command's.
 *
 * @since 0.1.0
 * @category functions
 */
export const programOf = (command: Command.Command): string =>
  command._tag === "PipedCommand" ? programOf(command.left) : command.command
