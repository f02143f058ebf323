import { Cause, Effect, Exit } from "effect"
import { checkedConcurrency } from "../text/Numbers.js"
import type * as Cancellation from "./Cancellation.js"
import { headline, parallel, raise, failures as withoutInterruptions } from "./Causes.js"
import * as WorkerFibers from "./WorkerFibers.js"

/**
 * The effect of a failure on the other items: `"cancel"` interrupts them and awaits their clean-up, `"continue"` lets them
 * finish first (asyncio's `gather`), `"collect"` returns every outcome as a value (`return_exceptions=True`).
 *
 * @since 0.1.0
 * @category models
 */
export type OnFailure = "cancel" | "continue" | "collect"

/**
 * Settings of {@link gather}.
 *
 * @since 0.1.0
 * @category options
 */
export interface GatherOptions<out Mode extends OnFailure = OnFailure> {
  /** How many run at once, a whole number from 1 or `Infinity`; default `"unbounded"`, as in asyncio. */
  readonly concurrency?: number | "unbounded" | undefined
  /** Default `"cancel"`. */
  readonly onFailure?: Mode | undefined
  /** The origin of the cancellations of this gather; default `"gather"`. */
  readonly name?: string | undefined
  /**
   * Receives the outcome of each item as it settles, cancelled siblings included: `Cancellation.fromExit` reads the
   * reason. It is not called for items that were never started.
   */
  readonly onExit?: ((index: number, exit: Exit.Exit<unknown, unknown>) => void) | undefined
}

type AnyEffect = Effect.Effect<any, any, any>
type Named = { readonly [name: string]: AnyEffect }
type Many = Iterable<AnyEffect> | Named
// Without items these types are never, where Effect's own would be unknown.
type Failure<T> = T extends Effect.Effect<infer _A, infer E, infer _R> ? E : never
type Context<T> = T extends Effect.Effect<infer _A, infer _E, infer R> ? R : never
type ItemOf<T> = T extends Iterable<infer Item> ? Item : T[keyof T]
type Result<T, Mode> =
  T extends Effect.Effect<infer A, infer E, infer _R> ? (Mode extends "collect" ? Exit.Exit<A, E> : A) : never
// Distributes over a mode that is known at run time only.
type Results<T, Mode extends OnFailure> = Mode extends OnFailure
  ? T extends ReadonlyArray<AnyEffect> | Named
    ? { -readonly [K in keyof T]: Result<T[K], Mode> }
    : Array<Result<ItemOf<T>, Mode>>
  : never

/**
 * Runs the effects at once and returns their results in input order, as `asyncio.gather` does, or under the names of a
 * record.
 *
 * Each effect is a task of its own: its changes to FiberRefs are its own, and fibers that it forks end with it. Its
 * failure is this effect's failure: with `"cancel"` after the siblings' clean-up, with `"continue"` after they have
 * finished (the first failure wins), with `"collect"` never (`Exit`s instead). Further failures, those of cancelled
 * siblings included, are in the cause too. Dies when `concurrency` is out of range. An iterable is read only as items are
 * started. Effects that complete at once cost 1 to 2 µs each, because they share one fiber.
 *
 * @example
 * import { Effect } from "effect"
 * import * as Gather from "effect-asyncio/services/Gather"
 *
 * const both = Gather.gather([Effect.succeed(1), Effect.succeed("two")]) // Effect<[number, string]>
 * const page = Gather.gather({ user: Effect.succeed("ada"), rights: Effect.succeed(["read"]) })
 *
 * @since 0.1.0
 * @category effects
 */
export const gather: <const T extends Many, const Mode extends OnFailure = "cancel">(
  effects: T,
  options?: GatherOptions<Mode>
) => Effect.Effect<
  Results<T, Mode>,
  Mode extends "collect" ? never : Failure<ItemOf<T>>,
  Context<ItemOf<T>>
> = (given: Many, options: GatherOptions = {}): any =>
  Effect.suspend(() => {
    const { concurrency = "unbounded", name = "gather", onExit, onFailure = "cancel" } = options
    const names = Symbol.iterator in given ? undefined : Object.keys(given)
    const effects = names === undefined ? (given as Iterable<AnyEffect>) : Object.values(given as Named)
    // An array is read by index and its results are preallocated: half of the time of small effects is garbage collection.
    const array = Array.isArray(effects) ? effects : undefined
    const iterator = array === undefined ? effects[Symbol.iterator]() : undefined
    const results = new Array<unknown>(array?.length ?? 0)
    let next = 0
    let read = iterator === undefined
    let failures: Cause.Cause<unknown> = Cause.empty
    let cancellation: Cancellation.Cancellation | undefined
    return WorkerFibers.run({
      concurrency: checkedConcurrency(concurrency),
      pull: () => {
        if (array !== undefined) return next < array.length ? (array[next++] ?? nothing) : undefined
        const done = read
        read = true // whatever it throws
        if (done) return undefined
        const result = iterator!.next()
        if (result.done === true) return undefined
        read = false
        return result.value ?? nothing
      },
      settle: (index, exit) => {
        results[index] = onFailure === "collect" || exit._tag === "Failure" ? exit : exit.value
        if (exit._tag === "Failure") {
          // Under "collect" outcomes are values, except those of an interruption of the whole gather.
          if (onFailure !== "collect" || Cause.isInterrupted(exit.cause)) {
            // Interrupted siblings add nothing to the cause except their own failures and defects of their
            // finalizers.
            const first = onFailure === "continue" || (onFailure === "cancel" && cancellation === undefined)
            failures = parallel(failures, first ? exit.cause : withoutInterruptions(exit.cause))
          }
          if (onFailure === "cancel") {
            cancellation ??= { reason: `task ${index} failed: ${headline(exit.cause)}`, origin: name }
          }
        }
        onExit?.(index, exit)
        return cancellation
      }
    }).pipe(
      Effect.onExit((exit) =>
        Effect.suspend(() => {
          if (!read) iterator?.return?.()
          // Interrupted, or ended by a callback that threw: earlier failures are added to the cause.
          return Exit.isFailure(exit) ? raise(withoutInterruptions(failures)) : Effect.void
        })
      ),
      Effect.flatMap(() =>
        onFailure === "collect" || Cause.isEmptyType(failures)
          ? Effect.succeed(
              names === undefined ? results : Object.fromEntries(names.map((key, i) => [key, results[i]]))
            )
          : Effect.failCause(failures)
      )
    )
  })

/** Takes the place of an `undefined` among the effects, which `pull` would report as the end. */
const nothing = Effect.dieMessage("Not a valid effect: undefined")
