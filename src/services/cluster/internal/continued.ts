import { Effect } from "effect"
import { RunError } from "../RunError.js"
import type * as Store from "../Store.js"
import type * as Queue from "./queue.js"

// A run that a submitter continues: it has one function, in one version.

export interface Of {
  readonly module: string
  readonly name: string
  readonly version: string
}

export interface Taken extends Of {
  readonly id: string
}

const shown = ({ module, name, version }: Of) => `${module}#${name}, version ${version.slice(0, 8)}`

/** Why this run is not of that function; undefined if it is. */
export const problem = (taken: Taken, of: Of): string | undefined =>
  taken.module === of.module && taken.name === of.name && taken.version === of.version
    ? undefined
    : `the run ${taken.id} is of ${shown(taken)}, not of ${shown(of)}`

/** Takes the run over, if it is of this group and function: one that is refused stays with its owner. */
export const take = ({
  ask,
  group,
  id,
  of,
  owner,
  queue
}: {
  readonly ask: <A>(ask: Effect.Effect<A, Store.StoreError>) => Effect.Effect<A, Store.StoreError>
  readonly queue: Queue.Queue
  readonly id: string
  readonly group: string
  readonly owner: string
  /** The function, if it is known by now. */
  readonly of: Of | undefined
}): Effect.Effect<Taken, RunError | Store.StoreError> =>
  Effect.gen(function* () {
    const wrong = (message: string) => new RunError({ message })
    const found = yield* ask(queue.run(id))
    if (found === undefined)
      return yield* wrong(`the store has no run '${id}'; it has ended, or the id is wrong`)
    if (found.grp !== group)
      return yield* wrong(`the run ${found.id} belongs to the group ${found.grp}, not ${group}`)
    const other = of === undefined ? undefined : problem(found, of)
    if (other !== undefined) return yield* wrong(other)
    yield* ask(queue.takeRun(id, owner))
    return found
  })
