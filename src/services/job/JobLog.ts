import { createHash } from "node:crypto"
import { closeSync, fstatSync, ftruncateSync, writeSync } from "node:fs"
import { constants } from "node:os"
import { Data, Effect, type Scope } from "effect"
import { codes } from "../host/ExitCodes.js"
import { describe, openNamed, openReadable, readBlocks } from "../host/OwnFiles.js"
import * as Lines from "../text/Lines.js"
import * as Printable from "../text/Printable.js"
import * as RawText from "../text/RawText.js"

// GNU parallel's job log: one line for each job, with columns between TABs.

const header = "Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand"

/**
 * A job that has ended.
 *
 * @since 0.1.0
 * @category models
 */
export interface Entry {
  readonly seq: number
  /** Milliseconds since the epoch. */
  readonly started: number
  /** Milliseconds. */
  readonly runtime: number
  /** Bytes of stdout. */
  readonly received: number
  readonly exitCode: number
  readonly signal: NodeJS.Signals | undefined
  /** Where it ran; undefined: on this machine, which GNU parallel writes as `:`. */
  readonly host?: string | undefined
  readonly command: string
}

/**
 * A job log cannot be used; names the file and the line.
 *
 * @since 0.1.0
 * @category errors
 */
export class JobLogError extends Data.TaggedError("JobLogError")<{
  readonly path: string
  readonly line: number | undefined
  readonly detail: string
  /** 2 if the log cannot be used at all, 1 if a later write failed. */
  readonly exitCode: number
}> {
  override get message() {
    const where = this.line === undefined ? this.path : `${this.path}, line ${this.line}`
    return `cannot use the job log ${where}: ${this.detail}`
  }
}

// One job is one line, whatever its command contains.
const oneLine = (command: string) =>
  command.replace(/[\\\n\r\t]/g, (c) => ({ "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t" })[c]!)

/**
 * An open log.
 *
 * @since 0.1.0
 * @category models
 */
export interface JobLog {
  /**
   * Whether the log had this job when it was opened, by its command and not by its number. Each line counts once, so
   * that a command given twice is run twice.
   */
  readonly wasDone: (command: string) => boolean
  /** Adds a line. */
  readonly append: (entry: Entry) => Effect.Effect<void, JobLogError>
}

const failure =
  (path: string, line?: number, exitCode: number = codes.usage) =>
  (error: unknown) =>
    new JobLogError({
      path,
      line,
      exitCode,
      detail: typeof error === "string" ? error : describe(error)
    })

/**
 * Which jobs of the log are skipped: `"all"` that ended, or those that ended with exit code 0.
 *
 * @since 0.1.0
 * @category models
 */
export type Resume = "all" | "successful" | undefined

/** The longest line of a log, in bytes: all words of a command together are shorter on Linux. */
const longestLine = 16 * 1024 * 1024

/** The key of a command: a digest if it is long, so that a log of any size takes little memory. */
const keyOf = (line: string): string =>
  line.length <= 64 ? line : `\n${createHash("sha256").update(RawText.encode(line)).digest("base64")}`

const read = (path: string) => {
  const runs = new Map<string, Runs>()
  const bad = (number: number, line: string) =>
    failure(
      path,
      number
    )(
      `'${Printable.line(line.slice(0, 60)).slice(0, 60)}' is not a line of a job log; expected the columns ${header.replaceAll("\t", ", ")}`
    )
  const take = (number: number, line: string) => {
    if (line === header || line === "") return
    const fields = line.split("\t")
    const [seq, , started, , , , exit, signal] = fields
    if (
      fields.length !== 9 ||
      ![seq, started, exit, signal].every((field) => /^\d+(\.\d+)?$/.test(field!.trim()))
    ) {
      throw bad(number, line)
    }
    const command = keyOf(fields[8]!)
    const { failed, succeeded } = runs.get(command) ?? { failed: new Set(), succeeded: 0 }
    const ok = exit === "0" && signal === "0"
    // Failures under one number count as one, and as none once a later attempt has succeeded.
    if (ok) failed.delete(seq!.trim())
    else failed.add(seq!.trim())
    runs.set(command, { failed, succeeded: succeeded + (ok ? 1 : 0) })
  }
  let number = 0
  let ended = false
  let torn: string | undefined
  const lines = Lines.make({
    maxLine: longestLine,
    onLine: (bytes, cut) => {
      number++
      const line = RawText.decode(cut ? bytes.subarray(0, 200) : bytes)
      if (ended) torn = line
      else if (cut) throw bad(number, line)
      else take(number, line)
    }
  })
  let fd: number
  try {
    fd = openReadable(path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return { runs, whole: 0, size: 0 }
    throw error
  }
  let size = 0
  let whole = 0
  try {
    readBlocks(fd, (bytes) => {
      const last = bytes.lastIndexOf(10)
      if (last >= 0) whole = size + last + 1
      size += bytes.length
      lines.push(bytes)
      if (size - whole > longestLine) lines.end() // a line of a device may be endless
    })
  } finally {
    closeSync(fd)
  }
  ended = true
  lines.end()
  // A line that a crash has cut off does not count. A file that holds only such a line may not be a log: refuse it.
  if (whole === 0 && torn !== undefined && !header.startsWith(torn)) throw bad(1, torn)
  return { runs, whole, size }
}

/** The runs of a command. */
interface Runs {
  /** The numbers of jobs that have only failed so far. */
  readonly failed: Set<string>
  readonly succeeded: number
}

const tryRead = (path: string) =>
  Effect.try({
    try: () => read(path),
    catch: (error) => (error instanceof JobLogError ? error : failure(path)(error))
  })

const doneIn = (runs: ReadonlyMap<string, Runs>, resume: Resume): JobLog["wasDone"] => {
  const left = new Map(
    Array.from(runs, ([command, { failed, succeeded }]) => [
      command,
      succeeded + (resume === "all" ? failed.size : 0)
    ])
  )
  return (command) => {
    const key = keyOf(oneLine(command))
    const times = left.get(key) ?? 0
    if (times > 0) left.set(key, times - 1)
    return times > 0
  }
}

/**
 * The jobs that a log records as done; the log is not changed. Fails as {@link open} does.
 *
 * @since 0.1.0
 * @category effects
 */
export const done = (
  path: string,
  resume: "all" | "successful"
): Effect.Effect<JobLog["wasDone"], JobLogError> =>
  Effect.map(tryRead(path), ({ runs }) => doneIn(runs, resume))

/**
 * Opens the log in the current scope: emptied, whatever the file was before, or with `resume` to append after its last
 * whole line. Each entry is one write, so that a crash leaves whole lines and at most half of one. Fails if the file
 * cannot be read or written, or contains a line that is not a job log's.
 *
 * @since 0.1.0
 * @category constructors
 */
export const open = (path: string, resume: Resume): Effect.Effect<JobLog, JobLogError, Scope.Scope> =>
  Effect.gen(function* () {
    const known = resume === undefined ? undefined : yield* tryRead(path)
    const fd = yield* Effect.acquireRelease(
      Effect.try({
        try: () => {
          const fd = openNamed(path, known === undefined ? "new" : "append")
          // Do not cut if another process has appended meanwhile.
          const torn = known !== undefined && known.whole < known.size && fstatSync(fd).size === known.size
          if (torn) ftruncateSync(fd, known.whole)
          return fd
        },
        catch: failure(path)
      }),
      (fd) => Effect.sync(() => closeSync(fd))
    )
    // Appends all of it or nothing: half a line in the middle would make the log unreadable.
    const append = (bytes: Buffer) => {
      let at = 0
      try {
        while (at < bytes.length) at += writeSync(fd, bytes, at)
      } catch (error) {
        if (at > 0) ftruncateSync(fd, fstatSync(fd).size - at)
        throw error
      }
    }
    const write = (text: string) =>
      Effect.try({
        try: () => append(RawText.encode(text)),
        catch: failure(path, undefined, codes.failed)
      })
    if (known === undefined || known.whole === 0) yield* write(`${header}\n`)
    return {
      wasDone: doneIn(known?.runs ?? new Map(), resume),
      append: ({ command, exitCode, host = ":", received, runtime, seq, signal, started }) =>
        write(
          `${[
            seq,
            host,
            (started / 1000).toFixed(3),
            (runtime / 1000).toFixed(3).padStart(10),
            0,
            received,
            signal === undefined ? exitCode : 0,
            signal === undefined ? 0 : constants.signals[signal],
            oneLine(command)
          ].join("\t")}\n`
        )
    }
  })
