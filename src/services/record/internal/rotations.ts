// How the names of rotated files relate to the name that is followed. A folder of logs holds other logs as well, so only
// names that a rotation gives count as rotated files: `log` becomes log.1, log-20261127, log.old, app.log becomes
// app.1.log or app-2026-11-27.log.

/** The suffix of a compressed file, which cannot be read from a position on. */
const compression = /\.(?:gz|bz2|xz|zst|lz4|lzma|lzo|br|Z|zip|7z)$/

/** The name without the suffix of its compression; undefined if it has none. */
export const uncompressed = (name: string): string | undefined =>
  compression.test(name) ? name.replace(compression, "") : undefined

const counter = /^[._-]*\d[\dTZ:._+-]*$/
const word = /^[._-](?:old|bak|prev|previous|last|save|saved)$/i

const parts = (base: string): readonly [stem: string, extension: string] => {
  const dot = base.lastIndexOf(".")
  return dot > 0 ? [base.slice(0, dot), base.slice(dot)] : [base, ""]
}

/** The part that a rotation has added to `base`; undefined if the name is not made of it. */
const added = (name: string, base: string): string | undefined => {
  if (name.length > base.length && name.startsWith(base)) return name.slice(base.length)
  const [stem, extension] = parts(base)
  const isMiddle =
    extension !== "" &&
    name.length > base.length &&
    name.startsWith(stem) &&
    name.endsWith(extension) &&
    /^[._-]/.test(name.slice(stem.length))
  return isMiddle ? name.slice(stem.length, -extension.length) : undefined
}

/** The common prefix of the names of rotated files. */
export const prefix = (base: string): string => parts(base)[0]

/** Whether rotation may have renamed `base` to this name. */
export const isRotated = (name: string, base: string): boolean => {
  const rest = added(name, base)
  if (rest === undefined) return false
  if (name.startsWith(base)) return counter.test(rest) || word.test(rest)
  // web-1.log next to web.log may be the log of another process: a date or `.1.` is needed.
  return counter.test(rest) && (rest.startsWith(".") || (rest.match(/\d/g)?.length ?? 0) >= 6)
}

/** Whether the name differs only in its numbers from `known`, a name that rotation has given to `base`. */
export const isAlike = (name: string, known: string, base: string): boolean => {
  const [one, other] = [added(name, base), added(known, base)]
  if (one === undefined || other === undefined || !/\d/.test(other)) return false
  return (
    name.startsWith(base) === known.startsWith(base) &&
    one.replace(/\d+/g, "0") === other.replace(/\d+/g, "0")
  )
}

/** Whether the name differs from `one` only in those numbers in which `one` differs from `other`. */
export const isBetween = (name: string, one: string, other: string): boolean => {
  const [found, first, last] = [name, one, other].map((text) => text.split(/(\d+)/)) as [
    Array<string>,
    Array<string>,
    Array<string>
  ]
  if (found.length !== first.length || first.length !== last.length) return false
  return found.every((part, i) =>
    i % 2 === 0 ? part === first[i] && part === last[i] : first[i] !== last[i] || part === first[i]
  )
}

/** The number of `base.N`. */
export const numberOf = (name: string, base: string): number | undefined => {
  const match = /^\.(\d{1,4})$/.exec(added(name, base) ?? "")
  return match === null ? undefined : Number(match[1])
}

/** Older first, by the names alone: log.2 before log.1, earlier dates before later ones. */
export const compare = (one: string, other: string, base: string): number => {
  const [a, b] = [numberOf(one, base), numberOf(other, base)]
  return a !== undefined && b !== undefined ? b - a : one < other ? -1 : one > other ? 1 : 0
}
