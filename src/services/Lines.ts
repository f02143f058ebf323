/** Takes bytes apart into lines, as they come. */
export interface Lines {
  readonly push: (bytes: Uint8Array) => void
  /** Nothing more comes: what is left without a line end is a line too. */
  readonly end: () => void
}

/** Settings of {@link make}. */
export interface Options {
  /** Most bytes of a line; what is longer is cut there. Default 1 MiB. */
  readonly maxLine?: number | undefined
  /** The byte at the end of a line; default LF. */
  readonly delimiter?: number | undefined
  /** Is given each line without its line end (a CR before it stays), and whether it was cut. */
  readonly onLine: (line: Buffer, cut: boolean) => void
}

/**
 * Splits in time proportional to the bytes, however they are cut into chunks; bytes stay as they are. A line is
 * valid until the next push: copy what is kept.
 *
 * @example
 * ```ts
 * import * as Lines from "effect-asyncio/services/Lines"
 *
 * const lines = Lines.make({ onLine: (line) => console.log(line.toString()) })
 * lines.push(Buffer.from("a\nb"))
 * lines.end()
 * ```
 */
export const make = ({ delimiter = 10, maxLine = 1024 * 1024, onLine }: Options): Lines => {
  let parts: Array<Buffer> = [] // of a line whose end has not come
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
      if (from < chunk.length) add(Buffer.from(chunk.subarray(from))) // a copy: the chunk is its owner's
    },
    end: () => {
      if (size > 0 || cut) emit()
    }
  }
}
