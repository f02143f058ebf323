import * as EventLine from "../host/EventLine.js"
import type * as Columns from "./Columns.js"
import type * as MapRecords from "./MapRecords.js"
import * as Records from "./Records.js"

// The bytes of a run's results, or its events. Unchanged records that are adjacent in a chunk are written in one piece,
// without being read.

/**
 * The content of one write.
 *
 * @since 0.1.0
 * @category models
 */
export type Piece = string | Uint8Array

/**
 * An outcome that has results: an unchanged record, or the results of a record or a batch.
 *
 * @since 0.1.0
 * @category models
 */
export type Written = Records.Record | MapRecords.MappedRecord

/**
 * What is written of records in a format: the settings of `MapRecords.mapRecords`, and the end of a written record.
 *
 * @since 0.1.0
 * @category models
 */
export interface Form extends Required<Pick<MapRecords.MapRecordsOptions, "output" | "untouched">> {
  readonly end: string
}

/** The end of a record in a format. */
const endOf = (format: Records.Format): string => (format === "null" ? "\0" : "\n")

/**
 * The form of results: `as` lines, JSON or rows of a table, by default as the records are (JSON for the rows of a CSV); for
 * `events` every value is JSON. Records are written unchanged where that is their own form, which a table never is.
 *
 * @since 0.1.0
 * @category functions
 */
export const formOf = (
  format: Records.Format,
  {
    as,
    events = false
  }: { readonly as?: "lines" | "ndjson" | Columns.Columns | undefined; readonly events?: boolean } = {}
): Form => {
  if (typeof as === "object") return { output: as, untouched: false, end: "\n" }
  if (events) return { output: "ndjson", untouched: format === "ndjson", end: "\n" }
  const output = as ?? (format === "lines" || format === "null" ? "lines" : "ndjson")
  const own = as === undefined && format === "null" ? "null" : output
  return { output, untouched: format === own, end: as === undefined ? endOf(format) : "\n" }
}

/**
 * The bytes of a record in its format, with an end if it has none of its own.
 *
 * @since 0.1.0
 * @category functions
 */
export const ended = ({ bytes, next, to }: Records.Record, format: Records.Format): Uint8Array => {
  const end = endOf(format)
  return next > to || bytes.at(-1) === end.charCodeAt(0) ? bytes : Buffer.concat([bytes, Buffer.from(end)])
}

/**
 * Makes the writer of a run, which turns outcomes into bytes, in order. An unchanged record keeps its own end, or its
 * missing one until another record follows; everything else ends with `end`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (end: string) => {
  let open = false // the last record was written unchanged, without an end
  return (outcomes: Iterable<Written>): ReadonlyArray<Piece> => {
    const parts: Array<Piece> = []
    // Consecutive records of a chunk are written in one piece.
    let chunk: Buffer | undefined
    let from = 0
    let to = 0
    const flush = () => {
      if (chunk !== undefined) parts.push(chunk.subarray(from, to))
      chunk = undefined
    }
    const close = () => {
      if (!open) return
      flush()
      parts.push(end)
      open = false
    }
    const asItCame = (record: Records.Record) => {
      close()
      if (record.chunk !== chunk || record.from !== to) {
        flush()
        chunk = record.chunk
        from = record.from
      }
      to = record.next
      open = record.next === record.to
    }
    for (const outcome of outcomes) {
      if (outcome instanceof Records.Record) {
        asItCame(outcome)
        continue
      }
      for (const result of outcome.results) {
        if (result instanceof Records.Record) {
          asItCame(result)
          continue
        }
        close()
        flush()
        if (typeof result === "string") parts.push(result, end)
        else parts.push(result)
      }
    }
    flush()
    return parts
  }
}

/** Events up to this length are joined; a longer value may leave no room in the string for its event. */
const joined = 1 << 20

const head = EventLine.encode({ event: "result" }).slice(0, -1)

/**
 * The results as NDJSON events of `--json`. Values are inserted as text, so their integers keep all digits; commands must
 * return text, not bytes.
 *
 * @since 0.1.0
 * @category functions
 */
export const events = (outcomes: Iterable<Written>): ReadonlyArray<Piece> => {
  const pieces: Array<Piece> = []
  for (const outcome of outcomes) {
    const isRecord = outcome instanceof Records.Record
    const { index, line } = isRecord ? outcome : outcome.records[0]!
    const before = `${head},"index":${index},"line":${line},"value":`
    for (const result of isRecord ? [outcome] : outcome.results) {
      const value = result instanceof Records.Record ? result.text.trim() : (result as string)
      if (value.length < joined) pieces.push(`${before}${value}}\n`)
      else pieces.push(before, value, "}\n")
    }
  }
  return pieces
}
