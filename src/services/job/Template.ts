import { Either } from "effect"

// A command with places for items, in GNU parallel's notation: replacing places, splitting the words of a command line
// into command and items, and detecting items that a shell would interpret.

/**
 * One item of each source, with the number of the job.
 *
 * @since 0.1.0
 * @category models
 */
export interface Place {
  readonly values: ReadonlyArray<string>
  /** From 1, in the order of the input. */
  readonly seq: number
  /**
   * From 1 to the number of jobs at once; no two running jobs have the same. Without it `{%}` stays as it is, which
   * identifies a job independently of its slot.
   */
  readonly slot?: number | undefined
  /** The text of a field of the item, by its path: for templates with named places. */
  readonly field?: ((path: string) => string) | undefined
}

/**
 * The words of a command for one place.
 *
 * @since 0.1.0
 * @category models
 */
export type Template = (place: Place) => ReadonlyArray<string>

const base = (path: string) => path.slice(path.lastIndexOf("/") + 1)
const folder = (path: string) => {
  const at = path.lastIndexOf("/")
  return at < 0 ? "." : path.slice(0, at).replace(/\/+$/, "") || "/"
}
const stem = (path: string) => {
  const dot = path.lastIndexOf(".")
  return dot > path.lastIndexOf("/") + 1 ? path.slice(0, dot) : path
}

const parts: Readonly<Record<string, (value: string) => string>> = {
  "": (value) => value,
  ".": stem,
  "/": base,
  "//": folder,
  "/.": (value) => stem(base(value))
}

const literal = (text: string) => text.replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&")

/** Finds places; `place` stands for the item, fields are found only where `fields` is set. */
const patternOf = (fields: boolean, place = "{}"): RegExp =>
  new RegExp(
    `${literal(place)}|\\{(?!\\})((?:[1-9]\\d*)?)(\\.|//|/\\.|/)?\\}|\\{(#|%)\\}|\\{(${fields ? "[A-Za-z_$][\\w$]*(?:\\.[\\w$]+|\\[\\d+\\])*" : "(?!)"})\\}`,
    "g"
  )
const pattern = patternOf(false)

/** What a place that is not `{#}` or `{%}` stands for. */
const chosen = (
  { field, values }: Pick<Place, "field" | "values">,
  index: string,
  path: string | undefined
): ReadonlyArray<string> =>
  path !== undefined ? [field?.(path) ?? ""] : index === "" ? values : [values[Number(index) - 1] ?? ""]

/**
 * Reads words with `{}` (the item), `{.}` (without extension), `{/}` (base name), `{//}` (folder), `{/.}` (base name
 * without extension), `{#}` (number of the job), `{%}` (its slot), and `{1}`, `{2.}`, … for one of several sources.
 * Without any of them, the items are appended. A word that is only `{}`, `{.}`, `{/}`, … becomes as many words as there
 * are sources.
 *
 * @param quote quotes items if a shell reads the words; default: no quoting.
 * @param fields whether `{name}` and `{user.id}` are fields of the item; default false: they are text.
 * @param place what stands for the item in place of `{}`, which is text then; the others stay. Default `{}`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  words: ReadonlyArray<string>,
  quote: (value: string) => string = (value) => value,
  fields = false,
  place = "{}"
): Template => {
  const found = patternOf(fields, place)
  const places = words.some((word) => word.search(found) >= 0)
  if (!places) return ({ values }) => [...words, ...values.map(quote)]
  return ({ field, seq, slot, values }) =>
    words.flatMap((word) => {
      const alone = word === place ? "" : /^\{(\.|\/\/|\/\.|\/)\}$/.exec(word)?.[1]
      if (alone !== undefined) return values.map((value) => quote(parts[alone]!(value)))
      return word.replace(
        found,
        (_, index = "", part: string | undefined, number: string | undefined, path: string | undefined) => {
          if (number !== undefined) return String(number === "#" ? seq : (slot ?? "{%}"))
          const own = chosen({ field, values }, index, path)
          return own.map((value) => quote(parts[part ?? ""]!(value))).join(" ")
        }
      )
    })
}

// quotes

/** The context of a character in a shell command: code, quotes, or a comment. */
type Within = "" | "'" | '"' | "#"

/**
 * The context of each character of a command for a POSIX shell. Ends early where only a shell can decide: at backquotes,
 * here-documents, `${…}` with more than a name, and `$(…)` within quotes unless it is plain words.
 */
const quotesIn = (text: string): ReadonlyArray<Within> => {
  const within: Array<Within> = []
  let quotes: Within = ""
  while (within.length < text.length) {
    const at = within.length
    const rest = text.slice(at, at + 1000)
    const skip = (length: number, as = quotes) => {
      for (let i = 0; i < length; i++) within.push(as)
    }
    const [name] = /^\$\{\w+\}/.exec(rest) ?? []
    const [plain] = /^\$\([^()'"`\\]*\)/.exec(rest) ?? []
    if (quotes === "'") {
      skip(1)
      if (text[at] === "'") quotes = ""
    } else if (rest.startsWith("\\")) skip(2)
    else if (name !== undefined) skip(name.length)
    else if (plain !== undefined) skip(plain.length, "")
    else if (/^(`|\$\{)/.test(rest) || rest.startsWith(quotes === '"' ? "$(" : "<<")) break
    else if (quotes === "" && rest.startsWith("$'")) break
    else if (quotes === "" && rest.startsWith("#") && /(^|[\s;&|()])$/.test(text.slice(0, at))) {
      skip(/^[^\n]*/.exec(text.slice(at))![0].length, "#")
    } else {
      skip(1)
      if (text[at] === '"') quotes = quotes === '"' ? "" : '"'
      else if (text[at] === "'" && quotes === "") quotes = "'"
    }
  }
  return within
}

/** The parts of a quoted item within further quotes that a shell does not read as text. */
const readIn = { "'": /[\s|&;<>()$`\\"'*?[\]#~!{}]/, '"': /[$`"]|\\[\\\n]/, "#": /\n/ } as const

/**
 * Returns a check that explains why a shell would interpret an item, or undefined for a harmless one. Items are quoted
 * for the shell; the command's own quotes around a place cancel that. Most items are harmless even there, so each item is
 * checked. Undefined altogether if no place is in quotes.
 *
 * @since 0.1.0
 * @category functions
 */
export const misread = (
  command: string,
  fields = false,
  place = "{}"
): ((place: Pick<Place, "field" | "values">) => string | undefined) | undefined => {
  const within = quotesIn(command)
  const found = [...command.matchAll(patternOf(fields, place))]
  const places = found.flatMap(([place, index = "", part = "", number, path], i) => {
    const where = within[found[i]!.index] ?? ""
    return where === "" || number !== undefined ? [] : [{ where, place, index, part, path }]
  })
  // Without a place, items are appended.
  if (found.length === 0 && within[command.length - 1] === "#") {
    places.push({ where: "#", place: "it", index: "", part: "", path: undefined })
  }
  if (places.length === 0) return undefined
  return (given) => {
    for (const { index, part, path, place, where } of places) {
      for (const value of chosen(given, index, path)) {
        const [read] = readIn[where].exec(parts[part]!(value)) ?? []
        if (read === undefined) continue
        const why =
          where === "#"
            ? `${place} stands in a comment`
            : `${place} stands in quotes (${where}); items are quoted already: write ${place} without quotes around it`
        return `item ${JSON.stringify(value.slice(0, 60))} contains ${JSON.stringify(read)}, which a shell would interpret, because ${why}`
      }
    }
    return undefined
  }
}

/**
 * Whether the word has a place for an item.
 *
 * @since 0.1.0
 * @category predicates
 */
export const hasPlace = (word: string, fields = false, place = "{}"): boolean =>
  word.search(patternOf(fields, place)) >= 0

/**
 * The highest source that a `{N}` refers to; 0 without any.
 *
 * @since 0.1.0
 * @category functions
 */
export const highest = (words: ReadonlyArray<string>): number =>
  Math.max(0, ...words.flatMap((word) => [...word.matchAll(pattern)].map(([, index]) => Number(index || 0))))

/**
 * Items given on the command line: one list, or one linked to the list before it.
 *
 * @since 0.1.0
 * @category models
 */
export interface Source {
  readonly values: ReadonlyArray<string>
  readonly linked: boolean
}

/**
 * Splits `CMD ARG… ::: ITEM… :::+ ITEM…`; the left side is the problem.
 *
 * @since 0.1.0
 * @category parsing
 */
export const split = (
  words: ReadonlyArray<string>
): Either.Either<
  { readonly command: ReadonlyArray<string>; readonly sources: ReadonlyArray<Source> },
  string
> => {
  const at = words.findIndex((word) => word === ":::" || word === ":::+")
  if (at < 0) return Either.right({ command: words, sources: [] })
  const sources: Array<{ values: Array<string>; linked: boolean }> = []
  for (const word of words.slice(at)) {
    if (word === ":::" || word === ":::+") sources.push({ values: [], linked: word === ":::+" })
    else sources.at(-1)!.values.push(word)
  }
  if (sources[0]!.linked) return Either.left("':::+' links to a list before it; begin with ':::'")
  const empty = sources.find(({ values }) => values.length === 0)
  if (empty !== undefined) {
    return Either.left(`'${empty.linked ? ":::+" : ":::"}' has no items after it; write ::: ITEM…`)
  }
  return Either.right({ command: words.slice(0, at), sources })
}

/**
 * All combinations, the last source's items changing fastest; linked lists advance together, as far as the shorter.
 *
 * @since 0.1.0
 * @category functions
 */
export function* product(sources: ReadonlyArray<Source>): Generator<ReadonlyArray<string>, void> {
  const rows: Array<ReadonlyArray<ReadonlyArray<string>>> = []
  for (const { linked, values } of sources) {
    const before = rows.at(-1)
    if (!linked || before === undefined) rows.push(values.map((value) => [value]))
    else {
      const length = Math.min(before.length, values.length)
      rows[rows.length - 1] = Array.from({ length }, (_, i) => [...before[i]!, values[i]!])
    }
  }
  const go = function* (at: number, chosen: ReadonlyArray<string>): Generator<ReadonlyArray<string>, void> {
    if (at === rows.length) yield chosen
    else for (const row of rows[at]!) yield* go(at + 1, [...chosen, ...row])
  }
  if (rows.length > 0) yield* go(0, [])
}
