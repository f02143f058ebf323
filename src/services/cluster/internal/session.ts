import { randomUUID } from "node:crypto"
import { Duration, Effect, type Scope } from "effect"
import type { MissingPackage } from "../../network/NetworkSettings.js"
import { RunError } from "../RunError.js"
import * as Store from "../Store.js"
import { located } from "./location.js"
import { patient } from "./patience.js"
import * as Queue from "./queue.js"

// What the runs of one submitter share: its open store, and the run that it continues.

export interface Options {
  readonly store: string
  readonly group?: string | undefined
  readonly patience?: Duration.DurationInput | undefined
  readonly run?: string | undefined
}

export interface Session {
  readonly location: Store.Location
  readonly group: string
  readonly ask: <A, E, R>(ask: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  readonly queue: Queue.Queue
  readonly owner: string
  /** The run that it continues. */
  readonly taken: Queue.Run | undefined
}

export const open = (
  options: Options
): Effect.Effect<Session, Store.StoreError | MissingPackage | RunError, Scope.Scope> =>
  Effect.gen(function* () {
    const { group = "default" } = options
    const location = yield* located(options.store)
    if (!Queue.isGroup(group)) return yield* new RunError({ message: Queue.groupProblem(group) })
    const ask = patient(Duration.toMillis(options.patience ?? "1 minute"))
    const queue = Queue.make(yield* ask(Store.open(location, [Queue.tables])))
    const owner = randomUUID()
    const taken = options.run === undefined ? undefined : yield* ask(queue.takeRun(options.run, owner))
    if (options.run !== undefined && taken === undefined) {
      return yield* new RunError({
        message: `the store has no run '${options.run}'; it has ended, or the id is wrong`
      })
    }
    if (taken !== undefined && taken.grp !== group) {
      return yield* new RunError({
        message: `the run ${taken.id} belongs to the group ${taken.grp}, not ${group}`
      })
    }
    return { location, group, ask, queue, owner, taken }
  })
