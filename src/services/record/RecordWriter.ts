import * as Output from "../host/Output.js"
import * as MapRecords from "./MapRecords.js"
import * as Records from "./Records.js"

// The bytes of a run's results, or events of them. Records that stand side by side in a chunk are written in one piece,
// unread.

/** What goes out in one write: text, or bytes. */
export type Piece = string | Uint8Array

/** Joins pieces into few, none of which is longer than a string may be. */
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

/** The bytes of a record as it came, with `end` (a line end, or NUL) where it has none of its own. */
export const ended = ({ bytes, next, to }: Records.Record, end: string): Uint8Array =>
  next > to || bytes.at(-1) === end.charCodeAt(0) ? bytes : Buffer.concat([bytes, Buffer.from(end)])

/**
 * Makes the writer of a run: what is written for outcomes, in order. A record that goes out as it came has its own
 * end, if it has one; all else ends with `end`, and so does a record without an end once another follows.
 */
export const make = (end: string) => {
  let open = false // the last record was written as it came, without an end
  return (outcomes: Iterable<MapRecords.Outcome>): ReadonlyArray<Piece> => {
    const parts: Array<Piece> = []
    // Records that stand one behind the other in a chunk go out in one piece.
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
      else if (outcome instanceof MapRecords.Mapped) {
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

/** Events of this length are joined; a longer value may leave no room in a string for what stands around it. */
const joined = 1 << 20

const addEvents = (pieces: Array<Piece>, outcome: MapRecords.Outcome): void => {
  if (outcome instanceof MapRecords.Failed) {
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

/** The outcomes as NDJSON events of `--json`: `result` for each result, `failed` for each record that failed. */
export const events = (outcomes: ReadonlyArray<MapRecords.Outcome>): ReadonlyArray<Piece> => {
  const pieces: Array<Piece> = []
  for (const outcome of outcomes) addEvents(pieces, outcome)
  return fewer(pieces)
}
