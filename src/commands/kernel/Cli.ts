import * as CliConfig from "@effect/cli/CliConfig"
import * as CommandDescriptor from "@effect/cli/CommandDescriptor"
import * as ValidationError from "@effect/cli/ValidationError"
import type * as FileSystem from "@effect/platform/FileSystem"
import type * as Path from "@effect/platform/Path"
import * as Terminal from "@effect/platform/Terminal"
import { Context, Effect, Layer } from "effect"
import { UsageError } from "../../services/host/ExitCodes.js"
import { collectBuffers } from "../../services/host/HeapTuning.js"
import * as Output from "../../services/host/Output.js"
import { didYouMean } from "../../services/text/Spelling.js"
import * as Argv from "./Argv.js"
import * as Help from "./Help.js"
import * as Spec from "./Spec.js"

/**
 * The words after the first `--`, exactly as typed. They do not pass through @effect/cli, whose time grows with the square
 * of their number.
 */
export class Rest extends Context.Tag("effect-asyncio/commands/Rest")<
  Rest,
  {
    readonly words: ReadonlyArray<string>
    /** The options that were typed, by their long names. */
    readonly given: ReadonlyArray<string>
  }
>() {}

/** The arguments and the words after `--`, for commands in which `--` only ends the options. */
export const withRest = (words: ReadonlyArray<string>): Effect.Effect<ReadonlyArray<string>, never, Rest> =>
  Effect.map(Rest, (rest) => (rest.words.length === 0 ? words : [...words, ...rest.words]))

/** Fails when an option was typed that does not apply to the guide's example; `missing` is how to call the command. */
export const alone = (
  called: string,
  missing: string,
  allowed: ReadonlyArray<string> = []
): Effect.Effect<void, UsageError, Rest> =>
  Effect.flatMap(Rest, ({ given }) => {
    const option = given.find((name) => !allowed.includes(name))
    return option === undefined
      ? Effect.void
      : new UsageError({ message: `${called}: ${option} does not apply to the guide's example; ${missing}` })
  })

/** `aio` itself, for a subcommand that runs other subcommands. */
export class Self extends Context.Tag("effect-asyncio/commands/Self")<
  Self,
  { readonly run: (argv: ReadonlyArray<string>) => Effect.Effect<void, unknown> }
>() {}

export interface App<R> {
  readonly name: string
  readonly version: string
  readonly summary: string
  readonly entries: ReadonlyArray<{
    readonly name: string
    readonly summary: string
    readonly load: () => Promise<Spec.AnyCommand<R>>
  }>
}

const config = CliConfig.make({
  isCaseSensitive: true,
  autoCorrectLimit: 2,
  finalCheckBuiltIn: false,
  showAllNames: true,
  showBuiltIns: false,
  showTypes: true
})

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
  | Exclude<R, Rest | Self>
  | Output.Output
  | FileSystem.FileSystem
  | Path.Path
  | Terminal.Terminal

/** Runs the subcommand that argv (without `node` and the script) calls. Fails with `UsageError` on bad input. */
export const run = <R>(
  app: App<R>,
  argv: ReadonlyArray<string>,
  env: Readonly<Record<string, string | undefined>>
): Effect.Effect<void, unknown, Environment<R>> =>
  Effect.gen(function* () {
    const { stdout } = yield* Output.Output
    // `aio help COMMAND` is `aio COMMAND --help`.
    const isHelp = argv[0] === "help" && argv.length > 1 && !argv[1]!.startsWith("-")
    const [name = "--help", ...words] = isHelp ? [...argv.slice(1), "--help"] : argv
    if (name === "--help" || name === "-h" || name === "help")
      return yield* Output.print(Help.root(app, stdout.colors))
    if (name === "--version") return yield* Output.print(app.version)
    const entry = app.entries.find((entry) => entry.name === name)
    if (entry === undefined) {
      const what = name.startsWith("-") ? "option" : "command"
      const names = app.entries.map((entry) => entry.name)
      return yield* new UsageError({
        message: `${app.name}: unknown ${what} '${name}'${didYouMean(name, names)} (commands: ${names.join(", ")})`
      })
    }
    yield* collectBuffers
    const command = yield* Effect.promise(entry.load)
    const split = words.indexOf("--")
    const rest = split < 0 ? [] : words.slice(split + 1)
    const checked = yield* Effect.try({
      try: () =>
        Argv.check({
          path: [app.name, name],
          spec: Spec.make(command),
          words: split < 0 ? words : words.slice(0, split),
          env
        }),
      catch: (error) => error as UsageError
    })
    const called = checked.path.join(" ")
    if (checked.help) return yield* Output.print(Help.command(checked.path, checked.spec, stdout.colors))
    const fail = (problem: string) =>
      new UsageError({ message: `${called}: ${problem} (see ${called} --help)` })
    if (rest.length > 0 && checked.spec.args.length === 0) {
      return yield* fail(`unexpected argument '${rest[0]}'; ${called} takes none`)
    }
    const directive = yield* CommandDescriptor.parse(
      command.descriptor,
      [name, ...checked.argv],
      config
    ).pipe(
      Effect.mapError((error) =>
        fail(
          ValidationError.isValidationError(error) && "error" in error
            ? Spec.oneLine(error.error)
            : String(error)
        )
      )
    )
    if (directive._tag === "BuiltIn") return yield* fail(`unexpected '${checked.argv.join(" ")}'`)
    if (directive.leftover.length > 0) return yield* fail(`unexpected '${directive.leftover[0]}'`)
    const context = yield* Effect.context<Environment<R>>()
    const self = Self.of({ run: (argv) => Effect.provide(run(app, argv, env), context) })
    const services = Context.make(Rest, { words: rest, given: checked.given }).pipe(Context.add(Self, self))
    yield* command.transform(command.handler(directive.value), directive.value).pipe(Effect.provide(services))
  })
