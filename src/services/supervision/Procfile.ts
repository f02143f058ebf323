import * as Command from "@effect/platform/Command"
import type * as FileSystem from "@effect/platform/FileSystem"
import { Data, Effect, Either } from "effect"
import * as Input from "../host/Input.js"
import * as Executables from "../process/Executables.js"
import type * as ProcessError from "../process/ProcessError.js"
import * as CommandNames from "./internal/commandNames.js"
import { decoded, load as loadFile } from "./internal/smallFile.js"

/**
 * A line of a Procfile: a name, and the command for a shell.
 *
 * @since 0.1.0
 * @category models
 */
export interface Entry {
  readonly name: string
  readonly command: string
  /** The words of the `# aio:` comments above the line, and the place of the first; absent without one. */
  readonly options?: { readonly where: string; readonly words: ReadonlyArray<string> }
}

/**
 * An entry is not valid; `message` names its place and the problem.
 *
 * @since 0.1.0
 * @category errors
 */
export class ProcfileError extends Data.TaggedError("ProcfileError")<{
  /** The file and line, or the word. */
  readonly where: string
  readonly detail: string
}> {
  override get message() {
    return `${this.where}: ${this.detail}`
  }
}

const form = "write NAME: COMMAND, like web: python3 -m http.server"
const name = /^[A-Za-z0-9_][A-Za-z0-9_.-]*$/

/** The beginning of a text of any length, for messages. */
const brief = (text: string): string => (text.length > 60 ? `${text.slice(0, 60)}…` : text)

const entry = (where: string, given: string, command: string): Either.Either<Entry, ProcfileError> => {
  const fail = (detail: string) => Either.left(new ProcfileError({ where, detail }))
  if (given === "") return fail("the name is missing before the command")
  if (!name.test(given)) {
    return fail(`'${brief(given)}' is not a name; expected letters, digits, '_', '-' and '.'`)
  }
  if (command.includes("\0")) return fail("the command contains a null byte")
  return command === "" ? fail(`${given} has no command`) : Either.right({ name: given, command })
}

/** The words of a comment; quotes hold words with blanks together. */
const wordsOf = (text: string): ReadonlyArray<string> =>
  (text.match(/(?:"[^"]*"|'[^']*'|[^\s"']+)+/g) ?? []).map((word) =>
    word.replace(/"([^"]*)"|'([^']*)'/g, (_, double, single) => double ?? single)
  )

/** The name of a `NAME=COMMAND` word: what is before the first `=`, unless that has blanks. */
const nameBefore = (word: string): ReadonlyArray<string> => /^([^\s=]*)=/.exec(word)?.slice(1) ?? []

/** Names are case-sensitive, as files are; each may be used once. */
const unique = (
  entries: ReadonlyArray<readonly [where: string, entry: Entry]>
): Either.Either<ReadonlyArray<Entry>, ProcfileError> => {
  const seen = new Map<string, string>()
  for (const [where, { name }] of entries) {
    const before = seen.get(name)
    if (before !== undefined) {
      const detail = `the name ${name} is already used (${before}); names must be unique`
      return Either.left(new ProcfileError({ where, detail }))
    }
    seen.set(name, where)
  }
  return Either.right(entries.map(([, entry]) => entry))
}

/**
 * Parses `NAME=COMMAND` words and a Procfile (the form of Heroku and foreman: `NAME: COMMAND` lines, `#` comments) into one
 * list in the given order, the file's lines first. Comments like `# aio: --after db` above a line are its options. A word without a name is a command that gets the name of its npm script or
 * its program, with a number where that is taken. Fails with the first invalid entry, named by its file and line; bytes of a
 * file must be UTF-8.
 *
 * @example
 * ```ts
 * import * as Procfile from "effect-asyncio/services/Procfile"
 *
 * const file = { path: "Procfile", text: "web: node server.js\n# a comment\nworker: node worker.js\n" }
 * export const entries = Procfile.read(["db=redis-server"], file)
 * ```
 *
 * @since 0.1.0
 * @category parsing
 */
export const read = (
  words: ReadonlyArray<string>,
  file?: { readonly path: string; readonly text: string | Uint8Array }
): Either.Either<ReadonlyArray<Entry>, ProcfileError> =>
  Either.gen(function* () {
    const entries: Array<readonly [string, Entry]> = []
    const given =
      file === undefined
        ? ""
        : yield* Either.mapLeft(decoded(file.path, file.text), (problem) => new ProcfileError(problem))
    let options: Entry["options"]
    for (const [i, line] of given.split(/\r?\n/).entries()) {
      const text = line.trim()
      const where = `${file?.path}, line ${i + 1}`
      const [, comment] = /^#\s*aio:(.*)$/.exec(text) ?? []
      if (comment !== undefined) {
        options = { where: options?.where ?? where, words: [...(options?.words ?? []), ...wordsOf(comment)] }
      }
      if (text === "" || text.startsWith("#")) continue
      const colon = text.indexOf(":")
      if (colon < 0)
        return yield* Either.left(
          new ProcfileError({ where, detail: `'${brief(text)}' has no ':'; ${form}` })
        )
      const found = yield* entry(where, text.slice(0, colon).trim(), text.slice(colon + 1).trim())
      entries.push([where, options === undefined ? found : { ...found, options }])
      options = undefined
    }
    if (options !== undefined) {
      const { where } = options
      return yield* Either.left(new ProcfileError({ where, detail: "no command follows these options" }))
    }
    const taken = new Set([...entries.map(([, { name }]) => name), ...words.flatMap(nameBefore)])
    for (const word of words) {
      const where = `'${brief(word)}'`
      const [given] = nameBefore(word)
      const name = given ?? CommandNames.take(taken, word)
      const command = given === undefined ? word : word.slice(given.length + 1)
      entries.push([where, yield* entry(where, name, command.trim())])
    }
    return yield* unique(entries)
  })

/**
 * As {@link read}, with the file at the path; `-` is standard input. Fails when there is no entry, with `InputError` when the
 * file cannot be read, and when it is longer than 1 MiB.
 *
 * @since 0.1.0
 * @category effects
 */
export const load = Effect.fn("Procfile.load")(function* (
  words: ReadonlyArray<string>,
  path: string | undefined
) {
  if (path === undefined) return yield* read(words)
  const { bytes, where } = yield* Effect.mapError(loadFile(path), (error) =>
    error instanceof Input.InputError
      ? error
      : new ProcfileError({ where: error.where, detail: `${error.detail}; ${form}` })
  )
  const entries = yield* read(words, { path: where, text: bytes })
  const fail = (detail: string) => new ProcfileError({ where, detail })
  return entries.length === 0 ? yield* fail(`it has no commands; ${form}`) : entries
})

// Only a plain first word is looked up on the PATH: an assignment, a bracket or a quote is left to the shell, and so are
// its builtins and keywords.
const plainWord = /^[A-Za-z0-9_./+-]+(?=\s|$)/
const builtins = new Set(
  "alias bg break case cd command continue do done echo elif else esac eval exec exit export false fc fg fi for function getopts hash if jobs kill let local printf pwd read readonly return set shift source test then time times trap true type ulimit umask unalias unset until wait while .".split(
    " "
  )
)

/**
 * Fails when the program of a command does not exist or may not be run, as far as that is known without a shell: as
 * `Executables.check`. A command of several parts is not checked.
 *
 * @since 0.1.0
 * @category effects
 */
export const check = (
  entries: Iterable<Entry>
): Effect.Effect<
  void,
  ProcessError.CommandNotFound | ProcessError.CommandNotExecutable,
  FileSystem.FileSystem
> =>
  Effect.forEach(
    entries,
    ({ command }) => {
      const [word = ""] = plainWord.exec(command) ?? []
      return word === "" || builtins.has(word) || /[;&|]/.test(command)
        ? Effect.void
        : Executables.check(Command.make(word))
    },
    { discard: true }
  )
