import { type Effect, Either } from "effect"
import { codes } from "../../host/ExitCodes.js"
import * as Store from "../Store.js"

/** The store's location, from its text. */
export const located = (text: string): Effect.Effect<Store.Location, Store.StoreError> =>
  Either.mapLeft(
    Store.parse(text),
    (reason) =>
      new Store.StoreError({ store: "of the jobs", reason, exitCode: codes.usage, isTransient: false })
  )
