import * as Width from "./Width.js"

/**
 * Rows as lines whose columns stand below each other on a terminal, two blanks apart. Rows may have fewer cells than
 * others. A line break in a cell stays where it is: pass outside texts through `Printable.line` first.
 *
 * @example
 * ```ts
 * import * as Table from "effect-asyncio/services/Table"
 *
 * // ["name  status", "日本  ready"]
 * export const lines = Table.aligned([["name", "status"], ["日本", "ready"]])
 * ```
 *
 * @since 0.1.0
 * @category formatting
 */
export const aligned = (rows: ReadonlyArray<ReadonlyArray<string>>): ReadonlyArray<string> => {
  const widths: Array<number> = []
  for (const row of rows) {
    for (const [i, cell] of row.entries()) widths[i] = Math.max(widths[i] ?? 0, Width.of(cell))
  }
  return rows.map((row) =>
    row
      .map((cell, i) => Width.padEnd(cell, widths[i]!))
      .join("  ")
      .trimEnd()
  )
}

/**
 * Names and values, for a summary: {@link aligned}, without the pairs whose value is undefined.
 *
 * @since 0.1.0
 * @category formatting
 */
export const keyed = (
  pairs: Iterable<readonly [name: string, value: string | undefined]>
): ReadonlyArray<string> =>
  aligned([...pairs].flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])))
