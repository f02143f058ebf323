import { UsageError } from "../../services/host/ExitCodes.js"
import { didYouMean } from "../../services/text/Spelling.js"
import type { Flag, Spec } from "./Spec.js"

// @effect/cli parses argv leniently: unknown options become arguments, `-j8` and repeated options are accepted and
// ignored. So argv is checked against the options of the command here, and @effect/cli gets only unambiguous words.

export interface Checked {
  /** The words for @effect/cli, without the name of the command. */
  readonly argv: ReadonlyArray<string>
  /** The words that call the command: `aio`, `schedule`, `at`. */
  readonly path: ReadonlyArray<string>
  readonly spec: Spec
  readonly help: boolean
  /** The options that were typed, by their long names. */
  readonly given: ReadonlyArray<string>
}

/** The input of {@link check}. */
export interface Words {
  /** The words that call the command: `aio`, `gather`. */
  readonly path: ReadonlyArray<string>
  readonly spec: Spec
  /** The words before `--`. */
  readonly words: ReadonlyArray<string>
  /** `AIO_NAME` in it sets an option that was not typed. */
  readonly env: Readonly<Record<string, string | undefined>>
}

/** Checks the words and orders them as @effect/cli parses them reliably: options, then arguments. */
export const check = ({ env, path, spec, words }: Words): Checked => {
  const called = path.join(" ")
  const fail = (message: string): never => {
    throw new UsageError({ message: `${called}: ${message}` })
  }
  const flags = new Map(
    spec.flags.flatMap((flag) => [flag.name, ...flag.aliases].map((name) => [name, flag]))
  )
  const takesArgs = spec.args.length > 0
  const options: Array<string> = []
  const args: Array<string> = []
  const seen = new Set<string>()
  const put = (flag: Flag, given: string, value: string | undefined) => {
    if (seen.has(flag.name) && !flag.repeatable) fail(`option ${given} is given twice; give it once`)
    seen.add(flag.name)
    options.push(flag.name, ...(value === undefined ? [] : [value]))
  }
  const fromEnvironment = () => {
    for (const flag of spec.flags) {
      const value = env[`AIO_${flag.name.slice(2).replaceAll("-", "_").toUpperCase()}`]
      if (value === undefined || value === "" || seen.has(flag.name)) continue
      if (flag.placeholder !== undefined) options.push(flag.name, value)
      else if (value !== "0" && value !== "false") options.push(flag.name)
    }
  }
  const left = [...words]
  for (let word = left.shift(); word !== undefined; word = left.shift()) {
    if (word === "--help" || word === "-h") return { argv: [], path, spec, help: true, given: [] }
    if (!word.startsWith("-") || word === "-") {
      const child = args.length === 0 ? spec.children.find(({ name }) => name === word) : undefined
      if (child !== undefined) {
        fromEnvironment()
        const inner = check({ path: [...path, word], spec: child, words: left, env })
        return { ...inner, argv: [...options, word, ...inner.argv], given: [...seen, ...inner.given] }
      }
      if (!takesArgs) {
        const names = spec.children.map(({ name }) => name)
        fail(
          names.length > 0
            ? `unknown subcommand '${word}'${didYouMean(word, names)} (one of ${names.join(", ")})`
            : `unexpected argument '${word}'; ${called} takes none (see ${called} --help)`
        )
      }
      args.push(word)
      continue
    }
    const equals = word.startsWith("--") ? word.indexOf("=") : -1
    let name = equals > 0 ? word.slice(0, equals) : word
    let value = equals > 0 ? word.slice(equals + 1) : undefined
    const short = word.startsWith("--") || flags.has(word) ? undefined : flags.get(word.slice(0, 2))
    if (short !== undefined) {
      // -j8, -qd DIR: a short option followed by its value or by further short options
      name = word.slice(0, 2)
      if (short.placeholder !== undefined) value = word.slice(2).replace(/^=/, "")
      else left.unshift(`-${word.slice(2)}`)
    }
    const flag =
      flags.get(name) ??
      fail(
        `unknown option ${name}${name.length > 2 ? didYouMean(name, flags.keys()) : ""} (see ${called} --help; words that start with - go after --)`
      )
    if (flag.placeholder === undefined) {
      if (value !== undefined) fail(`option ${name} takes no value, but '${value}' was given`)
      put(flag, name, undefined)
      continue
    }
    if (value === undefined) {
      const next = left.shift()
      if (next === undefined || (next.startsWith("-") && next !== "-" && !/^-\d/.test(next))) {
        return fail(`option ${name} needs a value (${name} ${flag.placeholder})`)
      }
      value = next
      // In `stop|dead-letter FILE`, dead-letter takes one more word.
      if (flag.placeholder.split("|").some((word) => word.startsWith(`${next} `))) {
        const own = left.shift()
        if (own === undefined || (own.startsWith("-") && own !== "-")) {
          return fail(`option ${name} ${next} needs a value (${name} ${flag.placeholder})`)
        }
        value = `${next} ${own}`
      }
    }
    put(flag, name, value)
  }
  fromEnvironment()
  return {
    argv: args.length > 0 ? [...options, "--", ...args] : options,
    path,
    spec,
    help: false,
    given: [...seen]
  }
}
