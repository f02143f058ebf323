import { formatSize } from "../text/Sizes.js"
import * as LosslessJson from "./LosslessJson.js"

const arrayOf = (value: object): object =>
  value instanceof Map || value instanceof Set
    ? [...value]
    : ArrayBuffer.isView(value) && !(value instanceof DataView)
      ? Array.from(value as Uint8Array)
      : value

/** Maps, sets and typed arrays as arrays, in place: a result is the command's own copy. */
const withArrays = (root: unknown): unknown => {
  const holder = [root]
  const arrays = new Map<object, object>()
  const open: Array<object> = [holder]
  for (let each = open.pop(); each !== undefined; each = open.pop()) {
    const fields = each as Record<string, unknown>
    for (const key of Object.keys(each)) {
      const part = fields[key]
      if (typeof part !== "object" || part === null) continue
      let array = arrays.get(part)
      if (array === undefined) {
        array = arrayOf(part)
        arrays.set(part, array)
        if (!ArrayBuffer.isView(part)) open.push(array)
      }
      if (array !== part) fields[key] = array
    }
  }
  return holder[0]
}

/** Most characters of a result: a slightly longer line exceeds the longest string. */
const longestText = 511 * 1024 * 1024

const bounded = (text: string): string => {
  if (text.length <= longestText) return text
  throw new RangeError(`it has ${formatSize(text.length)}; at most ${formatSize(longestText)} is a line`)
}

/**
 * A result of a job as JSON: maps, sets and typed arrays as arrays, large integers with all digits. Undefined is no result.
 * Throws if it cannot be represented, or is longer than the longest string.
 *
 * @since 0.1.0
 * @category formatting
 */
export const json = (value: unknown): string | undefined =>
  value === undefined ? undefined : bounded(LosslessJson.encode(withArrays(value)))

/**
 * A result of a job as a line: text as it is, everything else as {@link json}.
 *
 * @since 0.1.0
 * @category formatting
 */
export const line = (value: unknown): string | undefined =>
  typeof value === "string" ? bounded(value) : json(value)
