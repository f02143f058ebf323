import { Cause, Chunk, Effect, Exit, type Option, Stream } from "effect"
import { dual } from "effect/Function"
import * as Cancellation from "../task/Cancellation.js"
import { headline, parallel } from "../task/Causes.js"
import { nextTurn } from "../task/EventLoop.js"
import { thunkOf } from "../task/internal/fiberRuntime.js"
import * as WorkerFibers from "../task/WorkerFibers.js"
import { checkedConcurrency, checkedNumber } from "../text/Numbers.js"
import { defects, driven, ending, gate, left, type Running } from "./internal/driven.js"
import { takesStream } from "./TakesStream.js"

/**
 * Settings of {@link mapConcurrent}.
 *
 * @since 0.1.0
 * @category options
 */
export interface MapConcurrentOptions<in A> {
  /** Most elements in progress at once, a whole number from 1 or `"unbounded"`; default 1. */
  readonly concurrency?: number | "unbounded" | undefined
  /** Whether results come as they complete, and not in the order of the elements. Default false. */
  readonly unordered?: boolean | undefined
  /**
   * By how many elements the producer may be ahead of the consumer: those in progress, and results that are not yet
   * taken or still being processed. A producer of chunks is asked for more while it is below this. A whole number not
   * below the concurrency, or `Infinity`. Default 256, or twice the concurrency if that is more.
   */
  readonly backpressure?: number | undefined
  /** Elements of the same key are mapped one after the other, in their order. By default elements do not wait. */
  readonly key?: ((element: A) => unknown) | undefined
  /**
   * Once this completes, nothing more is requested or started; elements in progress finish, and the stream ends. Default:
   * it never completes.
   */
  readonly drain?: Effect.Effect<unknown> | undefined
}

/**
 * Maps each element by an effect, several at once: `Stream.mapEffect` with concurrency at a hundredth of its cost, since
 * it works on chunks and on a few fibers. Each element still runs as a task of its own: its FiberRefs are invisible to
 * the others, and fibers that it forks end with it.
 *
 * Ordered output is that of a sequential map, whatever the concurrency: results up to the first element (by order) that
 * fails, then its failure. Earlier elements are awaited, later ones cancelled. Unordered, the first failure (by time)
 * cancels the others at once. Either way clean-up has ended before the failure is seen, the elements' before the
 * producer's. A failure of the producer counts as the failure of the element after its last.
 *
 * `npm run bench -- loop` measures it beside Effect's own, asyncio and p-map.
 *
 * @example
 * ```ts
 * import { Effect, Stream } from "effect"
 * import * as MapConcurrent from "effect-asyncio/services/MapConcurrent"
 *
 * const pages = Stream.range(1, 100)
 * const fetchPage = (page: number) =>
 *   Effect.tryPromise((signal) => fetch(`http://localhost:8080/?page=${page}`, { signal }))
 *
 * export const program = pages.pipe(
 *   MapConcurrent.mapConcurrent(fetchPage, { concurrency: 8, backpressure: 32 }),
 *   Stream.runForEach((response) => Effect.log(response.status))
 * )
 * ```
 *
 * @since 0.1.0
 * @category streams
 */
export const mapConcurrent: {
  <A, B, E2, R2>(
    f: (element: A, index: number) => Effect.Effect<B, E2, R2>,
    options?: MapConcurrentOptions<NoInfer<A>>
  ): <E, R>(self: Stream.Stream<A, E, R>) => Stream.Stream<B, E | E2, R | R2>
  <A, E, R, B, E2, R2>(
    self: Stream.Stream<A, E, R>,
    f: (element: A, index: number) => Effect.Effect<B, E2, R2>,
    options?: MapConcurrentOptions<NoInfer<A>>
  ): Stream.Stream<B, E | E2, R | R2>
} = dual(
  takesStream,
  <A, E, R, B, E2, R2>(
    self: Stream.Stream<A, E, R>,
    f: (element: A, index: number) => Effect.Effect<B, E2, R2>,
    options?: MapConcurrentOptions<A>
  ) =>
    mapReady(
      self,
      (element: A, index) => {
        const effect = f(element, index)
        if (Exit.isExit(effect)) return Exit.isSuccess(effect) ? new Ready(effect.value as B) : effect
        // Running a pure computation on a fiber would double its cost.
        const compute = thunkOf(effect)
        return compute === undefined ? effect : new Ready(compute())
      },
      options
    )
)

/**
 * A result that needs no effect.
 *
 * @since 0.1.0
 * @category models
 */
export class Ready<out B> {
  constructor(readonly value: B) {}
}

const none: unique symbol = Symbol("none")
const dropped: unique symbol = Symbol("dropped")

/** Most workers that wait for elements; the concurrency bounds those that run one. */
const idleMost = 64

/** After so many elements, timers and I/O get a turn. */
const elementsPerTurn = 1024

// Plain code between three parties: the feeder, a fiber that runs the producer; the workers, fibers that run the elements
// (WorkerFibers); the consumer, which takes results. Each registers a way to wake it when it has nothing to do.

/**
 * {@link mapConcurrent} for an `f` that may answer at once, with {@link Ready}: such an element costs no fiber and no
 * effect. What `f` throws is a defect of the element.
 *
 * @since 0.1.0
 * @category streams
 */
export const mapReady: {
  <A, B, E2 = never, R2 = never>(
    f: (element: A, index: number) => Ready<B> | Effect.Effect<B, E2, R2>,
    options?: MapConcurrentOptions<NoInfer<A>>
  ): <E, R>(self: Stream.Stream<A, E, R>) => Stream.Stream<B, E | E2, R | R2>
  <A, E, R, B, E2 = never, R2 = never>(
    self: Stream.Stream<A, E, R>,
    f: (element: A, index: number) => Ready<B> | Effect.Effect<B, E2, R2>,
    options?: MapConcurrentOptions<NoInfer<A>>
  ): Stream.Stream<B, E | E2, R | R2>
} = dual(
  takesStream,
  <A, E, R, B, E2, R2>(
    self: Stream.Stream<A, E, R>,
    f: (element: A, index: number) => Ready<B> | Effect.Effect<B, E2, R2>,
    options: MapConcurrentOptions<A> = {}
  ): Stream.Stream<B, E | E2, R | R2> =>
    Stream.suspend(() => {
      const { drain, key } = options
      const ordered = !(options.unordered ?? false)
      const concurrency = checkedConcurrency(options.concurrency ?? 1)
      const window = checkedNumber(
        `backpressure (with concurrency ${concurrency})`,
        options.backpressure ?? Math.max(256, 2 * concurrency),
        { least: Number.isFinite(concurrency) ? concurrency : 1, infinite: true }
      )

      let input: ReadonlyArray<A> = []
      let at = 0
      let given = 0 // elements that the producer has emitted
      let begun = 0 // elements that have a number
      let released = 0 // elements whose results the consumer has processed
      let inputOver = false
      const hungry = gate(() => at >= input.length && given - released < window && !inputOver)

      // For each key in progress, the elements that wait for it.
      const busy = new Map<unknown, Array<readonly [number, A]>>()
      const keys = new Map<number, unknown>() // by the element's number
      const runnable: Array<readonly [number, A]> = []
      let queued = 0

      // Ordered results: a ring of those that wait for earlier ones. It grows to the distance between them.
      let ring: Array<unknown> = ordered ? new Array(Math.min(window, 256)).fill(none) : []
      let head = 0
      let out: Array<B> = []
      let failedAt = Number.POSITIVE_INFINITY
      let failure: Cause.Cause<E | E2> | undefined
      let handed = 0
      let sinceTurn = 0
      let ended: Exit.Exit<void> | undefined // of the workers
      let leaving = false // the consumer is leaving: failures no longer matter
      let unseen: Cause.Cause<never> = Cause.empty // defects in the clean-up of cancelled elements
      const some = gate(() => out.length > 0 || ended !== undefined)

      let feeder: Running | undefined
      let workers: Running | undefined
      const waiters: Array<(next: Effect.Effect<B | undefined, E2, R2>) => void> = []
      const numbers = new Map<number, number>() // the element's number by that of its run
      let runs = 0

      /** Whether nothing more will be started. */
      const over = () => inputOver && at >= input.length && runnable.length === 0 && queued === 0
      const ready = () => runnable.length > 0 || (at < input.length && begun - released < window)

      // Takes the next element that may run into `element` and `number`.
      let element: A
      let number = 0
      const takeNext = (): boolean => {
        const waited = runnable.shift()
        if (waited !== undefined) {
          number = waited[0]
          element = waited[1]
          return true
        }
        while (at < input.length && begun - released < window) {
          element = input[at++]!
          number = begun++
          if (at >= input.length) hungry.check()
          if (key === undefined) return true
          const k = key(element)
          const behind = busy.get(k)
          if (behind === undefined) {
            busy.set(k, [])
            keys.set(number, k)
            return true
          }
          behind.push([number, element])
          queued++
        }
        return false
      }
      const free = (index: number) => {
        if (!keys.has(index)) return
        const k = keys.get(index)
        keys.delete(index)
        const next = busy.get(k)!.shift()
        if (next === undefined) {
          busy.delete(k)
          return
        }
        queued--
        keys.set(next[0], k)
        runnable.push(next)
      }

      const put = (index: number, value: unknown) => {
        while (index - head >= ring.length) {
          const larger: Array<unknown> = new Array(2 * ring.length).fill(none)
          for (let at = head; at < head + ring.length; at++)
            larger[at % larger.length] = ring[at % ring.length]
          ring = larger
        }
        ring[index % ring.length] = value
      }
      const advance = () => {
        for (let slot = head % ring.length; ring[slot] !== none; slot = head % ring.length) {
          if (ring[slot] !== dropped) out.push(ring[slot] as B)
          else released++
          ring[slot] = none
          head++
        }
      }
      const deliver = (index: number, value: B) => {
        if (ordered) {
          put(index, value)
          if (index === head) advance()
        } else out.push(value)
        if (key !== undefined) free(index)
        some.check()
      }
      /** Requests nothing more, and drops unstarted elements from this number on. */
      const close = (before: number) => {
        inputOver = true
        if (begun >= before) {
          input = []
          at = 0
        }
        const keep = ([index]: readonly [number, A]) => {
          if (index >= before && ordered) put(index, dropped)
          return index < before
        }
        queued = 0
        for (const [k, behind] of busy) {
          const kept = behind.filter(keep)
          queued += kept.length
          busy.set(k, kept)
        }
        runnable.splice(0, runnable.length, ...runnable.filter(keep))
        feeder?.unsafeInterruptAsFork(Cancellation.toFiberId(left))
        wakeAll()
      }
      const fail = (index: number, cause: Cause.Cause<E | E2>) => {
        if (ordered ? index >= failedAt : failure !== undefined) return
        failedAt = index
        failure = cause
        close(ordered ? index : 0)
      }
      // Whether elements in progress no longer matter.
      const mustStop = () => failure !== undefined && (!ordered || head >= failedAt)

      // Runs elements that answer at once; returns the first that does not, for the worker whose run this is.
      const proceed = (run: number): Effect.Effect<B | undefined, E2, R2> | undefined => {
        for (;;) {
          let step: Ready<B> | Effect.Effect<B, E2, R2>
          try {
            if (!takeNext()) return undefined
            step = f(element, number)
          } catch (error) {
            step = Effect.die(error)
          }
          const index = number // also where `f` has thrown
          if (step instanceof Ready) {
            deliver(index, step.value)
            continue
          }
          numbers.set(run, index)
          if (ready()) wakeOne()
          return step
        }
      }
      const undone: Effect.Effect<undefined> = Effect.succeed(undefined)
      const wait = (run: number): Effect.Effect<B | undefined, E2, R2> =>
        Effect.async<B | undefined, E2, R2>((resume) => {
          if (ready() || over()) return resume(undone)
          waiters.push(resume)
          return Effect.sync(() => {
            const place = waiters.indexOf(resume)
            if (place >= 0) waiters.splice(place, 1)
          })
        }).pipe(Effect.zipRight(Effect.suspend(() => proceed(run) ?? (over() ? undone : wait(run)))))
      let startMore = (): void => undefined
      const wakeOne = () => {
        const waiter = waiters.shift()
        if (waiter === undefined) startMore()
        else waiter(undone)
      }
      const wakeAll = () => {
        while (waiters.length > 0) wakeOne()
      }

      const run = WorkerFibers.run<B | undefined, E2, R2>({
        concurrency: Math.min(concurrency, window),
        onSleep: (wake) => {
          startMore = wake
        },
        pull: () => {
          if (over()) return undefined
          const mine = runs
          const none = () =>
            over() ? undefined : waiters.length < idleMost ? wait(mine) : WorkerFibers.later
          const step = proceed(mine) ?? none()
          if (step === WorkerFibers.later) return step
          if (step !== undefined) runs++
          return step
        },
        settle: (mine, exit) => {
          const index = numbers.get(mine)
          if (index !== undefined) {
            numbers.delete(mine)
            if (Exit.isSuccess(exit)) deliver(index, exit.value as B)
            else {
              if (!leaving) fail(index, exit.cause)
              // A sequential map would not have begun it, so its failure is dropped; a defect of its clean-up is not.
              const cancelled = leaving || failure !== exit.cause
              if (cancelled && Cause.isInterrupted(exit.cause)) unseen = parallel(unseen, defects(exit.cause))
            }
          }
          if (over()) wakeAll()
          else if (runnable.length > 0) wakeOne()
          return mustStop()
            ? { reason: `another element failed: ${headline(failure!)}`, origin: "loop" }
            : undefined
        }
      })

      const feed = Stream.runForEachChunk(self, (chunk) => {
        input = Chunk.toReadonlyArray(chunk)
        at = 0
        given += input.length
        wakeOne()
        return hungry.wait
      }).pipe(
        Effect.onExit((exit) =>
          Effect.sync(() => {
            if (inputOver) return // ended by `close`
            inputOver = true
            if (Exit.isSuccess(exit)) return wakeAll()
            fail(given, exit.cause)
            if (mustStop()) workers?.unsafeInterruptAsFork(Cancellation.toFiberId(producerFailed(exit.cause)))
          })
        )
      )

      const draining =
        drain === undefined
          ? Effect.void
          : Effect.zipRight(
              drain,
              Effect.sync(() => {
                close(0)
                if (ordered) advance()
              })
            )

      const take = Effect.suspend((): Effect.Effect<Option.Option<Chunk.Chunk<B>>, E | E2> => {
        if (out.length > 0) {
          const taken = out
          out = []
          handed = taken.length
          sinceTurn += handed
          return Effect.succeedSome(Chunk.unsafeFromArray(taken))
        }
        return failure === undefined ? ending(ended) : Effect.failCause(failure)
      })
      const taken = Effect.zipRight(some.wait, take)
      const next = Effect.suspend(() => {
        released += handed
        handed = 0
        if (ready()) wakeOne()
        hungry.check()
        if (sinceTurn < elementsPerTurn) return taken
        sinceTurn = 0
        return Effect.zipRight(nextTurn, taken)
      })
      return driven<B, E | E2, R | R2>([feed, run, draining], next, {
        started: ([feeding, running]) => {
          feeder = feeding
          workers = running
          running!.addObserver((exit) => {
            ended = exit as Exit.Exit<void>
            some.check()
          })
        },
        leaving: () => {
          leaving = true
          inputOver = true
        },
        unseen: () => unseen
      })
    })
)

const producerFailed = (cause: Cause.Cause<unknown>): Cancellation.Cancellation => ({
  reason: `the producer failed: ${headline(cause)}`,
  origin: "loop"
})
