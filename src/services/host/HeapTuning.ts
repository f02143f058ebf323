import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { Effect, type Scope } from "effect"

// V8 settings of the process: `aio` switches them on (commands/kernel/Cli.ts), the library never does.

// Reset at the end, because V8 refuses code that was cached under other flags.
const flag = (name: string, value: number, normal: number): Effect.Effect<void, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => setFlagsFromString(`--${name}=${value}`)),
    () => Effect.sync(() => setFlagsFromString(`--${name}=${normal}`))
  )

/**
 * Until the scope closes, V8 collects its old generation when it has grown by a fifth, instead of several times over: a
 * long list leaves garbage of running items there, 1 KiB each.
 *
 * @since 0.1.0
 * @category effects
 */
export const leanHeap: Effect.Effect<void, never, Scope.Scope> = flag("heap-growing-percent", 20, 0)

/**
 * Until the scope closes, V8's young generation does not grow: new pages cost as much as collecting it, and the garbage
 * of many small jobs is dead by then. Only where it was measured (Node 20): a quarter less memory for prefixed lines and
 * for ten thousand items, in the same time.
 *
 * @since 0.1.0
 * @category effects
 */
export const steadyYoungGeneration: Effect.Effect<void, never, Scope.Scope> = process.versions.v8.startsWith(
  "11."
)
  ? flag("semi-space-growth-factor", 1, 2)
  : Effect.void

/**
 * Until the scope closes, V8 compiles WebAssembly for speed only after a thousand times as much work. Otherwise undici's
 * parser of HTTP is compiled during the first response, which takes 42 MiB and as long as the start of `aio`, and the process
 * does not exit before that has ended; with this, after some hundred responses (`npm run bench -- gather`). Must be set before
 * the first connection. Only where it was measured (Node 20).
 *
 * @since 0.1.0
 * @category effects
 */
export const lateWebAssembly: Effect.Effect<void, never, Scope.Scope> = process.versions.v8.startsWith("11.")
  ? flag("wasm-tiering-budget", 1_800_000_000, 1_800_000)
  : Effect.void

type Collect = (options: { readonly type: "minor" }) => void

const collector = (): Collect => {
  if (typeof globalThis.gc === "function") return globalThis.gc as Collect
  setFlagsFromString("--expose-gc")
  const collect: Collect = runInNewContext("gc")
  setFlagsFromString("--no-expose-gc") // V8 refuses code that was cached under other flags
  return collect
}

const most = 4 * 1024 * 1024
let collect: Collect | undefined
let enabled = false
let size = 0

/**
 * From now on {@link countBuffer} makes V8 collect its young generation after each 4 MiB of buffers; V8 itself
 * accumulates 32 MiB. For 2 × 200 MB of output that is 10 to 25 MiB less at the peak, in the same time (`npm run bench --
 * subprocess`).
 *
 * @since 0.1.0
 * @category effects
 */
export const collectBuffers: Effect.Effect<void> = Effect.sync(() => {
  enabled = true
})

/**
 * Counts bytes that were read into a buffer of their own; without {@link collectBuffers} it does nothing.
 *
 * @since 0.1.0
 * @category functions
 */
export const countBuffer = (bytes: number): void => {
  if (!enabled) return
  size += bytes
  if (size < most) return
  size = 0
  collect ??= collector()
  collect({ type: "minor" })
}
