// Whether a function has changed its argument: the bytes of an unchanged record are written as they are.

const isObject = (value: unknown): value is object => typeof value === "object" && value !== null

/** A copy of a value, to compare with later. */
export interface Snapshot {
  /** The arrays and objects in it, itself first. */
  readonly objects: ReadonlyArray<object>
  /** A shallow copy of each. */
  readonly copies: ReadonlyArray<object>
}

/** Takes a snapshot of a result of JSON.parse; undefined for an immutable value. It costs half of writing it. */
export const snapshot = (value: unknown): Snapshot | undefined => {
  if (!isObject(value)) return undefined
  const objects: Array<object> = [value]
  const copies: Array<object> = []
  for (let at = 0; at < objects.length; at++) {
    const each = objects[at]!
    if (Array.isArray(each)) {
      const copy: ReadonlyArray<unknown> = each.slice()
      copies.push(copy)
      for (let i = 0; i < copy.length; i++) {
        const part = copy[i]
        if (isObject(part)) objects.push(part)
      }
    } else {
      const copy = { ...each } as Readonly<Record<string, unknown>>
      copies.push(copy)
      for (const key in copy) {
        const part = copy[key]
        if (isObject(part)) objects.push(part)
      }
    }
  }
  return { objects, copies }
}

/** Whether the value is unchanged since the snapshot. */
export const isUnchanged = (value: unknown, snapshot: Snapshot | undefined): boolean => {
  if (snapshot === undefined) return true
  const { copies, objects } = snapshot
  if (value !== objects[0]) return false
  for (let at = 0; at < objects.length; at++) {
    const each = objects[at]!
    if (Array.isArray(each)) {
      const was = copies[at] as ReadonlyArray<unknown>
      if (each.length !== was.length) return false
      for (let i = 0; i < was.length; i++) if (each[i] !== was[i]) return false
    } else {
      const was = copies[at] as Readonly<Record<string, unknown>>
      const is = each as Readonly<Record<string, unknown>>
      let keys = 0
      for (const key in is) {
        if (is[key] !== was[key] || (is[key] === undefined && !(key in was))) return false
        keys++
      }
      for (const _ in was) keys--
      if (keys !== 0) return false
    }
  }
  return true
}

/**
 * Whether the source of a function shows that it does not change its argument: it calls and assigns nothing, like
 * `(r) => r.price > 10 ? r : undefined`. Other functions need a snapshot.
 */
export const changesNothing = (f: (...args: ReadonlyArray<never>) => unknown): boolean => {
  const source = Function.prototype.toString.call(f)
  const arrow = /^(?:async\s+)?(?:\(\s*\w+\s*\)|\w+)\s*=>\s*([^{][\s\S]*)$/.exec(source)
  if (arrow === null) return false
  const body = arrow[1]!.replaceAll(/(?<![<>=!])(?:[=!]==?|[<>]=)(?!=)/g, " ") // without comparisons
  return !/[(`{[=/]|\+\+|--|\b(?:new|delete|await|yield)\b/.test(body)
}
