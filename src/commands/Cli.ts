import * as CliConfig from "@effect/cli/CliConfig"
import type * as Command from "@effect/cli/Command"
import * as CommandDescriptor from "@effect/cli/CommandDescriptor"
import * as HelpDoc from "@effect/cli/HelpDoc"
import * as ValidationError from "@effect/cli/ValidationError"
import { Context, Effect } from "effect"
import { UsageError } from "../services/Exits.js"
import * as Output from "../services/Output.js"

// @effect/cli reads argv leniently: unknown options become arguments, `-j8` and repeated options are accepted and
// ignored, and its errors are printed twice. So argv is checked here against the command's own option tree first,
// and @effect/cli is given only what it reads as it is meant.

/** The words after the first `--`, exactly as they were typed; undefined when there was no `--`. */
export class Rest extends Context.Tag("effect-asyncio/commands/Rest")<
  Rest,
  { readonly words: ReadonlyArray<string> | undefined }
>() {}

/** A subcommand of `aio` as @effect/cli describes it. */
export type AnyCommand<R> = Command.Command<any, R, unknown, any>

export interface Entry<R> {
  readonly name: string
  readonly summary: string
  readonly load: () => Promise<AnyCommand<R>>
}

export interface App<R> {
  readonly name: string
  readonly version: string
  readonly summary: string
  readonly entries: ReadonlyArray<Entry<R>>
}

interface Flag {
  readonly name: string
  readonly takesValue: boolean
  readonly repeatable: boolean
}

interface Spec {
  readonly flags: ReadonlyMap<string, Flag>
  readonly takesArgs: boolean
  readonly children: ReadonlyMap<string, Spec>
}

// The shapes of @effect/cli's internal trees, as far as they are walked here (pinned version; a test in
// test/commands walks every option of every subcommand).
type OptionNode =
  | { readonly _tag: "Empty" }
  | {
      readonly _tag: "Single"
      readonly fullName: string
      readonly name: string
      readonly aliases: ReadonlyArray<string>
      readonly primitiveType: { readonly _tag: string }
    }
  | { readonly _tag: "KeyValueMap" | "Variadic"; readonly argumentOption: OptionNode }
  | { readonly _tag: "Map" | "WithFallback" | "WithDefault"; readonly options: OptionNode }
  | { readonly _tag: "Both" | "OrElse"; readonly left: OptionNode; readonly right: OptionNode }

type CommandNode =
  | {
      readonly _tag: "Standard"
      readonly name: string
      readonly options: OptionNode
      readonly args: { readonly _tag: string }
    }
  | { readonly _tag: "GetUserInput"; readonly name: string }
  | { readonly _tag: "Map"; readonly command: CommandNode }
  | {
      readonly _tag: "Subcommands"
      readonly parent: CommandNode
      readonly children: ReadonlyArray<CommandNode>
    }

const addFlags = (node: OptionNode, flags: Map<string, Flag>, repeatable = false): void => {
  switch (node._tag) {
    case "Empty":
      return
    case "Single": {
      const flag = { name: node.fullName, takesValue: node.primitiveType._tag !== "Bool", repeatable }
      flags.set(node.fullName, flag)
      for (const alias of node.aliases) flags.set(alias.length === 1 ? `-${alias}` : `--${alias}`, flag)
      return
    }
    case "KeyValueMap":
    case "Variadic":
      addFlags(node.argumentOption, flags, true)
      return
    case "Map":
    case "WithFallback":
    case "WithDefault":
      addFlags(node.options, flags, repeatable)
      return
    case "Both":
    case "OrElse":
      addFlags(node.left, flags, repeatable)
      addFlags(node.right, flags, repeatable)
      return
  }
}

const toSpec = (node: CommandNode): Spec & { readonly name: string } => {
  switch (node._tag) {
    case "Map":
      return toSpec(node.command)
    case "GetUserInput":
      return { name: node.name, flags: new Map(), takesArgs: false, children: new Map() }
    case "Standard": {
      const flags = new Map<string, Flag>()
      addFlags(node.options, flags)
      return { name: node.name, flags, takesArgs: node.args._tag !== "Empty", children: new Map() }
    }
    case "Subcommands": {
      const children = node.children.map(toSpec)
      return { ...toSpec(node.parent), children: new Map(children.map((child) => [child.name, child])) }
    }
  }
}

/** The option names (`--name`, `-n`) that a command reads, its subcommands' included. */
export const specOf = (command: AnyCommand<never>): Spec =>
  toSpec(command.descriptor as unknown as CommandNode)

const distance = (a: string, b: string): number => {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      next[j] = Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1))
    }
    row = next
  }
  return row[b.length]!
}

/** `; did you mean X?` for the nearest candidate, or nothing when none is near. */
export const didYouMean = (word: string, candidates: Iterable<string>): string => {
  let best: string | undefined
  let least = Math.max(2, Math.floor(word.length / 3)) + 1
  for (const candidate of candidates) {
    const d = distance(word, candidate)
    if (d < least) {
      best = candidate
      least = d
    }
  }
  return best === undefined ? "" : `; did you mean ${best}?`
}

interface Normalised {
  readonly argv: ReadonlyArray<string>
  readonly helpFor: ReadonlyArray<string> | undefined
}

/**
 * Checks the words before `--` against the command's options and puts them in the one order that @effect/cli reads
 * reliably: options, then arguments. `AIO_NAME` in the environment stands in for an option that is not given.
 */
const normalise = (
  path: ReadonlyArray<string>,
  spec: Spec,
  words: ReadonlyArray<string>,
  rest: ReadonlyArray<string> | undefined,
  env: Readonly<Record<string, string | undefined>>
): Normalised => {
  const fail = (message: string): never => {
    throw new UsageError({ message: `${path.join(" ")}: ${message}` })
  }
  const options: Array<string> = []
  const args: Array<string> = []
  const seen = new Set<string>()
  const put = (flag: Flag, given: string, value: string | undefined) => {
    if (seen.has(flag.name) && !flag.repeatable) fail(`option ${given} is given twice; give it once`)
    seen.add(flag.name)
    options.push(flag.name, ...(value === undefined ? [] : [value]))
  }
  for (let i = 0; i < words.length; i++) {
    const word = words[i]!
    if (word === "--help" || word === "-h") return { argv: [], helpFor: path }
    if (!word.startsWith("-") || word === "-") {
      const child = args.length === 0 ? spec.children.get(word) : undefined
      if (child !== undefined) {
        const inner = normalise([...path, word], child, words.slice(i + 1), rest, env)
        return { argv: [...options, word, ...inner.argv], helpFor: inner.helpFor }
      }
      if (spec.children.size > 0 && !spec.takesArgs) {
        fail(
          `unknown subcommand '${word}'${didYouMean(word, spec.children.keys())} (one of ${[...spec.children.keys()].join(", ")})`
        )
      }
      if (!spec.takesArgs)
        fail(`unexpected argument '${word}'; it takes none here (see ${path.join(" ")} --help)`)
      args.push(word)
      continue
    }
    const equals = word.startsWith("--") ? word.indexOf("=") : -1
    let name = equals > 0 ? word.slice(0, equals) : word
    let value = equals > 0 ? word.slice(equals + 1) : undefined
    if (!spec.flags.has(name) && !word.startsWith("--") && spec.flags.has(word.slice(0, 2))) {
      // -j8, -qv: a short option with its value or further short options behind it
      name = word.slice(0, 2)
      if (spec.flags.get(name)!.takesValue) value = word.slice(2).replace(/^=/, "")
      else words = [...words.slice(0, i + 1), `-${word.slice(2)}`, ...words.slice(i + 1)]
    }
    const flag =
      spec.flags.get(name) ??
      fail(
        `unknown option ${name}${didYouMean(name, spec.flags.keys())} (see ${path.join(" ")} --help; words that start with - go after --)`
      )
    if (!flag.takesValue) {
      if (value !== undefined) fail(`option ${name} takes no value, but '${value}' was given`)
      put(flag, name, undefined)
      continue
    }
    if (value === undefined) {
      const next = words[i + 1]
      if (next === undefined || (next.startsWith("-") && next !== "-" && !/^-\d/.test(next))) {
        fail(`option ${name} needs a value (${name} VALUE or ${name}=VALUE)`)
      }
      value = next!
      i++
    }
    put(flag, name, value)
  }
  for (const flag of new Set(spec.flags.values())) {
    const value = env[`AIO_${flag.name.slice(2).replaceAll("-", "_").toUpperCase()}`]
    if (value === undefined || value === "" || seen.has(flag.name)) continue
    if (flag.takesValue) options.push(flag.name, value)
    else if (value !== "0" && value !== "false") options.push(flag.name)
  }
  if (spec.takesArgs && rest !== undefined) args.push(...rest)
  return { argv: args.length > 0 ? [...options, "--", ...args] : options, helpFor: undefined }
}

const config = CliConfig.make({
  isCaseSensitive: true,
  autoCorrectLimit: 2,
  finalCheckBuiltIn: false,
  showAllNames: true,
  showBuiltIns: false,
  showTypes: true
})

const plain = (text: string): string => text.replace(/\x1b\[[0-9;]*m/g, "")

const oneLine = (doc: HelpDoc.HelpDoc): string => plain(HelpDoc.toAnsiText(doc)).replace(/\s+/g, " ").trim()

const rootHelp = <R>(app: App<R>): string => {
  const width = Math.max(...app.entries.map((entry) => entry.name.length))
  return [
    `${app.name} ${app.version} - ${app.summary}`,
    "",
    "USAGE",
    `  ${app.name} COMMAND [OPTIONS] [ARGUMENTS]`,
    "",
    "COMMANDS (each alone runs the guide's example)",
    ...app.entries.map((entry) => `  ${entry.name.padEnd(width)}  ${entry.summary}`),
    "",
    "OPTIONS",
    `  -h, --help  this text; ${app.name} COMMAND --help for a command's options`,
    "  --version   the version",
    "",
    "Every option can also be set as AIO_NAME in the environment, say AIO_CONCURRENCY=4.",
    "Exit codes: 0 all well, 1 some work failed, 2 wrong usage, 124 timed out, 126/127 cannot run / not found,",
    "130 SIGINT, 143 SIGTERM."
  ].join("\n")
}

const commandHelp = (command: AnyCommand<never>, path: ReadonlyArray<string>, colors: boolean): string => {
  let descriptor = command.descriptor as unknown as CommandNode
  for (const name of path.slice(2)) {
    while (descriptor._tag === "Map") descriptor = descriptor.command
    if (descriptor._tag === "Subcommands") {
      descriptor = descriptor.children.find((child) => toSpec(child).name === name) ?? descriptor
    }
  }
  const text = HelpDoc.toAnsiText(CommandDescriptor.getHelp(descriptor as never, config))
  const own = path[path.length - 1]!
  const shown = text.replace(`$ ${own}`, `$ ${path.join(" ")}`)
  return (colors ? shown : plain(shown)).trimEnd()
}

/** argv (without `node` and the script) → the subcommand's handler. Fails with `UsageError` on bad input. */
export const run =
  <R>(app: App<R>) =>
  (argv: ReadonlyArray<string>, env: Readonly<Record<string, string | undefined>> = {}) =>
    Effect.gen(function* () {
      const [name, ...words] = argv
      if (name === undefined || name === "--help" || name === "-h" || name === "help") {
        return yield* Output.print(rootHelp(app))
      }
      if (name === "--version") return yield* Output.print(app.version)
      const entry = app.entries.find((entry) => entry.name === name)
      if (entry === undefined) {
        const what = name.startsWith("-") ? "option" : "command"
        const names = app.entries.map((entry) => entry.name)
        return yield* new UsageError({
          message: `${app.name}: unknown ${what} '${name}'${didYouMean(name, names)} (commands: ${names.join(", ")})`
        })
      }
      const command = yield* Effect.promise(entry.load)
      const split = words.indexOf("--")
      const rest = split < 0 ? undefined : words.slice(split + 1)
      const path = [app.name, name]
      const { argv: args, helpFor } = yield* Effect.try({
        try: () =>
          normalise(
            path,
            specOf(command as AnyCommand<never>),
            split < 0 ? words : words.slice(0, split),
            rest,
            env
          ),
        catch: (error) => error as UsageError
      })
      if (helpFor !== undefined) {
        const { stdout } = yield* Output.Output
        return yield* Output.print(commandHelp(command as AnyCommand<never>, helpFor, stdout.colors))
      }
      const directive = yield* CommandDescriptor.parse(command.descriptor, [name, ...args], config).pipe(
        Effect.mapError((error) =>
          ValidationError.isValidationError(error) && "error" in error
            ? new UsageError({
                message: `${path.join(" ")}: ${oneLine(error.error)} (see ${path.join(" ")} --help)`
              })
            : new UsageError({ message: `${path.join(" ")}: ${String(error)}` })
        )
      )
      if (directive._tag === "BuiltIn" || directive.leftover.length > 0) {
        const word = directive._tag === "BuiltIn" ? args.join(" ") : directive.leftover[0]
        return yield* new UsageError({
          message: `${path.join(" ")}: unexpected '${word}' (see ${path.join(" ")} --help)`
        })
      }
      const value = directive.value
      yield* command
        .transform(command.handler(value), value)
        .pipe(Effect.provideService(Rest, { words: rest }))
    })
