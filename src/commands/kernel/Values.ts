import { constants } from "node:os"
import * as HelpDoc from "@effect/cli/HelpDoc"
import * as Options from "@effect/cli/Options"
import * as ValidationError from "@effect/cli/ValidationError"
import { Effect, Either } from "effect"
import * as Units from "../../services/text/Units.js"

export type Parse<A> = (text: string) => Either.Either<A, string>

const read = <A>(name: string, parse: Parse<A>, text: string) =>
  Effect.mapError(parse(text), (problem) =>
    ValidationError.invalidValue(HelpDoc.p(`option --${name}: ${problem}`))
  )

/** An option whose text is read by `parse`; what it answers on the left becomes the one line of the error. */
export const parsed = <A>(name: string, parse: Parse<A>): Options.Options<A> =>
  Options.mapEffect(Options.text(name), (text) => read(name, parse, text))

/** {@link parsed}, any number of times. */
export const repeated = <A>(name: string, parse: Parse<A>): Options.Options<ReadonlyArray<A>> =>
  Options.mapEffect(Options.repeated(Options.text(name)), (texts) =>
    Effect.forEach(texts, (text) => read(name, parse, text))
  )

/** One of these words. */
export const choice = <const A extends ReadonlyArray<string>>(
  name: string,
  words: A
): Options.Options<A[number]> =>
  parsed(name, (text) =>
    words.includes(text) ? Either.right(text) : Either.left(`'${text}' is none of ${words.join(", ")}`)
  ).pipe(Options.withPseudoName(words.join("|")))

/** `90s`, `1h30m`, `250ms`; milliseconds. */
export const duration = (name: string): Options.Options<number> =>
  parsed(name, Units.duration).pipe(Options.withPseudoName("duration"))

/** `500K`, `2M`; bytes. Zero is refused: nothing could pass. */
export const size = (name: string): Options.Options<number> =>
  parsed(name, (text) =>
    Either.filterOrLeft(
      Units.size(text),
      (bytes) => bytes > 0,
      () => "0 lets nothing pass; give at least 1"
    )
  ).pipe(Options.withPseudoName("size"))

/** `INT`, `sigint`. */
export const parseSignal: Parse<NodeJS.Signals> = (text) => {
  const name = `SIG${text.trim().toUpperCase().replace(/^SIG/, "")}`
  return Object.hasOwn(constants.signals, name)
    ? Either.right(name as NodeJS.Signals)
    : Either.left(`'${text}' is no signal; write one like INT, TERM or QUIT`)
}

/** A whole number from `least` on. */
export const integer = (name: string, least: number): Options.Options<number> =>
  parsed(name, (text) =>
    /^\d+$/.test(text.trim()) && Number(text) >= least && Number.isSafeInteger(Number(text))
      ? Either.right(Number(text))
      : Either.left(`'${text}' is no whole number from ${least} on`)
  ).pipe(Options.withPseudoName("n"))
