import { Cause, Effect, Exit } from "effect"
import type { Switch } from "./explorer.js"

// Simplifies a failing order.

/** Most runs that are spent on simplifying an order. */
export const shrinkRuns = 400

/** Equal for two runs that failed in the same way: numbers in a message may differ. */
export const signature = (exit: Exit.Exit<unknown, unknown>): string => {
  if (Exit.isSuccess(exit)) return "success"
  if (Cause.isInterruptedOnly(exit.cause)) return "interrupted"
  const error = Cause.squash(exit.cause) as { readonly _tag?: unknown; readonly name?: unknown } | null
  return `${Cause.isFailure(exit.cause) ? "fail" : "die"} ${String(error?._tag ?? error?.name ?? error)}`
}

export type Switches = ReadonlyArray<Switch>

/** Returns the switches that actually happened if the run still fails in the same way, else undefined. */
export type Attempt = (switches: Switches) => Effect.Effect<Switches | undefined>

/** Removes halves, quarters and so on of them, as long as it still fails (Zeller's delta debugging). */
export const withoutNeedless = (attempt: Attempt, found: Switches) =>
  Effect.gen(function* () {
    let rest = found
    let parts = 1
    while (rest.length > 0) {
      const size = Math.ceil(rest.length / parts)
      let shorter: Switches | undefined
      for (let from = 0; from < rest.length && shorter === undefined; from += size) {
        const fewer = yield* attempt([...rest.slice(0, from), ...rest.slice(from + size)])
        if (fewer !== undefined && fewer.length < rest.length) shorter = fewer
      }
      if (shorter !== undefined) {
        rest = shorter
        parts = Math.max(1, parts - 1)
      } else if (size === 1) break
      else parts = Math.min(rest.length, parts * 2)
    }
    return rest
  })

/** Searches for a single switch that suffices: it need not be a drawn one, so each place is tried. */
export const single = (attempt: Attempt, places: Switches) =>
  Effect.gen(function* () {
    for (const place of places) {
      const one = yield* attempt([place])
      if (one !== undefined && one.length <= 1) return one
    }
    return undefined
  })
