import { Effect, GlobalValue } from "effect"

/**
 * Waits for the next turn of Node's event loop, after timers and I/O that are due. For loops that compute: Effect's
 * own yields stay within the current turn, and a fiber that only yields delays timers by a second and more.
 *
 * @since 0.1.0
 * @category effects
 */
export const nextTurn: Effect.Effect<void> = Effect.async((resume) => {
  const immediate = setImmediate(() => resume(Effect.void))
  return Effect.sync(() => clearImmediate(immediate))
})

const alive = GlobalValue.globalValue("effect-asyncio/services/EventLoop/alive", () => ({ timers: 0 }))

/**
 * Keeps this process alive while fibers wait for each other; virtual clocks do not count its timer as real work.
 *
 * @since 0.1.0
 * @category functions
 */
export const keepAlive = (): void => {
  setInterval(() => undefined, 2 ** 31 - 1)
  alive.timers++
}

/**
 * How many timers of {@link keepAlive} are open.
 *
 * @since 0.1.0
 * @category functions
 */
export const keptAlive = (): number => alive.timers
