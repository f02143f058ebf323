// Characters that move a terminal's cursor, or that reorder, hide or break text: controls, format characters (bidi,
// zero width), line and paragraph separators, lone surrogates. The joiners and tags of an emoji belong to it.
const emoji =
  "\\p{Extended_Pictographic}[\\ufe0f\\p{Emoji_Modifier}]?(?:\\u200d\\p{Extended_Pictographic}[\\ufe0f\\p{Emoji_Modifier}]?)+" +
  "|\\u{1f3f4}[\\u{e0030}-\\u{e0039}\\u{e0061}-\\u{e007a}]{2,6}\\u{e007f}"
const unsafe = "[\\p{Cc}\\p{Cf}\\p{Zl}\\p{Zp}\\p{Cs}]"
const emojiOrUnsafe = new RegExp(`(${emoji})|${unsafe}`, "gu")
const allUnsafe = new RegExp(unsafe, "gu")

const named: Readonly<Record<string, string>> = { "\n": "\\n", "\r": "\\r", "\t": "\\t" }

const escape = (character: string): string => {
  const code = character.codePointAt(0)!
  const byte = code < 0x80 ? code : code >= 0xdc80 && code < 0xdd00 ? code - 0xdc00 : undefined
  return (
    named[character] ??
    (byte === undefined ? `\\u{${code.toString(16)}}` : `\\x${byte.toString(16).padStart(2, "0")}`)
  )
}

/**
 * A text from outside as one line that is safe on a terminal: characters that move the cursor, or that reorder, hide or
 * break text are shown as escapes (`\n`, `\x1b`, `\u{202e}`; a byte of `RawText` that is not UTF-8 as `\xff`). What is
 * printable is unchanged, emoji with their joiners included.
 *
 * @example
 * ```ts
 * import * as Printable from "effect-asyncio/services/Printable"
 *
 * // evil\x1b[2J\n
 * export const shown = Printable.line("evil\u001b[2J\n")
 * ```
 *
 * @since 0.1.0
 * @category formatting
 */
export const line = (text: string): string =>
  text.replace(emojiOrUnsafe, (found, kept?: string) => kept ?? escape(found))

/**
 * {@link line} for each line of a text, with tabs as blanks.
 *
 * @since 0.1.0
 * @category formatting
 */
export const lines = (text: string): ReadonlyArray<string> =>
  text.split(/\r?\n/).map((one) => line(one.replaceAll("\t", "  ")))

/**
 * The text without the characters that {@link line} escapes, and without the joiners of emoji: for the name of a file.
 *
 * @since 0.1.0
 * @category formatting
 */
export const removed = (text: string): string => text.replace(allUnsafe, "")
