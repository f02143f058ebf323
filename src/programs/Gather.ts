import { Cause, Effect, type Exit, Option } from "effect"
import type { Cancellation } from "../services/Cancellation.js"
import { headline } from "../services/Causes.js"
import * as WorkerFibers from "../services/WorkerFibers.js"

/**
 * What happens to the others when one fails: `"cancel"` interrupts them and waits for their clean-up,
 * `"continue"` lets them finish first (asyncio's `gather`), `"collect"` gives every outcome as a value
 * (`return_exceptions=True`).
 */
export type OnFailure = "cancel" | "continue" | "collect"

export interface GatherOptions {
  /** How many run at once; default `"unbounded"`, as in asyncio. */
  readonly concurrency?: number | "unbounded" | undefined
  /** Default `"cancel"`. */
  readonly onFailure?: OnFailure | undefined
  /** Names this gather in the reasons of what it cancels; default `"gather"`. */
  readonly name?: string | undefined
  /**
   * Sees the outcome of each item as it settles, cancelled siblings included: `Cancellation.fromExit` reads the
   * reason. Items that were never started are not seen.
   */
  readonly onExit?: ((index: number, exit: Exit.Exit<unknown, unknown>) => void) | undefined
}

type AnyEffect = Effect.Effect<any, any, any>
type Many = Iterable<AnyEffect>
type Success<T> = T extends Effect.Effect<infer A, infer _E, infer _R> ? A : never
type Outcome<T> = T extends Effect.Effect<infer A, infer E, infer _R> ? Exit.Exit<A, E> : never
type ItemOf<T> = T extends Iterable<infer Item extends AnyEffect> ? Item : never
type Results<T extends Many> =
  T extends ReadonlyArray<AnyEffect> ? { -readonly [K in keyof T]: Success<T[K]> } : Array<Success<ItemOf<T>>>
type Outcomes<T extends Many> =
  T extends ReadonlyArray<AnyEffect> ? { -readonly [K in keyof T]: Outcome<T[K]> } : Array<Outcome<ItemOf<T>>>

/**
 * Runs the effects at once and gives their results in input order, as `asyncio.gather` does.
 *
 * Each effect is a task of its own: FiberRefs that it sets stay its own, what it forks ends with it. Its failure
 * is this effect's failure: with `"cancel"` after the siblings' clean-up, with `"continue"` after they have
 * finished (the first to fail wins), with `"collect"` never (`Exit`s instead). An iterable is read as far as items
 * are started. Ready effects cost 1 to 2 µs each, because they share one fiber.
 *
 * @example
 * import { Effect } from "effect"
 * import * as Gather from "effect-asyncio/programs/Gather"
 *
 * const both = Gather.gather([Effect.succeed(1), Effect.succeed("two")]) // Effect<[number, string]>
 */
export const gather: {
  <const T extends Many>(
    effects: T,
    options: GatherOptions & { readonly onFailure: "collect" }
  ): Effect.Effect<Outcomes<T>, never, Effect.Effect.Context<ItemOf<T>>>
  <const T extends Many>(
    effects: T,
    options?: GatherOptions & { readonly onFailure?: "cancel" | "continue" | undefined }
  ): Effect.Effect<Results<T>, Effect.Effect.Error<ItemOf<T>>, Effect.Effect.Context<ItemOf<T>>>
} = (effects: Many, options: GatherOptions = {}): any =>
  Effect.suspend(() => {
    const { concurrency = "unbounded", name = "gather", onExit, onFailure = "cancel" } = options
    const iterator = effects[Symbol.iterator]()
    const results: Array<unknown> = []
    const failures: Array<Cause.Cause<unknown>> = []
    let cancellation: Cancellation | undefined
    return WorkerFibers.run({
      concurrency: concurrency === "unbounded" ? Number.POSITIVE_INFINITY : Math.max(1, concurrency),
      pull: () => {
        const { done, value } = iterator.next()
        return done === true ? undefined : value
      },
      settle: (index, exit) => {
        results[index] = onFailure === "collect" || exit._tag === "Failure" ? exit : exit.value
        if (onExit !== undefined) onExit(index, exit)
        if (exit._tag === "Success" || onFailure === "collect") return undefined
        if (cancellation === undefined || onFailure === "continue") failures.push(exit.cause)
        // What was cancelled for the first failure says nothing new, unless its clean-up broke.
        else Option.map(Cause.keepDefects(exit.cause), (defects) => failures.push(defects))
        if (onFailure !== "cancel") return undefined
        cancellation ??= { reason: `task ${index} failed: ${headline(exit.cause)}`, origin: name }
        return cancellation
      }
    }).pipe(
      Effect.onExit(() => Effect.sync(() => iterator.return?.())),
      Effect.flatMap(() =>
        failures.length === 0
          ? Effect.succeed(results)
          : Effect.failCause(failures.reduce((all, cause) => Cause.parallel(all, cause)))
      )
    )
  })
