import * as CliConfig from "@effect/cli/CliConfig"
import * as CommandDescriptor from "@effect/cli/CommandDescriptor"
import * as HelpDoc from "@effect/cli/HelpDoc"
import * as ValidationError from "@effect/cli/ValidationError"
import type * as FileSystem from "@effect/platform/FileSystem"
import type * as Path from "@effect/platform/Path"
import * as Terminal from "@effect/platform/Terminal"
import { Context, Data, Effect, Layer } from "effect"
import { UsageError } from "../../services/host/ExitCodes.js"
import { collectBuffers } from "../../services/host/HeapTuning.js"
import * as Input from "../../services/host/Input.js"
import * as Output from "../../services/host/Output.js"
import { didYouMean } from "../../services/text/Spelling.js"
import * as Argv from "./Argv.js"
import * as Flag from "./Flag.js"

/** Wrong usage found by a command. The kernel puts the words that call the command before the message. */
export class Problem extends Data.TaggedError("Problem")<{
  readonly message: string
  /** The value of an option is wrong: the message ends with the call of the help. */
  readonly isOption?: boolean
}> {}

/** Wrong usage: the value, what is wrong with it, and what is accepted. */
export const usage = (message: string): Problem => new Problem({ message })

/** The words of a command that are no options. */
export interface Words {
  /** For a list, all words from the first operand or from `--` on; else the words before `--`. */
  readonly operands: ReadonlyArray<string>
  /** The words behind `--`, exactly as typed; undefined without `--`. */
  readonly rest: ReadonlyArray<string> | undefined
}

/** All words of a command in which words behind `--` mean the same as before it. */
export const everyWord = ({ operands, rest = [] }: Words): ReadonlyArray<string> => [...operands, ...rest]

/** What a command is, for its help, its completions and the tests. */
export interface Description<F extends Flag.Flags> {
  /** What it does, in one or two sentences. */
  readonly summary: string
  /** How it is called, behind its name: `[OPTIONS] URL...`. */
  readonly usage: ReadonlyArray<string>
  /** The words that are no options, what they mean, and what they can be. */
  readonly arguments?: ReadonlyArray<
    readonly [name: string, text: string, words?: ReadonlyArray<string> | undefined]
  >
  /**
   * `list`: options end at the first operand, and every word behind that is an operand, whatever it begins with.
   * `mixed`: options may stand behind operands, until `--`. Default `none`.
   */
  readonly operands?: "none" | "list" | "mixed"
  readonly flags: F
  /** Command lines, without `aio`, and what they do; the tests run them. */
  readonly examples?: ReadonlyArray<readonly [line: string, text: string]>
}

/** The guide's example, which the bare command runs. */
export interface Example<R, F extends Flag.Flags> {
  readonly run: (config: Flag.Values<F>) => Effect.Effect<void, unknown, R>
  /** Options that apply to it: their keys in the flags. */
  readonly flags?: ReadonlyArray<keyof F>
  /** What to write for work of one's own: `write a URL, or -a FILE`. */
  readonly instead: string
}

export interface Command<R> extends Argv.Grammar {
  readonly description: Description<Flag.Flags>
  readonly children: ReadonlyArray<Command<R>>
  readonly example: { readonly flags: ReadonlyArray<string>; readonly instead: string } | undefined
  readonly run: (
    words: Words,
    options: ReadonlyArray<string>,
    asExample: boolean
  ) => Effect.Effect<void, unknown, R | FileSystem.FileSystem | Path.Path | Terminal.Terminal>
}

const config = CliConfig.make({ isCaseSensitive: true, autoCorrectLimit: 0, finalCheckBuiltIn: false })

const plain = (doc: HelpDoc.HelpDoc): string =>
  HelpDoc.toAnsiText(doc)
    .replace(/\x1b\[[0-9;]*m/g, "")
    .replace(/\s+/g, " ")
    .trim()

/** A subcommand: @effect/cli parses its options, the handler gets their values and the other words. */
export const command = <const F extends Flag.Flags, R = never, RE = never>(
  name: string,
  description: Description<F>,
  handler: (config: Flag.Values<F>, words: Words) => Effect.Effect<void, unknown, R>,
  more: { readonly example?: Example<RE, F>; readonly children?: ReadonlyArray<Command<R>> } = {}
): Command<R | RE> => {
  const { example } = more
  const descriptor = CommandDescriptor.make(name, Flag.all(description.flags)).pipe(
    CommandDescriptor.withDescription(description.summary)
  )
  const parse = (options: ReadonlyArray<string>) =>
    CommandDescriptor.parse(descriptor, [name, ...options], config).pipe(
      Effect.mapError(
        (error) =>
          new Problem({
            message:
              ValidationError.isValidationError(error) && "error" in error
                ? plain(error.error)
                : String(error),
            isOption: true
          })
      ),
      Effect.flatMap((directive) =>
        directive._tag === "UserDefined" && directive.leftover.length === 0
          ? Effect.succeed(directive.value.options)
          : usage(`unexpected '${options.join(" ")}'`)
      )
    )
  return {
    name,
    description,
    flags: description.flags,
    operands: description.operands ?? "none",
    children: more.children ?? [],
    example:
      example === undefined
        ? undefined
        : {
            instead: example.instead,
            flags: (example.flags ?? []).map((key) => `--${description.flags[key]!.name}`)
          },
    run: (words, options, asExample) =>
      Effect.flatMap(
        parse(options),
        (config): Effect.Effect<void, unknown, R | RE> =>
          asExample && example !== undefined ? example.run(config) : handler(config, words)
      )
  }
}

/** The command with services that only it needs. */
export const provide = <R, A, E, RIn>(
  command: Command<R>,
  layer: Layer.Layer<A, E, RIn>
): Command<Exclude<R, A> | RIn> => ({
  ...command,
  children: command.children.map((child) => provide(child, layer)),
  run: (...given) => Effect.provide(command.run(...given), layer) as never
})

/** `aio` itself, for a subcommand that runs other subcommands. */
export class Self extends Context.Tag("effect-asyncio/commands/Self")<
  Self,
  {
    /** Runs a subcommand; without work of its own it runs its example, whatever standard input is. */
    readonly run: (argv: ReadonlyArray<string>) => Effect.Effect<void, unknown>
    /** All subcommands, loaded. */
    readonly commands: Effect.Effect<ReadonlyArray<Command<never>>>
  }
>() {}

export interface App<R> {
  readonly name: string
  readonly version: string
  readonly summary: string
  readonly entries: ReadonlyArray<{
    readonly name: string
    readonly summary: string
    /** The first command of a newcomer. */
    readonly first?: string
    readonly load: () => Promise<Command<R>>
  }>
}

/** The terminal of @effect/cli's prompts. No command of `aio` has a prompt. */
export const noTerminal: Layer.Layer<Terminal.Terminal> = Layer.succeed(Terminal.Terminal, {
  columns: Effect.succeed(80),
  rows: Effect.succeed(24),
  isTTY: Effect.succeed(false),
  readInput: Effect.dieMessage("aio has no prompts"),
  readLine: Effect.dieMessage("aio has no prompts"),
  display: () => Effect.void
})

type Environment<R> =
  | Exclude<R, Self>
  | Output.Output
  | Input.Input
  | FileSystem.FileSystem
  | Path.Path
  | Terminal.Terminal

const help = () => Effect.promise(() => import("./Help.js"))

/** Whether the guide's example runs: only for the bare command, on a terminal or without standard input. */
const isExample = (command: Command<never>, sorted: Argv.Sorted, asked: boolean) =>
  Effect.gen(function* () {
    const { example } = command
    if (example === undefined || sorted.operands.length > 0 || sorted.rest !== undefined) return false
    const option = sorted.given.find((name) => !example.flags.includes(name))
    if (option !== undefined) return false
    if (asked || (yield* Input.Input).source !== "piped") return true
    return yield* usage(
      `no work is given; ${example.instead} (the guide's example: aio guide ${command.name})`
    )
  })

const withoutOperands = (grammar: Argv.Grammar): Argv.Grammar => ({
  ...grammar,
  operands: "none",
  children: grammar.children.map(withoutOperands)
})

const runWith = <R>(
  app: App<R>,
  argv: ReadonlyArray<string>,
  env: Readonly<Record<string, string | undefined>>,
  asExample: boolean
): Effect.Effect<void, unknown, Environment<R>> =>
  Effect.gen(function* () {
    const { stdout } = yield* Output.Output
    const style = { colors: stdout.colors, columns: process.stdout.columns || undefined }
    // `aio help COMMAND` and `aio --help COMMAND` are `aio COMMAND --help`.
    const isHelp = ["help", "--help", "-h"].includes(argv[0] ?? "")
    const [name, ...words] = isHelp ? argv.slice(1) : argv
    if (name === undefined) {
      const { root, start } = yield* help()
      return yield* Output.print(isHelp ? root(app, style) : start(app, style))
    }
    if (name === "--version" || name === "-V") {
      const more = words[0] === "--verbose"
      const extra = words[more ? 1 : 0]
      if (extra !== undefined) {
        return yield* new UsageError({ message: `${app.name} --version: unexpected '${extra}'` })
      }
      return yield* Output.print((yield* help()).version(app.version, more))
    }
    const entry = app.entries.find((entry) => entry.name === name)
    if (entry === undefined) {
      const what = name.startsWith("-") ? "option" : "command"
      const names = app.entries.map((entry) => entry.name)
      return yield* new UsageError({
        message: `${app.name}: unknown ${what} '${name}'${didYouMean(name, names)} (commands: ${names.join(", ")})`
      })
    }
    yield* collectBuffers
    const loaded = yield* Effect.promise(entry.load)
    const sorted = yield* Effect.try({
      // In `aio help COMMAND WORD` a word calls a subcommand or nothing.
      try: () =>
        isHelp
          ? Argv.sort([app.name, name], withoutOperands(loaded), [...words, "--help"], {})
          : Argv.sort([app.name, name], loaded, words, env),
      catch: (error) => error as UsageError
    })
    const command = sorted.below.reduce<Command<R>>(
      (parent, below) => parent.children.find(({ name }) => name === below)!,
      loaded
    )
    if (sorted.help) {
      const text = (yield* help()).command(sorted.path, command as Command<never>, style)
      return yield* Output.print(text)
    }
    const context = yield* Effect.context<Environment<R>>()
    const self = Self.of({
      run: (argv) => Effect.provide(runWith(app, argv, env, true), context),
      commands: Effect.promise(() => Promise.all(app.entries.map(({ load }) => load()))) as never
    })
    const called = sorted.path.join(" ")
    const run = Effect.gen(function* () {
      const example = yield* isExample(command as Command<never>, sorted, asExample)
      yield* command.run(sorted, sorted.options, example)
    })
    yield* run.pipe(
      Effect.mapError((error) =>
        error instanceof Problem
          ? new UsageError({
              message: `${called}: ${error.message}${error.isOption === true ? ` (see ${called} --help)` : ""}`
            })
          : error
      ),
      Effect.provideService(Self, self)
    ) as Effect.Effect<void, unknown, Environment<R>>
  })

/** Runs the subcommand that argv (without `node` and the script) calls. Fails with `UsageError` on bad input. */
export const run = <R>(
  app: App<R>,
  argv: ReadonlyArray<string>,
  env: Readonly<Record<string, string | undefined>>
): Effect.Effect<void, unknown, Environment<R>> => runWith(app, argv, env, false)
