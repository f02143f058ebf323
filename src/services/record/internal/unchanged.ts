// Whether a function has changed the value that it was given, so that its record may go out as the bytes it came as.

const isObject = (value: unknown): value is object => typeof value === "object" && value !== null

/** A copy of a value, to compare with later. */
export interface Snapshot {
  /** The arrays and objects in it, itself first. */
  readonly objects: ReadonlyArray<object>
  /** What each held. */
  readonly copies: ReadonlyArray<object>
}

/** Takes a snapshot of a value of JSON.parse; undefined for one that cannot change. Half the cost of writing it. */
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

/** Whether the value is what it was when the snapshot was taken. */
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
 * Whether the source of a function shows that it changes nothing that it is given: it calls and assigns nothing, like
 * `(r) => r.price > 10 ? r : undefined`. Other functions need a snapshot.
 */
export const changesNothing = (f: (...args: ReadonlyArray<never>) => unknown): boolean => {
  const source = Function.prototype.toString.call(f)
  const arrow = /^(?:async\s+)?(?:\(\s*\w+\s*\)|\w+)\s*=>\s*([^{][\s\S]*)$/.exec(source)
  if (arrow === null) return false
  const body = arrow[1]!.replaceAll(/(?<![<>=!])(?:[=!]==?|[<>]=)(?!=)/g, " ") // without comparisons
  return !/[(`{[=/]|\+\+|--|\b(?:new|delete|await|yield)\b/.test(body)
}
