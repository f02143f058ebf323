import { randomUUID } from "node:crypto"
import { Duration, Effect, type Scope } from "effect"
import type { MissingPackage } from "../../network/NetworkSettings.js"
import { RunError } from "../RunError.js"
import * as Store from "../Store.js"
import * as Continued from "./continued.js"
import { located } from "./location.js"
import * as Objects from "./objects.js"
import { patient } from "./patience.js"
import * as Queue from "./queue.js"

// What the runs of one submitter share: its open store and storage, and the run that it continues.

export interface Options {
  readonly store: string
  readonly storage?: string | undefined
  readonly group?: string | undefined
  readonly patience?: Duration.DurationInput | undefined
  readonly run?: string | undefined
  /** What the run must be of, if that is known by now. */
  readonly of?: Continued.Of | undefined
}

export interface Session {
  readonly location: Store.Location
  readonly group: string
  readonly ask: <A, E, R>(ask: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  readonly queue: Queue.Queue
  readonly objects: Objects.Objects
  readonly owner: string
  /** The run that it continues. */
  readonly taken: Continued.Taken | undefined
}

export const open = ({
  group = "default",
  of,
  patience = "1 minute",
  run: id,
  storage,
  store
}: Options): Effect.Effect<Session, Store.StoreError | MissingPackage | RunError, Scope.Scope> =>
  Effect.gen(function* () {
    const location = yield* located(store)
    if (!Queue.isGroup(group)) return yield* new RunError({ message: Queue.groupProblem(group) })
    const ask = patient(Duration.toMillis(patience))
    const objects = yield* Objects.make(storage, Duration.toMillis(patience))
    const queue = Queue.make(yield* ask(Store.open(location, [Queue.tables])))
    const owner = randomUUID()
    const taken = id === undefined ? undefined : yield* Continued.take({ ask, queue, id, group, owner, of })
    return { location, group, ask, queue, objects, owner, taken }
  })
