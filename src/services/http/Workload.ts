import { performance } from "node:perf_hooks"
import { Context, Effect } from "effect"

// What the handlers of a demo do with their time.

/**
 * How a handler waits, in milliseconds: by default its fiber sleeps and the thread serves others. In a worker thread of
 * `Blocking` it is {@link block}, as every wait is in a threaded server.
 *
 * @since 0.1.0
 * @category services
 */
export class Wait extends Context.Reference<Wait>()("effect-asyncio/services/Workload/Wait", {
  defaultValue: (): ((ms: number) => Effect.Effect<void>) => (ms) => Effect.sleep(ms)
}) {}

/**
 * Waits as the context says: {@link Wait}.
 *
 * @since 0.1.0
 * @category effects
 */
export const wait = (ms: number): Effect.Effect<void> => Effect.flatMap(Wait, (wait) => wait(ms))

/**
 * Blocks the thread for this many milliseconds without using the processor, as a synchronous call does.
 *
 * @since 0.1.0
 * @category effects
 */
export const block = (ms: number): Effect.Effect<void> =>
  Effect.sync(() => {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)
  })

/**
 * Computes on the thread for this many milliseconds.
 *
 * @since 0.1.0
 * @category effects
 */
export const compute = (ms: number): Effect.Effect<void> =>
  Effect.sync(() => {
    const end = performance.now() + ms
    let hash = 0
    while (performance.now() < end) for (let i = 0; i < 1000; i++) hash = (hash * 31 + i) | 0
  })
