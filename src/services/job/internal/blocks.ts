/** How an input is cut. */
export interface Settings {
  /** Bytes of a block; undefined: `lines` decides. A record that is longer is a block of its own. */
  readonly size: number
  /** Records of a block in place of a size. */
  readonly records?: number | undefined
  /** The byte that ends a record. */
  readonly end: number
  /** Most bytes of a record; a longer one throws a {@link RecordTooLong}. */
  readonly longest: number
}

/** A record is longer than may be kept in memory. */
export class RecordTooLong extends Error {}

/** Cuts bytes at the ends of records; keeps one block at the most, and the bytes that arrived with its end. */
export const make = ({ end, longest, records, size }: Settings) => {
  let parts: Array<Uint8Array> = []
  let length = 0
  // What is known of the kept bytes: so many are searched, contain so many records, and the last of these ends there.
  let searched = 0
  let whole = 0
  let count = 0

  const all = (): Uint8Array => {
    if (parts.length > 1) parts = [Buffer.concat(parts, length)]
    return parts[0]!
  }
  const cut = (at: number): Uint8Array => {
    const kept = all()
    const rest = kept.subarray(at)
    parts = rest.length === 0 ? [] : [rest]
    length = rest.length
    searched = whole = count = 0
    return kept.subarray(0, at)
  }
  /** Where the next block ends; undefined: more bytes are needed. */
  const next = (): number | undefined => {
    if (records === undefined && length < size) return undefined
    const kept = searched === 0 || parts.length === 1 ? all() : parts.at(-1)!
    const offset = length - kept.length
    if (records !== undefined) {
      for (let at = searched - offset; count < records; ) {
        const found = kept.indexOf(end, at)
        if (found < 0) break
        at = found + 1
        whole = offset + at
        count++
      }
      searched = length
      return count === records ? whole : undefined
    }
    const within = searched === 0 ? kept.lastIndexOf(end, size - 1) : -1
    const found = within < 0 ? kept.indexOf(end, Math.max(0, searched - offset)) : within
    searched = length
    return found < 0 ? undefined : offset + found + 1
  }
  return {
    push: (bytes: Uint8Array): ReadonlyArray<Uint8Array> => {
      if (bytes.length === 0) return []
      parts.push(bytes)
      length += bytes.length
      const blocks: Array<Uint8Array> = []
      for (let at = next(); at !== undefined; at = length === 0 ? undefined : next()) blocks.push(cut(at))
      if (length - whole > Math.max(longest, records === undefined ? size : 0)) throw new RecordTooLong()
      return blocks
    },
    /** The rest, with or without an end. */
    end: (): ReadonlyArray<Uint8Array> => (length === 0 ? [] : [cut(length)])
  }
}
