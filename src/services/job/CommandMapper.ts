import * as Platform from "@effect/platform/Command"
import { Effect, Either, Stream } from "effect"
import { codes, ExitError } from "../host/ExitCodes.js"
import * as CommandText from "../process/CommandText.js"
import * as Executables from "../process/Executables.js"
import * as Processes from "../process/Processes.js"
import * as LosslessJson from "../record/LosslessJson.js"
import * as MapRecords from "../record/MapRecords.js"
import * as RecordKey from "../record/RecordKey.js"
import * as Records from "../record/Records.js"
import * as RawText from "../text/RawText.js"
import * as ShellWords from "../text/ShellWords.js"
import * as Template from "./Template.js"

/**
 * Settings of {@link make}.
 *
 * @since 0.1.0
 * @category options
 */
export interface Options {
  /** Whether the result of a command is its output as text; default false: as bytes. */
  readonly asText?: boolean | undefined
  /** Whether lone surrogates in records are bytes that are not UTF-8 (`RawText`); default false: they fail the record. */
  readonly isRaw?: boolean | undefined
  /** Whether `{name}` and `{user.id}` in the command are fields of the record; default false. */
  readonly fields?: boolean | undefined
  /** Whether the command reads the record from its stdin, as it is and with a line end; default false: it is an argument. */
  readonly pipe?: boolean | undefined
  /** Receives what a command has written to stderr, when it has ended. */
  readonly onStderr: (bytes: Uint8Array, context: MapRecords.RecordContext) => Effect.Effect<void>
}

const isBytes = (word: string): boolean => word.replace(/[\u{dc80}-\u{dcff}]/gu, "").isWellFormed()

const wordsOf = (record: Records.Record): ReadonlyArray<string> => {
  if (record instanceof Records.Row) return record.fields ?? []
  return [typeof record.value === "string" ? record.value : record.text.trim()]
}

/** The fields by their paths, read once for each path. */
const paths = new Map<string, (value: unknown) => unknown>()
const fieldOf = (path: string): ((value: unknown) => unknown) => {
  const known = paths.get(path) ?? Either.getOrThrow(RecordKey.parse(path))
  paths.set(path, known)
  return known
}

/** The records as a command reads them: each as it is, with a line end. */
const inputOf = (records: ReadonlyArray<Records.Record>): Uint8Array =>
  Buffer.concat(records.map(({ text }) => RawText.encode(text.endsWith("\n") ? text : `${text}\n`)))

/**
 * Makes the function for `MapRecords.mapRecords` that runs a command for each record (or batch): one word with blanks
 * is a line for the shell, several are a program and its arguments, with places for the record as in `Template`. The
 * command's stdout is the result. A command that fails is a failure of the record.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  given: ReadonlyArray<string>,
  { asText = false, fields = false, isRaw = false, onStderr, pipe = false }: Options
) =>
  Effect.gen(function* () {
    const processes = yield* Processes.Processes
    const inShell = given.length === 1 && /\s/.test(given[0]!)
    const template = Template.make(given, inShell ? ShellWords.quote : undefined, fields)
    const misread = inShell ? Template.misread(given[0]!, fields) : undefined
    if (!inShell && !given[0]!.includes("{")) {
      yield* Executables.check(Platform.make(given[0]!) as Platform.StandardCommand)
    }
    const places = given.some((word) => Template.hasPlace(word, fields))
    const free: Array<number> = []
    let slots = 0
    return (_: unknown, context: MapRecords.RecordContext) =>
      Effect.acquireUseRelease(
        Effect.sync(() => free.sort((a, b) => a - b).shift() ?? ++slots),
        (slot) =>
          Effect.gen(function* () {
            // With --pipe, no word of the command is the record unless it says so.
            const all = context.records.flatMap(wordsOf)
            const values = pipe && !places ? [] : all
            const missing: Array<string> = []
            const field = (path: string) => {
              const found = fieldOf(path)(context.records[0]?.value)
              if (found === undefined) {
                missing.push(path)
                return ""
              }
              return typeof found === "string" ? found : LosslessJson.encode(found)
            }
            const problem = misread?.({ field, values })
            if (problem !== undefined) {
              return yield* new ExitError({ exitCode: codes.failed, message: problem })
            }
            const [first = "", ...rest] = template({ field, values, seq: context.index, slot })
            if (missing.length > 0)
              return yield* new ExitError({
                exitCode: codes.failed,
                message: `the record has no field ${missing[0]}`
              })
            if (![first, ...rest].every(isRaw ? isBytes : (word) => word.isWellFormed())) {
              return yield* new ExitError({
                exitCode: codes.failed,
                message: "a lone surrogate cannot be written as UTF-8"
              })
            }
            const command = inShell
              ? CommandText.shell([first, ...rest].join(" "))
              : Platform.make(first, ...rest)
            const { exitCode, signal, stderr, stdout } = yield* processes.run(
              pipe ? Platform.stdin(command, Stream.make(inputOf(context.records))) : command
            )
            if (stderr.length > 0) yield* onStderr(stderr, context)
            if (exitCode === 0)
              return asText ? new TextDecoder().decode(stdout) : new MapRecords.RawResult(stdout)
            return yield* new ExitError({
              exitCode: codes.failed,
              message: signal === undefined ? `exit code ${exitCode}` : `ended by ${signal}`
            })
          }),
        (slot) => Effect.sync(() => free.push(slot))
      )
  })
