import { dirname, isAbsolute, relative } from "node:path"
import { fileURLToPath } from "node:url"
import { inspect } from "node:util"
import { Cause, Option, Runtime } from "effect"
import { codes } from "./Exits.js"

// What a person reads when a program has failed, and the exit code that goes with it.

interface Words {
  readonly _tag?: unknown
  readonly name?: unknown
  readonly message?: unknown
  readonly cause?: unknown
  readonly errors?: unknown
  readonly exitCode?: unknown
}

const words = (error: unknown): Words => (typeof error === "object" && error !== null ? error : {})

// A promise that was made by `Effect.runPromise` rejects with the whole cause, wrapped.
const unwrap = (cause: Cause.Cause<unknown>): Cause.Cause<unknown> =>
  Cause.flatMap(cause, (error) =>
    Runtime.isFiberFailure(error) ? error[Runtime.FiberFailureCauseId] : Cause.fail(error)
  )

/** The errors in a cause, failures and defects alike, in the order in which they are in it. */
export const errors = (cause: Cause.Cause<unknown>): ReadonlyArray<unknown> =>
  Cause.reduce(unwrap(cause), [] as ReadonlyArray<unknown>, (found, part) =>
    part._tag === "Fail"
      ? Option.some([...found, part.error])
      : part._tag === "Die"
        ? Option.some([...found, part.defect])
        : Option.none()
  )

/**
 * The exit code of a program that failed so: the `exitCode` of the first error that has one, 124 for a timeout,
 * else 1.
 */
export const exitCode = (cause: Cause.Cause<unknown>): number => {
  for (const error of errors(cause)) {
    const { _tag, exitCode } = words(error)
    if (typeof exitCode === "number") return exitCode
    if (_tag === "TimeoutException") return codes.timedOut
  }
  return codes.failed
}

const headline = (error: unknown): string => {
  const { _tag, message, name } = words(error)
  if (typeof error === "string") return error
  const tag = typeof _tag === "string" ? _tag : typeof name === "string" && name !== "Error" ? name : ""
  if (typeof message === "string" && message !== "") return tag === "" ? message : `${tag}: ${message}`
  if (error instanceof Error && Object.keys(error).every((key) => key === "_tag" || key === "name")) {
    return tag || "Error"
  }
  const fields =
    typeof error === "object" && error !== null
      ? Object.fromEntries(
          Object.entries(error).filter(([key]) => !["_tag", "name", "message", "stack"].includes(key))
        )
      : error
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

// Where this very module is, bundled or not: its frames tell a person nothing.
const home = (): string => {
  const frame = /\(?([^\s(]+:\d+:\d+)\)?$/.exec(new Error("here").stack?.split("\n")[1] ?? "")?.[1] ?? ""
  return dirname(dirname(toPath(position.exec(frame)?.[1] ?? "/-/-")))
}

/** A path as a person names it: relative when it is inside the working directory. */
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

// The user's own frames and the spans around them, the innermost first.
const trace = (pretty: Cause.PrettyError, cwd: string): ReadonlyArray<string> => {
  const spans = spanNames(pretty.span)
  const own = home()
  const lines: Array<string> = []
  for (const line of pretty.stack?.split("\n") ?? []) {
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
    if (text && lines[lines.length - 1] !== text) lines.push(text)
    if (lines.length === 12) break
  }
  return lines
}

/** How to write a failure down. */
export interface Style {
  readonly colors: boolean
  /** Paths inside it are shown relative to it. */
  readonly cwd: string
  /** What the first line starts with, and for the person's own errors too; `error` by default. */
  readonly label?: string
  /** The errors that have been told before; they are left out, and what is told is added. */
  readonly told?: WeakSet<object>
}

const causes = (error: unknown): ReadonlyArray<unknown> => {
  const { cause, errors } = words(error)
  return [...(cause === undefined ? [] : [cause]), ...(Array.isArray(errors) ? errors : [])]
}

// Effect would follow the causes too, and for ever where they go round.
const withoutCause = (error: unknown): unknown =>
  typeof error === "object" && error !== null
    ? new Proxy(error, { get: (it, key) => (key === "cause" ? undefined : Reflect.get(it, key)) })
    : error

/**
 * The lines that tell why a program failed: for each error what it says, where in the user's files it arose, the
 * spans around it, and what caused it. An error with an `exitCode` is meant for the person and is only its message
 * (nothing when that is empty). Interruptions alone give no lines.
 */
export const render = (
  cause: Cause.Cause<unknown>,
  { colors, cwd, label, told = new WeakSet() }: Style
): ReadonlyArray<string> => {
  const paint = (code: number, text: string) => (colors ? `\x1b[${code}m${text}\x1b[0m` : text)
  const lines: Array<string> = []
  const add = (error: unknown, prefix: string, indent: string) => {
    if (typeof error === "object" && error !== null) {
      const itself = Cause.originalError(error)
      if (told.has(itself)) return
      told.add(itself)
    }
    const [first = "", ...more] = headline(error).split("\n")
    lines.push(`${indent}${paint(31, `${prefix}:`)} ${first}`, ...more.map((line) => `${indent}  ${line}`))
    for (const pretty of Cause.prettyErrors(Cause.fail(withoutCause(error)))) {
      for (const line of trace(pretty, cwd)) lines.push(paint(2, `${indent}    at ${line}`))
    }
    for (const inner of causes(error)) add(inner, "caused by", `${indent}  `)
  }
  for (const error of errors(cause)) {
    const { exitCode, message } = words(error)
    if (label === undefined && typeof exitCode === "number" && typeof message === "string") {
      if (message !== "") lines.push(message)
      told.add(Cause.originalError(error as object))
    } else add(error, label ?? "error", "")
  }
  return lines
}

const mostFrames = 100
const longestLine = 1024

/** The innermost frame of a stack that is in the user's own files, like `ex.ts:5:58`; undefined where none is. */
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
