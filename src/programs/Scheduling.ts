import { Clock, type Duration, Effect } from "effect"
import { dual } from "effect/Function"
import * as Output from "../services/host/Output.js"
import type * as Cron from "../services/time/Cron.js"
import * as Timers from "../services/time/Timers.js"

/**
 * Runs the effect on the next turn, never inline (asyncio: `loop.call_soon`). The handle awaits it, cancels it and holds
 * the time at which it is due.
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
 *
 * @since 0.1.0
 * @category effects
 */
export const callSoon: {
  (
    options?: Timers.CallOptions
  ): <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<Timers.Handle<A, E>, never, R | Timers.Timers>
  <A, E, R>(
    effect: Effect.Effect<A, E, R>,
    options?: Timers.CallOptions
  ): Effect.Effect<Timers.Handle<A, E>, never, R | Timers.Timers>
} = dual(
  (args) => Effect.isEffect(args[0]),
  <A, E, R>(effect: Effect.Effect<A, E, R>, options?: Timers.CallOptions) =>
    Effect.flatMap(Timers.Timers, (timers) => timers.callSoon(effect, options))
)

/**
 * Runs the effect after a delay by the monotonic clock (asyncio: `loop.call_later`). A delay of zero or less is the same
 * as {@link callSoon}.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import * as Scheduling from "effect-asyncio/programs/Scheduling"
 *
 * export const reminder = Scheduling.callLater("10 minutes", Effect.log("tea is ready"), { name: "tea" })
 * ```
 *
 * @since 0.1.0
 * @category effects
 */
export const callLater = <A, E, R>(
  delay: Duration.DurationInput,
  effect: Effect.Effect<A, E, R>,
  options?: Timers.CallOptions
): Effect.Effect<Timers.Handle<A, E>, never, R | Timers.Timers> =>
  Effect.flatMap(Timers.Timers, (timers) => timers.callLater(delay, effect, options))

/**
 * Runs the effect at a time of day: a `DateTime`, a `Date`, or milliseconds since the epoch (asyncio: `loop.call_at`,
 * which takes times of the loop's own clock). It follows the wall clock when that is set. A time in the past is the
 * same as {@link callSoon}.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import * as Scheduling from "effect-asyncio/programs/Scheduling"
 *
 * export const party = Scheduling.callAt(Date.UTC(2030, 0, 1), Effect.log("happy new year"))
 * ```
 *
 * @since 0.1.0
 * @category effects
 */
export const callAt = <A, E, R>(
  time: Timers.Time,
  effect: Effect.Effect<A, E, R>,
  options?: Timers.CallOptions
): Effect.Effect<Timers.Handle<A, E>, never, R | Timers.Timers> =>
  Effect.flatMap(Timers.Timers, (timers) => timers.callAt(time, effect, options))

/**
 * Runs the effect every interval, first after one interval. The duration of a run does not shift later runs; the option
 * `overlap` decides about a run that is due meanwhile. The handle's `await` returns the counts.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import * as Scheduling from "effect-asyncio/programs/Scheduling"
 *
 * export const heartbeat = Scheduling.every("30 seconds", Effect.log("still here"), { jitter: "5 seconds", seed: 1 })
 * // At :00, :15, :30 and :45
 * export const quarters = Scheduling.every("15 minutes", (tick) => Effect.log(tick.run), { align: true })
 * ```
 *
 * @since 0.1.0
 * @category effects
 */
export const every = <A, E, R>(
  interval: Duration.DurationInput,
  body: Timers.Body<A, E, R>,
  options?: Timers.EveryOptions
): Effect.Effect<Timers.Handle<Timers.Tally>, never, R | Timers.Timers> =>
  Effect.flatMap(Timers.Timers, (timers) => timers.every(interval, body, options))

/**
 * Runs the effect at the times of a cron expression in a time zone; clock changes follow the rule of Debian's cron (see
 * `Cron.next`). Fails with `InvalidCron` when the expression cannot be parsed or never fires.
 *
 * @example
 * ```ts
 * import { Effect, Either } from "effect"
 * import * as Scheduling from "effect-asyncio/programs/Scheduling"
 * import * as CivilTime from "effect-asyncio/services/CivilTime"
 *
 * export const backup = Scheduling.cron("30 2 * * *", Effect.log("backing up"), {
 *   zone: Either.getOrThrow(CivilTime.zone("Europe/Berlin")),
 *   catchUp: "last",
 *   name: "backup"
 * })
 * ```
 *
 * @since 0.1.0
 * @category effects
 */
export const cron = <A, E, R>(
  expression: string | Cron.Rule,
  body: Timers.Body<A, E, R>,
  options?: Timers.CronOptions
): Effect.Effect<Timers.Handle<Timers.Tally>, Cron.InvalidCron, R | Timers.Timers> =>
  Effect.flatMap(Timers.Timers, (timers) => timers.cron(expression, body, options))

// Rounds to tenths of a second, up only from 0.09 s on: callbacks fire late, not early, and the remaining 0.01 s covers a
// wall clock in whole milliseconds.
const offset = (nanos: bigint): string => (Math.floor(Number(nanos) / 1e8 + 0.1) / 10).toFixed(1)

// #region example
/**
 * The guide's Scheduling: one callback each by `callLater`, `callAt` and `callSoon`, requested in this order and printed
 * as they fire, with the offset from the start.
 *
 * @since 0.1.0
 * @category examples
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
