import { Effect } from "effect"
import * as Lines from "./Lines.js"
import type * as Processes from "./Processes.js"

/** Takes what a process writes, and passes on whole lines. */
export interface LineOutput {
  /** For `Processes.start`: the process waits while the lines are taken, and all wait for {@link begin}. */
  readonly onOutput: NonNullable<Processes.StartOptions["onOutput"]>
  /** Runs the effect, which tells that the process has been started, and then lets lines through. */
  readonly begin: (tell: Effect.Effect<void>) => Effect.Effect<void>
  /** The process has ended: what it left without a line end. */
  readonly end: Effect.Effect<void>
}

/** Of each stream whole lines, many at once, as they come; see `Lines.whole`. */
export const make = (
  onLines: (stream: "stdout" | "stderr", bytes: Uint8Array) => Effect.Effect<void>
): LineOutput => {
  const begun = Effect.unsafeMakeLatch(false)
  let found: Array<Effect.Effect<void>> = []
  const lines = {
    stdout: Lines.whole((bytes) => found.push(onLines("stdout", bytes))),
    stderr: Lines.whole((bytes) => found.push(onLines("stderr", bytes)))
  }
  const taken = (): Effect.Effect<void> | undefined => {
    const effects = found
    found = []
    return effects.length < 2 ? effects[0] : Effect.all(effects, { discard: true })
  }
  return {
    onOutput: (stream, bytes) => {
      lines[stream].push(bytes)
      const effect = taken()
      return effect && begun.whenOpen(effect)
    },
    begin: (tell) => Effect.ensuring(tell, begun.open),
    end: Effect.suspend(() => {
      lines.stdout.end()
      lines.stderr.end()
      return taken() ?? Effect.void
    })
  }
}
