import { createHash, randomBytes } from "node:crypto"
import {
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
  writeSync
} from "node:fs"
import { join } from "node:path"
import { Data, Effect, Schedule, type Scope } from "effect"
import * as FileName from "../download/FileName.js"
import { codes } from "../host/ExitCodes.js"
import { isLive, self } from "../host/OwnedBy.js"
import { createExclusive, describe, makeFolder, usableFolder } from "../host/OwnFiles.js"
import * as RawText from "../text/RawText.js"

/**
 * Output of a job cannot be saved: the folder does not exist, or its disk is full.
 *
 * @since 0.1.0
 * @category errors
 */
export class JobResultsError extends Data.TaggedError("JobResultsError")<{
  readonly path: string
  readonly detail: string
  /** 2 if nothing can be saved in the folder, 1 if saving failed later. */
  readonly exitCode: number
  /** Whether too many files are open: worth a retry when others are closed. */
  readonly tooMany: boolean
}> {
  override get message() {
    return `cannot save results in ${this.path}: ${this.detail}`
  }
}

/**
 * The files of one job; `finish` puts them under their final names.
 *
 * @since 0.1.0
 * @category models
 */
export interface JobFiles {
  /** Throws a {@link JobResultsError}. */
  readonly write: (stream: "stdout" | "stderr", bytes: Uint8Array) => void
  readonly finish: (exit: string) => Effect.Effect<void, JobResultsError>
}

/**
 * A job's folder within the results' folder; it depends on the command, so another input does not overwrite it.
 *
 * @since 0.1.0
 * @category functions
 */
export const nameOf = (label: string, command: string): string =>
  `${FileName.fromNetwork(label.replaceAll("/", "_").slice(0, 80)) ?? "job"}-${createHash("sha256").update(RawText.encode(command)).digest("hex").slice(0, 8)}`

const failing = (path: string) => (exitCode: number) => (error: unknown) =>
  new JobResultsError({
    path,
    detail: describe(error),
    exitCode,
    tooMany: ["EMFILE", "ENFILE"].includes((error as NodeJS.ErrnoException).code ?? "")
  })

// Unfinished folders carry the id of their process and a random part: two processes may save in one folder, and one job
// may run several times at once. Only those of a process that is gone are removed by another.

const leftover = /^\.(\d+:\d*)-[0-9a-f]{16}\.aio-job$/
const asideIn = (directory: string): string =>
  join(directory, `.${self}-${randomBytes(8).toString("hex")}.aio-job`)

const remove = (path: string): void => rmSync(path, { recursive: true, force: true })

const sweep = (directory: string): void => {
  for (const name of readdirSync(directory)) {
    const [, owner] = leftover.exec(name) ?? []
    if (owner === undefined || isLive(owner)) continue
    try {
      remove(join(directory, name))
    } catch {
      // another user's
    }
  }
}

/**
 * Creates the folder if it does not exist, and fails if nothing can be saved in it; removes unfinished folders that a
 * killed process left in it.
 *
 * @since 0.1.0
 * @category effects
 */
export const check = (directory: string): Effect.Effect<void, JobResultsError> =>
  Effect.try({
    try: () => {
      usableFolder(directory)
      sweep(directory)
    },
    catch: failing(directory)(codes.usage)
  })

/** Replaces a folder. A folder cannot be renamed over another, so for a moment there is none. */
const replace = (aside: string, target: string, trash: string): void => {
  const codeOf = (error: unknown) => (error as NodeJS.ErrnoException).code ?? ""
  for (let attempt = 1; ; attempt++) {
    let moved = true
    try {
      renameSync(target, trash)
    } catch (error) {
      if (codeOf(error) !== "ENOENT") throw error
      moved = false
    }
    try {
      renameSync(aside, target)
      return
    } catch (error) {
      // Another process has put its own folder there in between.
      if (!["EEXIST", "ENOTEMPTY", "ENOTDIR"].includes(codeOf(error)) || attempt === 100) throw error
    } finally {
      if (moved) remove(trash)
    }
  }
}

/**
 * Files for one job: `DIR/NAME/stdout`, `stderr`, `exit` and `command`, written to a temporary folder and renamed into
 * place when the job has ended; closed with the scope. Fails if they cannot be created.
 *
 * @since 0.1.0
 * @category constructors
 */
export const open = (
  directory: string,
  label: string,
  command: string
): Effect.Effect<JobFiles, JobResultsError, Scope.Scope> => {
  const failed = failing(directory)
  const target = join(directory, nameOf(label, command))
  return Effect.acquireRelease(
    Effect.try({
      try: () => {
        makeFolder(directory)
        const aside = asideIn(directory)
        mkdirSync(aside)
        const opened: Array<number> = []
        try {
          for (const name of ["stdout", "stderr"]) opened.push(createExclusive(join(aside, name)))
        } catch (error) {
          for (const fd of opened) closeSync(fd)
          remove(aside)
          throw error
        }
        const close = () => {
          for (const fd of opened.splice(0)) closeSync(fd)
        }
        return { aside, close, stdout: opened[0]!, stderr: opened[1]! }
      },
      catch: failed(codes.failed)
    }),
    (files) =>
      Effect.sync(() => {
        files.close()
        remove(files.aside)
      })
  ).pipe(
    Effect.map((files) => ({
      write: (stream, bytes) => {
        try {
          for (let at = 0; at < bytes.length; ) at += writeSync(files[stream], bytes, at)
        } catch (error) {
          throw failed(codes.failed)(error)
        }
      },
      finish: (exit) =>
        Effect.try({
          try: () => {
            const { aside } = files
            files.close() // first, because there may be no descriptor to spare
            writeFileSync(join(aside, "exit"), `${exit}\n`)
            writeFileSync(join(aside, "command"), RawText.encode(`${command}\n`))
            replace(aside, target, asideIn(directory))
          },
          catch: failed(codes.failed)
        })
    }))
  )
}

/** Descriptors that the start of a process needs, and a few for the rest of the program. */
const spare = 16

/** Throws if so many descriptors are not free. */
const checkRoom = (): void => {
  const opened: Array<number> = []
  try {
    while (opened.length < spare) opened.push(openSync("/dev/null", "r"))
  } finally {
    for (const fd of opened) closeSync(fd)
  }
}

/**
 * {@link open} for many jobs at once: when too many files are open for the job's process to start as well, it waits until
 * one of these jobs has closed its own.
 *
 * @since 0.1.0
 * @category constructors
 */
export const opener = (
  directory: string
): ((label: string, command: string) => Effect.Effect<JobFiles, JobResultsError, Scope.Scope>) => {
  let opened = 0
  return (label, command) =>
    Effect.gen(function* () {
      const room = Effect.try({
        try: () => (opened === 0 ? undefined : checkRoom()),
        catch: failing(directory)(codes.failed)
      })
      const files = yield* Effect.retry(Effect.zipRight(room, open(directory, label, command)), {
        while: ({ tooMany }) => tooMany && opened > 0,
        schedule: Schedule.spaced("20 millis")
      })
      opened++
      yield* Effect.addFinalizer(() => Effect.sync(() => opened--))
      return files
    })
}
