import { ExitError, ofMany } from "../../services/host/ExitCodes.js"
import * as Items from "../../services/record/Items.js"
import type * as RecordRun from "../../services/record/RecordRun.js"
import * as Command from "../kernel/Command.js"

/** The accepted input, for messages. */
const right = (problem: string): string =>
  problem.startsWith("longer than")
    ? "allow more with --max-line"
    : problem.startsWith("not JSON")
      ? "give a JSON value a line"
      : problem.startsWith("not CSV")
        ? "give rows like the header, quotes doubled within quotes"
        : problem.startsWith("not TSV")
          ? "give rows like the header, a tab within a field as \\t"
          : "give text in UTF-8"

/** The line of a failure that ends the run; the failure of a function was reported as an event. */
export const shown = (place: (line: number) => string, error: RecordRun.ReportedError) => {
  if (error._tag === "Gap") {
    const { exitCode, message } = error
    return new ExitError({ exitCode, message: `aio loop: ${message}; --on-gap warn continues` })
  }
  if (error._tag !== "RecordFailed") return Command.usage(error.message)
  const { detail, exitCode, record } = error
  const message = Items.describe(place(record.line), detail)
  if (record.index === 0) return Command.usage(message) // a CSV's header, which --on-failure does not cover
  return record.problem === undefined
    ? new ExitError({ exitCode: ofMany([exitCode]), message: "" })
    : Command.usage(`${message}; ${right(record.problem)}, or go on with --on-failure continue`)
}
