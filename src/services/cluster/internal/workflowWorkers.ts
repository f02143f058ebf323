import { randomUUID } from "node:crypto"
import { readFileSync, readlinkSync } from "node:fs"
import { Clock, Effect } from "effect"
import * as OwnedBy from "../../host/OwnedBy.js"
import type * as Store from "../Store.js"
import { patient } from "./patience.js"
import type * as rows from "./workflowRows.js"

// Which processes run executions of a store. Each shows that it lives by a beat; what a dead one held becomes ready again, for
// any process. One of the same machine is dead when its process has ended, another one when its beat stands still for the
// lease, by the clock of the process that watches it.

/** How long a process may be silent until others take over its executions, in milliseconds. */
export const lease = 15_000
/** How often a process shows that it lives, in milliseconds. */
export const heartbeat = 3_000
/** How long a store that cannot be reached is asked to begin with, in milliseconds. */
const patience = 60_000
/** An execution whose process died so often, while it finished no step, is suspended. */
const mostCuts = 10

/** The same for processes whose pids mean the same; undefined where that is unknown. */
const place = (): string | undefined => {
  try {
    const boot = readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim()
    return `${boot} ${readlinkSync("/proc/self/ns/pid")}`
  } catch {
    return undefined
  }
}

interface Worker {
  readonly id: string
  readonly place: string
  readonly process: string
  readonly beat: number
}

export interface Options {
  readonly store: Store.Store["Type"]
  /** The result of an execution that is suspended because its processes died. */
  readonly cutOff: string
  /** Whether a run of this process has the claim. */
  readonly holds: (claim: rows.Claim) => boolean
  /** The claims of this process are others' now, except these. */
  readonly keepOnly: (claims: ReadonlyArray<rows.Claim>) => Effect.Effect<void>
}

export const make = ({ cutOff, holds, keepOnly, store }: Options) =>
  Effect.gen(function* () {
    const clock = yield* Effect.clock
    const monotonic = () => Number(clock.unsafeCurrentTimeNanos()) / 1e6
    const here = place()
    const seen = new Map<string, { readonly beat: number; readonly since: number }>()
    let me = ""
    let beaten = 0

    const register = Effect.gen(function* () {
      const id = randomUUID()
      const now = yield* Clock.currentTimeMillis
      yield* store.use(
        (sql) =>
          sql`INSERT INTO aio_workflow_workers ${sql.insert({
            id,
            place: here ?? id,
            process: OwnedBy.self,
            beat: now
          })}`
      )
      me = id
      beaten = monotonic()
    })

    /** Returns what no process of the table holds. */
    const recover = (dead: ReadonlyArray<Worker>) =>
      Effect.gen(function* () {
        const now = yield* Clock.currentTimeMillis
        const found = yield* store.transaction((sql) =>
          Effect.gen(function* () {
            for (const { beat, id } of dead)
              yield* sql`DELETE FROM aio_workflow_workers WHERE id = ${id} AND beat = ${beat}`
            return yield* sql<rows.Execution>`UPDATE aio_workflows SET owner = NULL, due = ${now}, cuts = cuts + 1,
              result = CASE WHEN cuts + 1 >= ${mostCuts} THEN ${cutOff} ELSE result END,
              state = CASE WHEN cuts + 1 >= ${mostCuts} THEN 'suspended' ELSE 'ready' END
              WHERE state = 'running' AND owner NOT IN (SELECT id FROM aio_workflow_workers)
              RETURNING workflow, execution, state`
          })
        )
        for (const { execution, state, workflow } of found)
          yield* state === "suspended"
            ? Effect.logError(
                `the workflow ${workflow}, execution ${execution}, is suspended: its process died ${mostCuts} times in a row`
              )
            : Effect.logWarning(
                `the workflow ${workflow}, execution ${execution}, continues: the process that ran it has ended`
              )
      })

    const isDead = ({ beat, id, place, process }: Worker) => {
      if (id === me) return false
      if (place === here && !OwnedBy.isLive(process)) return true
      const last = seen.get(id)
      if (last?.beat !== beat) seen.set(id, { beat, since: monotonic() })
      return last?.beat === beat && monotonic() - last.since > lease
    }

    /** Shows that it lives, and looks after the dead, when it is time. */
    const beat = (isJoining: boolean): Effect.Effect<void, Store.StoreError> =>
      Effect.gen(function* () {
        if (!isJoining && monotonic() - beaten < heartbeat) return
        const begun = monotonic()
        const pause = begun - beaten
        const now = yield* Clock.currentTimeMillis
        const found = yield* store.use(
          (sql) => sql`UPDATE aio_workflow_workers SET beat = ${now} WHERE id = ${me} RETURNING id`
        )
        beaten = begun
        if (found.length === 0) {
          yield* Effect.logWarning("this process was silent for too long; others continue its workflows")
          yield* keepOnly([])
          yield* register
        }
        // Of a claim whose answer was lost there is a row and no run.
        const held = yield* store.use(
          (sql) =>
            sql<rows.Claim>`SELECT id, claim FROM aio_workflows WHERE state = 'running' AND owner = ${me}`
        )
        yield* keepOnly(held)
        for (const { claim, id } of held.filter((claim) => !holds(claim)))
          yield* store.use(
            (sql) => sql`UPDATE aio_workflows SET state = 'ready', owner = NULL
              WHERE id = ${id} AND claim = ${claim} AND state = 'running'`
          )
        const others = yield* store.use((sql) => sql<Worker>`SELECT * FROM aio_workflow_workers`)
        // After a gap of its own, the others may not have been seen for the same reason.
        if (pause > 2 * heartbeat) seen.clear()
        const dead = others.filter(isDead)
        // Also of a process that was taken for dead while it claimed.
        const orphans = yield* store.use(
          (sql) => sql`SELECT id FROM aio_workflows
            WHERE state = 'running' AND owner NOT IN (SELECT id FROM aio_workflow_workers) LIMIT 1`
        )
        if (dead.length + orphans.length > 0) yield* recover(dead)
      })

    return {
      /** The owner of what is claimed now. */
      me: () => me,
      join: Effect.zipRight(patient(patience)(register), patient(patience)(beat(true))),
      beat: beat(false),
      /** Gives back what it still holds. */
      leave: Effect.suspend(() =>
        store.transaction((sql) =>
          Effect.zipRight(
            sql`UPDATE aio_workflows SET state = 'ready', owner = NULL WHERE state = 'running' AND owner = ${me}`,
            Effect.asVoid(sql`DELETE FROM aio_workflow_workers WHERE id = ${me}`)
          )
        )
      )
    }
  })
