import { Either } from "effect"
import { fieldsOf, sameNames } from "./internal/csv.js"
import * as LosslessJson from "./LosslessJson.js"

// Results as rows of a table: CSV as in RFC 4180, or TSV, whose escapes are those of Miller and jq.

/**
 * The format of a table.
 *
 * @since 0.1.0
 * @category models
 */
export type Format = "csv" | "tsv"

/**
 * The fields of a result, written but not in the order of the columns.
 *
 * @since 0.1.0
 * @category models
 */
export interface Cells {
  readonly names: ReadonlyArray<string>
  readonly texts: ReadonlyArray<string>
}

/**
 * The columns of a table: those that are given, or those of its first row.
 *
 * @since 0.1.0
 * @category models
 */
export interface Columns {
  /**
   * The fields of an object. A value within a field is JSON, `null` is empty, and what JSON leaves out is no field. Throws a
   * TypeError where a value is not an object, or a field has no text.
   */
  readonly cells: (value: unknown) => Cells
  /** The rows of some results, without line ends. Throws a TypeError at a field without a column; then none is a row. */
  readonly rows: (results: ReadonlyArray<Cells>) => ReadonlyArray<string>
  /** The header, with its end, the first time that it is asked for after the columns are known. */
  readonly header: () => string | undefined
}

/**
 * Settings of {@link make}.
 *
 * @since 0.1.0
 * @category options
 */
export interface Options {
  /** The names of the columns, in order; default those of the first row. */
  readonly fields?: ReadonlyArray<string> | undefined
  /** Whether there is a header; default true. */
  readonly header?: boolean | undefined
}

const mark = "\ufeff"

const escapes: Readonly<Record<string, string>> = { "\t": "\\t", "\n": "\\n", "\r": "\\r", "\\": "\\\\" }

const writers: Readonly<Record<Format, (text: string) => string>> = {
  csv: (text) => (/[",\r\n]|^\ufeff/.test(text) ? `"${text.replaceAll('"', '""')}"` : text),
  tsv: (text) => (/[\t\n\r\\]/.test(text) ? text.replace(/[\t\n\r\\]/g, (c) => escapes[c]!) : text)
}

/** The text of a field; undefined if JSON would leave it out. */
const textOf = (name: string, part: unknown): string | undefined => {
  switch (typeof part) {
    case "string":
      if (part.isWellFormed()) return part
      throw new TypeError(`a lone surrogate cannot be written as UTF-8 (at ${name})`)
    case "number":
      if (Number.isFinite(part)) return Object.is(part, -0) ? "-0" : String(part)
      break
    case "boolean":
    case "bigint":
      return String(part)
    case "object":
      if (part === null) return ""
      break
    default:
      return undefined
  }
  // As a field of an object, so that a message names its place.
  const whole = LosslessJson.encode({ [name]: part })
  if (whole === "{}") return undefined
  const json = whole.slice(JSON.stringify(name).length + 2, -1)
  return json === "null" ? "" : json.startsWith('"') ? textOf(name, JSON.parse(json)) : json
}

const kindOf = (value: unknown): string =>
  value === null ? "null" : Array.isArray(value) ? "an array" : `a ${typeof value}`

const plain = (value: object): unknown => {
  const { toJSON } = value as { readonly toJSON?: unknown }
  return typeof toJSON === "function" ? toJSON.call(value, "") : value
}

/** Why names cannot be a header. */
const unfit = (format: Format, names: ReadonlyArray<string>): string | undefined => {
  if (names.length === 0) return "it has no fields, so there are no columns"
  const bad = names.find((name) => !name.isWellFormed())
  if (bad !== undefined) return "the name of a field has a lone surrogate, which cannot be written as UTF-8"
  if (format === "csv") return undefined
  if (names[0]!.startsWith(mark)) return "a TSV cannot begin with a byte order mark in a name"
  return names.length === 1 && names[0] === "" ? "the only column of a TSV needs a name" : undefined
}

const isSame = (some: ReadonlyArray<string>, others: ReadonlyArray<string>): boolean => {
  if (some.length !== others.length) return false
  for (let i = 0; i < some.length; i++) if (some[i] !== others[i]) return false
  return true
}

/**
 * Makes the columns of one table.
 *
 * @example
 * ```ts
 * import * as Columns from "effect-asyncio/services/Columns"
 *
 * const columns = Columns.make("csv", { fields: ["id", "name"] })
 * export const rows = columns.rows([{ name: "a,b" }, { id: 12345678901234567890n }].map(columns.cells))
 * export const lines = [columns.header(), ...rows] // id,name\n  ,"a,b"  12345678901234567890,
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (format: Format, { fields, header = true }: Options = {}): Columns => {
  const write = writers[format]
  const separator = format === "csv" ? "," : "\t"
  const line = (texts: ReadonlyArray<string>): string => {
    const text = texts.join(separator)
    return text === "" && format === "csv" ? '""' : text // an empty line would be no row
  }
  let columns = fields
  let places: ReadonlyMap<string, number> | undefined
  let due = header
  const row = ({ names, texts }: Cells): string => {
    if (columns === undefined) {
      const problem = unfit(format, names)
      if (problem !== undefined) throw new TypeError(problem)
      columns = names
    }
    if (isSame(names, columns)) return line(texts)
    places ??= new Map(columns.map((name, i) => [name, i]))
    const placed = columns.map(() => "")
    for (let i = 0; i < names.length; i++) {
      const place = places.get(names[i]!)
      if (place === undefined) {
        throw new TypeError(`its field '${names[i]}' is not one of the columns ${columns.join(", ")}`)
      }
      placed[place] = texts[i]!
    }
    return line(placed)
  }
  return {
    cells: (value) => {
      const root = typeof value === "object" && value !== null ? plain(value) : value
      if (typeof root !== "object" || root === null || Array.isArray(root)) {
        throw new TypeError(`${kindOf(root)} is not a row of ${format.toUpperCase()}; return an object`)
      }
      const names: Array<string> = []
      const texts: Array<string> = []
      for (const name of Object.keys(root)) {
        const text = textOf(name, (root as Readonly<Record<string, unknown>>)[name])
        if (text === undefined) continue
        names.push(name)
        texts.push(write(text))
      }
      return { names, texts }
    },
    rows: (results) => {
      const before = columns
      try {
        return results.map(row)
      } catch (error) {
        if (columns !== before) places = undefined
        columns = before
        throw error
      }
    },
    header: () => {
      if (!due || columns === undefined) return undefined
      due = false
      return `${line(columns.map(write))}\n`
    }
  }
}

/**
 * Reads the names of columns, as the header of a CSV has them: `id,name`, `id,"last, first"`. On the left is what is wrong.
 *
 * @since 0.1.0
 * @category parsing
 */
export const names = (text: string): Either.Either<ReadonlyArray<string>, string> => {
  const found = fieldsOf(text)
  const problem =
    typeof found === "string" ? found : found.includes("") ? "a name is empty" : sameNames(found)
  return problem === undefined
    ? Either.right(found as ReadonlyArray<string>)
    : Either.left(`'${text}': ${problem}; expected names like id,name`)
}
