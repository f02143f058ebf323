import { Effect } from "effect"
import * as Lines from "../text/Lines.js"
import type * as Processes from "./Processes.js"

/** Takes what a process writes, and passes on whole lines. */
export interface LineOutput {
  /** For `Processes.start`: the process waits while the lines are taken; its start is told before. */
  readonly onOutput: NonNullable<Processes.StartOptions["onOutput"]>
  readonly onStarted: NonNullable<Processes.StartOptions["onStarted"]>
  /** Tells of the start, once, if there is a process. */
  readonly begin: Effect.Effect<void>
  /** The process has ended: what it left without a line end. */
  readonly end: Effect.Effect<void>
}

/** Of each stream whole lines, many at once, as they come; see `Lines.whole`. */
export const make = (
  tell: (pid: number) => Effect.Effect<void>,
  onLines: (stream: "stdout" | "stderr", bytes: Uint8Array) => Effect.Effect<void>
): LineOutput => {
  const begun = Effect.unsafeMakeLatch(false)
  let pid: number | undefined
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
  let telling = false
  // Whoever comes first tells: lines may come from a process whose starter was interrupted meanwhile.
  const begin = Effect.suspend(() => {
    const started = pid
    if (started === undefined) return Effect.void
    if (telling) return begun.await
    telling = true
    const told = Effect.suspend(() => tell(started))
    return Effect.uninterruptible(Effect.ensuring(told, begun.open))
  })
  return {
    onStarted: (started) => {
      pid = started
    },
    onOutput: (stream, bytes) => {
      lines[stream].push(bytes)
      const effect = taken()
      return effect && Effect.zipRight(begin, effect)
    },
    begin,
    end: Effect.zipRight(
      begin,
      Effect.suspend(() => {
        lines.stdout.end()
        lines.stderr.end()
        return taken() ?? Effect.void
      })
    )
  }
}
