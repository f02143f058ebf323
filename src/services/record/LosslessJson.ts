import { randomUUID } from "node:crypto"
import { types } from "node:util"

// Lossless JSON: integers keep all their digits, a value is written so that parsing returns it, and depth is no reason to
// fail: nothing here recurses (nor does V8's JSON.parse; its JSON.stringify ends near 4,000 levels).

// The prefix of strings that replace integers for JSON.parse; unpredictable, so that no input contains it.
const mark = `aio:${randomUUID()}:`

const isObject = (value: unknown): value is object => typeof value === "object" && value !== null

const quote = 34
const backslash = 92
const minus = 45
const isDigit = (code: number) => code >= 48 && code <= 57

/**
 * Whether the text may contain a number that JSON.parse would round: a run of 16 digits.
 *
 * @since 0.1.0
 * @category functions
 */
export const mayRound = (text: string): boolean => /\d{16}/.test(text)

/**
 * `JSON.parse`, except that an integer beyond 2^53 is a BigInt. Throws a SyntaxError as that does.
 *
 * @example
 * ```ts
 * import * as LosslessJson from "effect-asyncio/services/LosslessJson"
 *
 * export const same = LosslessJson.encode(LosslessJson.parse('{"id":12345678901234567890}')) // {"id":12345678901234567890}
 * ```
 *
 * @since 0.1.0
 * @category parsing
 */
export const parse = (text: string): unknown => {
  const plain: unknown = JSON.parse(text)
  if (!mayRound(text)) return plain
  const marked = markIntegers(text)
  return marked === undefined ? plain : withIntegers(JSON.parse(marked))
}

// Not a regular expression: over a string of some megabytes its backtracking overflows.
const endOfString = (text: string, begin: number): number => {
  for (let from = begin + 1; ; ) {
    const end = text.indexOf('"', from)
    let escapes = 0
    while (text.charCodeAt(end - 1 - escapes) === backslash) escapes++
    if (escapes % 2 === 0) return end + 1
    from = end + 1
  }
}

/** The JSON text with each integer that a number cannot hold as a marked string; undefined when there is none. */
const markIntegers = (text: string): string | undefined => {
  let marked = ""
  let copied = 0
  for (let at = 0; at < text.length; ) {
    const code = text.charCodeAt(at)
    if (code === quote) {
      at = endOfString(text, at)
      continue
    }
    if (code !== minus && !isDigit(code)) {
      at++
      continue
    }
    let end = at + 1
    while (isDigit(text.charCodeAt(end))) end++
    const isInteger = !/[.eE]/.test(text.charAt(end))
    while (!isInteger && /[\d.eE+-]/.test(text.charAt(end))) end++
    if (isInteger && end - at >= 16) {
      const token = text.slice(at, end)
      if (!Number.isSafeInteger(Number(token))) {
        marked += `${text.slice(copied, at)}"${mark}${token}"`
        copied = end
      }
    }
    at = end
  }
  return copied === 0 ? undefined : marked + text.slice(copied)
}

const withIntegers = (root: unknown): unknown => {
  const holder = [root]
  const open: Array<object> = [holder]
  for (let each = open.pop(); each !== undefined; each = open.pop()) {
    const fields = each as Record<string, unknown>
    for (const key of Object.keys(each)) {
      const value = fields[key]
      if (isObject(value)) open.push(value)
      else if (typeof value === "string" && value.startsWith(mark)) {
        fields[key] = BigInt(value.slice(mark.length))
      }
    }
  }
  return holder[0]
}

/**
 * `JSON.stringify` without its losses: a BigInt is written as its digits, -0 as `-0`, a million levels deep. As there,
 * `toJSON` is called, and a property that is undefined, a function or a symbol is left out. A value that JSON.stringify
 * would turn into `null` (NaN, an infinity, an invalid Date, undefined or a function within an array or as the value
 * itself) throws a TypeError that names it and its place; so does an object that contains itself.
 *
 * @since 0.1.0
 * @category formatting
 */
export const encode = (value: unknown): string => {
  let text: string | undefined
  try {
    text = JSON.stringify(value)
  } catch {
    return write(value) // which throws in turn, unless it was a BigInt or the depth
  }
  return text !== undefined && (!mayDiffer(text) || isExact(value)) ? text : write(value)
}

// Losses of JSON.stringify show as null, or as a zero that was negative.
const mayDiffer = (text: string): boolean =>
  text.includes("null") || text === "0" || /[[:,]0[,\]}]/.test(text)

/** Whether JSON.stringify is lossless for it; also false if only a call of `toJSON` would show that. */
const isExact = (root: unknown): boolean => {
  const open: Array<object> = [[root]]
  for (let each = open.pop(); each !== undefined; each = open.pop()) {
    if ("toJSON" in each || types.isBoxedPrimitive(each)) return false
    if (Array.isArray(each)) {
      for (let i = 0; i < each.length; i++) {
        const part: unknown = each[i]
        if (isObject(part)) open.push(part)
        else if (part === undefined || !isExactPart(part)) return false
      }
    } else {
      for (const key in each) {
        const part = (each as Readonly<Record<string, unknown>>)[key]
        if (part === undefined) continue
        if (!isObject(part)) {
          if (!isExactPart(part)) return false
        } else if (Object.hasOwn(each, key)) open.push(part) // inherited properties may form a circle
      }
    }
  }
  return true
}

const isExactPart = (part: unknown): boolean =>
  typeof part === "number"
    ? Number.isFinite(part) && !Object.is(part, -0)
    : typeof part !== "function" && typeof part !== "symbol"

/** An array or object that is written up to `next`. */
interface Open {
  readonly value: object
  /** Undefined for an array. */
  readonly keys: ReadonlyArray<string> | undefined
  readonly length: number
  next: number
  empty: boolean
}

/** At some hundred bytes a level, more would fill the heap. */
const most = 1_000_000

/** Below this level a value must be plain data: getters, proxies and `toJSON` may have no end. */
const deepest = 5_000

const isPlain = (holder: object, key: string | number): boolean => {
  const found = types.isProxy(holder) ? undefined : Object.getOwnPropertyDescriptor(holder, key)
  if (found === undefined || !("value" in found)) return false
  const value: unknown = found.value
  return !isObject(value) || !(types.isProxy(value) || "toJSON" in value)
}

const placeOf = (open: ReadonlyArray<Open>): string => {
  const steps = open.slice(0, 8).map(({ keys, next }) => (keys ? `.${keys[next - 1]}` : `[${next - 1}]`))
  const place = steps.join("").replace(/^\./, "")
  return steps.length < open.length || place.length > 80 ? `${place.slice(0, 80)}…` : place
}

const write = (root: unknown): string => {
  let text = ""
  const open: Array<Open> = []
  const path = new Set<object>()
  const refuse = (what: string): never => {
    throw new TypeError(
      `${what} cannot be represented in JSON${open.length === 0 ? "" : ` (at ${placeOf(open)})`}`
    )
  }
  /** Writes a value without parts, opens one with parts; `before` precedes it, unless nothing is written. */
  const put = (given: unknown, key: string, before: string, inArray: boolean): boolean => {
    let value = given
    if (isObject(value) || typeof value === "bigint") {
      const { toJSON } = value as { readonly toJSON?: unknown }
      if (typeof toJSON === "function") {
        value = toJSON.call(given, key) as unknown
        if (value === null && types.isDate(given)) return refuse("an invalid Date")
      }
    }
    if (isObject(value) && types.isBoxedPrimitive(value)) value = unboxed(value)
    switch (typeof value) {
      case "string":
      case "boolean":
        text += before + JSON.stringify(value)
        return true
      case "number":
        if (!Number.isFinite(value)) return refuse(String(value))
        text += before + (Object.is(value, -0) ? "-0" : String(value))
        return true
      case "bigint":
        text += before + String(value)
        return true
      case "object": {
        if (value === null) {
          text += `${before}null`
          return true
        }
        if (path.has(value)) return refuse("an object that contains itself")
        if (open.length === most) return refuse(`what is nested more than ${most} levels deep`)
        path.add(value)
        const keys = Array.isArray(value) ? undefined : Object.keys(value)
        const length = keys === undefined ? (value as ReadonlyArray<unknown>).length : keys.length
        text += before + (keys === undefined ? "[" : "{")
        open.push({ value, keys, length, next: 0, empty: true })
        return true
      }
      default:
        if (inArray) return refuse(value === undefined ? "undefined" : `a ${typeof value}`)
        return false
    }
  }
  put(root, "", "", true)
  for (let top = open.at(-1); top !== undefined; top = open.at(-1)) {
    const { keys, length, value } = top
    if (top.next === length) {
      text += keys === undefined ? "]" : "}"
      path.delete(value)
      open.pop()
      continue
    }
    const key = keys === undefined ? top.next : keys[top.next]!
    top.next++
    if (open.length > deepest && !isPlain(value, key))
      return refuse(`a getter, proxy or toJSON beyond ${deepest} levels`)
    const comma = top.empty ? "" : ","
    const before = keys === undefined ? comma : `${comma}${JSON.stringify(key)}:`
    const part = (value as Readonly<Record<string | number, unknown>>)[key]
    if (put(part, String(key), before, keys === undefined)) top.empty = false
  }
  return text
}

const unboxed = (value: object): unknown => {
  if (types.isNumberObject(value)) return Number(value)
  if (types.isStringObject(value)) return String(value)
  if (types.isBooleanObject(value)) return Boolean.prototype.valueOf.call(value)
  return types.isBigIntObject(value) ? BigInt.prototype.valueOf.call(value) : value
}

/**
 * Whether two results of JSON.parse are equal; the order of an object's keys does not count.
 *
 * @since 0.1.0
 * @category predicates
 */
export const isEqual = (one: unknown, other: unknown): boolean => {
  const open: Array<readonly [unknown, unknown]> = [[one, other]]
  for (let pair = open.pop(); pair !== undefined; pair = open.pop()) {
    const [a, b] = pair
    if (Object.is(a, b)) continue
    if (!isObject(a) || !isObject(b) || Array.isArray(a) !== Array.isArray(b)) return false
    const keys = Object.keys(a)
    if (keys.length !== Object.keys(b).length) return false
    for (const key of keys) {
      if (!Object.hasOwn(b, key)) return false
      open.push([(a as Record<string, unknown>)[key], (b as Record<string, unknown>)[key]])
    }
  }
  return true
}
