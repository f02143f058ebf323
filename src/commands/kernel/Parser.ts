import * as CliConfig from "@effect/cli/CliConfig"
import * as CommandDescriptor from "@effect/cli/CommandDescriptor"
import * as HelpDoc from "@effect/cli/HelpDoc"
import * as Options from "@effect/cli/Options"
import * as ValidationError from "@effect/cli/ValidationError"
import * as FileSystem from "@effect/platform/FileSystem"
import * as Path from "@effect/platform/Path"
import * as Terminal from "@effect/platform/Terminal"
import { Effect, Layer } from "effect"
import type { Flags } from "./Flag.js"

// The options of a command, parsed by @effect/cli. Loaded with the first option that is given: it is half of the
// start-up code.

const config = CliConfig.make({ isCaseSensitive: true, autoCorrectLimit: 0, finalCheckBuiltIn: false })

/** What @effect/cli asks for and texts do not use. */
export const services = Layer.mergeAll(
  FileSystem.layerNoop({}),
  Path.layer,
  Layer.succeed(Terminal.Terminal, {
    columns: Effect.succeed(80),
    rows: Effect.succeed(24),
    isTTY: Effect.succeed(false),
    readInput: Effect.dieMessage("aio has no prompts"),
    readLine: Effect.dieMessage("aio has no prompts"),
    display: () => Effect.void
  })
)

/** A value as @effect/cli gets it: as it is, it would be trimmed, dropped if empty, or taken for an option. */
const quoted = (text: string): string => JSON.stringify(text)
const unquoted = (word: string): string => JSON.parse(word) as string

const message = (error: unknown): string =>
  ValidationError.isValidationError(error) && "error" in error
    ? HelpDoc.toAnsiText(error.error)
        .replace(/\x1b\[[0-9;]*m/g, "")
        .replace(/\s+/g, " ")
        .trim()
    : String(error)

/** What was given of each option, by its long name; nothing of the others. */
export const parse = (
  name: string,
  flags: Flags,
  given: ReadonlyArray<readonly [option: string, text: string]>
): Effect.Effect<Readonly<Record<string, ReadonlyArray<string>>>, string> => {
  // Its time grows with the square of the number of options, so it gets those that are given.
  const names = new Set(given.map(([option]) => option))
  const options = Object.values(flags)
    .filter(({ name }) => names.has(name))
    .map(({ name }) => [
      name,
      Options.map(Options.repeated(Options.text(name)), (words) => words.map(unquoted))
    ])
  const descriptor = CommandDescriptor.make(
    name,
    Options.all(Object.fromEntries(options) as Record<string, Options.Options<Array<string>>>)
  )
  const words = given.flatMap(([option, text]) => [`--${option}`, quoted(text)])
  return CommandDescriptor.parse(descriptor, [name, ...words], config).pipe(
    Effect.mapError(message),
    Effect.flatMap((directive) =>
      directive._tag === "UserDefined" && directive.leftover.length === 0
        ? Effect.succeed(directive.value.options)
        : Effect.fail(`unexpected '${words.join(" ")}'`)
    ),
    Effect.provide(services)
  )
}
