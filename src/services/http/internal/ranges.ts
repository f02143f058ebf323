// Byte ranges of RFC 9110, 14.

/** Both ends belong to it, as in the header. */
export interface Range {
  readonly first: number
  readonly last: number
}

/** More ranges than any reader needs: the whole file is the answer, as RFC 9110, 14.2 allows. */
const mostRanges = 16

/**
 * The ranges that a `Range` header asks for in a file of `size` bytes. Undefined: the header is to be ignored. Empty: none
 * can be satisfied (416).
 */
export const parse = (header: string, size: number): ReadonlyArray<Range> | undefined => {
  const set = /^bytes=(.*)$/i.exec(header.trim())?.[1]
  if (set === undefined) return undefined
  const specs = set
    .split(",")
    .map((spec) => spec.trim())
    .filter((spec) => spec !== "")
  if (specs.length === 0 || specs.length > mostRanges) return undefined
  const ranges: Array<Range> = []
  for (const spec of specs) {
    const [, from = "", to = ""] = /^(\d*)-(\d*)$/.exec(spec) ?? []
    if (from === "" && to === "") return undefined
    if (from === "") {
      if (Number(to) > 0 && size > 0) ranges.push({ first: Math.max(0, size - Number(to)), last: size - 1 })
      continue
    }
    if (to !== "" && Number(to) < Number(from)) return undefined
    if (Number(from) < size) {
      ranges.push({ first: Number(from), last: to === "" ? size - 1 : Math.min(Number(to), size - 1) })
    }
  }
  // Ranges that overlap ask for more than there is: the whole file is less.
  return ranges.length > 1 && ranges.reduce((sum, { first, last }) => sum + last - first + 1, 0) > size
    ? undefined
    : ranges
}
