import { Either } from "effect"
import { UsageError } from "../../services/host/ExitCodes.js"
import { didYouMean } from "../../services/text/Spelling.js"
import type { Flag } from "./Flag.js"
import { elsewhere } from "./Flags.js"

// What @effect/cli lacks, in one place: it takes unknown options for arguments, accepts and ignores `-j8` and repeated
// options, reads `--log-level` behind `--`, and needs time that grows with the square of the number of words. So words
// are sorted here by the options of the command, and @effect/cli parses the options alone. Argv.test has a test for each
// of these traps, which fails when a new version of @effect/cli mends it.

/** What the words of a command are checked against. */
export interface Grammar {
  readonly name: string
  readonly flags: Readonly<Record<string, Flag<unknown>>>
  /** Whether it has operands, and whether options end at the first: then each word behind that is an operand. */
  readonly operands: "none" | "list" | "mixed"
  readonly children: ReadonlyArray<Grammar>
}

/** The words of a command, sorted. */
export interface Sorted {
  /** The words that call the command: `aio`, `schedule`, `at`. */
  readonly path: ReadonlyArray<string>
  /** The names of the subcommands: `at`. */
  readonly below: ReadonlyArray<string>
  readonly help: boolean
  /** Options for @effect/cli: long names, each with its value in a word of its own. */
  readonly options: ReadonlyArray<string>
  /** The options that were typed, by their long names. */
  readonly given: ReadonlyArray<string>
  readonly operands: ReadonlyArray<string>
  /** The words behind `--`, exactly as typed; undefined without one. They are among the operands of a list, too. */
  readonly rest: ReadonlyArray<string> | undefined
}

type Environment = Readonly<Record<string, string | undefined>>

const off = new Set(["0", "false", "no", "off"])

/** Sorts the words of the command that `path` calls. Throws a UsageError. */
export const sort = (
  path: ReadonlyArray<string>,
  grammar: Grammar,
  words: ReadonlyArray<string>,
  env: Environment
): Sorted => {
  const called = path.join(" ")
  const fail = (message: string): never => {
    throw new UsageError({ message: `${called}: ${message}` })
  }
  const flags = new Map<string, readonly [Flag<unknown>, on: boolean]>()
  for (const flag of Object.values(grammar.flags)) {
    flags.set(`--${flag.name}`, [flag, true])
    if (flag.alias !== undefined) flags.set(`-${flag.alias}`, [flag, true])
    if (flag.negatable === true) flags.set(`--no-${flag.name}`, [flag, false])
  }
  const found = new Map<Flag<unknown>, Array<string>>()
  const put = (flag: Flag<unknown>, word: string) => {
    const before = found.get(flag)
    if (before === undefined || flag.again === "last") found.set(flag, [word])
    else before.push(word)
  }
  const operands: Array<string> = []
  let rest: ReadonlyArray<string> | undefined
  const left = [...words]
  const sorted = (): Sorted => {
    const given = [...found.keys()].map(({ name }) => `--${name}`)
    for (const flag of Object.values(grammar.flags)) {
      if (!found.has(flag)) fromEnvironment(path, flag, env, (word) => put(flag, word))
    }
    const options = [...found].flatMap(([flag, texts]) => {
      if (flag.again === "count") return [`--${flag.name}`, String(texts.length)]
      return texts.flatMap((text) => (flag.value === undefined ? [text] : [`--${flag.name}`, text]))
    })
    return { path, below: [], help: false, options, given, operands, rest }
  }
  for (let word = left.shift(); word !== undefined; word = left.shift()) {
    if (word === "--") {
      rest = left.splice(0)
      if (grammar.operands === "list") operands.push(...rest)
      continue
    }
    if (word === "--help" || word === "-h") return { ...sorted(), help: true }
    if (!word.startsWith("-") || word === "-") {
      const child = operands.length === 0 ? grammar.children.find(({ name }) => name === word) : undefined
      if (child !== undefined) {
        const [early] = found.keys()
        if (early !== undefined) fail(`option --${early.name} does not apply to ${called} ${word}`)
        const inner = sort([...path, word], child, left, env)
        return { ...inner, below: [word, ...inner.below] }
      }
      if (grammar.operands === "none") {
        const names = grammar.children.map(({ name }) => name)
        fail(
          names.length > 0
            ? `unknown subcommand '${word}'${didYouMean(word, names)} (one of ${names.join(", ")})`
            : `unexpected argument '${word}'; ${called} takes none (see ${called} --help)`
        )
      }
      operands.push(word)
      if (grammar.operands === "list") operands.push(...left.splice(0))
      continue
    }
    const equals = word.startsWith("--") ? word.indexOf("=") : -1
    let name = equals > 0 ? word.slice(0, equals) : word
    let value = equals > 0 ? word.slice(equals + 1) : undefined
    const short = word.startsWith("--") || flags.has(word) ? undefined : flags.get(word.slice(0, 2))?.[0]
    if (short !== undefined) {
      // -j8, -qd DIR: a short option followed by its value or by further short options
      name = word.slice(0, 2)
      if (short.value !== undefined) value = word.slice(2).replace(/^=/, "")
      else left.unshift(`-${word.slice(2)}`)
    }
    const known = flags.get(name)
    if (known === undefined) {
      const [here] = [name, name.slice(0, 2)].flatMap((word) => {
        const hint = elsewhere[word]
        const [option] = /--[a-z-]+/.exec(hint ?? "") ?? []
        return option !== undefined && flags.has(option) ? [hint] : []
      })
      const hint =
        here !== undefined ? `; here it is ${here}` : name.length > 2 ? didYouMean(name, flags.keys()) : ""
      return fail(`unknown option ${name}${hint} (see ${called} --help; words that start with - go after --)`)
    }
    const [flag, on] = known
    if (flag.value === undefined) {
      if (value !== undefined) fail(`option ${name} takes no value, but '${value}' was given`)
      put(flag, on ? `--${flag.name}` : `--no-${flag.name}`)
      continue
    }
    if (value === undefined) {
      value = left.shift()
      if (value === undefined || (value.startsWith("-") && value !== "-" && !/^-\d/.test(value))) {
        return fail(`option ${name} needs a value (${name} ${flag.value})`)
      }
    }
    put(flag, value)
  }
  if (rest !== undefined && rest.length > 0 && grammar.operands === "none") {
    fail(`unexpected argument '${rest[0]}'; ${called} takes none (see ${called} --help)`)
  }
  return sorted()
}

/** The variables that set an option: one for this command, then one for all. */
const variables = (path: ReadonlyArray<string>, name: string): ReadonlyArray<string> =>
  [`AIO_${path[1]}_${name}`, `AIO_${name}`].map((text) => text.replaceAll("-", "_").toUpperCase())

// A wrong value is blamed on the variable: nobody typed an option.
const fromEnvironment = (
  path: ReadonlyArray<string>,
  flag: Flag<unknown>,
  env: Environment,
  put: (word: string) => void
): void => {
  const variable = variables(path, flag.name).find((name) => (env[name] ?? "") !== "")
  if (variable === undefined) return
  const text = env[variable]!
  const fail = (problem: string): never => {
    throw new UsageError({ message: `${path.join(" ")}: ${variable}: ${problem}` })
  }
  if (flag.value !== undefined) {
    const parsed = flag.parse(text)
    return Either.isLeft(parsed) ? fail(parsed.left) : put(text)
  }
  if (flag.again === "count") {
    const times = /^\d$/.test(text) ? Number(text) : off.has(text) ? 0 : 1
    for (let i = 0; i < times; i++) put(`--${flag.name}`)
  } else if (!off.has(text.toLowerCase())) put(`--${flag.name}`)
  else if (flag.negatable === true) put(`--no-${flag.name}`)
}
