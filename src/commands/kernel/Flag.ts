import * as HelpDoc from "@effect/cli/HelpDoc"
import * as Options from "@effect/cli/Options"
import * as ValidationError from "@effect/cli/ValidationError"
import { Effect, Either, Option } from "effect"

/** Reads the text of a value; on the left is what is wrong with it and what is accepted. */
export type Parse<A> = (text: string) => Either.Either<A, string>

/** An option of a command: how it is written and what it means, for help and completions, and its parser of @effect/cli. */
export interface Flag<out A> {
  /** The long name, without dashes. */
  readonly name: string
  /** The short name, one character. */
  readonly alias?: string | undefined
  /** The placeholder of the value; without one the option is a switch. */
  readonly value?: string | undefined
  /** One sentence for the help, without a full stop. */
  readonly text: string
  /** What holds without the option, for the help. */
  readonly default?: string | undefined
  /** The value of the option without one. It is then written `--name` or `--name=VALUE`. */
  readonly bare?: string | undefined
  /** The words that the value can be, for completions. */
  readonly words?: ReadonlyArray<string> | undefined
  /** The effect of the option when it is given again: the last one counts, all count, or their number counts. */
  readonly again: "last" | "all" | "count"
  /** A switch that `--no-NAME` turns off. */
  readonly negatable?: boolean | undefined
  readonly parse: Parse<unknown>
  readonly options: Options.Options<A>
}

/** How an option with a value is written. */
export interface Spelling<A> {
  readonly alias?: string
  readonly value: string
  readonly text: string
  readonly parse: Parse<A>
  readonly bare?: string
  readonly words?: ReadonlyArray<string>
  /** What holds without the option, for one whose default the command or the engine has. */
  readonly default?: string
}

/** A value as @effect/cli gets it: as it is, it would be trimmed, dropped if empty, or taken for an option. */
export const quoted = (text: string): string => JSON.stringify(text)

const unquoted = (word: string): string => JSON.parse(word) as string

const read =
  <A>(name: string, parse: Parse<A>) =>
  (word: string) =>
    Effect.mapError(parse(unquoted(word)), (problem) =>
      ValidationError.invalidValue(HelpDoc.p(`option --${name}: ${problem}`))
    )

// The descriptions and aliases are for @effect/cli's own completions and help; Argv passes it long names only.
const described =
  ({ alias, text, value }: { alias?: string; text: string; value?: string }) =>
  <A>(options: Options.Options<A>): Options.Options<A> => {
    const named = value === undefined ? options : Options.withPseudoName(options, value)
    const short = alias === undefined ? named : Options.withAlias(named, alias)
    return Options.withDescription(short, text)
  }

/** An option with a value; undefined without it. */
export const value = <A>(name: string, spelling: Spelling<A>): Flag<A | undefined> => ({
  name,
  ...spelling,
  again: "last",
  options: Options.text(name).pipe(
    described(spelling),
    Options.mapEffect(read(name, spelling.parse)),
    Options.optional,
    Options.map(Option.getOrUndefined)
  )
})

/** An option with a value that can be given any number of times. */
export const values = <A>(name: string, spelling: Spelling<A>): Flag<ReadonlyArray<A>> => ({
  name,
  ...spelling,
  again: "all",
  options: Options.text(name).pipe(
    described(spelling),
    Options.repeated,
    Options.mapEffect((texts) => Effect.forEach(texts, read(name, spelling.parse)))
  )
})

/** An option whose value is one of the words. */
export const choice = <const Words extends ReadonlyArray<string>>(
  name: string,
  words: Words,
  spelling: Pick<Spelling<string>, "alias" | "default" | "text">
): Flag<Words[number] | undefined> =>
  value(name, {
    ...spelling,
    value: words.join("|"),
    words,
    parse: (text) =>
      words.includes(text)
        ? Either.right(text as Words[number])
        : Either.left(
            `'${text}' is not accepted; expected ${words.slice(0, -1).join(", ")} or ${words.at(-1)}`
          )
  })

const anything: Parse<string> = Either.right

/** An option without a value. */
export const toggle = (name: string, text: string, alias?: string): Flag<boolean> => ({
  name,
  alias,
  text,
  again: "last",
  parse: anything,
  options: Options.boolean(name).pipe(described({ text, ...(alias === undefined ? {} : { alias }) }))
})

/** An option without a value that `--no-NAME` turns off; undefined without either. */
export const negatable = (name: string, text: string, shown?: string): Flag<boolean | undefined> => ({
  name,
  text,
  default: shown,
  again: "last",
  negatable: true,
  parse: anything,
  // negationNames of Options.boolean give false without either.
  options: Options.all([
    Options.boolean(name).pipe(described({ text })),
    Options.boolean(`no-${name}`).pipe(described({ text: `no ${text}` }))
  ]).pipe(Options.map(([on, off]) => (on ? true : off ? false : undefined)))
})

/** An option without a value that counts how often it is given: `-qq` is 2. */
export const level = (name: string, text: string, alias: string): Flag<number> => ({
  name,
  alias,
  text,
  again: "count",
  parse: anything,
  options: Options.text(name).pipe(
    described({ alias, text }),
    Options.withDefault(quoted("0")),
    Options.map((word) => Number(unquoted(word)))
  )
})

/** The option with a default, which its help shows. */
export const withDefault = <A, const B>(
  flag: Flag<A>,
  otherwise: B,
  shown = String(otherwise)
): Flag<Exclude<A, undefined> | B> => ({
  ...flag,
  default: shown,
  options: Options.map(
    flag.options,
    (given) => (given === undefined ? otherwise : given) as Exclude<A, undefined> | B
  )
})

/** The option with another sentence in the help of one command, and perhaps a default that the command computes. */
export const withText = <A>(
  flag: Flag<A>,
  text: string,
  shown: string | undefined = flag.default
): Flag<A> => ({
  ...flag,
  text,
  default: shown,
  options: Options.withDescription(flag.options, text)
})

/** Options of a command, by the names of their values in the code. */
export type Flags = Readonly<Record<string, Flag<unknown>>>

/** The values of options. */
export type Values<F extends Flags> = { readonly [K in keyof F]: F[K] extends Flag<infer A> ? A : never }

/** One parser of @effect/cli for all options. */
export const all = <F extends Flags>(flags: F): Options.Options<Values<F>> => {
  const entries = Object.entries(flags).map(([key, { options }]) => [key, options])
  // Options.all throws for an empty record.
  const options =
    entries.length === 0 ? Options.map(Options.none, () => ({})) : Options.all(Object.fromEntries(entries))
  return options as unknown as Options.Options<Values<F>>
}
