import { Context, Data, Effect, Layer } from "effect"
import { codes } from "./ExitCodes.js"

/**
 * What the reader of a stream can display.
 *
 * @since 0.1.0
 * @category models
 */
export interface Capabilities {
  /** A terminal that can redraw a line: progress may be drawn. False under `CI` and `TERM=dumb`. */
  readonly interactive: boolean
  /** ANSI colours are wanted: on a terminal, unless `NO_COLOR` or `TERM=dumb`; always with `FORCE_COLOR`. */
  readonly colors: boolean
}

/**
 * The output of a program: results to stdout, everything else to stderr.
 *
 * @since 0.1.0
 * @category services
 */
export class Output extends Context.Tag("effect-asyncio/services/Output")<
  Output,
  {
    /** Writes a line of results to stdout; the line end is added. */
    readonly print: (line: string) => Effect.Effect<void>
    /** Writes a line for the user (progress, warnings, summaries) to stderr; the line end is added. */
    readonly note: (line: string) => Effect.Effect<void>
    /** Writes bytes of results to stdout, unchanged. */
    readonly write: (bytes: string | Uint8Array) => Effect.Effect<void>
    /** Writes bytes for the user to stderr, unchanged. */
    readonly writeError: (bytes: string | Uint8Array) => Effect.Effect<void>
    /** Waits while the readers of stdout and stderr are more than 1 MiB behind: for large output. */
    readonly drained: Effect.Effect<void>
    /** Waits until all output has left the process, or can no longer do so. */
    readonly flushed: Effect.Effect<void>
    /** Waits until all output has left the process, for ever if it cannot: for a log of delivered results. */
    readonly written: Effect.Effect<void>
    readonly stdout: Capabilities
    readonly stderr: Capabilities
  }
>() {}

/**
 * Writes a line of results to stdout.
 *
 * @since 0.1.0
 * @category effects
 */
export const print = (line: string): Effect.Effect<void, never, Output> =>
  Effect.flatMap(Output, (output) => output.print(line))

/**
 * Writes a line for the user to stderr.
 *
 * @since 0.1.0
 * @category effects
 */
export const note = (line: string): Effect.Effect<void, never, Output> =>
  Effect.flatMap(Output, (output) => output.note(line))

/**
 * Reads `NO_COLOR`, `FORCE_COLOR`, `TERM` and `CI`, as https://no-color.org and https://force-color.org define them.
 *
 * @since 0.1.0
 * @category functions
 */
export const capabilities = (
  isTTY: boolean,
  env: Readonly<Record<string, string | undefined>>
): Capabilities => {
  const dumb = env["TERM"] === "dumb"
  const forced = env["FORCE_COLOR"]
  return {
    interactive: isTTY && !dumb && !env["CI"],
    colors:
      forced !== undefined && forced !== ""
        ? forced !== "0" && forced !== "false"
        : isTTY && !dumb && !env["NO_COLOR"]
  }
}

/**
 * Stdout cannot be written to although it is not closed: the disk is full, for instance.
 *
 * @since 0.1.0
 * @category errors
 */
export class OutputError extends Data.TaggedError("OutputError")<{ readonly detail: string }> {
  readonly exitCode = codes.failed
  override get message() {
    return `cannot write to stdout: ${this.detail}`
  }
}

const behind = 1024 * 1024

/** Most characters of one write: two results of 300 MB do not fit in one string. */
const mostJoined = 64 * 1024 * 1024

/**
 * The stdout and stderr of the process. Lines of one turn of the event loop leave in one write; stderr never overtakes
 * stdout. When the reader of stdout closes it (`| head -1`) the rest is dropped; Signals receives the same error, and the
 * runner ends the program quietly with 141.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<Output> = Layer.scoped(
  Output,
  Effect.gen(function* () {
    let pending: Array<string | Uint8Array> = []
    let size = 0
    let scheduled = false
    let closed = false
    const flush = () => {
      scheduled = false
      size = 0
      if (pending.length === 0) return
      const chunks = pending
      pending = []
      if (closed) return
      if (chunks.every((chunk) => typeof chunk === "string")) process.stdout.write(chunks.join(""))
      else for (const chunk of chunks) process.stdout.write(chunk)
    }
    const write = (chunk: string | Uint8Array) => {
      if (size > 0 && size + chunk.length > mostJoined) flush()
      pending.push(chunk)
      size += chunk.length
      if (!scheduled) {
        scheduled = true
        setImmediate(flush)
      }
    }
    const onError = (error: NodeJS.ErrnoException) => {
      if (closed) return
      closed = true // Signals receives the same error and ends the program
      if (error.code !== "EPIPE" && error.code !== "ERR_STREAM_DESTROYED") {
        throw new OutputError({ detail: error.message.replace(/^\w+: /, "").replace(/, write$/, "") })
      }
    }
    // stderr may be closed too; then nothing can be reported.
    const onStderrError = () => undefined
    process.stdout.on("error", onError)
    process.stderr.on("error", onStderrError)
    process.on("exit", flush)
    /** Calls back when neither stream holds more than `most`; also when one is closed. */
    const whenBelow = (most: number, done: () => void) => {
      const slow = [process.stdout, process.stderr].filter(({ writableLength }) => writableLength > most)
      let left = slow.length
      if (left === 0 || closed) return done()
      for (const stream of slow) stream.write("", () => --left === 0 && done())
    }
    const flushed = Effect.async<void>((resume) => {
      flush()
      // A pipe may still hold output: wait until it is read, or for the error that the pipe is closed.
      whenBelow(0, () => resume(Effect.void))
    })
    yield* Effect.addFinalizer(() => flushed)
    return Output.of({
      print: (line) => Effect.sync(() => write(`${line}\n`)),
      note: (line) =>
        Effect.sync(() => {
          flush()
          process.stderr.write(`${line}\n`)
        }),
      write: (bytes) => Effect.sync(() => write(bytes)),
      writeError: (bytes) =>
        Effect.sync(() => {
          flush()
          process.stderr.write(bytes)
        }),
      drained: Effect.async((resume) => {
        if (size + process.stdout.writableLength > behind) flush()
        whenBelow(behind, () => resume(Effect.void))
      }),
      flushed,
      written: Effect.zipRight(
        flushed,
        // An error is emitted a turn later. Then Signals receives it too, and ends the program.
        Effect.async((resume) => {
          setImmediate(() => closed || resume(Effect.void))
        })
      ),
      stdout: capabilities(process.stdout.isTTY === true, process.env),
      stderr: capabilities(process.stderr.isTTY === true, process.env)
    })
  })
)

/**
 * The output that {@link layerTest} has captured so far.
 *
 * @since 0.1.0
 * @category services
 */
export class Captured extends Context.Tag("effect-asyncio/services/Output/Captured")<
  Captured,
  { readonly stdout: Array<string>; readonly stderr: Array<string> }
>() {}

/**
 * Keeps the lines in memory, no colours, no terminal; read them through {@link Captured}.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerTest: Layer.Layer<Output | Captured> = Layer.effectContext(
  Effect.sync(() => {
    const stdout: Array<string> = []
    const stderr: Array<string> = []
    const plain: Capabilities = { interactive: false, colors: false }
    return Context.make(Captured, { stdout, stderr }).pipe(
      Context.add(Output, {
        print: (line) => Effect.sync(() => void stdout.push(line)),
        note: (line) => Effect.sync(() => void stderr.push(line)),
        write: (bytes) =>
          Effect.sync(
            () => void stdout.push(typeof bytes === "string" ? bytes : new TextDecoder().decode(bytes))
          ),
        writeError: (bytes) =>
          Effect.sync(
            () => void stderr.push(typeof bytes === "string" ? bytes : new TextDecoder().decode(bytes))
          ),
        drained: Effect.void,
        flushed: Effect.void,
        written: Effect.void,
        stdout: plain,
        stderr: plain
      })
    )
  })
)
