import { Either } from "effect"

/** Reads the text of a value; on the left is what is wrong with it and what is accepted. */
export type Parse<A> = (text: string) => Either.Either<A, string>

/** An option of a command: how it is written, what it means, and what its value is. Plain data, without @effect/cli. */
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
  /** The long name of an option that asks for the same: where one of both is typed, the variable of the other is void. */
  readonly insteadOf?: string | undefined
  /** The long name of an option without which this one is refused; where it is not given, the variable of this one is void. */
  readonly onlyWith?: string | undefined
  /** Checks one value. */
  readonly parse: Parse<unknown>
  /** What all that was given comes to: the texts of values, or `on` and `off` of a switch. */
  readonly read: (given: ReadonlyArray<string>) => Either.Either<A, string>
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

/** An option with a value; undefined without it. */
export const value = <A>(name: string, spelling: Spelling<A>): Flag<A | undefined> => ({
  name,
  ...spelling,
  again: "last",
  read: ([text]) => (text === undefined ? Either.right(undefined) : spelling.parse(text))
})

/** Makes options of one kind of value: `DURATION`, `SIZE`. */
export const kind =
  <A>(placeholder: string, parse: Parse<A>) =>
  (name: string, text: string, more: Pick<Spelling<A>, "alias" | "default"> = {}): Flag<A | undefined> =>
    value(name, { value: placeholder, text, parse, ...more })

/** An option with a value that can be given any number of times. */
export const values = <A>(name: string, spelling: Spelling<A>): Flag<ReadonlyArray<A>> => ({
  name,
  ...spelling,
  again: "all",
  read: (texts) => Either.all(texts.map(spelling.parse))
})

/** One of the words. */
export const oneOf =
  <const Words extends ReadonlyArray<string>>(words: Words): Parse<Words[number]> =>
  (text) =>
    words.includes(text)
      ? Either.right(text as Words[number])
      : Either.left(`'${text}' is not accepted; expected ${words.slice(0, -1).join(", ")} or ${words.at(-1)}`)

/** An option whose value is one of the words. */
export const choice = <const Words extends ReadonlyArray<string>>(
  name: string,
  words: Words,
  spelling: Pick<Spelling<string>, "default" | "text">
): Flag<Words[number] | undefined> =>
  value(name, { value: words.join("|"), words, parse: oneOf(words), ...spelling })

const switched = { again: "last", parse: Either.right } as const

/** An option without a value. */
export const toggle = (name: string, text: string, alias?: string): Flag<boolean> => ({
  name,
  alias,
  text,
  ...switched,
  read: (given) => Either.right(given.length > 0)
})

/** An option without a value that `--no-NAME` turns off; undefined without either. */
export const negatable = (name: string, text: string, shown?: string): Flag<boolean | undefined> => ({
  name,
  text,
  default: shown,
  negatable: true,
  ...switched,
  read: ([word]) => Either.right(word === undefined ? undefined : word === "on")
})

/** An option without a value that counts how often it is given: `-qq` is 2. */
export const level = (name: string, text: string, alias: string): Flag<number> => ({
  name,
  alias,
  text,
  ...switched,
  again: "count",
  read: (given) => Either.right(given.length)
})

/** The option with a default, which its help shows. */
export const withDefault = <A, const B>(
  flag: Flag<A>,
  otherwise: B,
  shown = String(otherwise)
): Flag<Exclude<A, undefined> | B> => ({
  ...flag,
  default: shown,
  read: (given) => Either.map(flag.read(given), (found) => (found ?? otherwise) as Exclude<A, undefined> | B)
})

/** The option with another sentence in the help of one command, and perhaps a default that the command computes. */
export const withText = <A>(flag: Flag<A>, text: string, shown = flag.default): Flag<A> => ({
  ...flag,
  text,
  default: shown
})

/** Options of a command, by the names of their values in the code. */
export type Flags = Readonly<Record<string, Flag<unknown>>>

/** The values of options. */
export type Values<F extends Flags> = { readonly [K in keyof F]: F[K] extends Flag<infer A> ? A : never }

/** The values of options, from what was given of each, by its long name. */
export const readAll = <F extends Flags>(
  flags: F,
  given: Readonly<Record<string, ReadonlyArray<string>>>
): Either.Either<Values<F>, string> =>
  Either.all(
    Object.fromEntries(
      Object.entries(flags).map(([key, { name, read }]) => [
        key,
        Either.mapLeft(read(given[name] ?? []), (problem) => `option --${name}: ${problem}`)
      ])
    )
  ) as Either.Either<Values<F>, string>
