import { Effect } from "effect"
import * as Lines from "./Lines.js"
import type * as Processes from "./Processes.js"

/** Takes what a process writes, and passes on whole lines. */
export interface LineOutput {
  /** For `Processes.start`: the process waits while the lines are taken. */
  readonly onOutput: NonNullable<Processes.StartOptions["onOutput"]>
  /** The process has ended: what it left without a line end. */
  readonly end: Effect.Effect<void>
}

/** Of each stream whole lines, many at once, as they come; see `Lines.whole`. */
export const make = (
  onLines: (stream: "stdout" | "stderr", bytes: Uint8Array) => Effect.Effect<void>
): LineOutput => {
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
      return taken()
    },
    end: Effect.suspend(() => {
      lines.stdout.end()
      lines.stderr.end()
      return taken() ?? Effect.void
    })
  }
}
