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

/**
 * Passes on all whole lines of a chunk at once, with their line ends: to write several streams of text to one place. A
 * line that is longer than 1 MiB is passed on in parts; so is a rest without a line end.
 *
 * @since 0.1.0
 * @category functions
 */
export const whole = (onBytes: (bytes: Uint8Array) => unknown): Lines => {
  const longest = 1024 * 1024
  let carry: Array<Uint8Array> = []
  let size = 0
  const emit = (bytes: Uint8Array) => onBytes(carry.length === 0 ? bytes : Buffer.concat([...carry, bytes]))
  return {
    push: (bytes) => {
      const last = bytes.lastIndexOf(10) + 1
      if (last === 0 && size + bytes.length <= longest) {
        carry.push(bytes)
        size += bytes.length
        return
      }
      const cut = last === 0 ? bytes.length : last
      emit(bytes.subarray(0, cut))
      carry = cut < bytes.length ? [bytes.subarray(cut)] : []
      size = bytes.length - cut
    },
    end: () => {
      if (size > 0) emit(new Uint8Array(0))
      carry = []
      size = 0
    }
  }
}
