import { constants } from "node:os"
import * as HelpDoc from "@effect/cli/HelpDoc"
import * as Options from "@effect/cli/Options"
import * as ValidationError from "@effect/cli/ValidationError"
import { Effect, Either } from "effect"
import * as Durations from "../../services/text/Durations.js"
import * as Sizes from "../../services/text/Sizes.js"

export type Parse<A> = (text: string) => Either.Either<A, string>

const read = <A>(name: string, parse: Parse<A>, text: string) =>
  Effect.mapError(parse(text), (problem) =>
    ValidationError.invalidValue(HelpDoc.p(`option --${name}: ${problem}`))
  )

/** An option whose text `parse` reads; its left side is the problem, reported as one line. */
export const parsed = <A>(name: string, parse: Parse<A>): Options.Options<A> =>
  Options.mapEffect(Options.text(name), (text) => read(name, parse, text))

/** {@link parsed}, any number of times. */
export const repeated = <A>(name: string, parse: Parse<A>): Options.Options<ReadonlyArray<A>> =>
  Options.mapEffect(Options.repeated(Options.text(name)), (texts) =>
    Effect.forEach(texts, (text) => read(name, parse, text))
  )

/** An option whose value is one of the words. */
export const choice = <const A extends ReadonlyArray<string>>(
  name: string,
  words: A
): Options.Options<A[number]> =>
  parsed(name, (text) =>
    words.includes(text) ? Either.right(text) : Either.left(`'${text}' is not one of ${words.join(", ")}`)
  ).pipe(Options.withPseudoName(words.join("|")))

/** A duration like `90s`, `1h30m` or `250ms`, in milliseconds. */
export const duration = (name: string): Options.Options<number> =>
  parsed(name, Durations.duration).pipe(Options.withPseudoName("duration"))

/** A size like `500K` or `2M`, in bytes; zero is not valid. */
export const size = (name: string): Options.Options<number> =>
  parsed(name, (text) =>
    Either.filterOrLeft(
      Sizes.size(text),
      (bytes) => bytes > 0,
      () => "0 is out of range; expected 1 byte or more"
    )
  ).pipe(Options.withPseudoName("size"))

/** The name of a signal, like `INT` or `sigint`. */
export const parseSignal: Parse<NodeJS.Signals> = (text) => {
  const name = `SIG${text.trim().toUpperCase().replace(/^SIG/, "")}`
  return Object.hasOwn(constants.signals, name)
    ? Either.right(name as NodeJS.Signals)
    : Either.left(`'${text}' is not a signal; expected one like INT, TERM or QUIT`)
}

/** A whole number, `least` or more. */
export const integer = (name: string, least: number): Options.Options<number> =>
  parsed(name, (text) =>
    /^\d+$/.test(text.trim()) && Number(text) >= least && Number.isSafeInteger(Number(text))
      ? Either.right(Number(text))
      : Either.left(`'${text}': expected a whole number, ${least} or more`)
  ).pipe(Options.withPseudoName("n"))
