import { createHash } from "node:crypto"
import { closeSync, openSync, renameSync, rmSync, writeFileSync, writeSync } from "node:fs"
import { join } from "node:path"
import { Data, Effect, type Scope } from "effect"
import { codes } from "./Exits.js"
import { makeFolder, usableFolder } from "./internal/files.js"
import * as RawText from "./internal/rawText.js"
import * as SafeName from "./SafeName.js"

/** What a job wrote cannot be saved: there is no such folder, or its disk is full. */
export class JobResultsError extends Data.TaggedError("JobResultsError")<{
  readonly path: string
  readonly detail: string
  /** 2 where nothing can be saved there, 1 where it failed on the way. */
  readonly exitCode: number
  /** Whether too many files are open: when others are closed it may be tried again. */
  readonly tooMany: boolean
}> {
  override get message() {
    return `cannot save results in ${this.path}: ${this.detail}`
  }
}

/** The files of one job; they are under their names when `finish` has been called. */
export interface JobFiles {
  /** Throws a {@link JobResultsError}. */
  readonly write: (stream: "stdout" | "stderr", bytes: Uint8Array) => void
  readonly finish: (exit: string) => Effect.Effect<void, JobResultsError>
}

/** The folder of a job under the results' folder: told by its command, so that another input does not overwrite it. */
export const nameOf = (label: string, command: string): string =>
  `${SafeName.fromNetwork(label.replaceAll("/", "_").slice(0, 80)) ?? "job"}-${createHash("sha256").update(RawText.encode(command)).digest("hex").slice(0, 8)}`

const failing = (path: string) => (exitCode: number) => (error: unknown) =>
  new JobResultsError({
    path,
    detail: (error as Error).message.replace(/^\w+: /, ""),
    exitCode,
    tooMany: /^(EMFILE|ENFILE)/.test((error as Error).message)
  })

/** Fails where nothing can be saved in the folder, which is made where it is not there. */
export const check = (directory: string): Effect.Effect<void, JobResultsError> =>
  Effect.try({
    try: () => usableFolder(directory),
    catch: failing(directory)(codes.usage)
  })

/** Folders that are written to: of the same command there may be several at once. */
const inUse = new Set<string>()

/**
 * Files for one job: `DIR/NAME/stdout`, `stderr`, `exit` and `command`, written aside and put in place when the job has
 * ended; closed with the scope.
 */
export const open = (
  directory: string,
  label: string,
  command: string
): Effect.Effect<JobFiles, JobResultsError, Scope.Scope> => {
  const failed = failing(directory)
  const target = join(directory, nameOf(label, command))
  const freeOf = (number: number): string => {
    const path = join(directory, `.${nameOf(label, command)}${number === 1 ? "" : `.${number}`}.part`)
    return inUse.has(path) ? freeOf(number + 1) : path
  }
  return Effect.acquireRelease(
    Effect.try({
      try: () => {
        const aside = freeOf(1)
        rmSync(aside, { recursive: true, force: true })
        makeFolder(aside)
        const opened: Array<number> = []
        try {
          for (const name of ["stdout", "stderr"]) opened.push(openSync(join(aside, name), "w"))
        } catch (error) {
          for (const fd of opened) closeSync(fd)
          rmSync(aside, { recursive: true, force: true })
          throw error
        }
        inUse.add(aside)
        const close = () => {
          for (const fd of opened.splice(0)) closeSync(fd)
        }
        return { aside, close, stdout: opened[0]!, stderr: opened[1]! }
      },
      catch: failed(codes.failed)
    }),
    (files) =>
      Effect.sync(() => {
        inUse.delete(files.aside)
        files.close()
        rmSync(files.aside, { recursive: true, force: true })
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
            files.close() // first: there may be no descriptor to spare
            writeFileSync(join(aside, "exit"), `${exit}\n`)
            writeFileSync(join(aside, "command"), RawText.encode(`${command}\n`))
            rmSync(target, { recursive: true, force: true })
            renameSync(aside, target)
          },
          catch: failed(codes.failed)
        })
    }))
  )
}
