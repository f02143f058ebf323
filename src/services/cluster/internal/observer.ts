import { Effect } from "effect"
import type * as Store from "../Store.js"
import type * as Queue from "./queue.js"
import * as Wire from "./wire.js"

// Decides which processes are dead: one whose beat stays the same for some looks in a row has died, was stopped, or is cut off.
// Looks decide and not clocks: after a pause of its own, or of the store, an observer begins to count anew, so that clock jumps, a
// suspended machine or a restarted database kill nothing.

/** Looks without a beat of a runner that is dead. */
const misses = 5
/** Milliseconds without a beat of a submitter that is gone: it beats each 10 seconds, whatever the runners' heartbeat. */
const silence = 60_000

interface Seen {
  readonly beat: number
  readonly missed: number
}

export const make = ({
  group,
  heartbeat,
  queue
}: {
  readonly queue: Queue.Queue
  readonly group: string
  readonly heartbeat: number
}) => {
  let seen = new Map<string, Seen>()
  let last = performance.now()
  /** Looks once, and gives the runners that it has declared dead. */
  const look = (me: string): Effect.Effect<ReadonlyArray<string>, Store.StoreError> =>
    Effect.gen(function* () {
      const { runners, runs } = yield* queue.beats(group)
      const now = performance.now()
      if (now - last > 3 * heartbeat) seen = new Map()
      last = now
      const next = new Map<string, Seen>()
      const still = (key: string, beat: number): number => {
        const before = seen.get(key)
        const missed = before?.beat === beat ? before.missed + 1 : 0
        next.set(key, { beat, missed })
        return missed
      }
      const dead = runners.filter(({ beat, id }) => still(`runner ${id}`, beat) >= misses && id !== me)
      const gone = runs.filter(({ beat, id }) => still(`run ${id}`, beat) >= silence / heartbeat)
      seen = next
      const buried: Array<string> = []
      for (const { beat, id } of dead) {
        if (yield* queue.bury(id, beat, group, Wire.poison)) buried.push(id)
      }
      for (const { beat, id } of gone) yield* queue.abandon(id, beat)
      return buried
    })
  return { look }
}
