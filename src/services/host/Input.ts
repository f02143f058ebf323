import { constants, createReadStream, fstatSync, openSync, statSync } from "node:fs"
import { Socket } from "node:net"
import type { Readable } from "node:stream"
import { isatty } from "node:tty"
import { Chunk, Context, Data, Effect, Layer, Option, Stream } from "effect"

/**
 * Standard input or a file cannot be read.
 *
 * @since 0.1.0
 * @category errors
 */
export class InputError extends Data.TaggedError("InputError")<{
  /** The path; `-` is standard input. */
  readonly path: string
  readonly detail: string
}> {
  override get message() {
    return `cannot read ${this.path === "-" ? "standard input" : this.path}: ${this.detail}`
  }
}

/**
 * Standard input, and the files that a person names.
 *
 * @since 0.1.0
 * @category services
 */
export class Input extends Context.Tag("effect-asyncio/services/Input")<
  Input,
  {
    /** The bytes of standard input, as they arrive and no faster than they are pulled; to be run once. */
    readonly stdin: Stream.Stream<Uint8Array, InputError>
    /** Whether standard input is a terminal. */
    readonly isTerminal: boolean
    /** Where standard input comes from; `none`: it is closed, or /dev/null. */
    readonly source: "terminal" | "none" | "piped"
    /** The bytes of a file, likewise; `-` is standard input. A named pipe (`<(cmd)`) is accepted. */
    readonly open: (path: string) => Stream.Stream<Uint8Array, InputError>
    /** Whether the input can be read only once: standard input, pipes, devices. */
    readonly isOnce: (path: string) => Effect.Effect<boolean, InputError>
  }
>() {}

const reasons: Readonly<Record<string, string>> = {
  ENOENT: "the file does not exist",
  ENOTDIR: "the file does not exist",
  EACCES: "permission denied",
  EISDIR: "it is a folder"
}

const inputError = (path: string) => (error: unknown) => {
  const { code, message } = error as NodeJS.ErrnoException
  return new InputError({ path, detail: reasons[code ?? ""] ?? message })
}

// Not Stream.fromAsyncIterable: its interruption waits for the next chunk, which may never come.
const chunks = (path: string, readable: Readable) =>
  Stream.repeatEffectChunkOption(
    Effect.async<Chunk.Chunk<Uint8Array>, Option.Option<InputError>>((resume) => {
      const stop = () => {
        readable.off("readable", read).off("end", read).off("error", fail)
        ;(readable as { unref?: () => void }).unref?.()
      }
      const fail = (error: Error) => {
        stop()
        resume(Effect.fail(Option.some(inputError(path)(error))))
      }
      const read = () => {
        const chunk: Buffer | null = readable.read()
        if (chunk === null && !readable.readableEnded && !readable.destroyed) return
        stop()
        resume(chunk === null ? Effect.fail(Option.none()) : Effect.succeed(Chunk.of(chunk)))
      }
      ;(readable as { ref?: () => void }).ref?.()
      readable.on("readable", read).on("end", read).on("error", fail)
      read()
      return Effect.sync(stop)
    })
  )

// Node reads a file in pieces of 64 KiB, each through another thread. Larger pieces save waiting, but a string of more
// than 128 KiB is not in V8's young generation.
const pieceSize = 96 * 1024

// A named pipe is opened without blocking: otherwise a thread waits for its writer, and the process cannot end.
const reader = (path: string): Readable => {
  if (statSync(path, { throwIfNoEntry: false })?.isFIFO() !== true)
    return createReadStream(path, { highWaterMark: pieceSize })
  const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
  return new Socket({ fd, readable: true, writable: false })
}

const file = (path: string) =>
  Stream.unwrapScoped(
    Effect.map(
      Effect.acquireRelease(
        Effect.try({ try: () => reader(path).on("error", () => undefined), catch: inputError(path) }),
        (stream) => Effect.sync(() => stream.destroy())
      ),
      (stream) => chunks(path, stream)
    )
  )

const standardInput = (): Readable => {
  try {
    if (fstatSync(0).isFile()) {
      return createReadStream("", { fd: 0, autoClose: false, highWaterMark: pieceSize })
    }
  } catch {
    // standard input is closed: process.stdin is empty then
  }
  return process.stdin
}

const sourceOf = (): "terminal" | "none" | "piped" => {
  if (isatty(0)) return "terminal"
  try {
    return fstatSync(0).isCharacterDevice() ? "none" : "piped"
  } catch {
    return "none"
  }
}

/**
 * The standard input of the process, and files; opened when they are first read.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<Input> = Layer.sync(Input, () => {
  const stdin = Stream.suspend(() => chunks("-", standardInput()))
  return {
    stdin,
    isTerminal: isatty(0),
    source: sourceOf(),
    open: (path) => (path === "-" ? stdin : file(path)),
    isOnce: (path) =>
      path === "-"
        ? Effect.succeed(true)
        : Effect.try({ try: () => !statSync(path).isFile(), catch: inputError(path) })
  }
})

/**
 * Has this text as standard input, and these files.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerTest = (
  text: string | Uint8Array,
  files: Readonly<Record<string, string | Uint8Array>> = {}
): Layer.Layer<Input> => {
  const bytes = (content: string | Uint8Array) =>
    Stream.succeed(typeof content === "string" ? new TextEncoder().encode(content) : content)
  const missing = (path: string) => new InputError({ path, detail: reasons["ENOENT"]! })
  return Layer.succeed(Input, {
    stdin: bytes(text),
    isTerminal: false,
    source: "piped",
    open: (path) =>
      path === "-" ? bytes(text) : path in files ? bytes(files[path]!) : Stream.fail(missing(path)),
    isOnce: (path) =>
      path === "-" || path in files ? Effect.succeed(path === "-") : Effect.fail(missing(path))
  })
}
