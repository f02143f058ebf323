import { isAscii, isUtf8 } from "node:buffer"
import * as RawText from "../../text/RawText.js"
import * as Records from "../Records.js"
import { longest, type Setting, tooLong, without } from "./limits.js"

// Lines and NUL-ended records, in plain code: `npm run bench -- loop` measures it beside a bare splitter.

/** Methods of Buffer below `toString`, which doubles the cost. */
interface Slices {
  readonly latin1Slice: (from: number, to: number) => string
}

// Checks each 16th byte, because a run of 16 digits covers one of them: a fraction of the cost of a regular expression
// over the chunk (0.04 instead of 0.6 µs for a record of 190 bytes).
const mayRound = (bytes: Buffer): boolean => {
  const isDigit = (at: number) => bytes[at]! >= 48 && bytes[at]! <= 57
  for (let at = 15; at < bytes.length; at += 16) {
    if (!isDigit(at)) continue
    let first = at
    let last = at
    while (isDigit(first - 1)) first--
    while (isDigit(last + 1)) last++
    if (last - first >= 15) return true
  }
  return false
}

/** Splits bytes at line feeds or NULs. */
export const lines = ({ format, from, isRaw = false, limit, origin }: Setting) => {
  const delimiter = format === "null" ? "\0" : "\n"
  const byte = delimiter.charCodeAt(0)
  const isJson = format === "ndjson"
  let { index, line, position } = from ?? { index: 0, line: 0, position: 0 }
  let parts: Array<Buffer> = [] // of a record whose end has not arrived
  let size = 0
  let skipping = false // the rest of a record that was too long

  const plain = format === "lines" ? "line" : "null"
  const nothing = without(origin)
  const overlong = () => {
    skipping = true
    parts = []
    const record = new Records.Cut(++index, line + 1, nothing, 0, 0, 0, position)
    return record.known(undefined, tooLong(limit))
  }

  // Records that begin and end in the chunk, the last one even without an end.
  const whole = (chunk: Buffer, from: number, end: number, found: Array<Records.Record>) => {
    const bytes = chunk.subarray(from, end)
    const reading = isJson ? (mayRound(bytes) ? "jsonDigits" : "json") : plain
    const ascii = isAscii(bytes)
    const valid = ascii || isUtf8(bytes)
    // ASCII text has the same indexes as its bytes, and searching it takes a third of the time.
    const source =
      ascii && bytes.length < longest ? (chunk as Buffer & Slices).latin1Slice(from, end) : undefined
    const block: Records.Block = { bytes: chunk, reading, text: source, begin: from, origin }
    for (let at = from; at < end; ) {
      const place = source === undefined ? chunk.indexOf(byte, at) : source.indexOf(delimiter, at - from)
      const to = place < 0 ? end : source === undefined ? place : place + from
      const next = Math.min(to + 1, end)
      line++
      position += next - at
      // A byte order mark does not belong to the first record.
      const start = isJson && position === next - at && !ascii && hasMark(chunk, at, to) ? at + 3 : at
      if (to - at > limit) {
        // Without its bytes, as when they arrived in several chunks.
        const record = new Records.Record(++index, line, nothing, 0, 0, 0, position)
        found.push(record.known(undefined, tooLong(limit)))
      } else if (!isJson || !isBlank(chunk, start, to)) {
        const record = new Records.Record(++index, line, block, start, to, next, position)
        if (!valid && !isUtf8(chunk.subarray(at, to))) {
          if (!isRaw || isJson) record.known(undefined, "not UTF-8")
          else {
            const text = RawText.decode(chunk.subarray(at, to))
            record.known(format === "lines" && text.endsWith("\r") ? text.slice(0, -1) : text, undefined)
          }
        }
        found.push(record)
      }
      at = next
    }
  }

  return {
    push: (bytes: Uint8Array): ReadonlyArray<Records.Record> => {
      const chunk = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
      const found: Array<Records.Record> = []
      let from = 0
      if (size > 0) {
        const to = chunk.indexOf(byte)
        const more = to < 0 ? chunk.length : to
        if (!skipping && size + more > limit) found.push(overlong())
        if (to < 0) {
          size += more
          if (!skipping) parts.push(chunk)
          return found
        }
        if (skipping) {
          line++
          position += size + more + 1
        } else {
          parts.push(chunk.subarray(0, to + 1))
          const joined = Buffer.concat(parts)
          whole(joined, 0, joined.length, found)
        }
        parts = []
        size = 0
        skipping = false
        from = to + 1
      }
      const end = chunk.lastIndexOf(byte) + 1
      if (end > from) {
        whole(chunk, from, end, found)
        from = end
      }
      if (from < chunk.length) {
        size = chunk.length - from
        if (size > limit) found.push(overlong())
        else parts.push(chunk.subarray(from))
      }
      return found
    },
    end: (): ReadonlyArray<Records.Record> => {
      if (size === 0 || skipping) return []
      const joined = Buffer.concat(parts)
      const found: Array<Records.Record> = []
      whole(joined, 0, joined.length, found)
      return found
    }
  }
}

const hasMark = (chunk: Buffer, from: number, to: number): boolean =>
  to - from >= 3 && chunk[from] === 0xef && chunk[from + 1] === 0xbb && chunk[from + 2] === 0xbf

const isBlank = (chunk: Buffer, from: number, to: number): boolean => {
  for (let at = from; at < to; at++) {
    const byte = chunk[at]
    if (byte !== 32 && byte !== 9 && byte !== 13) return false
  }
  return true
}
