import { isUtf8 } from "node:buffer"
import * as Records from "../Records.js"
import { type Setting, tooLong, without } from "./limits.js"

// JSON values one after the other, whatever white space is between them; the elements of an array at the top are records of
// their own. The scan finds where a value ends; JSON.parse, on demand, checks what is in it.

const [tab, lineFeed, carriageReturn, space] = [9, 10, 13, 32]
const [quote, comma, backslash] = [34, 44, 92]
const [openBracket, closeBracket, openBrace, closeBrace] = [91, 93, 123, 125]
const mark = [0xef, 0xbb, 0xbf]

/** What may come next outside of a value. */
enum At {
  /** Outside of an array: a value or an array. */
  Top,
  /** After `[`: an element or `]`. */
  First,
  /** After a comma in an array: an element. */
  Element,
  /** After an element: a comma or `]`. */
  Behind
}

/** How the value that is being scanned ends. */
enum In {
  Nothing,
  /** An object or array, at the bracket that closes it. */
  Brackets,
  /** A string, at its quote. */
  String,
  /** A number or word, before what cannot belong to it. */
  Word
}

const isSpace = (byte: number) =>
  byte === space || byte === lineFeed || byte === carriageReturn || byte === tab

/** Splits JSON into its values. */
export const values = ({ from, limit, origin }: Setting) => {
  const nothing = without(origin)
  const skip = from?.index ?? 0 // where an array began is above, so earlier values are read again
  let at: At = At.Top
  let inside: In = In.Nothing
  let depth = 0
  let quoted = false
  let escaped = false
  let index = 0
  let line = 1
  let begun = 1 // the line of the value
  let received = 0 // bytes in the earlier chunks
  let parts: Array<Buffer> = [] // of a value whose end has not arrived
  let size = 0
  let skipping = false // the rest of a value that is too long
  let over = false

  const fail = (problem: string, found: Array<Records.Record>) => {
    over = true
    const record = new Records.Record(0, line, nothing, 0, 0, 0, received)
    found.push(record.known(undefined, `not JSON: ${problem}`))
  }

  return {
    push: (bytes: Uint8Array): ReadonlyArray<Records.Record> => {
      const chunk = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
      const found: Array<Records.Record> = []
      let first = 0 // of the value, in this chunk
      const block: Records.Block = { ...nothing, bytes: chunk, reading: "jsonDigits" }
      const finish = (to: number) => {
        inside = In.Nothing
        if (at !== At.Top) at = At.Behind
        const number = ++index
        const whole = size === 0 ? chunk : Buffer.concat([...parts, chunk.subarray(0, to)])
        const [start, end] = size === 0 ? [first, to] : [0, whole.length]
        parts = []
        size = 0
        if (number <= skip) {
          skipping = false
          return
        }
        const own = whole === chunk ? block : { ...block, bytes: whole }
        if (skipping || end - start > limit) {
          skipping = false
          const cut = new Records.Record(number, begun, nothing, 0, 0, 0, received + to)
          found.push(cut.known(undefined, tooLong(limit)))
          return
        }
        const record = new Records.Record(number, begun, own, start, end, end, received + to)
        if (!isUtf8(whole.subarray(start, end))) record.known(undefined, "not UTF-8")
        found.push(record)
      }
      for (let i = 0; i < chunk.length && !over; i++) {
        const byte = chunk[i]!
        if (byte === lineFeed) line++
        if (inside === In.Brackets || inside === In.String) {
          if (quoted) {
            if (escaped) escaped = false
            else if (byte === backslash) escaped = true
            else if (byte === quote) {
              quoted = false
              if (inside === In.String) finish(i + 1)
            }
          } else if (byte === quote) quoted = true
          else if (byte === openBracket || byte === openBrace) depth++
          else if ((byte === closeBracket || byte === closeBrace) && --depth === 0) finish(i + 1)
          continue
        }
        if (inside === In.Word) {
          const ends =
            isSpace(byte) ||
            byte === comma ||
            byte === quote ||
            byte === openBracket ||
            byte === closeBracket ||
            byte === openBrace ||
            byte === closeBrace
          if (!ends) continue
          finish(i)
        }
        if (isSpace(byte)) continue
        if (received + i < 3 && byte === mark[received + i]) continue
        if (byte === closeBracket && (at === At.First || at === At.Behind)) at = At.Top
        else if (byte === comma && at === At.Behind) at = At.Element
        else if (byte === openBracket && at === At.Top) at = At.First
        else if (at === At.Behind || byte === closeBracket || byte === closeBrace || byte === comma) {
          const text = String.fromCharCode(byte)
          fail(`unexpected '${text}'${at === At.Behind ? "; expected , or ] behind an element" : ""}`, found)
        } else {
          first = i
          begun = line
          depth = byte === openBracket || byte === openBrace ? 1 : 0
          quoted = byte === quote
          inside = depth === 1 ? In.Brackets : quoted ? In.String : In.Word
        }
      }
      received += chunk.length
      if (!over && inside !== In.Nothing) {
        const rest = size === 0 ? chunk.subarray(first) : chunk
        size += rest.length
        if (size > limit) {
          skipping = true
          parts = []
        } else parts.push(rest)
      }
      return found
    },
    end: (): ReadonlyArray<Records.Record> => {
      const found: Array<Records.Record> = []
      if (over) return found
      if (inside === In.Word) {
        const whole = Buffer.concat(parts)
        inside = In.Nothing
        if (at !== At.Top) at = At.Behind
        const record = new Records.Record(
          ++index,
          begun,
          { ...nothing, bytes: whole, reading: "jsonDigits" },
          0,
          whole.length,
          whole.length,
          received
        )
        if (skipping) record.known(undefined, tooLong(limit))
        else if (!isUtf8(whole)) record.known(undefined, "not UTF-8")
        if (index > skip) found.push(record)
      }
      if (inside !== In.Nothing) fail(`the value that begins in line ${begun} has no end`, found)
      else if (at !== At.Top) fail("the array has no ]", found)
      return found
    }
  }
}
