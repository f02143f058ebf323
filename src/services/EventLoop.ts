import { Effect } from "effect"

/**
 * Waits for the next turn of Node's event loop, after timers and I/O that are due. For loops that compute: Effect's
 * own yields stay within the current turn, and a fiber that only yields holds up timers for a second and more.
 */
export const nextTurn: Effect.Effect<void> = Effect.async((resume) => {
  const immediate = setImmediate(() => resume(Effect.void))
  return Effect.sync(() => clearImmediate(immediate))
})
