import { Data, Effect, type Layer } from "effect"
import { codes, ExitError } from "../../services/host/ExitCodes.js"
import type * as Records from "../../services/record/Records.js"
import type * as Argv from "./Argv.js"
import * as Flag from "./Flag.js"

/** Wrong usage found by a command. The kernel puts the words that call the command before the message. */
export class Problem extends Data.TaggedError("Problem")<{
  readonly message: string
  /** The value of an option is wrong: the message ends with the call of the help. */
  readonly isOption?: boolean
}> {}

/** Wrong usage: the value, what is wrong with it, and what is accepted. */
export const usage = (message: string): Problem => new Problem({ message })

/** The end of a command that has reported its failures: success for 0. */
export const exit = (exitCode: number): Effect.Effect<void, ExitError> =>
  exitCode === codes.ok ? Effect.void : new ExitError({ exitCode, message: "" })

/** The format that --format and -0 ask for together. */
export const formatOf = <F extends Records.Format>(config: {
  readonly format: F | undefined
  readonly nul: boolean
}): Effect.Effect<F | "lines" | "null", Problem> => {
  const given: Records.Format | undefined = config.format
  return config.nul && given !== undefined && given !== "null"
    ? usage(`-0 is --format null, which excludes --format ${given}; omit one of them`)
    : Effect.succeed(config.nul ? "null" : (config.format ?? "lines"))
}

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
  /** Whether standard input is work of its own; default false: the bare command refuses it. */
  readonly reads?: boolean
}

export interface Command<R> extends Argv.Grammar {
  readonly description: Description<Flag.Flags>
  readonly children: ReadonlyArray<Command<R>>
  readonly example:
    | { readonly flags: ReadonlyArray<string>; readonly instead: string; readonly reads: boolean }
    | undefined
  readonly run: (sorted: Argv.Sorted, asExample: boolean) => Effect.Effect<void, unknown, R>
}

/** A subcommand: the handler gets the values of its options, which @effect/cli parses, and the other words. */
export const make = <const F extends Flag.Flags, R = never, RE = never, RC = never>(
  name: string,
  description: Description<F>,
  handler: (config: Flag.Values<F>, words: Words) => Effect.Effect<void, unknown, R>,
  more: { readonly example?: Example<RE, F>; readonly children?: ReadonlyArray<Command<RC>> } = {}
): Command<R | RE | RC> => {
  const { example } = more
  const { flags } = description
  // Without options there is nothing to parse, and @effect/cli is not loaded.
  const parse = (options: Argv.Sorted["options"]) =>
    options.length === 0
      ? Effect.succeed({})
      : Effect.flatMap(
          Effect.promise(() => import("./Parser.js")),
          (Parser) => Parser.parse(name, flags, options)
        )
  return {
    name,
    description,
    flags,
    operands: description.operands ?? "none",
    children: more.children ?? [],
    example:
      example === undefined
        ? undefined
        : {
            instead: example.instead,
            reads: example.reads === true,
            flags: (example.flags ?? []).map((key) => flags[key]!.name)
          },
    run: (sorted, asExample) =>
      Effect.gen(function* () {
        const config = yield* parse(sorted.options).pipe(
          Effect.flatMap((given) => Flag.readAll(flags, given)),
          Effect.mapError((message) => new Problem({ message, isOption: true }))
        )
        yield* asExample && example !== undefined ? example.run(config) : handler(config, sorted)
      })
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

/** `aio`: its name, and its subcommands, each loaded when it is called. */
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
