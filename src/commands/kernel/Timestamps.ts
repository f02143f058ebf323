import { Console as NodeConsole } from "node:console"
import { Writable } from "node:stream"
import { type Clock, Console, Effect } from "effect"
import * as Output from "../../services/host/Output.js"
import * as Flag from "./Flag.js"
import * as Flags from "./Flags.js"

/** `--virtual` and `--timestamps`, for {@link timed}. */
export const flags = {
  virtual: Flags.virtual,
  timestamps: Flag.withText(
    Flags.timestamps,
    "put the time since the start (HH:MM:SS.mmm), virtual or real, before each line on stdout"
  )
}

/** Milliseconds as `HH:MM:SS.mmm`; hours may exceed 24. */
export const format = (ms: number): string => {
  const part = (unit: number, size: number, width: number) =>
    String(Math.floor(ms / unit) % size).padStart(width, "0")
  const hours = String(Math.floor(ms / 3_600_000)).padStart(2, "0")
  return `${hours}:${part(60_000, 60, 2)}:${part(1000, 60, 2)}.${part(1, 1000, 3)}`
}

const lineEnd = 10

// A line written in pieces gets the time of its first piece.
const stamper = (clock: Clock.Clock) => {
  const start = clock.unsafeCurrentTimeNanos()
  let within = false
  return (text: string | Uint8Array): Uint8Array => {
    const bytes = Buffer.from(text)
    const stamp = Buffer.from(`${format(Number((clock.unsafeCurrentTimeNanos() - start) / 1_000_000n))}  `)
    const pieces: Array<Buffer> = []
    for (let from = 0; from < bytes.length; ) {
      const end = bytes.indexOf(lineEnd, from)
      const to = end < 0 ? bytes.length : end + 1
      if (!within) pieces.push(stamp)
      pieces.push(bytes.subarray(from, to))
      within = end < 0
      from = to
    }
    return Buffer.concat(pieces)
  }
}

// Effect's Console on top of one of Node's.
const consoleOver = (unsafe: globalThis.Console): Console.Console => {
  const call =
    <Args extends ReadonlyArray<unknown>>(method: (...args: Args) => void) =>
    (...args: Args) =>
      Effect.sync(() => method(...args))
  return {
    [Console.TypeId]: Console.TypeId,
    assert: call(unsafe.assert),
    clear: Effect.sync(unsafe.clear),
    count: call(unsafe.count),
    countReset: call(unsafe.countReset),
    debug: call(unsafe.debug),
    dir: call(unsafe.dir),
    dirxml: call(unsafe.dirxml),
    error: call(unsafe.error),
    group: (options) =>
      Effect.sync(() =>
        (options?.collapsed ? unsafe.groupCollapsed : unsafe.group)(
          ...(options?.label ? [options.label] : [])
        )
      ),
    groupEnd: Effect.sync(unsafe.groupEnd),
    info: call(unsafe.info),
    log: call(unsafe.log),
    table: call(unsafe.table),
    time: call(unsafe.time),
    timeEnd: call(unsafe.timeEnd),
    timeLog: call(unsafe.timeLog),
    trace: call(unsafe.trace),
    warn: call(unsafe.warn),
    unsafe
  }
}

/**
 * Runs the program with each line that it writes to stdout, by `Output` or by Effect's `Console`, prefixed by the time
 * since the start. The clock is the current one: `VirtualClock.run` belongs around this, not within it. Lines written by
 * `console.log` or `process.stdout` get no time.
 */
export const stamped = <A, E, R>(program: Effect.Effect<A, E, R>): Effect.Effect<A, E, R | Output.Output> =>
  Effect.gen(function* () {
    const output = yield* Output.Output
    const stamp = stamper(yield* Effect.clock)
    const write = (text: string | Uint8Array) => Effect.suspend(() => output.write(stamp(text)))
    const stdout = new Writable({
      write(chunk: Uint8Array, _encoding, done) {
        Effect.runSync(write(chunk))
        done()
      }
    })
    return yield* program.pipe(
      Effect.provideService(Output.Output, { ...output, write, print: (line) => write(`${line}\n`) }),
      Effect.withConsole(consoleOver(new NodeConsole({ stdout, stderr: process.stderr })))
    )
  })

/** Runs the program with {@link flags}. The virtual clock is outermost: a timeout in the program uses virtual time. */
export const timed = <A, E, R>(
  program: Effect.Effect<A, E, R>,
  config: { readonly virtual: boolean; readonly timestamps: boolean }
): Effect.Effect<A, E, R | Output.Output> => {
  const stampedOrNot = config.timestamps ? stamped(program) : program
  if (!config.virtual) return stampedOrNot
  // Loaded on demand: the virtual clock costs start-up time.
  const loaded = Effect.promise(() => import("../../services/time/VirtualClock.js"))
  return Effect.flatMap(loaded, (VirtualClock) => VirtualClock.run(stampedOrNot))
}
