import * as Output from "../host/Output.js"
import * as MapRecords from "./MapRecords.js"
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

/** Joins pieces into few, none longer than the longest string. */
const fewer = (parts: ReadonlyArray<Piece>): ReadonlyArray<Piece> => {
  let size = 0
  let isText = true
  for (const part of parts) {
    size += part.length
    isText &&= typeof part === "string"
  }
  if (parts.length <= 1 || size > 1 << 24) return parts
  if (isText) return [parts.join("")]
  return [Buffer.concat(parts.map((part) => (typeof part === "string" ? Buffer.from(part) : part)))]
}

/**
 * The bytes of a record, with `end` if it has no end of its own.
 *
 * @since 0.1.0
 * @category functions
 */
export const ended = ({ bytes, next, to }: Records.Record, end: string): Uint8Array =>
  next > to || bytes.at(-1) === end.charCodeAt(0) ? bytes : Buffer.concat([bytes, Buffer.from(end)])

/**
 * Makes the writer of a run, which turns outcomes into bytes, in order. An unchanged record keeps its own end, or its
 * missing one until another record follows; everything else ends with `end`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (end: string) => {
  let open = false // the last record was written unchanged, without an end
  return (outcomes: Iterable<MapRecords.RecordOutcome>): ReadonlyArray<Piece> => {
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
      if (outcome instanceof Records.Record) asItCame(outcome)
      else if (outcome instanceof MapRecords.MappedRecord) {
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
    }
    flush()
    return fewer(parts)
  }
}

/** Events up to this length are joined; a longer value may leave no room in the string for its event. */
const joined = 1 << 20

const addEvents = (pieces: Array<Piece>, outcome: MapRecords.RecordOutcome): void => {
  if (outcome instanceof MapRecords.FailedRecord) {
    for (const { index, line } of outcome.records)
      pieces.push(`${Output.eventLine("failed", { index, line, detail: outcome.detail })}\n`)
    return
  }
  const isRecord = outcome instanceof Records.Record
  const { index, line } = isRecord ? outcome : outcome.records[0]!
  const head = `${Output.eventLine("result", { index, line }).slice(0, -1)},"value":`
  for (const result of isRecord ? [outcome] : outcome.results) {
    // The value is inserted as text, so its integers keep all digits. Commands return text for events, not bytes.
    const value = result instanceof Records.Record ? result.text.trim() : (result as string)
    if (value.length < joined) pieces.push(`${head}${value}}\n`)
    else pieces.push(head, value, "}\n")
  }
}

/**
 * The outcomes as NDJSON events of `--json`: `result` for each result, `failed` for each record that failed.
 *
 * @since 0.1.0
 * @category functions
 */
export const events = (outcomes: ReadonlyArray<MapRecords.RecordOutcome>): ReadonlyArray<Piece> => {
  const pieces: Array<Piece> = []
  for (const outcome of outcomes) addEvents(pieces, outcome)
  return fewer(pieces)
}
