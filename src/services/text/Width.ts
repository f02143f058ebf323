import { eastAsianWidth } from "get-east-asian-width"

// Made when it is first needed: it takes a fifth of the start of a command.
let segmenter: Intl.Segmenter | undefined
const graphemesOf = (text: string) => {
  segmenter ??= new Intl.Segmenter("en", { granularity: "grapheme" })
  return segmenter.segment(text)
}

const isAscii = /^[\x20-\x7e]*$/
// A grapheme that begins with a mark, a control or a format character takes no column of its own.
const isInvisible = /^[\p{Mn}\p{Me}\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u
const isEmoji =
  /^(?:\p{Emoji_Presentation}|\p{Regional_Indicator}{2}|.\ufe0f|\p{Extended_Pictographic}.*\u200d)/u

const ofGrapheme = (grapheme: string): number => {
  if (isInvisible.test(grapheme)) return 0
  return isEmoji.test(grapheme) ? 2 : eastAsianWidth(grapheme.codePointAt(0)!)
}

/**
 * The columns that a text takes on a terminal: 2 for a wide character or an emoji, 0 for a combining one.
 *
 * @since 0.1.0
 * @category functions
 */
export const of = (text: string): number => {
  if (isAscii.test(text)) return text.length
  let columns = 0
  for (const { segment } of graphemesOf(text)) columns += ofGrapheme(segment)
  return columns
}

/**
 * The rows that a text takes on a terminal of this many columns, 1 for an empty one: a wide character that does not fit
 * at the end of a row begins the next.
 *
 * @since 0.1.0
 * @category functions
 */
export const rows = (text: string, columns: number): number => {
  if (isAscii.test(text)) return Math.max(1, Math.ceil(text.length / columns))
  let full = 1
  let taken = 0
  for (const { segment } of graphemesOf(text)) {
    const width = ofGrapheme(segment)
    if (taken + width > columns) {
      full++
      taken = 0
    }
    taken += width
  }
  return full
}

/**
 * The text, or its beginning and `…` if it takes more columns; never cut within a grapheme.
 *
 * @since 0.1.0
 * @category functions
 */
export const cut = (text: string, columns: number): string => {
  if (isAscii.test(text)) {
    if (text.length <= columns) return text
    return columns < 1 ? "" : `${text.slice(0, columns - 1)}…`
  }
  let taken = 0
  let end = 0 // of what fits beside the ellipsis
  for (const { index, segment } of graphemesOf(text)) {
    const next = taken + ofGrapheme(segment)
    if (next > columns) return columns < 1 ? "" : `${text.slice(0, end)}…`
    taken = next
    if (taken < columns) end = index + segment.length
  }
  return text
}

/**
 * The text with blanks behind it, up to this many columns.
 *
 * @since 0.1.0
 * @category functions
 */
export const padEnd = (text: string, columns: number): string =>
  text + " ".repeat(Math.max(0, columns - of(text)))
