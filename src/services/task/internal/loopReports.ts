import { isAbsolute, relative } from "node:path"
import * as Printable from "../../text/Printable.js"

// What LoopWatch reports, and its text. Without Effect: the watchdog's thread and `effect-asyncio/watch` load it too.

/**
 * A call in a stack; lines and columns count from 1.
 *
 * @since 0.1.0
 * @category models
 */
export interface Frame {
  readonly function: string | undefined
  /** A path, `node:NAME` for Node's own code, undefined for a function of V8. */
  readonly file: string | undefined
  readonly line: number
  readonly column: number
}

/** What the blocked thread says about itself while it is blocked. */
export interface Sample {
  /** Innermost first. */
  readonly frames: ReadonlyArray<Frame>
  readonly fiber: number | undefined
  readonly span: string | undefined
  readonly request: string | undefined
  /** It came long after it was asked for: a native call held it up, which had ended by then. */
  readonly late: boolean
}

/**
 * The event loop did not turn for longer than the threshold.
 *
 * @since 0.1.0
 * @category models
 */
export interface Report {
  /**
   * `blocked`: one piece of synchronous code ran all the time. `starved`: code that yields to other fibers or promises, but
   * not to timers and I/O. `hanging`: the loop is still blocked; the report of the whole comes later.
   */
  readonly event: "blocked" | "starved" | "hanging"
  /** Milliseconds without a turn, up to a quarter of the threshold too long. */
  readonly duration: number
  /** When it began, in milliseconds since 1970. */
  readonly began: number
  /** The function of one's own code that ran; undefined when only other code was seen. */
  readonly function: string | undefined
  readonly file: string | undefined
  readonly line: number | undefined
  readonly column: number | undefined
  /** The function of Node or V8 that it called, like `readFileSync`. */
  readonly call: string | undefined
  /** A native call blocked, which had ended when the stack was taken: the place is where the code went on. */
  readonly native: boolean
  /** The stack at that time, innermost first, without Node's own frames. */
  readonly stack: ReadonlyArray<Frame>
  /** The number of the fiber that ran. */
  readonly fiber: number | undefined
  /** Its span. */
  readonly span: string | undefined
  /** The HTTP request that it handled, like `GET /users`. */
  readonly request: string | undefined
  /** The number of the worker thread; 0 is the main thread. */
  readonly thread: number
  /** How often this function has been reported, this time included; without a function, this span and request. */
  readonly count: number
  readonly suggestion: string
}

const isRuntime = ({ file }: Frame) => file === undefined || file.startsWith("node:")

// The run loops of Effect call everything, so they name no place.
const isEffect = (file: string) => /[\\/]node_modules[\\/](?:effect|@effect[\\/][\w-]+)[\\/]/.test(file)

/** The innermost call of one's own code, and the function of Node or V8 that blocks in it, as far as that is certain. */
export const placeOf = (
  { frames, late }: Pick<Sample, "frames" | "late">,
  own: string
): { readonly frame: Frame | undefined; readonly call: string | undefined } => {
  const at = frames.findIndex((frame) => {
    const { file } = frame
    return file !== undefined && !isRuntime(frame) && !isEffect(file) && !file.startsWith(own)
  })
  const inner = frames[at - 1]
  const isCertain =
    inner !== undefined &&
    (inner.file === undefined ? !late && isPattern(inner.function) : isSync(inner.function))
  return { frame: frames[at], call: isCertain && isRuntime(inner) ? inner.function : undefined }
}

// Of V8's own functions, these let other code run while they work; any other is only entered after a native call.
const isPattern = (name: string | undefined) => name !== undefined && /^(?:RegExp|String)\./.test(name)

const isSync = (name: string | undefined) => name?.endsWith("Sync") === true

const suggest = (event: Report["event"], call: string | undefined, column: boolean): string => {
  if (event === "starved")
    return "yield to timers and I/O (EventLoop.nextTurn), or move it to Executor.blocking"
  if (isPattern(call)) return "bound the input or rewrite the pattern, or move it to Executor.blocking"
  if (call !== undefined && isSync(call))
    return `use ${call.slice(0, -4).replace(/^.*\./, "")} without Sync, or move it to Executor.blocking`
  return column ? "move it to Executor.blocking" : "move what it computes to Executor.blocking"
}

/** What happened, before it is known how often. */
export interface Stall {
  readonly event: Report["event"]
  readonly duration: number
  readonly began: number
  readonly thread: number
  readonly samples: ReadonlyArray<Sample>
  /** Code below this folder belongs to LoopWatch. */
  readonly own: string
}

const keyOf = ({ fiber: _, ...sample }: Sample, own: string): string => {
  const { frame } = placeOf(sample, own)
  return frame === undefined
    ? `${sample.span ?? ""} ${sample.request ?? ""}`
    : `${frame.function ?? frame.line} ${frame.file}`
}

const nowhere = { call: undefined, frame: undefined }

/** The report of a stall: of its samples, the one whose place was seen most often. `counts` has all places so far. */
export const report = (stall: Stall, counts: Map<string, number>): Report => {
  const { duration, began, event, own, samples, thread } = stall
  const votes = new Map<string, number>()
  for (const sample of samples) {
    const key = keyOf(sample, own)
    votes.set(key, (votes.get(key) ?? 0) + (placeOf(sample, own).frame === undefined ? 0.1 : 1))
  }
  const [key = ""] = [...votes].reduce<readonly [string, number] | []>(
    (best, one) => (best.length === 0 || one[1] > best[1] ? one : best),
    []
  )
  const sample = samples.find((one) => keyOf(one, own) === key)
  const { call, frame } = sample === undefined ? nowhere : placeOf(sample, own)
  const count = (counts.get(key) ?? 0) + 1
  if (event !== "hanging") counts.set(key, count)
  return {
    event,
    duration: Math.round(duration),
    began,
    function: frame?.function,
    file: frame?.file,
    line: frame?.line,
    column: frame?.column,
    call,
    native: sample?.late === true,
    stack: (sample?.frames ?? []).filter((one) => !isRuntime(one)),
    fiber: sample?.fiber,
    span: sample?.span,
    request: sample?.request,
    thread,
    count,
    suggestion: suggest(event, call, frame !== undefined)
  }
}

const shown = (file: string, cwd: string): string => {
  const path = relative(cwd, file)
  return isAbsolute(file) && !path.startsWith("..") && !isAbsolute(path) ? path : file
}

/**
 * The report as one line for a person; files below `cwd` are relative to it.
 *
 * @since 0.1.0
 * @category formatting
 */
export const text = (report: Report, cwd: string): string => {
  const { call, column, count, duration, event, fiber, file, function: name, line, thread } = report
  const loop = thread === 0 ? "event loop" : `event loop of thread ${thread}`
  const what =
    event === "hanging"
      ? `has been blocked for ${duration} ms and still is`
      : event === "starved"
        ? `was held back for ${duration} ms by code that yields, but not to timers`
        : `was blocked for ${duration} ms`
  const place =
    file === undefined
      ? undefined
      : `${call !== undefined ? `${call} in ` : report.native ? "a native call in or before " : ""}${name ?? "(anonymous)"} (${shown(file, cwd)}:${line}:${column})`
  const where = [
    place,
    fiber === undefined ? undefined : `fiber #${fiber}`,
    report.span === undefined ? undefined : `span '${report.span}'`,
    report.request === undefined ? undefined : `request ${report.request}`
  ].filter((part) => part !== undefined)
  const often = count > 1 ? `; ${count} times so far` : ""
  const all = `${loop} ${what}${where.length === 0 ? " at a place that was not seen" : `: ${where.join(", ")}`}${often}; ${report.suggestion}`
  return Printable.line(all)
}

/**
 * The report as an event of `--json`, without what is unknown.
 *
 * @since 0.1.0
 * @category formatting
 */
export const event = ({ began, stack: _, ...report }: Report): { readonly event: string } => ({
  ...(Object.fromEntries(
    Object.entries(report).filter(([, value]) => value !== undefined)
  ) as unknown as Report),
  ...{ at: new Date(began).toISOString() }
})
