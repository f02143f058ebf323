import { Context, Effect } from "effect"
import { UsageError } from "../../services/host/ExitCodes.js"
import { collectBuffers } from "../../services/host/HeapTuning.js"
import * as Input from "../../services/host/Input.js"
import * as Output from "../../services/host/Output.js"
import { didYouMean } from "../../services/text/Spelling.js"
import * as Argv from "./Argv.js"
import * as Command from "./Command.js"

/** `aio` itself, for a subcommand that runs other subcommands. */
export class Self extends Context.Tag("effect-asyncio/commands/Self")<
  Self,
  {
    /** Runs a subcommand; without work of its own it runs its example, whatever standard input is. */
    readonly run: (argv: ReadonlyArray<string>) => Effect.Effect<void, unknown>
    /** All subcommands, loaded. */
    readonly commands: Effect.Effect<ReadonlyArray<Command.Command<never>>>
  }
>() {}

type Environment<R> = Exclude<R, Self> | Output.Output | Input.Input

const help = () => Effect.promise(() => import("./Help.js"))

/** Whether the guide's example runs: only for the bare command, on a terminal or without standard input. */
const isExample = (command: Command.Command<never>, sorted: Argv.Sorted, asked: boolean) =>
  Effect.gen(function* () {
    const { example } = command
    if (example === undefined || sorted.operands.length > 0 || sorted.rest !== undefined) return false
    const option = sorted.given.find((name) => !example.flags.includes(name))
    if (option !== undefined) return false
    if (asked || (yield* Input.Input).source !== "piped") return true
    if (example.reads) return false
    return yield* Command.usage(
      `no work is given; ${example.instead} (the guide's example: aio guide ${command.name})`
    )
  })

const withoutOperands = (grammar: Argv.Grammar): Argv.Grammar => ({
  ...grammar,
  operands: "none",
  children: grammar.children.map(withoutOperands)
})

const runWith = <R>(
  app: Command.App<R>,
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
      if (!more) return yield* Output.print(app.version)
      const { description } = yield* Effect.promise(() => import("../../services/process/Native.js"))
      return yield* Output.print((yield* help()).details(app.version, description()))
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
    const command = sorted.below.reduce<Command.Command<R>>(
      (parent, below) => parent.children.find(({ name }) => name === below)!,
      loaded
    )
    if (sorted.help) {
      const text = (yield* help()).command(sorted.path, command as Command.Command<never>, style)
      return yield* Output.print(text)
    }
    const context = yield* Effect.context<Environment<R>>()
    const self = Self.of({
      run: (argv) => Effect.provide(runWith(app, argv, env, true), context),
      commands: Effect.promise(() => Promise.all(app.entries.map(({ load }) => load()))) as never
    })
    const called = sorted.path.join(" ")
    const run = Effect.gen(function* () {
      const example = yield* isExample(command as Command.Command<never>, sorted, asExample)
      yield* command.run(sorted, example)
    })
    yield* run.pipe(
      Effect.mapError((error) =>
        error instanceof Command.Problem
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
  app: Command.App<R>,
  argv: ReadonlyArray<string>,
  env: Readonly<Record<string, string | undefined>>
): Effect.Effect<void, unknown, Environment<R>> => runWith(app, argv, env, false)
