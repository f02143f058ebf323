import { randomBytes } from "node:crypto"
import { closeSync, openSync, readSync, unlinkSync, writeSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Data, Effect, type Scope } from "effect"
import { codes } from "../../host/ExitCodes.js"
import { countBuffer } from "../../host/HeapTuning.js"
import { describe } from "../../host/OwnFiles.js"
import { anyCount, checkOptions, countOrInfinity } from "../../text/Numbers.js"
import * as Sizes from "../../text/Sizes.js"

// Output that waits for its turn: in memory while all of it is small, in unlinked temporary files beyond that.

/**
 * Waiting output could not be written to a temporary file.
 *
 * @since 0.1.0
 * @category errors
 */
export class SpoolError extends Data.TaggedError("SpoolError")<{
  readonly folder: string
  readonly detail: string
  /** The limit that was reached; undefined if the folder cannot be written. */
  readonly most?: number | undefined
}> {
  readonly exitCode = codes.failed
  override get message() {
    if (this.most !== undefined)
      return `more than ${Sizes.formatGiven(this.most)} of output would wait until it is due; raise --spool-max, or emit it as it comes with --line-buffer`
    return `cannot keep output in ${this.folder} until it is due: ${this.detail}; set TMPDIR to another folder`
  }
}

/** Bytes that were written, to be read once in the same order. */
export interface Spool {
  /** Throws a {@link SpoolError} if the disk is full. */
  readonly write: (bytes: Uint8Array) => void
  readonly size: () => number
  /** Reads all of it, one block after the other. */
  readonly drain: (each: (bytes: Uint8Array) => Effect.Effect<void>) => Effect.Effect<void>
  /** Drops the rest. */
  readonly close: () => void
}

const block = 16 * 1024

/** Settings of {@link make}. */
export interface Options {
  /** Bytes that all spools together hold outside of files; default 8 MiB. */
  readonly memory?: number | undefined
  /** Most bytes that all spools together hold, in memory and in files; more is a {@link SpoolError}. Default no limit. */
  readonly most?: number | undefined
  /** Called as each further 8 MiB go to files: a chance to check that the output still has a reader. */
  readonly onMuch?: (() => void) | undefined
}

const much = 8 * 1024 * 1024

/** Makes spools that close with the scope. */
export const make = ({
  memory = 8 * 1024 * 1024,
  most = Number.POSITIVE_INFINITY,
  onMuch
}: Options = {}): Effect.Effect<() => Spool, never, Scope.Scope> =>
  Effect.gen(function* () {
    checkOptions({ memory, most }, { memory: anyCount, most: countOrInfinity })
    let held = 0
    let waiting = 0
    let filed = 0
    const open = new Set<number>()
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        for (const fd of open) closeSync(fd)
      })
    )
    const checked = (write: () => void): void => {
      try {
        write()
      } catch (error) {
        // Too many files are open: keep the output in memory for now.
        if (/^(EMFILE|ENFILE)/.test((error as Error).message)) return
        throw new SpoolError({ folder: tmpdir(), detail: describe(error) })
      }
    }
    // Unlinked at once, so that a killed process leaves no file behind.
    const temporary = (): number => {
      const path = join(tmpdir(), `aio-spool-${randomBytes(8).toString("hex")}`)
      const fd = openSync(path, "wx+", 0o600)
      open.add(fd)
      unlinkSync(path)
      return fd
    }
    return () => {
      let chunks: Array<Uint8Array> = []
      let kept = 0
      let fd: number | undefined
      let size = 0
      let closed = false
      const toFile = (bytes: Uint8Array) => {
        for (let at = 0; at < bytes.length; ) at += writeSync(fd!, bytes, at)
        filed += bytes.length
        if (filed < much) return
        filed = 0
        onMuch?.()
      }
      const release = () => {
        held -= kept
        kept = 0
        chunks = []
      }
      const close = () => {
        release()
        if (!closed) waiting -= size
        closed = true
        if (fd !== undefined && open.delete(fd)) closeSync(fd)
        fd = undefined
      }
      return {
        size: () => size,
        write: (bytes) => {
          size += bytes.length
          waiting += bytes.length
          if (waiting > most) throw new SpoolError({ folder: tmpdir(), detail: "the limit", most })
          if (fd === undefined && held + bytes.length > memory) {
            checked(() => {
              fd = temporary()
              for (const chunk of chunks) toFile(chunk)
            })
            if (fd !== undefined) release()
          }
          if (fd !== undefined) return checked(() => toFile(bytes))
          chunks.push(bytes)
          kept += bytes.length
          held += bytes.length
        },
        drain: (each) =>
          Effect.suspend(() => {
            if (fd === undefined) return Effect.forEach(chunks, each, { discard: true })
            const file = fd
            let at = 0
            return Effect.whileLoop({
              while: () => at < size,
              body: () => {
                const buffer = Buffer.allocUnsafe(block)
                const got = readSync(file, buffer, 0, block, at)
                at += got
                countBuffer(got)
                return each(buffer.subarray(0, got))
              },
              step: () => undefined
            })
          }).pipe(Effect.ensuring(Effect.sync(close))),
        close
      }
    }
  })
