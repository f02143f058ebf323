import { Effect, type Scope } from "effect"
import * as Lines from "../../text/Lines.js"
import type { JobEvent, JobOutputEvent } from "../JobEvents.js"
import type { Emitter } from "./emitter.js"
import * as spool from "./spool.js"

/**
 * When output becomes events: `"group"` when its job has ended, `"keepOrder"` so and in the order of the input,
 * `"line"` whole lines as they come, `"inherit"` never, since jobs write to the caller's own stdout and stderr.
 */
export type Mode = "group" | "keepOrder" | "line" | "inherit"

/** A job, as its output names it. */
type Job = Pick<JobOutputEvent, "index" | "name" | "label">

/** Takes the output of one attempt. */
export interface Sink {
  /** Bytes of stdout so far. */
  readonly received: () => number
  /** Throws a `SpoolError` if output cannot be kept. */
  readonly write: (stream: "stdout" | "stderr", bytes: Uint8Array) => Effect.Effect<void> | undefined
  /** The attempt has ended: what is emitted as it comes is complete. */
  readonly end: () => void
  /** Drops output that was not emitted. */
  readonly drop: () => void
  /** Emits the rest; undefined if there is nothing to wait for. */
  readonly done: () => Effect.Effect<void> | undefined
}

/** Turns the output of all jobs into events. */
export interface JobOutput {
  readonly sink: (job: Job) => Sink
  /**
   * The job has ended: emits the rest of its output when its turn comes, then calls `onEmitted`. Undefined if that is
   * already done.
   */
  readonly finish: (index: number, sink: Sink, onEmitted: () => void) => Effect.Effect<void> | undefined
  /** The job has no output: later jobs do not wait for it. */
  readonly skip: (index: number) => Effect.Effect<void>
  /** Emits in order the output that still waits for jobs that will not end. */
  readonly leftovers: Effect.Effect<void>
}

/** Makes the output of a run; its spools close with the scope. */
export const make = (
  mode: Mode,
  { emit, full, room, send }: Emitter<JobEvent>,
  options: spool.Options = {}
): Effect.Effect<JobOutput, never, Scope.Scope> =>
  Effect.map(spool.make(options), (makeSpool) => {
    const event =
      ({ index, label, name }: Job) =>
      (stream: "stdout" | "stderr", bytes: Uint8Array): JobOutputEvent => ({
        event: "output",
        index,
        name,
        label,
        stream,
        bytes
      })

    const lineSink: JobOutput["sink"] = (job) => {
      const of = event(job)
      let received = 0
      const lines = {
        stdout: Lines.whole((bytes) => emit(of("stdout", bytes))),
        stderr: Lines.whole((bytes) => emit(of("stderr", bytes)))
      }
      const end = () => {
        lines.stdout.end()
        lines.stderr.end()
        return undefined
      }
      return {
        received: () => received,
        write: (stream, bytes) => {
          if (stream === "stdout") received += bytes.length
          lines[stream].push(bytes)
          return full() ? room : undefined
        },
        end,
        drop: end,
        done: end
      }
    }

    const spoolSink: JobOutput["sink"] = (job) => {
      const of = event(job)
      const drain = (stream: "stdout" | "stderr", spooled: spool.Spool) =>
        Effect.suspend(() => {
          let found: Uint8Array | undefined
          const lines = Lines.whole((bytes) => {
            found = bytes
          })
          const pass = () => {
            const bytes = found
            found = undefined
            return bytes === undefined ? Effect.void : send(of(stream, bytes))
          }
          const each = (bytes: Uint8Array) => {
            lines.push(bytes)
            return pass()
          }
          const rest = Effect.suspend(() => {
            lines.end()
            return pass()
          })
          return Effect.zipRight(spooled.drain(each), rest)
        })
      // A job without output costs no spool.
      let spools: { readonly stdout: spool.Spool; readonly stderr: spool.Spool } | undefined
      return {
        received: () => spools?.stdout.size() ?? 0,
        write: (stream, bytes) => {
          spools ??= { stdout: makeSpool(), stderr: makeSpool() }
          spools[stream].write(bytes)
          return undefined
        },
        end: () => undefined,
        drop: () => {
          spools?.stdout.close()
          spools?.stderr.close()
        },
        done: () => spools && Effect.zipRight(drain("stdout", spools.stdout), drain("stderr", spools.stderr))
      }
    }

    // One job at a time emits its output; under keepOrder the next in the input's order.
    const emitting = Effect.unsafeMakeSemaphore(1)
    const waiting = new Map<number, Effect.Effect<void>>()
    let turn = 1
    const inTurn = (index: number, emitAll: Effect.Effect<void>): Effect.Effect<void> => {
      if (mode !== "keepOrder") return emitting.withPermits(1)(emitAll)
      waiting.set(index, emitAll)
      return emitting.withPermits(1)(
        Effect.whileLoop({
          while: () => waiting.has(turn),
          body: () => {
            const next = waiting.get(turn)!
            waiting.delete(turn++)
            return next
          },
          step: () => undefined
        })
      )
    }

    return {
      sink: mode === "line" ? lineSink : spoolSink,
      finish: (index, sink, onEmitted) => {
        const rest = sink.done()
        if (rest !== undefined || mode === "keepOrder")
          return inTurn(index, Effect.map(rest ?? Effect.void, onEmitted))
        onEmitted()
        return undefined
      },
      skip: (index) => (mode === "keepOrder" ? inTurn(index, Effect.void) : Effect.void),
      leftovers: Effect.suspend(() =>
        Effect.forEach(
          [...waiting].sort(([a], [b]) => a - b),
          ([, emitAll]) => emitAll,
          { discard: true }
        )
      )
    }
  })
