import { Either } from "effect"

const units = ["", "K", "M", "G", "T"]

/**
 * Reads a size as people write it (`500K`, `2M`, `1.5GiB`; K is 1024, and a bare number is bytes) and returns bytes. On
 * the left is what is wrong with it.
 *
 * @since 0.1.0
 * @category parsing
 */
export const size = (text: string): Either.Either<number, string> => {
  const match = /^\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?\s*$/i.exec(text)
  if (match === null)
    return Either.left(`'${text}' is not a size; expected bytes, or a size like 500K, 2M or 1G`)
  return Either.right(Math.floor(Number(match[1]) * 1024 ** units.indexOf(match[2]!.toUpperCase())))
}

/**
 * Bytes for people, rounded, in powers of 1024: `1.5 MiB`.
 *
 * @since 0.1.0
 * @category formatting
 */
export const formatSize = (bytes: number): string => {
  let value = bytes
  let unit = 0
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024
    unit++
  }
  return unit === 0 ? `${bytes} B` : `${value.toFixed(value < 10 ? 1 : 0)} ${units[unit]}iB`
}
