import { availableParallelism, freemem, loadavg } from "node:os"
import { Context, Effect, Layer } from "effect"

/**
 * The processors of the machine, its load and its free memory.
 *
 * @since 0.1.0
 * @category services
 */
export class SystemLoad extends Context.Tag("effect-asyncio/services/SystemLoad")<
  SystemLoad,
  {
    /** Processors that this process may use. */
    readonly cpus: number
    /** Processes that ran or waited for a processor: the mean of the last minute. */
    readonly load: Effect.Effect<number>
    /** Free memory in bytes. */
    readonly freeMemory: Effect.Effect<number>
  }
>() {}

/**
 * This machine, as `node:os` reports it.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<SystemLoad> = Layer.sync(SystemLoad, () => ({
  cpus: availableParallelism(),
  load: Effect.sync(() => loadavg()[0]!),
  freeMemory: Effect.sync(freemem)
}))

/**
 * A machine for tests; by default it has 4 processors, no load and 1 TiB of free memory.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerTest = (machine: Partial<SystemLoad["Type"]> = {}): Layer.Layer<SystemLoad> =>
  Layer.succeed(SystemLoad, {
    cpus: 4,
    load: Effect.succeed(0),
    freeMemory: Effect.succeed(2 ** 40),
    ...machine
  })
