import { Effect } from "effect"
import * as Lines from "../text/Lines.js"
import type * as Processes from "./Processes.js"

/**
 * Takes the output of a process and passes on whole lines.
 *
 * @since 0.1.0
 * @category models
 */
export interface LineOutput {
  /** For `Processes.start`: the process waits while lines are taken; the start is reported before the first line. */
  readonly onOutput: NonNullable<Processes.StartOptions["onOutput"]>
  readonly onStarted: NonNullable<Processes.StartOptions["onStarted"]>
  /** Reports the start, once, if there is a process. */
  readonly begin: Effect.Effect<void>
  /** Passes on the rest of an ended process that has no line end. */
  readonly end: Effect.Effect<void>
}

/**
 * Passes on whole lines of each stream, many at once, as they come; see `Lines.whole`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  onStart: (pid: number) => Effect.Effect<void>,
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
  let reporting = false
  // Report the start from whichever runs first, `begin` or the first output: output can still arrive after the fiber
  // that started the process was interrupted.
  const begin = Effect.suspend(() => {
    const started = pid
    if (started === undefined) return Effect.void
    if (reporting) return begun.await
    reporting = true
    const reported = Effect.suspend(() => onStart(started))
    return Effect.uninterruptible(Effect.ensuring(reported, begun.open))
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
