import { isUtf8 } from "node:buffer"

// File names are bytes, words of a command are text. Bytes that are not UTF-8 are lone surrogates in the text, U+DC80 to
// U+DCFF for 80 to FF, and are encoded as the same bytes again (PEP 383, Python's `os.fsdecode` and `os.fsencode`).

/** Bytes of the character that begins at this place; 0 if none does. */
const characterAt = (bytes: Buffer, at: number): number => {
  const lead = bytes[at]!
  if (lead < 0x80) return 1
  const size = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4
  return at + size <= bytes.length && isUtf8(bytes.subarray(at, at + size)) ? size : 0
}

/**
 * Bytes as text, from which {@link encode} makes the same bytes.
 *
 * @since 0.1.0
 * @category parsing
 */
export const decode = (bytes: Buffer): string => {
  if (isUtf8(bytes)) return bytes.toString()
  let text = ""
  let from = 0
  for (let at = 0; at < bytes.length; ) {
    const size = characterAt(bytes, at)
    if (size === 0) {
      text += bytes.toString("utf8", from, at) + String.fromCharCode(0xdc00 + bytes[at]!)
      from = at + 1
    }
    at += size || 1
  }
  return text + bytes.toString("utf8", from)
}

const escape = /([\u{dc80}-\u{dcff}])/u

/**
 * Whether the text holds bytes that are not UTF-8.
 *
 * @since 0.1.0
 * @category predicates
 */
export const isRaw = (text: string): boolean => escape.test(text)

/**
 * The bytes of a text of {@link decode}.
 *
 * @since 0.1.0
 * @category formatting
 */
export const encode = (text: string): Buffer =>
  isRaw(text)
    ? Buffer.concat(
        text
          .split(escape)
          .map((part, i) => (i % 2 === 1 ? Buffer.of(part.charCodeAt(0) - 0xdc00) : Buffer.from(part)))
      )
    : Buffer.from(text)
