import { Chunk, Duration, Effect, Exit, Option, Predicate, Stream } from "effect"
import { dual } from "effect/Function"
import { nextTurn } from "../task/EventLoop.js"
import * as Sleep from "../task/Sleep.js"
import { checkedDuration, checkedNumber, countOrInfinity, someTime } from "../text/Numbers.js"
import { driven, ending, feed, gate } from "./internal/driven.js"

/**
 * Settings of {@link batchWithin}.
 *
 * @since 0.1.0
 * @category options
 */
export interface BatchOptions {
  /** Most elements of a batch, a whole number from 1 or `Infinity`. */
  readonly size: number
  /** How long the first element of a batch waits for others at most; by default until the batch is full. */
  readonly within?: Duration.DurationInput | undefined
}

/**
 * Groups elements into batches: each is emitted when it has `size` elements, `within` after its first element came, or
 * at the end. While the consumer is busy, one further batch is collected.
 *
 * @example
 * ```ts
 * import { Effect, Stream } from "effect"
 * import * as Pacing from "effect-asyncio/services/Pacing"
 *
 * export const program = Pacing.batchWithin(Stream.range(1, 250), { size: 100, within: "1 second" }).pipe(
 *   Stream.runForEach((batch) => Effect.log(batch.length)) // 100, 100, 50
 * )
 * ```
 *
 * @since 0.1.0
 * @category streams
 */
export const batchWithin: {
  (options: BatchOptions): <A, E, R>(self: Stream.Stream<A, E, R>) => Stream.Stream<ReadonlyArray<A>, E, R>
  <A, E, R>(self: Stream.Stream<A, E, R>, options: BatchOptions): Stream.Stream<ReadonlyArray<A>, E, R>
} = dual(
  2,
  <A, E, R>(
    self: Stream.Stream<A, E, R>,
    { size, within }: BatchOptions
  ): Stream.Stream<ReadonlyArray<A>, E, R> =>
    Stream.suspend(() => {
      const most = checkedNumber("size", size, countOrInfinity)
      if (within !== undefined) checkedDuration("within", within)
      let batch: Array<A> = []
      let since = 0n // when its first element came
      const fill = () => {
        if (batch.length === 0) since = input.now()
        for (const element of input.take(most - batch.length)) batch.push(element)
      }
      const input = feed(self, () => {
        fill()
        some.check()
        full.check()
      })
      const isFull = () => batch.length >= most || input.over() !== undefined
      const full = gate(isFull)
      const some = gate(() => batch.length > 0 || input.over() !== undefined)
      const take = Effect.suspend(() => {
        if (batch.length === 0) return ending(input.over())
        const taken = batch
        batch = []
        fill()
        input.pull()
        return Effect.succeedSome(Chunk.of(taken))
      })
      const wait =
        within === undefined
          ? full.wait
          : Effect.zipRight(
              some.wait,
              Effect.suspend(() => {
                if (isFull()) return Effect.void
                const left = Duration.subtract(within, Duration.nanos(input.now() - since))
                return Effect.raceFirst(full.wait, Sleep.sleep(left))
              })
            )
      return driven<ReadonlyArray<A>, E, R>([input.run], Effect.zipRight(wait, take))
    })
)

/**
 * Settings of {@link rateLimited}.
 *
 * @since 0.1.0
 * @category options
 */
export interface RateOptions {
  /** Most elements in an interval, a number above 0. */
  readonly limit: number
  /** The interval. Default 1 second. */
  readonly interval?: Duration.DurationInput | undefined
}

/**
 * Emits elements at an even rate: a limit of 10 per second is one each 100 ms. The first is emitted at once, and unused
 * time is not saved up. Above 500 per second, where timers are too coarse, elements that are due are emitted together.
 *
 * @example
 * ```ts
 * import { Effect, Stream } from "effect"
 * import * as Pacing from "effect-asyncio/services/Pacing"
 *
 * export const program = Pacing.rateLimited(Stream.range(1, 100), { limit: 10 }).pipe(
 *   Stream.runForEach((n) => Effect.log(n))
 * )
 * ```
 *
 * @since 0.1.0
 * @category streams
 */
export const rateLimited: {
  (options: RateOptions): <A, E, R>(self: Stream.Stream<A, E, R>) => Stream.Stream<A, E, R>
  <A, E, R>(self: Stream.Stream<A, E, R>, options: RateOptions): Stream.Stream<A, E, R>
} = dual(
  2,
  <A, E, R>(
    self: Stream.Stream<A, E, R>,
    { interval = "1 second", limit }: RateOptions
  ): Stream.Stream<A, E, R> =>
    Stream.suspend(() => {
      const gap =
        Duration.toMillis(checkedDuration("interval", interval, someTime)) /
        checkedNumber("limit", limit, { least: 0, above: true, whole: false, infinite: true })
      const late = gap < coarse ? 20 : coarse // most ms of delay that are caught up with
      let slot = Number.NEGATIVE_INFINITY // when the next may be emitted
      let asked = false
      const input = feed(
        self,
        () => {
          asked = false
          some.check()
        },
        () => asked
      )
      const now = () => Number(input.now()) / 1e6
      const some = gate(() => input.waiting() > 0 || input.over() !== undefined)
      const take = Effect.sync(() => {
        const due = now() + rounding
        if (slot < due - late) slot = due // no request or no element
        let count = 0
        for (; count < input.waiting() && slot <= due; count++) slot += gap
        return Option.some(Chunk.unsafeFromArray(input.take(count)))
      })
      const next = Effect.suspend(() => {
        asked = true
        input.pull()
        return Effect.zipRight(
          some.wait,
          Effect.suspend((): Effect.Effect<Option.Option<Chunk.Chunk<A>>, E> => {
            if (input.waiting() === 0) return ending(input.over())
            const wait = slot - now()
            return wait > rounding ? Effect.zipRight(Sleep.sleep(Duration.millis(wait)), take) : take
          })
        )
      })
      return driven<A, E, R>([input.run], next)
    })
)

/** Milliseconds below which timers are too coarse. */
const coarse = 2
/** Milliseconds that are lost by converting a clock's nanoseconds to fractions. */
const rounding = 1e-3

/**
 * Settings of {@link mergeFair}.
 *
 * @since 0.1.0
 * @category options
 */
export interface MergeOptions {
  /** How many elements of each stream may wait, besides those of its last chunk; from 1. Default 16. */
  readonly backpressure?: number | undefined
}

type Merged<S extends Stream.Stream<any, any, any>> = Stream.Stream<
  Stream.Stream.Success<S>,
  Stream.Stream.Error<S>,
  Stream.Stream.Context<S>
>

/**
 * Merges streams in turns, one element of each that has one: a stream that always has an element ready does not starve
 * the others. Ends when all have ended; fails with the first that fails, once the clean-up of the others has ended.
 *
 * @example
 * ```ts
 * import { Effect, Stream } from "effect"
 * import * as Pacing from "effect-asyncio/services/Pacing"
 *
 * const flood = Stream.range(1, 1_000_000)
 * const orders = Stream.make("tea", "coffee")
 *
 * export const program = Pacing.mergeFair([flood, orders]).pipe(Stream.take(4), Stream.runCollect) // 1, tea, 2, coffee
 * ```
 *
 * @since 0.1.0
 * @category streams
 */
export const mergeFair: {
  (options?: MergeOptions): <S extends Stream.Stream<any, any, any>>(streams: Iterable<S>) => Merged<S>
  <S extends Stream.Stream<any, any, any>>(streams: Iterable<S>, options?: MergeOptions): Merged<S>
} = dual(
  (args) => Predicate.isIterable(args[0]),
  <S extends Stream.Stream<any, any, any>>(
    streams: Iterable<S>,
    { backpressure = 16 }: MergeOptions = {}
  ): Merged<S> =>
    Stream.suspend(() => {
      type A = Stream.Stream.Success<S>
      type E = Stream.Stream.Error<S>
      type R = Stream.Stream.Context<S>
      const most = checkedNumber("backpressure", backpressure, countOrInfinity)
      let failed: Exit.Exit<void, E> | undefined
      const lanes = Array.from(streams, (stream: Stream.Stream<A, E, R>) => {
        let waiting: ReadonlyArray<A> = []
        let at = 0
        let over = false
        const room = gate(() => waiting.length - at < most)
        const feed = Stream.runForEachChunk(stream, (chunk) => {
          waiting = [...waiting.slice(at), ...chunk]
          at = 0
          some.check()
          return room.wait
        }).pipe(
          Effect.onExit((exit) =>
            Effect.sync(() => {
              over = true
              if (Exit.isFailure(exit)) failed ??= exit
              some.check()
            })
          )
        )
        return { feed, room, has: () => at < waiting.length, isOver: () => over, shift: () => waiting[at++]! }
      })
      const some = gate(
        () => failed !== undefined || lanes.some((lane) => lane.has()) || lanes.every((lane) => lane.isOver())
      )
      const take = Effect.suspend((): Effect.Effect<Option.Option<Chunk.Chunk<A>>, E> => {
        const taken: Array<A> = []
        for (let round = 0; round < most; round++) {
          const before = taken.length
          for (const lane of lanes) if (lane.has()) taken.push(lane.shift())
          if (taken.length === before) break
        }
        if (taken.length === 0) return ending(failed)
        for (const lane of lanes) lane.room.check()
        return Effect.succeedSome(Chunk.unsafeFromArray(taken))
      })
      // After a turn, each stream that has an element ready has emitted it.
      const next = Effect.zipRight(some.wait, Effect.zipRight(nextTurn, take))
      return driven<A, E, R>(
        lanes.map(({ feed }) => feed),
        next
      )
    })
)
