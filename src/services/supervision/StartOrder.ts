import { Either } from "effect"

/**
 * The names that each name waits for: `web` → `db` means that web starts after db.
 *
 * @since 0.1.0
 * @category models
 */
export type StartOrder = ReadonlyMap<string, ReadonlySet<string>>

/**
 * Parses `NAME:OTHER` (or `NAME:OTHER,OTHER`) words. The left side is a sentence about the first word that is not valid,
 * names an unknown name, or about names that would wait for each other in a ring.
 *
 * @example
 * ```ts
 * import * as StartOrder from "effect-asyncio/services/StartOrder"
 *
 * export const order = StartOrder.parse(["web:db,cache", "cache:db"], ["web", "db", "cache"])
 * ```
 *
 * @since 0.1.0
 * @category parsing
 */
export const parse = (
  words: ReadonlyArray<string>,
  names: ReadonlyArray<string>
): Either.Either<StartOrder, string> => {
  const order = new Map<string, Set<string>>()
  for (const word of words) {
    const [name = "", ...rest] = word.split(":")
    const others = rest.join(":").split(",")
    if (rest.length !== 1 || others.includes("") || name === "") {
      return Either.left(`'${word}' is not an order; expected WEB:DB, which starts web after db`)
    }
    for (const one of [name, ...others]) {
      if (!names.includes(one)) {
        return Either.left(`'${word}': unknown name '${one}'; expected one of ${names.join(", ")}`)
      }
    }
    order.set(name, new Set([...(order.get(name) ?? []), ...others]))
  }
  const ring = ringIn(order)
  return ring === undefined
    ? Either.right(order)
    : Either.left(`${ring.join(" waits for ")}: none of them would ever start`)
}

/** The first ring of names that wait for each other, its first name repeated at the end; undefined when there is none. */
const ringIn = (order: StartOrder): ReadonlyArray<string> | undefined => {
  const clear = new Set<string>()
  const walk = (name: string, path: ReadonlyArray<string>): ReadonlyArray<string> | undefined => {
    if (path.includes(name)) return [...path.slice(path.indexOf(name)), name]
    if (clear.has(name)) return undefined
    for (const other of order.get(name) ?? []) {
      const ring = walk(other, [...path, name])
      if (ring !== undefined) return ring
    }
    clear.add(name)
    return undefined
  }
  for (const name of order.keys()) {
    const ring = walk(name, [])
    if (ring !== undefined) return ring
  }
  return undefined
}
