/**
 * The word, quoted if a POSIX shell needs it.
 *
 * @since 0.1.0
 * @category formatting
 */
export const quote = (word: string): string =>
  /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`
