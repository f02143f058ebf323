import { closeSync, writeSync } from "node:fs"
import { Data, Effect, type Scope } from "effect"
import { codes } from "../host/ExitCodes.js"
import { openNamed } from "../host/OwnFiles.js"

/**
 * The file for failed records cannot be written; names it.
 *
 * @since 0.1.0
 * @category errors
 */
export class DeadLetterError extends Data.TaggedError("DeadLetterError")<{
  readonly path: string
  readonly detail: string
}> {
  readonly exitCode = codes.usage
  override get message() {
    return `cannot write failed records to ${this.path}: ${this.detail}`
  }
}

/**
 * Appends bytes to the file, in one write each time.
 *
 * @since 0.1.0
 * @category models
 */
export type DeadLetters = (bytes: Uint8Array) => Effect.Effect<void, DeadLetterError>

const failure = (path: string) => (error: unknown) =>
  new DeadLetterError({ path, detail: (error as Error).message.replace(/^\w+: |, \w+( '.*')?$/g, "") })

/**
 * Opens the file in the current scope, to append. Fails if it cannot be written, also for a named pipe that nothing reads.
 *
 * @since 0.1.0
 * @category constructors
 */
export const open = (path: string): Effect.Effect<DeadLetters, DeadLetterError, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(Effect.try({ try: () => openNamed(path, "append"), catch: failure(path) }), (fd) =>
      Effect.sync(() => closeSync(fd))
    ),
    (fd): DeadLetters =>
      (bytes) =>
        Effect.try({
          try: () => {
            for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at)
          },
          catch: failure(path)
        })
  )
