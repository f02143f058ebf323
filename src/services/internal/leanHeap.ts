import { setFlagsFromString } from "node:v8"
import { Effect, type Scope } from "effect"

const flag = "--heap-growing-percent="

/**
 * Until the scope closes, V8 collects its old generation when that has grown by a fifth, instead of several times
 * over: what a long list leaves behind there is garbage from items under way, 1 KiB each. Put back at the end, because
 * code that is cached under other flags is refused.
 */
export const leanHeap: Effect.Effect<void, never, Scope.Scope> = Effect.acquireRelease(
  Effect.sync(() => setFlagsFromString(`${flag}20`)),
  () => Effect.sync(() => setFlagsFromString(`${flag}0`))
)
