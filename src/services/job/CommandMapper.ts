import * as Platform from "@effect/platform/Command"
import { Effect } from "effect"
import { codes, ExitError } from "../host/ExitCodes.js"
import * as CommandText from "../process/CommandText.js"
import * as Executables from "../process/Executables.js"
import * as Processes from "../process/Processes.js"
import * as MapRecords from "../record/MapRecords.js"
import * as Records from "../record/Records.js"
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
  /** Receives what a command has written to stderr, when it has ended. */
  readonly onStderr: (bytes: Uint8Array, context: MapRecords.RecordContext) => Effect.Effect<void>
}

const isBytes = (word: string): boolean => word.replace(/[\u{dc80}-\u{dcff}]/gu, "").isWellFormed()

const wordsOf = (record: Records.Record): ReadonlyArray<string> => {
  if (record instanceof Records.Row) return record.fields ?? []
  return [typeof record.value === "string" ? record.value : record.text.trim()]
}

/**
 * Makes the function for `MapRecords.mapRecords` that runs a command for each record (or batch): one word with blanks
 * is a line for the shell, several are a program and its arguments, with places for the record as in `Template`. The
 * command's stdout is the result. A command that fails is a failure of the record.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (given: ReadonlyArray<string>, { asText = false, isRaw = false, onStderr }: Options) =>
  Effect.gen(function* () {
    const processes = yield* Processes.Processes
    const inShell = given.length === 1 && /\s/.test(given[0]!)
    const template = inShell ? Template.make([...given], ShellWords.quote) : Template.make(given)
    const misread = inShell ? Template.misread(given[0]!) : undefined
    if (!inShell && !given[0]!.includes("{")) {
      yield* Executables.check(Platform.make(given[0]!) as Platform.StandardCommand)
    }
    const free: Array<number> = []
    let slots = 0
    return (_: unknown, context: MapRecords.RecordContext) =>
      Effect.acquireUseRelease(
        Effect.sync(() => free.sort((a, b) => a - b).shift() ?? ++slots),
        (slot) =>
          Effect.gen(function* () {
            const values = context.records.flatMap(wordsOf)
            const problem = misread?.({ values })
            if (problem !== undefined) {
              return yield* new ExitError({ exitCode: codes.failed, message: problem })
            }
            const [first = "", ...rest] = template({ values, seq: context.index, slot })
            if (![first, ...rest].every(isRaw ? isBytes : (word) => word.isWellFormed())) {
              return yield* new ExitError({
                exitCode: codes.failed,
                message: "a lone surrogate cannot be written as UTF-8"
              })
            }
            const command = inShell
              ? CommandText.shell([first, ...rest].join(" "))
              : Platform.make(first, ...rest)
            const { exitCode, signal, stderr, stdout } = yield* processes.run(command)
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
