import {
  Cause,
  Chunk,
  Data,
  Deferred,
  Duration,
  Effect,
  Either,
  Exit,
  type Fiber,
  Option,
  Schema,
  Stream
} from "effect"
import { codes } from "../services/host/ExitCodes.js"
import type * as Input from "../services/host/Input.js"
import * as Output from "../services/host/Output.js"
import * as Checkpoints from "../services/record/Checkpoints.js"
import * as LosslessJson from "../services/record/LosslessJson.js"
import * as Records from "../services/record/Records.js"
import * as Tail from "../services/record/Tail.js"
import * as Cancellation from "../services/task/Cancellation.js"
import { headline, parallel, raise } from "../services/task/Causes.js"
import { nextTurn } from "../services/task/EventLoop.js"
import { thunkOf } from "../services/task/internal/fiberRuntime.js"
import * as Sleep from "../services/task/Sleep.js"
import * as WorkerFibers from "../services/task/WorkerFibers.js"
import {
  anyCount,
  checkedDuration,
  checkedNumber,
  checkOptions,
  countOrInfinity,
  someTime,
  time
} from "../services/text/Numbers.js"
import { formatGiven } from "../services/text/Units.js"

/** A generator threw `error`. */
export class GeneratorFailed extends Data.TaggedError("GeneratorFailed")<{ readonly error: unknown }> {
  override get message() {
    return `the generator threw: ${headline(Cause.fail(this.error))}`
  }
}

/** Why a producer is cancelled whose consumer breaks off; one that is itself cancelled passes its own reason on. */
const left: Cancellation.Cancellation = { reason: "the consumer has left the loop", origin: "loop" }

/** Hands one element to the consumer, and goes on when the consumer asks for the next (Python's `yield`). */
export type Emit<in A> = (element: A) => Effect.Effect<void>

const defects = (cause: Cause.Cause<unknown>): Cause.Cause<never> =>
  Option.getOrElse(Cause.keepDefects(cause), () => Cause.empty)

// A stream of what `next` gives, up to its first none. Not `repeatEffectOption`: of a cause that also holds a defect,
// that makes a defect of the typed failure, as an `Option`.
const pulled = <A, E, R>(next: Effect.Effect<Option.Option<Chunk.Chunk<A>>, E, R>): Stream.Stream<A, E, R> =>
  Stream.unfoldChunkEffect(undefined, () =>
    Effect.map(
      next,
      Option.map((chunk) => [chunk, undefined])
    )
  )

/**
 * Makes a stream of a producer written as an Effect: each `emit` is a `yield` of Python's async generator. The
 * producer starts when the first element is asked for, runs only while the consumer waits, and ends with the stream:
 * when the consumer breaks off, fails or is interrupted, the producer is interrupted where it stands in `emit`, and
 * its finalizers have run before the consumer goes on. It fails as the producer fails.
 *
 * Follows the guide's "asyncio loops" and PEP 525.
 *
 * @example
 * ```ts
 * import { Effect, Stream } from "effect"
 * import * as Loops from "effect-asyncio/programs/Loops"
 *
 * const countdown = Loops.produce((emit: Loops.Emit<number>) =>
 *   Effect.gen(function* () {
 *     for (let n = 3; n > 0; n--) {
 *       yield* emit(n)
 *       yield* Effect.sleep("1 second")
 *     }
 *   })
 * )
 *
 * export const program = Stream.runForEach(countdown, (n) => Effect.log(n))
 * ```
 */
export const produce = <A, E, R>(
  producer: (emit: Emit<A>) => Effect.Effect<unknown, E, R>
): Stream.Stream<A, E, R> =>
  // Not unwrap and unwrapScoped: they lose what breaks in clean-up when the consumer breaks off.
  Stream.suspend(() => {
    type Request = Deferred.Deferred<Option.Option<Chunk.Chunk<A>>, E>
    // What the consumer waits for; undefined while it is busy with the element before.
    let asked: Request | undefined
    let wake: ((request: Request) => void) | undefined
    const untilAsked = Effect.async<Request>((resume) => {
      if (asked !== undefined) return resume(Effect.succeed(asked))
      wake = (request) => {
        wake = undefined
        resume(Effect.succeed(request))
      }
      return Effect.sync(() => {
        wake = undefined
      })
    })
    const answer = (exit: Exit.Exit<Option.Option<Chunk.Chunk<A>>, E>) =>
      Effect.map(untilAsked, (request) => {
        asked = undefined // in one step with the answer: no interruption comes between
        Deferred.unsafeDone(request, exit)
      })
    // Fibers of one producer that emit at once take turns.
    const turn = Effect.unsafeMakeSemaphore(1).withPermits(1)
    // Interruptible in an uninterruptible region too: a consumer that has left asks for nothing more.
    const emit: Emit<A> = (element) =>
      Effect.interruptible(
        turn(Effect.zipRight(answer(Exit.succeed(Option.some(Chunk.of(element)))), Effect.asVoid(untilAsked)))
      )

    let running: Fiber.RuntimeFiber<unknown> | undefined
    const start = untilAsked.pipe(
      Effect.zipRight(Effect.suspend(() => producer(emit))),
      Effect.matchCauseEffect({
        onFailure: (cause) => turn(answer(Exit.failCause(cause))),
        onSuccess: () => turn(answer(Exit.succeed(Option.none())))
      }),
      Effect.interruptible,
      Effect.forkDaemon, // the stream ends it, below
      Effect.tap((fiber) => {
        running = fiber
      }),
      Effect.uninterruptible
    )
    const next = Effect.gen(function* () {
      const request = yield* Deferred.make<Option.Option<Chunk.Chunk<A>>, E>()
      asked = request
      wake?.(request)
      if (running === undefined) yield* start
      return yield* Deferred.await(request)
    })
    const end = (exit: Exit.Exit<unknown, unknown>) =>
      Effect.gen(function* () {
        if (running === undefined) return
        const ended = yield* Cancellation.cancel(running, Cancellation.fromExit(exit)[0] ?? left)
        const broken = Exit.isFailure(ended) ? defects(ended.cause) : Cause.empty
        yield* raise(broken) // a clean-up that broke
      })
    return Stream.ensuringWith(pulled(next), end)
  })

/** Settings of {@link fromGenerator}. */
export interface FromGeneratorOptions<E> {
  /** What the stream fails with when the generator throws. Default {@link GeneratorFailed}. */
  readonly onError?: (error: unknown) => E
  /**
   * How long the clean-up of a generator that takes the signal may last once it was aborted. Default 5 seconds; a
   * generator function without parameters cannot hear the signal and has no time at all.
   */
  readonly grace?: Duration.DurationInput
}

/**
 * Makes a stream of a JavaScript generator, sync or async (or of what any function gives that `for await` takes).
 * The generator advances only when the consumer asks, one element at a time.
 *
 * The generator is finalised (`return()`, so its `finally` blocks run) as soon as the consumer breaks off, fails or
 * is interrupted, and the consumer goes on when that is over. A consumer that is interrupted in the middle of a
 * `next()` cannot make the generator's own `await` end, so it aborts the signal that the generator function was given
 * and waits, `grace` at most. One that does not end by then finalises itself whenever its `await` ends: an
 * interruption never hangs on it.
 *
 * Fails with {@link GeneratorFailed} when the generator throws, or with what `onError` makes of it; dies when its
 * clean-up throws.
 *
 * @example
 * ```ts
 * import { Stream } from "effect"
 * import * as Loops from "effect-asyncio/programs/Loops"
 *
 * async function* pages(signal: AbortSignal) {
 *   for (let page = 1; ; page++) {
 *     const response = await fetch(`http://localhost:8080/?page=${page}`, { signal })
 *     if (!response.ok) return
 *     yield await response.text()
 *   }
 * }
 *
 * export const program = Loops.fromGenerator(pages).pipe(Stream.take(3), Stream.runCollect)
 * ```
 */
export const fromGenerator = <A, E = GeneratorFailed>(
  make: (signal: AbortSignal) => Iterable<A> | AsyncIterable<A>,
  options?: FromGeneratorOptions<E>
): Stream.Stream<A, E> =>
  Stream.suspend(() => {
    checkOptions(options ?? {}, { grace: time })
    const onError = options?.onError ?? ((error: unknown) => new GeneratorFailed({ error }) as E)
    const controller = new AbortController()
    let iterable: Iterable<A> | AsyncIterable<A>
    try {
      iterable = make(controller.signal)
    } catch (error) {
      return Stream.fail(onError(error))
    }
    const { finalise, next } =
      Symbol.asyncIterator in iterable
        ? asyncSteps(
            iterable[Symbol.asyncIterator](),
            controller,
            make.length === 0 ? 0 : (options?.grace ?? "5 seconds")
          )
        : syncSteps(iterable[Symbol.iterator]())
    return Stream.repeatEffectOption(Effect.mapError(next, Option.map(onError))).pipe(
      Stream.ensuring(finalise)
    )
  })

// An iterator as an effect for the next element (failing with none at the end, with what was thrown otherwise) and
// one for its finalisation. One that has ended or thrown is not finalised again: `for await` has it so.
interface Steps<A> {
  readonly next: Effect.Effect<A, Option.Option<unknown>>
  readonly finalise: Effect.Effect<unknown>
}

const element = <A>(result: IteratorResult<A>): Effect.Effect<A, Option.Option<never>> =>
  result.done === true ? Effect.fail(Option.none()) : Effect.succeed(result.value)

const syncSteps = <A>(iterator: Iterator<A>): Steps<A> => {
  let ended = false
  return {
    next: Effect.try({ try: () => iterator.next(), catch: Option.some<unknown> }).pipe(
      Effect.flatMap(element),
      Effect.tapError(() =>
        Effect.sync(() => {
          ended = true
        })
      )
    ),
    finalise: Effect.sync(() => {
      if (!ended) iterator.return?.()
    })
  }
}

const asyncSteps = <A>(
  iterator: AsyncIterator<A>,
  controller: AbortController,
  grace: Duration.DurationInput
): Steps<A> => {
  let ended = false
  let pending = false
  const advance = async () => {
    pending = true
    try {
      const result = await iterator.next()
      ended = result.done === true
      return result
    } catch (error) {
      ended = true
      throw error
    } finally {
      pending = false
    }
  }
  return {
    next: Effect.flatMap(Effect.tryPromise({ try: advance, catch: Option.some<unknown> }), element),
    finalise: Effect.suspend(() => {
      if (ended || iterator.return === undefined) return Effect.void
      if (pending) controller.abort()
      const returned = iterator.return() // takes its turn behind a pending next()
      const over = Effect.promise(() => returned)
      if (!pending) return over
      returned.catch(() => undefined) // when nobody waits any longer there is nobody to tell
      return Effect.timeoutOption(Effect.interruptible(over), grace)
    })
  }
}

/** Settings of {@link mapConcurrent}. */
export interface MapConcurrentOptions<in A> {
  /** How many elements may be under way at once, a whole number from 1 or `Infinity`; default 1. */
  readonly concurrency?: number | undefined
  /** Results in the order of the elements; otherwise as they come. Default true. */
  readonly ordered?: boolean | undefined
  /**
   * By how many elements the producer may be ahead of the consumer: those under way, and results that are not yet
   * taken or not yet done with. A producer that gives several at once is asked for more while it is below. A whole number
   * not below the concurrency, or `Infinity`. Default 256, or twice the concurrency if that is more.
   */
  readonly backpressure?: number | undefined
  /** Elements of the same key are mapped one after the other, in their order; by default none waits for another. */
  readonly key?: ((element: A) => unknown) | undefined
  /**
   * When this ends, nothing more is asked for or started; what is under way is finished, and the stream ends. By
   * default that does not happen.
   */
  readonly drain?: Effect.Effect<unknown> | undefined
}

/**
 * Maps each element by an effect, several at once: `Stream.mapEffect` with concurrency at a hundredth of its price,
 * since it works on chunks and on a few fibers. Each element is a task of its own all the same: what it sets in a
 * FiberRef is unseen by the others, and what it forks ends with it.
 *
 * In order the stream is what a sequential map would be, whatever the concurrency: results come up to the first
 * element (by order) that fails, then its failure; who comes before it is waited for, who comes behind it is
 * cancelled. Out of order the first failure (by time) cancels the others at once. Either way clean-up has ended before
 * the failure is seen, the elements' before the producer's. A failure of the producer counts as one of the element
 * that it has not given.
 *
 * `npm run bench -- loop` measures it beside Effect's own, asyncio and p-map.
 *
 * @example
 * ```ts
 * import { Effect, Stream } from "effect"
 * import * as Loops from "effect-asyncio/programs/Loops"
 *
 * const pages = Stream.range(1, 100)
 * const fetchPage = (page: number) =>
 *   Effect.tryPromise((signal) => fetch(`http://localhost:8080/?page=${page}`, { signal }))
 *
 * export const program = Loops.mapConcurrent(pages, fetchPage, { concurrency: 8, backpressure: 32 }).pipe(
 *   Stream.runForEach((response) => Effect.log(response.status))
 * )
 * ```
 */
export const mapConcurrent = <A, E, R, B, E2, R2>(
  self: Stream.Stream<A, E, R>,
  f: (element: A, index: number) => Effect.Effect<B, E2, R2>,
  options?: MapConcurrentOptions<A>
): Stream.Stream<B, E | E2, R | R2> =>
  mapSome(
    self,
    (element, index) => {
      const effect = f(element, index)
      if (Exit.isExit(effect)) return Exit.isSuccess(effect) ? new Ready(effect.value as B) : effect
      // A fiber for what only computes would be half of its price.
      const compute = thunkOf(effect)
      return compute === undefined ? effect : new Ready(compute())
    },
    options
  )

// Waits for what plain code of others brings about: who has changed something calls `check`.
const gate = (holds: () => boolean) => {
  let wake: (() => void) | undefined
  return {
    check: () => {
      if (wake !== undefined && holds()) wake()
    },
    wait: Effect.async<void>((resume) => {
      if (holds()) return resume(Effect.void)
      wake = () => {
        wake = undefined
        resume(Effect.void)
      }
      return Effect.sync(() => {
        wake = undefined
      })
    })
  }
}

type Running = Fiber.RuntimeFiber<unknown, unknown>

// A stream that answers each request by `next`, while `parts` run beside: from the first request on, and until the
// consumer is done, who then waits for their clean-up, the last part's first.
const driven = <B, E, R>(
  parts: ReadonlyArray<Effect.Effect<unknown, unknown, R>>,
  next: Effect.Effect<Option.Option<Chunk.Chunk<B>>, E, R>,
  hooks: {
    readonly started?: (fibers: ReadonlyArray<Running>) => void
    readonly leaving?: () => void
    /** What broke in the clean-up of what the consumer is not to know of; it is logged. */
    readonly unseen?: () => Cause.Cause<never>
  } = {}
): Stream.Stream<B, E, R> => {
  let fibers: ReadonlyArray<Running> | undefined
  const start = Effect.forEach(parts, (part) => Effect.forkDaemon(Effect.interruptible(part))).pipe(
    Effect.flatMap((started) =>
      Effect.sync(() => {
        fibers = started
        hooks.started?.(started)
      })
    ),
    Effect.uninterruptible
  )
  const end = (exit: Exit.Exit<unknown, unknown>) =>
    Effect.gen(function* () {
      hooks.leaving?.()
      const why = Cancellation.fromExit(exit)[0] ?? left
      let broken: Cause.Cause<never> = Cause.empty
      for (const fiber of fibers?.toReversed() ?? []) {
        const ended = fiber.unsafePoll() ?? undefined // how is known by now
        const cancelled = yield* Cancellation.cancel(fiber, why)
        if (ended !== undefined || Exit.isSuccess(cancelled)) continue
        broken = parallel(broken, defects(cancelled.cause))
      }
      const unseen = hooks.unseen?.() ?? Cause.empty
      if (!Cause.isEmptyType(unseen))
        yield* Effect.logError("the clean-up of a cancelled element failed", unseen)
      yield* raise(broken) // a clean-up that broke
    })
  const answer = Effect.suspend(() => (fibers === undefined ? Effect.zipRight(start, next) : next))
  return Stream.ensuringWith(pulled(answer), end)
}

/** A result that is there already. */
class Ready<out B> {
  constructor(readonly value: B) {}
}

const none: unique symbol = Symbol("none")
const dropped: unique symbol = Symbol("dropped")

/** Workers that wait for elements; how many there may be at work is another matter. */
const idleMost = 64

/** Elements after which timers and I/O have a turn. */
const elementsPerTurn = 1024

// Plain code between three parties: the feeder, a fiber that runs the producer; the workers, fibers that run the
// elements (WorkerFibers); the consumer, who takes results. Each leaves a way to wake it when there is nothing to do.
const mapSome = <A, E, R, B, E2, R2>(
  self: Stream.Stream<A, E, R>,
  f: (element: A, index: number) => Ready<B> | Effect.Effect<B, E2, R2>,
  options: MapConcurrentOptions<A> = {}
): Stream.Stream<B, E | E2, R | R2> =>
  Stream.suspend(() => {
    const { drain, key, ordered = true } = options
    const concurrency = checkedNumber("concurrency", options.concurrency ?? 1, countOrInfinity)
    const window = checkedNumber(
      `backpressure (with concurrency ${concurrency})`,
      options.backpressure ?? Math.max(256, 2 * concurrency),
      { least: Number.isFinite(concurrency) ? concurrency : 1, infinite: true }
    )

    let input: ReadonlyArray<A> = []
    let at = 0
    let given = 0 // by the producer
    let begun = 0 // elements that have got a number
    let released = 0 // elements whose results the consumer is done with
    let inputOver = false
    const hungry = gate(() => at >= input.length && given - released < window && !inputOver)

    // Of each key that is under way, the elements that wait for it.
    const busy = new Map<unknown, Array<readonly [number, A]>>()
    const keys = new Map<number, unknown>() // by the element's number
    const runnable: Array<readonly [number, A]> = []
    let queued = 0

    // Results in order: a ring of those that others must come before. It grows as far as they are apart.
    let ring: Array<unknown> = ordered ? new Array(Math.min(window, 256)).fill(none) : []
    let head = 0
    let out: Array<B> = []
    let failedAt = Number.POSITIVE_INFINITY
    let failure: Cause.Cause<E | E2> | undefined
    let handed = 0
    let sinceTurn = 0
    let ended: Exit.Exit<void> | undefined // of the workers
    let leaving = false // the consumer, so nobody's failure matters any more
    let unseen: Cause.Cause<never> = Cause.empty // what broke in the clean-up of those that were cancelled
    const some = gate(() => out.length > 0 || ended !== undefined)

    let feeder: Running | undefined
    let workers: Running | undefined
    const waiters: Array<(next: Effect.Effect<B | undefined, E2, R2>) => void> = []
    const numbers = new Map<number, number>() // the element's number by that of its run
    let runs = 0

    /** Nothing will be started any more. */
    const over = () => inputOver && at >= input.length && runnable.length === 0 && queued === 0
    const ready = () => runnable.length > 0 || (at < input.length && begun - released < window)

    // The next element that may be run, in `element` and `number`.
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
        for (let at = head; at < head + ring.length; at++) larger[at % larger.length] = ring[at % ring.length]
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
    /** Nothing more is asked for, and of what has not been started only what comes before this number is. */
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
    // Whether nobody is waited for any more.
    const mustStop = () => failure !== undefined && (!ordered || head >= failedAt)

    // Runs what is ready at once; gives what is not, for the worker whose run this is.
    const proceed = (run: number): Effect.Effect<B | undefined, E2, R2> | undefined => {
      for (;;) {
        let step: Ready<B> | Effect.Effect<B, E2, R2>
        try {
          if (!takeNext()) return undefined
          step = f(element, number)
        } catch (error) {
          step = Effect.die(error)
        }
        const index = number // that of what has thrown, too
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
        const none = () => (over() ? undefined : waiters.length < idleMost ? wait(mine) : WorkerFibers.later)
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
            // A sequential map would not have begun it, so its failure is none; a clean-up that breaks is to be known.
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
          if (inputOver) return // it was us who ended it
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

const producerFailed = (cause: Cause.Cause<unknown>): Cancellation.Cancellation => ({
  reason: `the producer failed: ${headline(cause)}`,
  origin: "loop"
})

/** Settings of {@link batchWithin}. */
export interface BatchOptions {
  /** Most elements of a batch, a whole number from 1 or `Infinity`. */
  readonly size: number
  /** How long its first element waits for others at most; by default until the batch is full. */
  readonly within?: Duration.DurationInput | undefined
}

/**
 * Gathers elements into batches: each is given when it has `size` elements, or `within` after its first element came,
 * or at the end. While the consumer is busy the next batch gathers, and no more than that.
 *
 * @example
 * ```ts
 * import { Effect, Stream } from "effect"
 * import * as Loops from "effect-asyncio/programs/Loops"
 *
 * export const program = Loops.batchWithin(Stream.range(1, 250), { size: 100, within: "1 second" }).pipe(
 *   Stream.runForEach((batch) => Effect.log(batch.length)) // 100, 100, 50
 * )
 * ```
 */
export const batchWithin = <A, E, R>(
  self: Stream.Stream<A, E, R>,
  { size, within }: BatchOptions
): Stream.Stream<ReadonlyArray<A>, E, R> =>
  Stream.suspend(() => {
    let now = () => 0n
    const most = checkedNumber("size", size, countOrInfinity)
    if (within !== undefined) checkedDuration("within", within)
    let input: ReadonlyArray<A> = []
    let at = 0
    let batch: Array<A> = []
    let since = 0n // when its first element came
    let over: Exit.Exit<void, E> | undefined
    const fill = () => {
      if (batch.length === 0) since = now()
      while (at < input.length && batch.length < most) batch.push(input[at++]!)
    }
    const hungry = gate(() => at >= input.length)
    const full = gate(() => batch.length >= most || over !== undefined)
    const some = gate(() => batch.length > 0 || over !== undefined)
    const feed = withClock(
      (clock) => {
        now = clock
      },
      self,
      (chunk) => {
        input = Chunk.toReadonlyArray(chunk)
        at = 0
        fill()
        some.check()
        full.check()
        return hungry.wait
      }
    ).pipe(
      Effect.onExit((exit) =>
        Effect.sync(() => {
          over = exit
          some.check()
          full.check()
        })
      )
    )
    const take = Effect.suspend(() => {
      if (batch.length === 0) return ending(over)
      const taken = batch
      batch = []
      fill()
      hungry.check()
      return Effect.succeedSome(Chunk.of(taken))
    })
    const wait =
      within === undefined
        ? full.wait
        : Effect.zipRight(
            some.wait,
            Effect.suspend(() => {
              if (batch.length >= most || over !== undefined) return Effect.void
              const left = Duration.subtract(within, Duration.nanos(now() - since))
              return Effect.raceFirst(full.wait, Sleep.sleep(left))
            })
          )
    return driven<ReadonlyArray<A>, E, R>([feed], Effect.zipRight(wait, take))
  })

const ending = <E>(exit: Exit.Exit<unknown, E> | undefined): Effect.Effect<Option.Option<never>, E> =>
  exit !== undefined && Exit.isFailure(exit) ? Effect.failCause(exit.cause) : Effect.succeedNone

// Runs a producer, chunk by chunk, with its fiber's clock for plain code. Not Stream.unwrap of the clock: see `produce`.
const withClock = <A, E, R>(
  give: (nanos: () => bigint) => void,
  self: Stream.Stream<A, E, R>,
  each: (chunk: Chunk.Chunk<A>) => Effect.Effect<void>
): Effect.Effect<void, E, R> =>
  Effect.clockWith((clock) => {
    give(() => clock.unsafeCurrentTimeNanos())
    return Stream.runForEachChunk(self, each)
  })

/** Settings of {@link rateLimited}. */
export interface RateOptions {
  /** So many elements, a number above 0 … */
  readonly limit: number
  /** … in so much time. Default 1 second. */
  readonly interval?: Duration.DurationInput | undefined
}

/**
 * Lets elements through evenly: 10 in a second are one each 100 ms. The first goes at once, and time in which none
 * came is not saved up. Above 500 in a second, where timers are too coarse, those that are due leave together.
 *
 * @example
 * ```ts
 * import { Effect, Stream } from "effect"
 * import * as Loops from "effect-asyncio/programs/Loops"
 *
 * export const program = Loops.rateLimited(Stream.range(1, 100), { limit: 10 }).pipe(
 *   Stream.runForEach((n) => Effect.log(n))
 * )
 * ```
 */
export const rateLimited = <A, E, R>(
  self: Stream.Stream<A, E, R>,
  { interval = "1 second", limit }: RateOptions
): Stream.Stream<A, E, R> =>
  Stream.suspend(() => {
    const gap =
      Duration.toMillis(checkedDuration("interval", interval, someTime)) /
      checkedNumber("limit", limit, { least: 0, above: true, whole: false, infinite: true })
    const late = gap < coarse ? 20 : coarse // ms that are made up for
    let clock = () => 0n
    const now = () => Number(clock()) / 1e6
    let input: ReadonlyArray<A> = []
    let at = 0
    let slot = Number.NEGATIVE_INFINITY // when the next may leave
    let asked = false
    let over: Exit.Exit<void, E> | undefined
    const hungry = gate(() => asked && at >= input.length)
    const some = gate(() => at < input.length || over !== undefined)
    const feed = withClock(
      (own) => {
        clock = own
      },
      self,
      (chunk) => {
        input = Chunk.toReadonlyArray(chunk)
        at = 0
        asked = false
        some.check()
        return hungry.wait
      }
    ).pipe(
      Effect.onExit((exit) =>
        Effect.sync(() => {
          over = exit
          some.check()
        })
      )
    )
    const take = Effect.sync(() => {
      const from = at
      const due = now() + rounding
      if (slot < due - late) slot = due // nobody asked, or nothing came
      for (; at < input.length && slot <= due; at++) slot += gap
      return Option.some(Chunk.unsafeFromArray(input.slice(from, at)))
    })
    const next = Effect.suspend(() => {
      asked = true
      hungry.check()
      return Effect.zipRight(
        some.wait,
        Effect.suspend((): Effect.Effect<Option.Option<Chunk.Chunk<A>>, E> => {
          if (at >= input.length) return ending(over)
          const wait = slot - now()
          return wait > rounding ? Effect.zipRight(Sleep.sleep(Duration.millis(wait)), take) : take
        })
      )
    })
    return driven<A, E, R>([feed], next)
  })

/** Milliseconds below which timers are no measure. */
const coarse = 2
/** Milliseconds that are lost on the way from a clock's nanoseconds to fractions. */
const rounding = 1e-3

/** Settings of {@link mergeFair}. */
export interface MergeOptions {
  /** How many elements of each stream may wait, those of its last chunk aside; from 1. Default 16. */
  readonly backpressure?: number | undefined
}

/**
 * Takes from several streams in turns, one element of each that has one: a stream that always has the next ready does
 * not shut out the others. Ends when all have ended; fails with the first that fails, once the others' clean-up is
 * over.
 *
 * @example
 * ```ts
 * import { Effect, Stream } from "effect"
 * import * as Loops from "effect-asyncio/programs/Loops"
 *
 * const flood = Stream.range(1, 1_000_000)
 * const orders = Stream.make("tea", "coffee")
 *
 * export const program = Loops.mergeFair([flood, orders]).pipe(Stream.take(4), Stream.runCollect) // 1, tea, 2, coffee
 * ```
 */
export const mergeFair = <S extends Stream.Stream<any, any, any>>(
  streams: Iterable<S>,
  { backpressure = 16 }: MergeOptions = {}
): Stream.Stream<Stream.Stream.Success<S>, Stream.Stream.Error<S>, Stream.Stream.Context<S>> =>
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
    // A turn, so that whoever can give something has done so.
    const next = Effect.zipRight(some.wait, Effect.zipRight(nextTurn, take))
    return driven<A, E, R>(
      lanes.map(({ feed }) => feed),
      next
    )
  })

/** What was read is no record of its format, or a record's function failed: names the line, and says what is wrong. */
export class RecordFailed extends Data.TaggedError("RecordFailed")<{
  readonly record: Records.Record
  readonly detail: string
  /** What failed: 1; what took too long: 124; a command that cannot be run: 126 or 127. */
  readonly exitCode: number
}> {
  override get message() {
    return `line ${this.record.line}: ${this.detail}`
  }
}

/**
 * Takes bytes apart into records; those that are none of their format come with a `problem`. Fails with
 * {@link RecordFailed} where the header of a CSV cannot be used.
 */
export const records = <E, R>(
  bytes: Stream.Stream<Uint8Array, E, R>,
  options: Records.Options
): Stream.Stream<Records.Record, E | RecordFailed, R> =>
  Stream.suspend(() => {
    const splitter = Records.make(options)
    const checked = (found: ReadonlyArray<Records.Record>) => {
      const header = found[0]?.index === 0 ? found[0] : undefined
      return header === undefined
        ? Effect.succeed(Chunk.unsafeFromArray(found))
        : Effect.fail(new RecordFailed({ record: header, detail: header.problem!, exitCode: codes.usage }))
    }
    const whole = Stream.mapChunksEffect(bytes, (chunk) => {
      const [only] = chunk
      if (chunk.length === 1) return checked(splitter.push(only!))
      return checked(Chunk.toReadonlyArray(chunk).flatMap((part) => splitter.push(part)))
    })
    return Stream.concat(
      whole,
      Stream.unwrap(
        Effect.map(
          Effect.suspend(() => checked(splitter.end())),
          Stream.fromChunk
        )
      )
    )
  })

// Ends at the first that has a problem, with a failure.
const proper = <E, R>(
  all: Stream.Stream<Records.Record, E, R>
): Stream.Stream<Records.Record, E | RecordFailed, R> =>
  Stream.suspend(() => {
    let bad: Records.Record | undefined
    const good = Stream.mapChunks(
      Stream.takeUntil(all, ({ problem }) => problem !== undefined),
      (chunk) => {
        const last = Option.getOrUndefined(Chunk.last(chunk))
        if (last?.problem === undefined) return chunk
        bad = last
        return Chunk.dropRight(chunk, 1)
      }
    )
    const failure = Stream.suspend(() =>
      bad === undefined
        ? Stream.empty
        : Stream.fail(new RecordFailed({ record: bad, detail: bad.problem!, exitCode: codes.failed }))
    )
    return Stream.concat(good, failure)
  })

/** Settings of {@link lines} and {@link ndjson}. */
export interface LinesOptions {
  /** Most bytes of a line; a longer one is a failure, and is not kept in memory. Default 16 MiB. */
  readonly maxLine?: number | undefined
}

/**
 * Makes text lines of bytes, however these are cut; CRLF ends a line too. Fails with {@link RecordFailed} at a line that
 * is not UTF-8 or too long.
 *
 * @example
 * ```ts
 * import { Effect, Stream } from "effect"
 * import * as Loops from "effect-asyncio/programs/Loops"
 * import * as Input from "effect-asyncio/services/Input"
 *
 * export const program = Effect.flatMap(Input.Input, ({ stdin }) =>
 *   Stream.runForEach(Loops.lines(stdin), (line) => Effect.log(line))
 * )
 * ```
 */
export const lines = <E, R>(
  bytes: Stream.Stream<Uint8Array, E, R>,
  options: LinesOptions = {}
): Stream.Stream<string, E | RecordFailed, R> =>
  Stream.mapChunks(
    proper(records(bytes, { format: "lines", ...options })),
    Chunk.map((record) => record.value as string)
  )

/**
 * Makes records of lines of JSON; blank lines are none. A record has its value, its text and bytes as they came, and
 * its line number. Integers beyond 2^53 are BigInts. `encode` writes a result in place of a record: the record's own
 * bytes where it is the record's own value, unchanged. Fails with {@link RecordFailed} at what is no JSON, not UTF-8 or
 * too long.
 *
 * @example
 * ```ts
 * import { Stream } from "effect"
 * import * as Loops from "effect-asyncio/programs/Loops"
 *
 * const bytes = Stream.make(new TextEncoder().encode('{"id":12345678901234567890}\n'))
 *
 * export const same = Loops.ndjson(bytes).pipe(
 *   Stream.map((record) => Loops.encode(record, record.value)),
 *   Stream.runCollect
 * )
 * ```
 */
export const ndjson = <E, R>(
  bytes: Stream.Stream<Uint8Array, E, R>,
  options: LinesOptions = {}
): Stream.Stream<Records.Record, E | RecordFailed, R> =>
  proper(records(bytes, { format: "ndjson", ...options }))

/**
 * A result as a line of JSON: the record's own bytes if it is its value, and that is as it was read. Throws a
 * `TypeError` where the result has no JSON, like NaN or undefined.
 */
export const encode = (record: Records.Record, result: unknown): Uint8Array =>
  result === record.value && Records.isAsRead(record)
    ? record.bytes
    : new TextEncoder().encode(`${LosslessJson.encode(result)}\n`)

/** Settings of {@link follow}. */
export interface FollowOptions<out E = never> extends LinesOptions {
  /** Where to go on, behind a record of an earlier run. */
  readonly from?: FollowPlace | undefined
  /** How long a file whose name another one has must have been quiet before that one is read; default 5 seconds. */
  readonly rotateWait?: Duration.DurationInput | undefined
  /** What it does that records may have been lost; by default a warning is logged. `(gap) => gap` fails with it. */
  readonly onGap?: ((gap: Tail.Gap) => Effect.Effect<void, E>) | undefined
  /** Is given why there is nothing to read, once until there is; by default that is logged. */
  readonly onWaiting?: ((detail: string) => Effect.Effect<void>) | undefined
}

const Count = Schema.Int.pipe(Schema.between(0, Number.MAX_SAFE_INTEGER))

const Format = Schema.Literal(...Records.formats)

/** A place behind a record of a file that is followed, and what proves which file that is. */
export const FollowPlace = Schema.Struct({
  /** Records so far. */
  index: Count,
  /** Lines of the file so far. */
  line: Count,
  format: Format,
  file: Tail.Place
})

export type FollowPlace = typeof FollowPlace.Type

/** The place behind a record of a file that is followed; its digests are made when they are asked for. */
export class BehindRecord implements FollowPlace {
  constructor(
    private readonly record: Records.Record,
    private readonly of: Tail.File,
    readonly format: Records.Format
  ) {}
  get index() {
    return this.record.place.index
  }
  get line() {
    return this.record.place.line
  }
  get file(): Tail.Place {
    const { bytes, from, next, position, to } = this.record
    return Tail.placeBehind(this.of, position, bytes, next === to ? next - from : 0)
  }
  toJSON(): FollowPlace {
    const { file, format, index, line } = this
    return { index, line, format, file }
  }
}

/**
 * Makes lines of a file that others append to, without end: all of it, then what comes. It survives rotation: the old
 * file is read until its writer is quiet, then those that had the name in between, then the new one, and no line is cut
 * in two. Content that was truncated is read anew, and reported by `onGap`. A file that is not there is waited for;
 * fails with `InputError` where the path names something else.
 *
 * @example
 * ```ts
 * import { Effect, Stream } from "effect"
 * import * as Loops from "effect-asyncio/programs/Loops"
 * import * as Tail from "effect-asyncio/services/Tail"
 *
 * export const errors = Loops.follow("/var/log/app.log", { rotateWait: "10 seconds" }).pipe(
 *   Stream.filter((line) => line.includes("ERROR")),
 *   Stream.runForEach((line) => Effect.log(line)),
 *   Effect.provide(Tail.layer)
 * )
 * ```
 */
export const follow = <E = never>(
  path: string,
  options: FollowOptions<E> = {}
): Stream.Stream<string, Input.InputError | RecordFailed | E, Tail.Follow> =>
  Stream.mapChunks(
    proper(followed(path, { format: "lines", ...options })),
    Chunk.map((record) => record.value as string)
  )

/** {@link records} of a file that is followed; `seen` is given the file of each. */
export const followed = <E = never>(
  path: string,
  { from, onGap, onWaiting, rotateWait, ...options }: Omit<Records.Options, "from"> & FollowOptions<E>,
  seen: (record: Records.Record, file: Tail.File) => void = () => undefined
): Stream.Stream<Records.Record, Input.InputError | E, Tail.Follow> =>
  Stream.unwrap(
    Effect.map(Tail.Follow, ({ open }) =>
      Stream.suspend(() => {
        let splitter: Records.Records | undefined
        let file: Tail.File | undefined
        let index = from?.index ?? 0
        // Where the line begins that was given without its end; until a record comes.
        let given = from !== undefined && from.file.given > 0 ? from.file : undefined
        const told = (found: ReadonlyArray<Records.Record>) => {
          for (const record of found) {
            index = record.index
            given = undefined
            seen(record, file!)
          }
          return found
        }
        const ended = () => {
          if (splitter === undefined) return []
          const found = splitter.end()
          // What an earlier run has given is a line again only if more was written to it.
          const isGiven =
            given !== undefined &&
            found[0]?.position === given.position + given.given &&
            Tail.placeBehind(file!, 0, found[0].bytes).tail.sha256 === given.tail.sha256
          given = undefined
          return isGiven ? [] : told(found)
        }
        const begin = ({ file: next, position }: Tail.Piece) => {
          const goesOn =
            from !== undefined && file === undefined && next.inode === from.file.inode && position > 0
          file = next
          const line = goesOn ? from.line - (from.file.given > 0 ? 1 : 0) : 0
          splitter = Records.make({ ...options, from: { index, line, position } })
        }
        return Stream.mapChunks(open(path, { from: from?.file, onGap, onWaiting, rotateWait }), (pieces) => {
          const found: Array<Records.Record> = []
          for (const piece of pieces) {
            if (piece.anew) {
              // What the file before ended with is a line, though nothing has ended it.
              found.push(...ended())
              begin({ ...piece, position: piece.position - piece.bytes.length })
            }
            if (piece.bytes.length > 0) found.push(...told(splitter!.push(piece.bytes)))
          }
          return Chunk.unsafeFromArray(found)
        })
      })
    )
  )

/** Settings of {@link checkpointed}. */
export interface CheckpointOptions<in A, out P> {
  /** The file that the checkpoint is kept in. */
  readonly path: string
  /** What the input is called: a checkpoint of another input is refused. */
  readonly input: string
  /** Where to go on behind an element; JSON. Undefined: where it was before. */
  readonly position: (element: A) => P | undefined
  /** Checks a position that was read; on the left is what is wrong. By default it is taken as it is. */
  readonly decode?: ((position: unknown) => Either.Either<P, string>) | undefined
  /** Least time between two checkpoints; default 1 second. */
  readonly every?: Duration.DurationInput | undefined
}

/**
 * Makes a stream that goes on where an earlier run of it ended, be it by `kill -9`: at least once. An element counts as
 * done when the consumer asks for the next; from then on its position is in the checkpoint after `every` at the latest,
 * and at the stream's end. What was done since the last checkpoint is done again.
 *
 * `make` is given the position to go on from, undefined for the beginning. Fails with `CheckpointError` when the file
 * cannot be read or written, is no checkpoint, or one of another input.
 *
 * @example
 * ```ts
 * import { Effect, Stream } from "effect"
 * import * as Loops from "effect-asyncio/programs/Loops"
 * import * as Checkpoints from "effect-asyncio/services/Checkpoints"
 *
 * const pages = Loops.checkpointed(
 *   { path: "pages.checkpoint", input: "pages", position: (page: number) => page },
 *   (last) => Stream.range((last ?? 0) + 1, 100)
 * )
 * export const program = Stream.runForEach(pages, (page) => Effect.log(page)).pipe(
 *   Effect.provide(Checkpoints.layer)
 * )
 * ```
 */
export const checkpointed = <A, E, R, P>(
  { decode, every = "1 second", input, path, position }: CheckpointOptions<A, P>,
  make: (from: P | undefined) => Stream.Stream<A, E, R>
): Stream.Stream<A, E | Checkpoints.CheckpointError, R | Checkpoints.Checkpoints> =>
  Stream.suspend(() => {
    checkedDuration("every", every)
    let given: Chunk.Chunk<A> = Chunk.empty()
    let asked = false
    let handed: Chunk.Chunk<A> = Chunk.empty() // what the consumer is busy with
    let done: P | undefined
    let saved: P | undefined
    let over: Exit.Exit<void, E | Checkpoints.CheckpointError> | undefined
    const hungry = gate(() => asked && given.length === 0)
    const some = gate(() => given.length > 0 || over !== undefined)
    const end = (exit: Exit.Exit<void, E | Checkpoints.CheckpointError>) =>
      Effect.sync(() => {
        over ??= exit
        some.check()
      })
    const save = Effect.flatMap(Checkpoints.Checkpoints, (checkpoints) =>
      Effect.suspend(() => {
        const now = done
        if (now === undefined || now === saved) return Effect.void
        return Effect.map(checkpoints.write(path, { input, position: now }), () => {
          saved = now
          return undefined
        })
      })
    )
    const begin = Effect.flatMap(Checkpoints.Checkpoints, (checkpoints) =>
      Effect.flatMap(checkpoints.read(path), (found) => {
        if (Option.isNone(found)) return Effect.succeed(undefined)
        const other = found.value.input === input ? undefined : `${found.value.input}, not ${input}`
        const from: Either.Either<P, string> =
          other !== undefined
            ? Either.left(`it is of another input, ${other}`)
            : (decode?.(found.value.position) ?? Either.right(found.value.position as P))
        return Effect.mapError(from, (detail) => new Checkpoints.CheckpointError({ path, detail }))
      })
    )
    const feed = Effect.flatMap(begin, (from) =>
      Stream.runForEachChunk(make(from), (chunk) => {
        given = chunk
        asked = false
        some.check()
        return hungry.wait
      })
    ).pipe(Effect.onExit(end))
    const saving = Effect.forever(Effect.zipRight(Sleep.sleep(every), save)).pipe(
      Effect.onExit((exit) => (Exit.isInterrupted(exit) ? Effect.void : end(exit)))
    )
    const next = Effect.suspend(() => {
      for (const element of handed) done = position(element) ?? done
      handed = Chunk.empty()
      asked = true
      hungry.check()
      return Effect.zipRight(
        some.wait,
        Effect.suspend(() => {
          if (over !== undefined && Exit.isFailure(over)) return ending(over)
          if (given.length === 0) return ending(over)
          handed = given
          given = Chunk.empty()
          return Effect.succeedSome(handed)
        })
      )
    })
    const all = driven<A, E | Checkpoints.CheckpointError, R | Checkpoints.Checkpoints>([feed, saving], next)
    // At the end what cannot be written is a failure; when the stream is left early nobody would hear of it.
    return Stream.ensuring(Stream.concat(all, Stream.execute(save)), Effect.ignore(save))
  })

const headBytes = 4096

/** A place in an input that is read from its beginning, and what tells that input from another. */
export const InputPlace = Schema.Struct({
  /** Records so far. */
  index: Count,
  /** Lines so far. */
  line: Count,
  /** Bytes so far. */
  position: Count,
  format: Format,
  /** What the input begins with: so many bytes have this SHA-256. */
  head: Schema.Struct({
    bytes: Schema.Int.pipe(Schema.between(0, headBytes)),
    sha256: Schema.String.pipe(Schema.pattern(/^[0-9a-f]{64}$/))
  })
})

export type InputPlace = typeof InputPlace.Type

const damaged = "its position is not one of this kind of input; name another file, or remove it to begin anew"

const decodeInputPlace = Schema.decodeUnknownEither(InputPlace)
const decodeFollowPlace = Schema.decodeUnknownEither(FollowPlace)

/** Checks a place that was read from a checkpoint of {@link recordsFrom}. */
export const inputPlace = (position: unknown): Either.Either<InputPlace, string> =>
  Either.mapLeft(decodeInputPlace(position), () => damaged)

/** Checks a place that was read from a checkpoint of {@link followed}, of records in this format. */
export const followPlace =
  (format: Records.Format) =>
  (position: unknown): Either.Either<FollowPlace, string> => {
    const before =
      typeof position === "object" && position !== null && "file" in position ? position.file : ""
    if (typeof before === "string") {
      return Either.left(
        "it has no digest of the file, so that it cannot be proved where to go on (it is of an earlier version, or of standard input); name another file, or remove it to begin anew"
      )
    }
    return Either.filterOrLeft(
      Either.mapLeft(decodeFollowPlace(position), () => damaged),
      (place) => place.format === format,
      (place) => (typeof place === "string" ? place : `it is of records as ${place.format}, not ${format}`)
    )
  }

/** The input is not the one that the place is in. */
export class OtherInput extends Data.TaggedError("OtherInput")<{ readonly detail: string }> {
  override get message() {
    return this.detail
  }
}

/**
 * {@link records} behind a place, and the places of these: for {@link checkpointed}. The bytes are those of the whole
 * input; what is before the place is read and dropped. Fails with {@link OtherInput} when they begin with something
 * else, are fewer, or are taken for records of another format.
 */
export const recordsFrom = <E, R>(
  bytes: Stream.Stream<Uint8Array, E, R>,
  options: Omit<Records.Options, "from">,
  from: InputPlace | undefined
): {
  readonly records: Stream.Stream<Records.Record, E | OtherInput | RecordFailed, R>
  readonly place: (record: Records.Record) => InputPlace
} => {
  const { format } = options
  let head = new Uint8Array(0)
  let seen = 0
  let known: InputPlace["head"] | undefined
  let checked = from === undefined
  const check = Effect.suspend(() => {
    if (checked || from === undefined || head.length < Math.min(from.head.bytes, headBytes))
      return Effect.void
    checked = true
    return Records.digest(head.subarray(0, from.head.bytes)) === from.head.sha256
      ? Effect.void
      : Effect.fail(new OtherInput({ detail: "it is of another input: this one begins with something else" }))
  })
  const skipped = from === undefined || format === "csv" ? 0 : from.position
  const rest = (chunk: Uint8Array) => {
    const left = skipped - seen
    seen += chunk.length
    return left <= 0 ? chunk : chunk.subarray(Math.min(left, chunk.length))
  }
  const located = Stream.mapChunksEffect(bytes, (chunks) => {
    for (const chunk of chunks) {
      if (head.length >= headBytes) break
      const more = chunk.subarray(0, headBytes - head.length)
      const joined = new Uint8Array(head.length + more.length)
      joined.set(head)
      joined.set(more, head.length)
      head = joined
    }
    const wanted = Chunk.map(chunks, rest)
    return checked ? Effect.succeed(wanted) : Effect.as(check, wanted)
  })
  const ended = Stream.execute(
    Effect.suspend(() =>
      from === undefined || (checked && seen >= from.position)
        ? Effect.void
        : Effect.fail(new OtherInput({ detail: "it is of another input: this one is shorter" }))
    )
  )
  const wrongFormat =
    from === undefined || from.format === format
      ? Stream.empty
      : Stream.fail(new OtherInput({ detail: `it is of records as ${from.format}, not ${format}` }))
  return {
    records: Stream.concat(
      wrongFormat,
      records(Stream.concat(located, ended), from === undefined ? options : { ...options, from })
    ),
    place: (record) => {
      const { index, line, position } = record.place
      const bytes = Math.min(headBytes, position, head.length)
      if (known?.bytes !== bytes) known = { bytes, sha256: Records.digest(head.subarray(0, bytes)) }
      return { index, line, position, format, head: known }
    }
  }
}

/** What a function is told of a record beside its value. */
export interface RecordContext {
  /** Its number among the records, from 1. */
  readonly index: number
  /** The number of its line, from 1. */
  readonly line: number
  /** 1, or more where it has failed before. */
  readonly attempt: number
  /** Aborted when the record is cancelled, or takes too long. */
  readonly signal: AbortSignal
  /** The record as it came; several of a batch. */
  readonly records: ReadonlyArray<Records.Record>
}

/** Settings of {@link mapRecords}. */
export interface MapRecordsOptions extends Omit<MapConcurrentOptions<never>, "key"> {
  /** Records of the same key are mapped one after the other, in their order. Not for batches. */
  readonly key?: ((value: unknown) => unknown) | undefined
  /** The function gets arrays of records; an array that it returns is its results. */
  readonly batch?: BatchOptions | undefined
  /** So many records (or batches) are begun in so much time; further attempts aside. */
  readonly rate?: RateOptions | undefined
  /** Further attempts of what failed, after 100 ms, 200 ms and so on up to 10 s; default 0. */
  readonly retries?: number | undefined
  /** How long an attempt may take; default unlimited. What is computed without waiting is not interrupted. */
  readonly timeout?: Duration.DurationInput | undefined
  /** A record that fails ends the stream with {@link RecordFailed}, or comes as {@link Failed}. Default `"stop"`. */
  readonly onError?: "stop" | "skip" | undefined
  /** What a result is written as: strings as they are, or everything as JSON. Default `"ndjson"`. */
  readonly output?: "lines" | "ndjson" | undefined
  /** A value that a function gives back as it was goes out as its record's bytes; default true. */
  readonly untouched?: boolean | undefined
}

/** What a record, or a batch, has become: text without a line end; bytes as they are; a record as it came. */
export class Mapped {
  constructor(
    readonly records: ReadonlyArray<Records.Record>,
    readonly results: ReadonlyArray<string | Uint8Array | Records.Record>
  ) {}
}

/** A record, or a batch, that failed; what was wrong with it. */
export class Failed {
  constructor(
    readonly records: ReadonlyArray<Records.Record>,
    readonly detail: string
  ) {}
}

/** A record itself is one that goes out as it came. */
export type Outcome = Records.Record | Mapped | Failed

/** Bytes that are a function's result as they are. */
export class RawResult {
  constructor(readonly bytes: Uint8Array) {}
}

class TimedOut extends Data.TaggedError("TimedOut")<{ readonly message: string }> {
  readonly exitCode = codes.timedOut
}

type Later =
  | Effect.Effect<unknown, unknown>
  | Stream.Stream<unknown, unknown>
  | PromiseLike<unknown>
  | AsyncIterable<unknown>
  | Iterator<unknown>

/** Whether a function's answer is still to be waited for, or taken from. */
const isLater = (value: unknown): value is Later =>
  typeof value === "object" &&
  value !== null &&
  (Effect.isEffect(value) ||
    Stream.StreamTypeId in value ||
    ("then" in value && typeof value.then === "function") ||
    Symbol.asyncIterator in value ||
    (Symbol.iterator in value && "next" in value && typeof value.next === "function"))

const giving = (value: unknown) => () => value
const throwing = (error: unknown) => () => {
  throw error
}

// An error is anything: its fields may throw, or be no exit code.
const exitCodeOf = (error: unknown): number => {
  try {
    const { exitCode } = (error ?? {}) as { readonly exitCode?: unknown }
    const isCode = Number.isInteger(exitCode) && (exitCode as number) > 0 && (exitCode as number) < 256
    return isCode ? (exitCode as number) : codes.failed
  } catch {
    return codes.failed
  }
}

class Several {
  constructor(readonly values: ReadonlyArray<unknown>) {}
}

// Effect.fail looks into the error, which a proxy may refuse.
const failWith = (error: unknown): Effect.Effect<never, unknown> => Effect.failCause(Cause.fail(error))

// Catches what a person's code throws: Effect would look into it, and where a proxy refuses that, the fiber's run loop
// ends without an exit.
const attempted = <A>(make: () => Effect.Effect<A, unknown>): Effect.Effect<A, unknown> =>
  Effect.suspend(() => {
    try {
      return make()
    } catch (error) {
      return failWith(error)
    }
  })

const waitFor = (later: Later): Effect.Effect<unknown, unknown> => {
  if (Effect.isEffect(later)) return later as Effect.Effect<unknown, unknown>
  const several = (stream: Stream.Stream<unknown, unknown>) =>
    Effect.map(Stream.runCollect(stream), (all) => new Several(Chunk.toReadonlyArray(all)))
  if (Stream.StreamTypeId in later) return several(later as Stream.Stream<unknown, unknown>)
  if ("then" in later) {
    return Effect.async((resume) => {
      try {
        later.then(
          (value) => resume(Effect.succeed(value)),
          (error) => resume(failWith(error))
        )
      } catch (error) {
        resume(failWith(error))
      }
    })
  }
  const iterable = Symbol.asyncIterator in later ? later : { [Symbol.iterator]: () => later }
  return several(fromGenerator(() => iterable, { onError: (error) => error }))
}

const backOff = (attempt: number) => Duration.millis(Math.min(100 * 2 ** (attempt - 1), 10_000))

/**
 * Maps records by a person's function, several at once: sync, async, an Effect, or a generator or Stream for many
 * results. `undefined` is no result. A record that is wrong in itself, a function that throws, and a result that cannot
 * be written are failures of the record. Its results go out whole or not at all.
 *
 * @example
 * ```ts
 * import { Stream } from "effect"
 * import * as Loops from "effect-asyncio/programs/Loops"
 *
 * const bytes = Stream.make(new TextEncoder().encode("1\n2\nx\n"))
 *
 * export const doubled = Loops.records(bytes, { format: "ndjson" }).pipe(
 *   (all) => Loops.mapRecords(all, (n) => (n as number) * 2, { concurrency: 4, onError: "skip" }),
 *   Stream.runCollect
 * )
 * ```
 */
export const mapRecords = <E, R>(
  self: Stream.Stream<Records.Record, E, R>,
  f: (value: unknown, context: RecordContext) => unknown,
  options: MapRecordsOptions = {}
): Stream.Stream<Outcome, E | RecordFailed, R> => {
  const {
    batch,
    key,
    onError = "stop",
    output = "ndjson",
    rate,
    retries = 0,
    timeout,
    untouched = true
  } = options
  const source = Stream.suspend(() => {
    checkOptions(options, { retries: anyCount, timeout: time })
    return self
  })
  const innocent = LosslessJson.changesNothing(f)
  const wantsContext = f.length > 1 || /\barguments\b|\.\.\./.test(Function.prototype.toString.call(f))

  const text = (value: unknown): string | Uint8Array => {
    if (value instanceof RawResult) return value.bytes
    if (output === "lines" && typeof value === "string") {
      if (value.isWellFormed()) return value
      throw new TypeError("half of a surrogate pair has no UTF-8")
    }
    return LosslessJson.encode(value)
  }
  const failed = (
    records: ReadonlyArray<Records.Record>,
    why: string,
    error?: unknown
  ): Effect.Effect<Failed, RecordFailed> => {
    const detail = why.length > 1000 ? `${why.slice(0, 1000)}…` : why // it may quote all of the record
    if (onError === "skip") return Effect.succeed(new Failed(records, detail))
    return Effect.fail(new RecordFailed({ record: records[0]!, detail, exitCode: exitCodeOf(error) }))
  }
  const settled = (
    step: Effect.Effect<Failed, RecordFailed>
  ): Ready<Failed> | Effect.Effect<Failed, RecordFailed> =>
    Exit.isExit(step) && Exit.isSuccess(step) ? new Ready(step.value as Failed) : step

  // `was`: the records' snapshots.
  type Was = LosslessJson.Snapshot | undefined | null
  const outcome = (
    records: ReadonlyArray<Records.Record>,
    values: ReadonlyArray<unknown>,
    was: ReadonlyArray<Was>,
    result: unknown
  ): Outcome => {
    const results =
      result instanceof Several
        ? result.values
        : batch !== undefined && Array.isArray(result)
          ? result
          : [result]
    // An object is known by itself, wherever it is put; what is equal to a plain value is it in its own place only.
    const kept = (value: unknown, place: number): Records.Record | undefined => {
      if (!untouched) return undefined
      const isObject = typeof value === "object" && value !== null
      if (!isObject && results.length !== records.length) return undefined
      const at = isObject ? values.indexOf(value) : place
      if (at < 0 || values[at] !== value) return undefined
      return was[at] === null || LosslessJson.isUnchanged(value, was[at]) ? records[at] : undefined
    }
    const written: Array<string | Uint8Array | Records.Record> = []
    for (const [place, value] of results.entries()) {
      if (value !== undefined) written.push(kept(value, place) ?? text(value))
    }
    return new Mapped(records, written)
  }
  const remember = (value: unknown): Was => (innocent || !untouched ? null : LosslessJson.snapshot(value))

  const attempts = (
    records: ReadonlyArray<Records.Record>,
    values: ReadonlyArray<unknown>,
    was: ReadonlyArray<Was>,
    first: (() => unknown) | undefined
  ): Effect.Effect<Outcome, RecordFailed> => {
    const attempt = (number: number): Effect.Effect<Outcome, RecordFailed> => {
      const controller = new AbortController()
      const { index, line } = records[0]!
      const body = attempted(() => {
        const result =
          number === 1 && first !== undefined
            ? first()
            : f(batch === undefined ? values[0] : values, {
                index,
                line,
                attempt: number,
                signal: controller.signal,
                records
              })
        return isLater(result) ? waitFor(result) : Effect.succeed(result)
      }).pipe(
        Effect.flatMap((result) => attempted(() => Effect.succeed(outcome(records, values, was, result)))),
        Effect.onInterrupt(() => Effect.sync(() => controller.abort()))
      )
      const limited =
        timeout === undefined
          ? body
          : Effect.raceFirst(
              body,
              Effect.zipRight(
                Sleep.sleep(timeout),
                Effect.fail(new TimedOut({ message: `not done in ${formatGiven(timeout)}` }))
              )
            )
      return Effect.matchCauseEffect(limited, {
        onSuccess: Effect.succeed,
        onFailure: (cause) => {
          if (number <= retries) return Effect.zipRight(Sleep.sleep(backOff(number)), attempt(number + 1))
          // Only the record's own: an interruption of the loop does not come here.
          const detail = Cause.isInterruptedOnly(cause) ? "it has interrupted itself" : headline(cause)
          return failed(records, detail, Cause.squash(cause))
        }
      })
    }
    return attempt(1)
  }

  // Whose key cannot be told is a key of its own, and fails in its turn.
  const keyless = new WeakMap<Records.Record, unknown>()
  const keyOf = (record: Records.Record): unknown => {
    if (record.problem !== undefined) return record
    try {
      return key!(record.value)
    } catch (error) {
      keyless.set(record, error)
      return record
    }
  }

  type Step = Ready<Outcome> | Effect.Effect<Outcome, RecordFailed>
  // No closure in it: what one would keep would cost an object for each record.
  const one = (record: Records.Record): Step => {
    if (key !== undefined && keyless.has(record)) {
      return settled(failed([record], `it has no key: ${headline(Cause.fail(keyless.get(record)))}`))
    }
    let value: unknown
    let was: Was = null
    let result: unknown
    try {
      value = record.read()
      if (record.wrong !== undefined) return settled(failed([record], record.wrong))
      was = remember(value)
      if (timeout !== undefined || wantsContext) return attempts([record], [value], [was], undefined)
      result = f(value, undefined as never)
      // Most are here: a function that answers at once, and what it gives is what came, another value, or nothing.
      if (result === value && untouched && (was === null || LosslessJson.isUnchanged(value, was)))
        return new Ready(record)
      if (!isLater(result)) return new Ready(outcome([record], [value], [was], result))
    } catch (error) {
      return retries > 0
        ? attempts([record], [value], [was], throwing(error))
        : settled(failed([record], headline(Cause.fail(error)), error))
    }
    return attempts([record], [value], [was], giving(result))
  }
  if (batch === undefined) {
    const limited = rate === undefined ? source : rateLimited(source, rate)
    const keyed = key === undefined ? {} : { key: keyOf }
    // One after the other nothing gathers behind a slow one, so all records of a chunk may go through at once.
    const { backpressure = (options.concurrency ?? 1) === 1 ? 1024 : undefined } = options
    return mapSome(limited, one, { ...options, ...keyed, backpressure })
  }
  const many = (all: ReadonlyArray<Records.Record>): Effect.Effect<ReadonlyArray<Outcome>, RecordFailed> => {
    const bad = all.filter(({ problem }) => problem !== undefined)
    const good = all.filter(({ problem }) => problem === undefined)
    return Effect.gen(function* () {
      const outcomes: Array<Outcome> = []
      for (const record of bad) outcomes.push(yield* failed([record], record.problem!))
      if (good.length > 0) {
        const values = good.map(({ value }) => value)
        outcomes.push(yield* attempts(good, values, values.map(remember), undefined))
      }
      return outcomes
    })
  }
  const batches = batchWithin(source, batch)
  const { key: _, ...plain } = options
  return Stream.mapChunks(
    mapConcurrent(rate === undefined ? batches : rateLimited(batches, rate), many, plain),
    (chunk) => Chunk.unsafeFromArray(Chunk.toReadonlyArray(chunk).flat())
  )
}

// #region example
/** The guide's asynchronous generator: says so before each of five yields. */
export const yielding: Stream.Stream<number, never, Output.Output> = produce((emit: Emit<number>) =>
  Effect.gen(function* () {
    for (let idx = 0; idx < 5; idx++) {
      yield* Output.print(`Before yield ${idx}`)
      yield* emit(idx)
    }
  })
)

/** The guide's `async for`: producer and consumer take strict turns, a line each. Prints ten lines. */
export const example: Effect.Effect<void, never, Output.Output> = Stream.runForEach(yielding, (idx) =>
  Output.print(`Yay, I've been yield'd ${idx}`)
)
// #endregion
