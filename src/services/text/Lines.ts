import { checkOptions, countOrInfinity } from "./Numbers.js"

/**
 * Splits bytes into lines, as they arrive.
 *
 * @since 0.1.0
 * @category models
 */
export interface Lines {
  readonly push: (bytes: Uint8Array) => void
  /** No bytes follow: a rest without a line end is a line too. */
  readonly end: () => void
}

/**
 * Settings of {@link make}.
 *
 * @since 0.1.0
 * @category options
 */
export interface Options {
  /** Most bytes of a line; a longer line is cut there. Default 1 MiB. */
  readonly maxLine?: number | undefined
  /** The byte at the end of a line; default LF. */
  readonly delimiter?: number | undefined
  /** Receives each line without its line end (a CR before it stays), and whether it was cut. */
  readonly onLine: (line: Buffer, cut: boolean) => unknown
}

/**
 * Splits in time proportional to the bytes, whatever the chunks; bytes are not decoded. A line is valid until the next
 * push: copy a line that is kept.
 *
 * @example
 * ```ts
 * import * as Lines from "effect-asyncio/services/Lines"
 *
 * const found: Array<string> = []
 * const lines = Lines.make({ onLine: (line) => found.push(line.toString()) })
 * lines.push(Buffer.from("a\nb"))
 * lines.end()
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = ({ delimiter = 10, maxLine = 1024 * 1024, onLine }: Options): Lines => {
  checkOptions({ delimiter, maxLine }, { delimiter: { least: 0, most: 255 }, maxLine: countOrInfinity })
  let parts: Array<Buffer> = [] // of a line without its end so far
  let size = 0
  let cut = false
  const add = (part: Buffer) => {
    const room = maxLine - size
    if (part.length > room) cut = true
    if (room > 0 && part.length > 0) {
      parts.push(part.length > room ? part.subarray(0, room) : part)
      size += Math.min(part.length, room)
    }
  }
  const emit = () => {
    onLine(parts.length === 1 ? parts[0]! : Buffer.concat(parts), cut)
    parts = []
    size = 0
    cut = false
  }
  return {
    push: (bytes) => {
      const chunk = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
      let from = 0
      for (let at = chunk.indexOf(delimiter); at >= 0; at = chunk.indexOf(delimiter, from)) {
        add(chunk.subarray(from, at))
        emit()
        from = at + 1
      }
      if (from < chunk.length) add(Buffer.from(chunk.subarray(from))) // a copy: the caller may reuse the chunk
    },
    end: () => {
      if (size > 0 || cut) emit()
    }
  }
}

/** How many bytes at the end are the beginning of a UTF-8 character that is not complete. */
const incomplete = (bytes: Uint8Array): number => {
  for (let n = 1; n <= Math.min(3, bytes.length); n++) {
    const byte = bytes[bytes.length - n]!
    if ((byte & 0xc0) === 0x80) continue
    const length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1
    return length > n ? n : 0
  }
  return 0
}

/**
 * Passes on all whole lines of a chunk at once, with their line ends: to write several streams of text to one place. A
 * line that is longer than 1 MiB is passed on in parts, cut between characters; so is a rest without a line end.
 *
 * @since 0.1.0
 * @category functions
 */
export const whole = (onBytes: (bytes: Uint8Array) => unknown): Lines => {
  const longest = 1024 * 1024
  let carry: Array<Uint8Array> = []
  let size = 0
  const pass = (bytes: Uint8Array, cut: number) => {
    onBytes(bytes.subarray(0, cut))
    carry = cut < bytes.length ? [bytes.subarray(cut)] : []
    size = bytes.length - cut
  }
  return {
    push: (bytes) => {
      const end = bytes.lastIndexOf(10) + 1
      if (end > 0) {
        const before = size
        return pass(before === 0 ? bytes : Buffer.concat([...carry, bytes]), before + end)
      }
      carry.push(bytes)
      size += bytes.length
      if (size <= longest) return
      const all = Buffer.concat(carry)
      pass(all, all.length - incomplete(all))
    },
    end: () => {
      if (size > 0) pass(Buffer.concat(carry), size)
    }
  }
}
