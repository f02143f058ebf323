import { Data, Either } from "effect"

/** A line of a Procfile: a name, and the command that a shell reads. */
export interface Entry {
  readonly name: string
  readonly command: string
}

/** What is wrong, and where. */
export class ProcfileError extends Data.TaggedError("ProcfileError")<{
  /** The file and line, or the word, that is wrong. */
  readonly where: string
  readonly detail: string
}> {
  override get message() {
    return `${this.where}: ${this.detail}`
  }
}

const form = "write NAME: COMMAND, like web: python3 -m http.server"
const name = /^[A-Za-z0-9_][A-Za-z0-9_.-]*$/

/** The beginning of a text that may be of any length. */
const brief = (text: string): string => (text.length > 60 ? `${text.slice(0, 60)}…` : text)

const entry = (where: string, given: string, command: string): Either.Either<Entry, ProcfileError> => {
  const fail = (detail: string) => Either.left(new ProcfileError({ where, detail }))
  if (given === "") return fail("the name is missing before the command")
  if (!name.test(given)) {
    return fail(`'${brief(given)}' is no name; use letters, digits, '_', '-' and '.'`)
  }
  if (command.includes("\0")) return fail("its command has a null byte in it")
  return command === "" ? fail(`${given} has no command`) : Either.right({ name: given, command })
}

/** Names are told apart by case, as files are; each may come once. */
const unique = (
  entries: ReadonlyArray<readonly [where: string, entry: Entry]>
): Either.Either<ReadonlyArray<Entry>, ProcfileError> => {
  const seen = new Map<string, string>()
  for (const [where, { name }] of entries) {
    const before = seen.get(name)
    if (before !== undefined) {
      const detail = `the name ${name} is taken already (${before}); names must differ`
      return Either.left(new ProcfileError({ where, detail }))
    }
    seen.set(name, where)
  }
  return Either.right(entries.map(([, entry]) => entry))
}

/**
 * Reads `NAME=COMMAND` words and a Procfile (Heroku's and foreman's form: `NAME: COMMAND` lines, `#` comments) into
 * one list in the order given, the file's lines first. Of what is wrong the first is told, with its file and line.
 *
 * @example
 * ```ts
 * import * as Procfile from "effect-asyncio/services/Procfile"
 *
 * const file = { path: "Procfile", text: "web: node server.js\n# a comment\nworker: node worker.js\n" }
 * export const entries = Procfile.read(["db=redis-server"], file)
 * ```
 */
export const read = (
  words: ReadonlyArray<string>,
  file?: { readonly path: string; readonly text: string }
): Either.Either<ReadonlyArray<Entry>, ProcfileError> =>
  Either.gen(function* () {
    const entries: Array<readonly [string, Entry]> = []
    for (const [i, line] of (file?.text ?? "")
      .replace(/^\uFEFF/, "")
      .split(/\r?\n/)
      .entries()) {
      const text = line.trim()
      if (text === "" || text.startsWith("#")) continue
      const where = `${file!.path}, line ${i + 1}`
      const colon = text.indexOf(":")
      if (colon < 0)
        return yield* Either.left(
          new ProcfileError({ where, detail: `'${brief(text)}' has no ':'; ${form}` })
        )
      entries.push([where, yield* entry(where, text.slice(0, colon).trim(), text.slice(colon + 1).trim())])
    }
    for (const word of words) {
      const equals = word.indexOf("=")
      if (equals < 0) {
        const detail = "it has no name; write NAME='COMMAND', like web='python3 -m http.server'"
        return yield* Either.left(new ProcfileError({ where: `'${brief(word)}'`, detail }))
      }
      const where = `'${brief(word)}'`
      entries.push([where, yield* entry(where, word.slice(0, equals), word.slice(equals + 1).trim())])
    }
    return yield* unique(entries)
  })

/** Who waits for whom: `web:db` says that web starts after db. */
export type After = ReadonlyMap<string, ReadonlySet<string>>

/**
 * Reads `NAME:OTHER` (or `NAME:OTHER,OTHER`) words into who waits for whom. A name that is none, and those that would
 * wait for each other, are a problem in words.
 */
export const after = (
  words: ReadonlyArray<string>,
  names: ReadonlyArray<string>
): Either.Either<After, string> => {
  const waits = new Map<string, Set<string>>()
  for (const word of words) {
    const [name = "", ...rest] = word.split(":")
    const others = rest.join(":").split(",")
    if (rest.length !== 1 || others.includes("") || name === "") {
      return Either.left(`'${word}' is no order; write WEB:DB, and web starts after db`)
    }
    for (const one of [name, ...others]) {
      if (!names.includes(one)) {
        return Either.left(`'${word}' names ${one}, which is none of ${names.join(", ")}`)
      }
    }
    waits.set(name, new Set([...(waits.get(name) ?? []), ...others]))
  }
  const ring = ringIn(waits)
  return ring === undefined
    ? Either.right(waits)
    : Either.left(`${ring.join(" waits for ")}: none of them would ever start`)
}

/** Some that wait for each other in a ring; undefined when there are none. */
const ringIn = (waits: After): ReadonlyArray<string> | undefined => {
  const clear = new Set<string>()
  const walk = (name: string, path: ReadonlyArray<string>): ReadonlyArray<string> | undefined => {
    if (path.includes(name)) return [...path.slice(path.indexOf(name)), name]
    if (clear.has(name)) return undefined
    for (const other of waits.get(name) ?? []) {
      const ring = walk(other, [...path, name])
      if (ring !== undefined) return ring
    }
    clear.add(name)
    return undefined
  }
  for (const name of waits.keys()) {
    const ring = walk(name, [])
    if (ring !== undefined) return ring
  }
  return undefined
}
