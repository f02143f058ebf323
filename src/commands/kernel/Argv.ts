import { Either } from "effect"
import { UsageError } from "../../services/host/ExitCodes.js"
import { didYouMean } from "../../services/text/Spelling.js"
import type * as Flag from "./Flag.js"
import { elsewhere } from "./Flags.js"

// What @effect/cli lacks, in one place: it takes unknown options for arguments, accepts and ignores `-j8` and repeated
// options, trims values, takes some for options, reads `--log-level` behind `--`, and needs time that grows with the
// square of the number of words. So words are sorted here by the options of the command, and @effect/cli parses the
// options alone. Traps.test has a test for each of these, which fails when a new version of @effect/cli mends it.

/** What the words of a command are checked against. */
export interface Grammar {
  readonly name: string
  readonly flags: Readonly<Record<string, Flag.Flag<unknown>>>
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
  /** The options, by their long names, typed or of the environment, each with a value; `on` or `off` for a switch. */
  readonly options: ReadonlyArray<readonly [name: string, text: string]>
  /** The options that were typed. */
  readonly given: ReadonlyArray<string>
  readonly operands: ReadonlyArray<string>
  /** The words behind `--`, exactly as typed; undefined without one. They are among the operands of a list, too. */
  readonly rest: ReadonlyArray<string> | undefined
}

type Environment = Readonly<Record<string, string | undefined>>

// A negative number is a value.
const isOption = (word: string): boolean => /^-[^\d.]/.test(word)

/** Sorts the words of the command that `path` calls. Throws a UsageError. */
export const sort = (
  path: ReadonlyArray<string>,
  grammar: Grammar,
  words: ReadonlyArray<string>,
  env: Environment
): Sorted => {
  const called = path.join(" ")
  const wrong = (message: string) => new UsageError({ message: `${called}: ${message}` })
  const flags = new Map<string, readonly [Flag.Flag<unknown>, on: boolean]>()
  for (const flag of Object.values(grammar.flags)) {
    flags.set(`--${flag.name}`, [flag, true])
    if (flag.alias !== undefined) flags.set(`-${flag.alias}`, [flag, true])
    if (flag.negatable === true) flags.set(`--no-${flag.name}`, [flag, false])
  }
  const found = new Map<Flag.Flag<unknown>, Array<string>>()
  const put = (flag: Flag.Flag<unknown>, word: string) => {
    const before = found.get(flag)
    if (before === undefined || flag.again === "last") found.set(flag, [word])
    else before.push(word)
  }
  let at = 0
  let help = false
  const take = (name: string, attached?: string) => {
    const known = flags.get(name)
    if (known === undefined) throw wrong(unknown(name, flags, called, grammar.operands))
    const [flag, on] = known
    if (flag.value === undefined) {
      if (attached !== undefined) throw wrong(`option ${name} takes no value, but '${attached}' was given`)
      put(flag, on ? "on" : "off")
      return
    }
    const value = attached ?? flag.bare ?? words[at++]
    if (value === undefined || (attached === undefined && isOption(value))) {
      const hint = value === undefined ? "" : `; one that begins with - is written --${flag.name}=${value}`
      throw wrong(`option ${name} needs a value (${name} ${flag.value}${hint})`)
    }
    put(flag, value)
  }
  // -j8, -qd DIR: a short option followed by its value or by further short options
  const takeShort = (word: string) => {
    for (let i = 1; i < word.length && !help; i++) {
      const name = `-${word[i]}`
      const left = word.slice(i + 1)
      const flag = flags.get(name)?.[0]
      const attached = left.startsWith("=") ? left.slice(1) : left
      if (flag === undefined && name === "-h") help = true
      else if (flag === undefined) take(i === 1 ? word : name)
      else if (attached !== left || (flag.value !== undefined && left !== "")) {
        take(name, attached)
        return
      } else take(name)
    }
  }
  let operands: Array<string> = []
  let rest: ReadonlyArray<string> | undefined
  while (at < words.length && !help) {
    const word = words[at++]!
    const equals = word.indexOf("=")
    if (word === "--") {
      rest = words.slice(at)
      if (grammar.operands === "list") operands = words.slice(at)
      break
    }
    if (word === "--help") help = true
    else if (word.startsWith("--") && equals > 0) take(word.slice(0, equals), word.slice(equals + 1))
    else if (word.startsWith("--")) take(word)
    else if (word.startsWith("-") && word !== "-") takeShort(word)
    else {
      const child = operands.length === 0 ? grammar.children.find(({ name }) => name === word) : undefined
      if (child !== undefined) {
        const [early] = found.keys()
        if (early !== undefined) {
          throw wrong(
            `option --${early.name} stands before ${word}; options of ${called} ${word} go behind it`
          )
        }
        const inner = sort([...path, word], child, words.slice(at), env)
        return { ...inner, below: [word, ...inner.below] }
      }
      if (grammar.operands === "none") {
        const names = grammar.children.map(({ name }) => name)
        throw wrong(
          names.length > 0
            ? `unknown subcommand '${word}'${didYouMean(word, names)} (one of ${names.join(", ")})`
            : `unexpected argument '${word}'; ${called} takes none (see ${called} --help)`
        )
      }
      if (grammar.operands === "list") {
        operands = words.slice(at - 1)
        break
      }
      operands.push(word)
    }
  }
  if (!help && grammar.operands === "none" && rest?.[0] !== undefined) {
    throw wrong(`unexpected argument '${rest[0]}'; ${called} takes none (see ${called} --help)`)
  }
  const given = Array.from(found.keys(), ({ name }) => name)
  for (const flag of help ? [] : Object.values(grammar.flags)) {
    if (!found.has(flag) && !given.includes(flag.insteadOf ?? "")) {
      fromEnvironment(path, flag, env, (text) => put(flag, text))
    }
  }
  const names = new Set(Array.from(found.keys(), ({ name }) => name))
  for (const flag of found.keys()) {
    if (flag.onlyWith === undefined || names.has(flag.onlyWith)) continue
    if (given.includes(flag.name)) throw wrong(`--${flag.name} applies to --${flag.onlyWith} only`)
    found.delete(flag)
  }
  const options = [...found].flatMap(([{ name }, texts]) => texts.map((text) => [name, text] as const))
  return { path, below: [], help, options, given, operands, rest }
}

const unknown = (
  word: string,
  flags: ReadonlyMap<string, unknown>,
  called: string,
  operands: Grammar["operands"]
): string => {
  const hint = [word, word.slice(0, 2)].map((each) => elsewhere[each]).find((each) => each !== undefined)
  const option = /--[a-z-]+/.exec(hint ?? "")?.[0] ?? ""
  const here = flags.has(option) || hint?.startsWith("aio ") === true
  const like = word.length > 2 ? didYouMean(word.replace(/^-*/, "--"), flags.keys()) : ""
  const after = operands === "none" ? "" : "; words that start with - go after --"
  return `unknown option ${word}${here ? `; here it is ${hint}` : like} (see ${called} --help${after})`
}

/** The variables that set an option: one for this command, then one for all. */
const variables = (path: ReadonlyArray<string>, name: string): ReadonlyArray<string> =>
  [`AIO_${path[1]}_${name}`, `AIO_${name}`].map((text) => text.replaceAll("-", "_").toUpperCase())

const switches: Readonly<Record<string, boolean>> = {
  "1": true,
  true: true,
  yes: true,
  on: true,
  "0": false,
  false: false,
  no: false,
  off: false
}

// A wrong value is blamed on the variable: no option was typed.
const fromEnvironment = (
  path: ReadonlyArray<string>,
  flag: Flag.Flag<unknown>,
  env: Environment,
  put: (text: string) => void
): void => {
  const variable = variables(path, flag.name).find((name) => (env[name] ?? "") !== "")
  if (variable === undefined) return
  const text = env[variable]!
  const wrong = (problem: string) => new UsageError({ message: `${path.join(" ")}: ${variable}: ${problem}` })
  if (flag.value !== undefined) {
    const parsed = flag.parse(text)
    if (Either.isLeft(parsed)) throw wrong(parsed.left)
    put(text)
    return
  }
  const on = switches[text.toLowerCase()]
  if (flag.again === "count" && /^\d$/.test(text)) {
    for (let i = 0; i < Number(text); i++) put("on")
  } else if (on === undefined) throw wrong(`'${text}' is not accepted; expected 1 or 0`)
  else if (on) put("on")
  else if (flag.negatable === true) put("off")
}
