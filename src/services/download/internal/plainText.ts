/** Replaces characters that move a terminal's cursor, or reorder or hide text, with `?`. */
export const plainText = (text: string): string => text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu, "?")
