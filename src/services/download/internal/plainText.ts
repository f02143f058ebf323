/** Replaces what moves a terminal's cursor, and what reorders or hides text, with `?`. */
export const plainText = (text: string): string => text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu, "?")
