import { readFileSync } from "node:fs"
import * as RawText from "../../services/text/RawText.js"

/**
 * The last words of the command line as `RawText`: Node replaces bytes that are not UTF-8 by U+FFFD, so the name of such a
 * file would be lost. Unchanged where the system does not give the bytes (Linux does).
 */
export const rawWords = (
  words: ReadonlyArray<string>,
  read: () => Buffer = () => readFileSync("/proc/self/cmdline")
): ReadonlyArray<string> => {
  if (!words.some((word) => word.includes("\ufffd"))) return words
  let bytes: Buffer
  try {
    bytes = read()
  } catch {
    return words
  }
  const raw = bytes.toString("latin1").split("\0").slice(0, -1).slice(-words.length)
  const all = raw.map((word) => Buffer.from(word, "latin1"))
  return all.length === words.length && all.every((word, i) => word.toString() === words[i])
    ? all.map(RawText.decode)
    : words
}
