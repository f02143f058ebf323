import { Clock, type Duration, Effect } from "effect"
import * as Output from "../services/Output.js"
import * as Timers from "../services/Timers.js"

/**
 * Runs the effect on the next turn, never inline (asyncio: `loop.call_soon`). The handle waits for it, cancels it and
 * tells when it is due.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import * as Scheduling from "effect-asyncio/programs/Scheduling"
 * import * as Timers from "effect-asyncio/services/Timers"
 *
 * export const program = Effect.gen(function* () {
 *   const handle = yield* Scheduling.callSoon(Effect.log("second"))
 *   yield* Effect.log("first")
 *   yield* handle.await
 * }).pipe(Effect.provide(Timers.layer))
 * ```
 */
export const callSoon = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  options?: Timers.CallOptions
): Effect.Effect<Timers.Handle<A, E>, never, R | Timers.Timers> =>
  Effect.flatMap(Timers.Timers, (timers) => timers.callSoon(effect, options))

/**
 * Runs the effect after a delay by the monotonic clock (asyncio: `loop.call_later`). A delay of zero or less is
 * {@link callSoon}.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import * as Scheduling from "effect-asyncio/programs/Scheduling"
 *
 * export const reminder = Scheduling.callLater("10 minutes", Effect.log("tea is ready"), { name: "tea" })
 * ```
 */
export const callLater = <A, E, R>(
  delay: Duration.DurationInput,
  effect: Effect.Effect<A, E, R>,
  options?: Timers.CallOptions
): Effect.Effect<Timers.Handle<A, E>, never, R | Timers.Timers> =>
  Effect.flatMap(Timers.Timers, (timers) => timers.callLater(delay, effect, options))

/**
 * Runs the effect at a time of day: a `DateTime`, a `Date`, or milliseconds since the epoch (asyncio: `loop.call_at`,
 * whose times are those of the loop's own clock). It follows the wall clock when that is set. A time that is past is
 * {@link callSoon}.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import * as Scheduling from "effect-asyncio/programs/Scheduling"
 *
 * export const party = Scheduling.callAt(Date.UTC(2030, 0, 1), Effect.log("happy new year"))
 * ```
 */
export const callAt = <A, E, R>(
  time: Timers.Time,
  effect: Effect.Effect<A, E, R>,
  options?: Timers.CallOptions
): Effect.Effect<Timers.Handle<A, E>, never, R | Timers.Timers> =>
  Effect.flatMap(Timers.Timers, (timers) => timers.callAt(time, effect, options))

// In tenths of a second. Callbacks come late, not early: so rounding starts only from 0.09 s on, and what is left of it
// below covers a wall clock that counts whole milliseconds.
const offset = (nanos: bigint): string => (Math.floor(Number(nanos) / 1e8 + 0.1) / 10).toFixed(1)

// #region example
/**
 * The guide's Scheduling: a callback by `callLater`, `callAt` and `callSoon` each, asked for in this order, printed as
 * they fire with the offset from the start.
 */
export const example: Effect.Effect<void, never, Output.Output | Timers.Timers> = Effect.gen(function* () {
  const start = yield* Clock.currentTimeNanos
  const now = yield* Clock.currentTimeMillis
  const show = (name: string) =>
    Effect.flatMap(Clock.currentTimeNanos, (nanos) =>
      Output.print(`${name.padEnd(10)}  at ${offset(nanos - start)} s`)
    )
  const handles = [
    yield* callLater("400 millis", show("call_later")),
    yield* callAt(now + 200, show("call_at")),
    yield* callSoon(show("call_soon"))
  ]
  yield* Effect.forEach(handles, (handle) => handle.await, { discard: true })
})
// #endregion
