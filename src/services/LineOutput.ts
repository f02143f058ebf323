import { Effect } from "effect"
import * as Lines from "./Lines.js"
import type * as Processes from "./Processes.js"

/** Takes what a process writes, and passes on whole lines. */
export interface LineOutput {
  /** For `Processes.start`: the process waits while the lines are taken, and all wait until its start is told. */
  readonly onOutput: NonNullable<Processes.StartOptions["onOutput"]>
  readonly onStarted: NonNullable<Processes.StartOptions["onStarted"]>
  /** Tells of the start, unless that is done, and lets lines through. */
  readonly begin: Effect.Effect<void>
  /** Around the whole life of the process, inside of its scope: whoever is interrupted before `begin` begins too. */
  readonly during: <A, E, R>(life: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
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
  const begin = Effect.suspend(() => {
    if (pid === undefined) return begun.open
    const told = tell(pid)
    pid = undefined
    return Effect.ensuring(told, begun.open)
  })
  return {
    onStarted: (started) => {
      pid = started
    },
    onOutput: (stream, bytes) => {
      lines[stream].push(bytes)
      const effect = taken()
      return effect && begun.whenOpen(effect)
    },
    begin,
    during: (life) => Effect.ensuring(life, begin),
    end: Effect.suspend(() => {
      lines.stdout.end()
      lines.stderr.end()
      return taken() ?? Effect.void
    })
  }
}
