import { dirname, isAbsolute, relative } from "node:path"
import { fileURLToPath } from "node:url"
import { inspect } from "node:util"
import { Cause, Option, Runtime } from "effect"
import { clipped, guarded, isError, printable, read, readText } from "../text/Foreign.js"
import { plural } from "../text/Plural.js"
import * as Printable from "../text/Printable.js"
import { codes, isFailureCode } from "./ExitCodes.js"

// The report that a person reads when a program fails, and the exit code of the failure.

// A promise of `Effect.runPromise` rejects with the whole cause, wrapped.
const unwrap = (cause: Cause.Cause<unknown>): Cause.Cause<unknown> =>
  Cause.flatMap(cause, (error) =>
    guarded(
      () => (Runtime.isFiberFailure(error) ? error[Runtime.FiberFailureCauseId] : Cause.fail(error)),
      Cause.fail(error)
    )
  )

/**
 * The errors in a cause, failures and defects alike, in the order of the cause.
 *
 * @since 0.1.0
 * @category functions
 */
export const errors = (cause: Cause.Cause<unknown>): ReadonlyArray<unknown> => {
  const found: Array<unknown> = []
  Cause.reduce(unwrap(cause), undefined, (_, part) => {
    if (part._tag === "Fail") found.push(part.error)
    else if (part._tag === "Die") found.push(part.defect)
    return Option.none()
  })
  return found
}

// An `exitCode` whose getter throws counts as an invalid one.
const codeOf = (error: unknown): unknown =>
  typeof error === "object" && error !== null
    ? guarded(() => (error as { readonly exitCode?: unknown }).exitCode, Number.NaN)
    : undefined

/**
 * The exit code of a program that failed with this cause: the `exitCode` of the first error that has one, 124 for a
 * timeout, else 1. An `exitCode` that is not a whole number from 1 to 255 counts as 1.
 *
 * @since 0.1.0
 * @category functions
 */
export const exitCode = (cause: Cause.Cause<unknown>): number => {
  for (const error of errors(cause)) {
    const code = codeOf(error)
    if (code !== undefined && code !== null) return isFailureCode(code) ? code : codes.failed
    if (read(error, "_tag") === "TimeoutException") return codes.timedOut
  }
  return codes.failed
}

const headline = (error: unknown): string => {
  if (typeof error === "string") return error
  const tagged = readText(error, "_tag")
  const name = readText(error, "name")
  const tag = tagged !== "" ? tagged : name !== "Error" ? name : ""
  if (typeof error !== "object" || error === null) return inspect(error)
  const { message } = error as { readonly message?: unknown }
  if (typeof message === "string" && message !== "") return tag === "" ? message : `${tag}: ${message}`
  const own = Object.entries(error).filter(([key]) => !["_tag", "name", "message", "stack"].includes(key))
  if (own.length === 0 && isError(error)) return tag || "Error"
  const fields = Object.fromEntries(own)
  const shown = inspect(fields, { breakLength: Number.POSITIVE_INFINITY, depth: 3 })
  return tag === "" ? shown : shown === "{}" ? tag : `${tag}: ${shown}`
}

const position = /^(.*?)(?:\?[^:]*)?:(\d+):(\d+)$/

const toPath = (url: string): string => {
  try {
    return url.startsWith("file:") ? fileURLToPath(url) : url
  } catch {
    return url
  }
}

// The folder of this package, bundled or not: its own frames are left out of a trace.
const home = (): string => {
  const frame = /\(?([^\s(]+:\d+:\d+)\)?$/.exec(new Error("here").stack?.split("\n")[1] ?? "")?.[1] ?? ""
  return dirname(dirname(dirname(toPath(position.exec(frame)?.[1] ?? "/-/-/-"))))
}

/**
 * A path for messages: relative if it is inside the working directory.
 *
 * @since 0.1.0
 * @category formatting
 */
export const shown = (path: string, cwd: string): string => {
  const inside = relative(cwd, path)
  return inside === "" || inside.startsWith("..") || isAbsolute(inside) ? path : inside
}

const spanNames = (span: Cause.PrettyError["span"]): ReadonlySet<string> => {
  const names = new Set<string>()
  for (let at = span; at !== undefined; ) {
    names.add(at.name)
    const parent = Option.getOrUndefined(at.parent)
    at = parent?._tag === "Span" ? parent : undefined
  }
  return names
}

const longestStack = 256 * 1024
const longestFrame = 4096

// Effect's own reading of an error, without its cause (Effect would follow causes, without end if they form a circle)
// and without properties that throw. The frames are at the end of a stack.
const pretty = (error: object): Cause.PrettyError | undefined =>
  guarded(() => {
    const stack = readText(error, "stack")
    const texts: Record<PropertyKey, unknown> = {
      message: clipped(readText(error, "message")),
      name: readText(error, "name"),
      stack: stack.length <= longestStack ? stack : `\n${stack.slice(-longestStack)}`,
      cause: undefined
    }
    const safe = new Proxy(Object.create(isError(error) ? Error.prototype : Object.prototype), {
      has: (_, key) => key !== "cause" && guarded(() => key in error, false),
      get: (_, key) => (Object.hasOwn(texts, key) ? texts[key] : read(error, key))
    })
    return Cause.prettyErrors(Cause.fail(safe))[0]
  }, undefined)

// The user's own frames and the spans around them, the innermost first.
const trace = (error: object, cwd: string): ReadonlyArray<string> => {
  const { span, stack = "" } = pretty(error) ?? {}
  const spans = spanNames(span)
  const own = home()
  const lines: Array<string> = []
  for (const line of stack.split("\n")) {
    if (line.length > longestFrame) continue
    const frame = /^\s+at (?:(.*?) \((.*)\)|(.*))$/.exec(line)
    if (frame === null) continue
    const [, name = "", inner, bare = ""] = frame
    const [, file, row, column] = position.exec(inner ?? bare) ?? []
    const path = file === undefined ? "" : toPath(file)
    const user = isAbsolute(path) && !path.includes("/node_modules/") && !path.startsWith(own)
    const where = user ? `${shown(path, cwd)}:${row}:${column}` : undefined
    const named = name || (file === undefined ? bare : "")
    const text =
      where === undefined
        ? spans.has(named) && named
        : named === "" || named.includes("<anonymous>")
          ? where
          : `${named} (${where})`
    const safe = text && Printable.line(text)
    if (safe && lines[lines.length - 1] !== safe) lines.push(safe)
    if (lines.length === 12) break
  }
  return lines
}

/**
 * How {@link render} writes a failure.
 *
 * @since 0.1.0
 * @category models
 */
export interface Style {
  readonly colors: boolean
  /** Paths inside it are shown relative to it. */
  readonly cwd: string
  /** The start of the first line, also of errors with an `exitCode`; default `error`. */
  readonly label?: string
  /** Errors that were reported before: they are left out, and reported errors are added. */
  readonly told?: WeakSet<object>
}

const causes = (error: unknown): ReadonlyArray<unknown> => {
  const cause = read(error, "cause")
  const several = read(error, "errors")
  return [
    ...(cause === undefined ? [] : Cause.isCause(cause) ? errors(cause) : [cause]),
    ...(guarded(() => Array.isArray(several), false) ? (several as ReadonlyArray<unknown>) : [])
  ]
}

/** Most errors of one failure that are reported, and most causes one below the other. */
const most = { errors: 100, depth: 16 }

/**
 * The lines that explain why a program failed: for each error its message, its place in the user's files, the spans
 * around it, and its cause. An error with an `exitCode` from 1 to 255 is meant for the user and is only its message
 * (nothing when that is empty). Interruptions alone give no lines. An error that cannot be read is reported as such.
 * Texts beyond 64 KiB, errors beyond 100 and causes beyond 16 in a row are left out, with their number.
 *
 * @since 0.1.0
 * @category formatting
 */
export const render = (
  cause: Cause.Cause<unknown>,
  { colors, cwd, label, told = new WeakSet() }: Style
): ReadonlyArray<string> => {
  const paint = (code: number, text: string) => (colors ? `\x1b[${code}m${text}\x1b[0m` : text)
  const lines: Array<string> = []
  let shown = 0
  let left = 0
  const isNew = (error: unknown) => {
    if (typeof error !== "object" || error === null) return true
    const itself = guarded(() => Cause.originalError(error), error)
    if (told.has(itself)) return false
    told.add(itself)
    return true
  }
  const add = (error: unknown, prefix: string, depth: number) => {
    if (!isNew(error)) return
    if (shown === most.errors) {
      left++
      return
    }
    shown++
    const indent = "  ".repeat(depth)
    const [first = "", ...more] = Printable.lines(printable("an error", () => headline(error)))
    lines.push(`${indent}${paint(31, `${prefix}:`)} ${first}`)
    for (const line of more) lines.push(`${indent}  ${line}`)
    if (typeof error !== "object" || error === null) return
    for (const line of trace(error, cwd)) lines.push(paint(2, `${indent}    at ${line}`))
    const inner = guarded(() => causes(error), [])
    if (depth < most.depth) for (const one of inner) add(one, "caused by", depth + 1)
    else if (inner.length > 0) lines.push(`${indent}  … and further causes are left out`)
  }
  for (const error of errors(cause)) {
    const message = read(error, "message")
    if (label === undefined && isFailureCode(codeOf(error)) && typeof message === "string") {
      if (message !== "") lines.push(Printable.lines(clipped(message)).join("\n"))
      isNew(error)
    } else add(error, label ?? "error", 0)
  }
  if (left > 0) lines.push(`… and ${plural(left, "more error is", "more errors are")} left out`)
  return lines
}

const mostFrames = 100
const longestLine = 1024

/**
 * The innermost frame of a stack in the user's own files, like `ex.ts:5:58`; undefined if there is none.
 *
 * @since 0.1.0
 * @category formatting
 */
export const place = (stack: string, cwd: string): string | undefined => {
  const own = home()
  for (const line of stack.split("\n", mostFrames)) {
    const frame = line.length > longestLine ? null : /^\s+at (?:.*? \((.*)\)|(?:async )?(.*))$/.exec(line)
    const [, file, row, column] = position.exec(frame?.[1] ?? frame?.[2] ?? "") ?? []
    const path = file === undefined ? "" : toPath(file)
    if (isAbsolute(path) && !path.includes("/node_modules/") && !path.startsWith(own)) {
      return `${shown(path, cwd)}:${row}:${column}`
    }
  }
  return undefined
}
