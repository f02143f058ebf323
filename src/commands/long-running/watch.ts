import { resolve, sep } from "node:path"
import { Effect } from "effect"
import type * as Services from "../../services/supervision/Services.js"
import * as Changes from "../kernel/Changes.js"

/**
 * Watches the paths of each service, until the scope closes, and gives what restarts the services after changes. Logs that
 * are written below a watched folder are no changes.
 */
export const make = (paths: ReadonlyMap<string, ReadonlyArray<string>>, logs: string | undefined) =>
  Effect.gen(function* () {
    const logFolder = logs === undefined ? undefined : resolve(logs) + sep
    const together = new Map<string, Array<string>>()
    for (const [name, own] of paths) {
      const key = own.join("\0")
      together.set(key, [...(together.get(key) ?? []), name])
    }
    const watched = yield* Effect.forEach(together, ([key, names]) =>
      Effect.map(
        Changes.watch(key.split("\0"), (path) => logFolder === undefined || !path.startsWith(logFolder)),
        ({ changed }) => ({ changed, names })
      )
    )
    return ({ restart }: Services.Controls) =>
      Effect.forEach(
        watched,
        ({ changed, names }) =>
          Effect.forever(
            Effect.flatMap(changed, (what) =>
              // A service that has ended for good stays so.
              Effect.forEach(names, (name) => Effect.ignore(restart(name, what)), { discard: true })
            )
          ),
        { concurrency: "unbounded", discard: true }
      )
  })
