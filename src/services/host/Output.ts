import { Context, Data, Effect, Layer } from "effect"
import { codes } from "./ExitCodes.js"

/** What a stream's far end can show. */
export interface Capabilities {
  /** A person at a terminal that can redraw a line: progress bars are allowed. False under `CI` and `TERM=dumb`. */
  readonly interactive: boolean
  /** ANSI colours are wanted: a terminal, unless `NO_COLOR`, `TERM=dumb`; always with `FORCE_COLOR`. */
  readonly colors: boolean
}

/** Where a program's words go: results to stdout, everything else to stderr. */
export class Output extends Context.Tag("effect-asyncio/services/Output")<
  Output,
  {
    /** One line of result to stdout; the line end is added. */
    readonly print: (line: string) => Effect.Effect<void>
    /** One line for the person (progress, warnings, summaries) to stderr; the line end is added. */
    readonly note: (line: string) => Effect.Effect<void>
    /** Result bytes to stdout, untouched. */
    readonly write: (bytes: string | Uint8Array) => Effect.Effect<void>
    /** Bytes for the person to stderr, untouched. */
    readonly writeError: (bytes: string | Uint8Array) => Effect.Effect<void>
    /** Waits while their readers are more than 1 MiB behind: for who writes much. */
    readonly drained: Effect.Effect<void>
    /** Waits until what was written has left the process, or cannot any more. */
    readonly flushed: Effect.Effect<void>
    /** Waits until what was written has left the process, for ever where it cannot: for who then notes that it has. */
    readonly written: Effect.Effect<void>
    readonly stdout: Capabilities
    readonly stderr: Capabilities
  }
>() {}

/** The version that every NDJSON event of `--json` carries as `schema`. */
export const schemaVersion = 1

/** An NDJSON event of `--json` as text: `{"schema":1,"event":…}`. */
export const eventLine = (name: string, fields: object): string =>
  JSON.stringify({ schema: schemaVersion, event: name, ...fields })

/** One NDJSON event of `--json` to stdout. */
export const event = (name: string, fields: object): Effect.Effect<void, never, Output> =>
  print(eventLine(name, fields))

/** One line of result to stdout. */
export const print = (line: string): Effect.Effect<void, never, Output> =>
  Effect.flatMap(Output, (output) => output.print(line))

/** One line for the person to stderr. */
export const note = (line: string): Effect.Effect<void, never, Output> =>
  Effect.flatMap(Output, (output) => output.note(line))

/** Reads `NO_COLOR`, `FORCE_COLOR`, `TERM` and `CI` as https://no-color.org and https://force-color.org have them. */
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

/** Stdout cannot be written to, and not because nobody reads it: its disk is full, say. */
export class OutputError extends Data.TaggedError("OutputError")<{ readonly detail: string }> {
  readonly exitCode = codes.failed
  override get message() {
    return `cannot write to stdout: ${this.detail}`
  }
}

const behind = 1024 * 1024

/** Characters that leave in one write at most: two results of 300 MB have no place in one string. */
const mostJoined = 64 * 1024 * 1024

/**
 * The process's own stdout and stderr. Lines of one turn of the event loop leave in one write; stderr never
 * overtakes stdout. When the reader of stdout goes away (`| head -1`) the rest is dropped; Signals hears of it too, and
 * the runner ends the program quietly with 141.
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
      closed = true // who ends the program for it is Signals, which hears the same error
      if (error.code !== "EPIPE" && error.code !== "ERR_STREAM_DESTROYED") {
        throw new OutputError({ detail: error.message.replace(/^\w+: /, "").replace(/, write$/, "") })
      }
    }
    // stderr may be gone too; then there is nobody left to tell.
    const onStderrError = () => undefined
    process.stdout.on("error", onError)
    process.stderr.on("error", onStderrError)
    process.on("exit", flush)
    /** Calls back when none of these holds so much any more; also with an error, when nobody reads. */
    const whenBelow = (most: number, done: () => void) => {
      const slow = [process.stdout, process.stderr].filter(({ writableLength }) => writableLength > most)
      let left = slow.length
      if (left === 0 || closed) return done()
      for (const stream of slow) stream.write("", () => --left === 0 && done())
    }
    const flushed = Effect.async<void>((resume) => {
      flush()
      // A pipe may still hold what was written: wait for it, or for the error that says nobody reads.
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
        // An error is heard a turn later. Then Signals hears of it too, and ends the program.
        Effect.async((resume) => {
          setImmediate(() => closed || resume(Effect.void))
        })
      ),
      stdout: capabilities(process.stdout.isTTY === true, process.env),
      stderr: capabilities(process.stderr.isTTY === true, process.env)
    })
  })
)

/** What {@link layerTest} has captured so far. */
export class Captured extends Context.Tag("effect-asyncio/services/Output/Captured")<
  Captured,
  { readonly stdout: Array<string>; readonly stderr: Array<string> }
>() {}

/** Keeps the lines in memory, no colours, no terminal; read them through {@link Captured}. */
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
