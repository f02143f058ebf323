import { Either } from "effect"

const units = ["", "K", "M", "G", "T"]

const tooLarge = (text: string) =>
  Either.left(`size '${text}' is too large; the largest is ${formatGiven(8191 * 1024 ** 4)}`)

/**
 * Reads a size as GNU's tools write it and returns bytes: `500K`, `2M` and `1.5GiB` count in powers of 1024, `10MB` in
 * powers of 1000, and a bare number or one with `B` is bytes. On the left is what is wrong with it.
 *
 * @since 0.1.0
 * @category parsing
 */
export const size = (text: string): Either.Either<number, string> => {
  const match = /^\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(i?)(B?)\s*$/i.exec(text)
  const [, number = "", letter = "", binary, byte] = match ?? []
  if (match === null || (binary !== "" && (letter === "" || byte === "")))
    return Either.left(`'${text}' is not a size; expected bytes, or a size like 500K, 2M or 1G`)
  const base = byte !== "" && binary === "" ? 1000 : 1024
  const bytes = Number(number) * base ** units.indexOf(letter.toUpperCase())
  // 2.3 * 1000 ** 3 has an error in its last digit, which the floor would make a byte.
  return bytes <= Number.MAX_SAFE_INTEGER
    ? Either.right(Math.floor(Number.isInteger(bytes) ? bytes : Number(bytes.toPrecision(15))))
    : tooLarge(text)
}

/**
 * {@link size} of at least this many bytes. A smaller bare number is most likely one without its unit: the problem names
 * the likely spelling.
 *
 * @example
 * ```ts
 * import * as Sizes from "effect-asyncio/services/Sizes"
 *
 * // '64' is 64 bytes; expected 4 MiB or more, like 64M
 * export const problem = Sizes.sizeFrom(4 * 1024 ** 2)("64")
 * ```
 *
 * @since 0.1.0
 * @category parsing
 */
export const sizeFrom =
  (least: number) =>
  (text: string): Either.Either<number, string> =>
    Either.flatMap(size(text), (bytes) => {
      if (bytes >= least) return Either.right(bytes)
      const given = text.trim()
      const isBare = /^[\d.]+$/.test(given)
      const unit = units.find((_, i) => i > 0 && bytes * 1024 ** i >= least)
      const like = isBare && bytes > 0 && unit !== undefined ? `, like ${given}${unit}` : ""
      return Either.left(`'${given}' is ${inBytes(bytes)}; expected ${formatGiven(least)} or more${like}`)
    })

const inBytes = (bytes: number): string =>
  bytes === 1 ? "1 byte" : bytes < 1024 ? `${bytes} bytes` : formatGiven(bytes)

/**
 * Bytes for people, not rounded, in the largest unit of 1024 that divides them: `4 MiB`, `1500 B`.
 *
 * @since 0.1.0
 * @category formatting
 */
export const formatGiven = (bytes: number): string => {
  let value = bytes
  let unit = 0
  while (value > 0 && value % 1024 === 0 && unit < units.length - 1) {
    value /= 1024
    unit++
  }
  return unit === 0 ? `${bytes} B` : `${value} ${units[unit]}iB`
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
