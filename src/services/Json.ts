import { randomUUID } from "node:crypto"

// JSON whose integers keep all their digits. `JSON.parse` rounds what is beyond 2^53; here such an integer is a BigInt,
// and is written as the digits that it was.

// Begins a string that stands for an integer while JSON.parse or JSON.stringify have it; nobody can guess it.
const mark = `aio:${randomUUID()}:`
const tokens = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g
const marked = new RegExp(`"${mark}(-?\\d+)"`, "g")

/** Whether a number may be in it that JSON.parse would round: a run of 16 digits. */
export const mayRound = (text: string): boolean => /\d{16}/.test(text)

/**
 * `JSON.parse`, except that an integer beyond 2^53 is a BigInt. Throws a SyntaxError as that does.
 *
 * @example
 * ```ts
 * import * as Json from "effect-asyncio/services/Json"
 *
 * export const same = Json.stringify(Json.parse('{"id":12345678901234567890}')) // {"id":12345678901234567890}
 * ```
 */
export const parse = (text: string): unknown => {
  const plain: unknown = JSON.parse(text)
  if (!mayRound(text)) return plain
  let found = false
  const replaced = text.replace(tokens, (token) => {
    if (!/^-?\d{16,}$/.test(token) || Number.isSafeInteger(Number(token))) return token
    found = true
    return `"${mark}${token}"`
  })
  if (!found) return plain
  return JSON.parse(replaced, (_, value: unknown) =>
    typeof value === "string" && value.startsWith(mark) ? BigInt(value.slice(mark.length)) : value
  )
}

/**
 * `JSON.stringify`, except that a BigInt is written as its digits. Undefined where the value has no JSON (undefined, a
 * function, a symbol); throws a TypeError for a value that contains itself.
 */
export const stringify = (value: unknown): string | undefined => {
  try {
    return JSON.stringify(value)
  } catch (error) {
    if (!/BigInt/.test((error as Error).message)) throw error
  }
  const text: string | undefined = JSON.stringify(value, (_, each: unknown) =>
    typeof each === "bigint" ? `${mark}${each}` : each
  )
  return text?.replace(marked, "$1")
}

/** What a value was, to tell later whether it is still that. */
export interface Snapshot {
  readonly copy: Readonly<Record<string, unknown>> | ReadonlyArray<unknown>
  /** Of the objects in it, in order. */
  readonly inner: ReadonlyArray<Snapshot> | undefined
}

const isObject = (value: unknown): value is object => typeof value === "object" && value !== null

/** Remembers a value as JSON.parse gives it; undefined for one that cannot change. Half as dear as writing it. */
export const snapshot = (value: unknown): Snapshot | undefined => (isObject(value) ? take(value) : undefined)

const take = (value: object): Snapshot => {
  let inner: Array<Snapshot> | undefined
  if (Array.isArray(value)) {
    const copy = value.slice()
    for (let i = 0; i < copy.length; i++) {
      const each = copy[i]
      if (isObject(each)) {
        inner ??= []
        inner.push(take(each))
      }
    }
    return { copy, inner }
  }
  const copy = { ...value } as Record<string, unknown>
  for (const key in copy) {
    const each = copy[key]
    if (isObject(each)) {
      inner ??= []
      inner.push(take(each))
    }
  }
  return { copy, inner }
}

/** Whether the value is what it was when the snapshot was taken. */
export const isUnchanged = (value: unknown, snapshot: Snapshot | undefined): boolean =>
  snapshot === undefined || (isObject(value) && same(value, snapshot))

const same = (value: object, { copy, inner }: Snapshot): boolean => {
  let next = 0
  if (Array.isArray(value)) {
    const was = copy as ReadonlyArray<unknown>
    if (value.length !== was.length) return false
    for (let i = 0; i < was.length; i++) {
      if (value[i] !== was[i]) return false
      if (inner !== undefined && isObject(was[i]) && !same(was[i] as object, inner[next++]!)) return false
    }
    return true
  }
  const was = copy as Readonly<Record<string, unknown>>
  const is = value as Readonly<Record<string, unknown>>
  let keys = 0
  for (const key in is) {
    if (is[key] !== was[key] || (is[key] === undefined && !(key in was))) return false
    keys++
  }
  for (const key in was) {
    keys--
    if (inner !== undefined && isObject(was[key]) && !same(was[key] as object, inner[next++]!)) return false
  }
  return keys === 0
}

/**
 * Whether a function can be told from its source to change nothing that it is given: it calls and assigns nothing, like
 * `(r) => r.price > 10 ? r : undefined`. For the others there is a snapshot.
 */
export const changesNothing = (f: (...args: ReadonlyArray<never>) => unknown): boolean => {
  const source = Function.prototype.toString.call(f)
  const arrow = /^(?:async\s+)?(?:\(\s*\w+\s*\)|\w+)\s*=>\s*([^{][\s\S]*)$/.exec(source)
  if (arrow === null) return false
  const body = arrow[1]!.replaceAll(/(?<![<>=!])(?:[=!]==?|[<>]=)(?!=)/g, " ") // without comparisons
  return !/[(`{[=/]|\+\+|--|\b(?:new|delete|await|yield)\b/.test(body)
}
