import { Cause, Chunk, Data, Deferred, type Duration, Effect, Exit, type Fiber, Option, Stream } from "effect"
import * as Cancellation from "../task/Cancellation.js"
import { headline, raise } from "../task/Causes.js"
import * as Deadline from "../task/Deadline.js"
import { checkOptions, time } from "../text/Numbers.js"
import { defects, left, pulled } from "./internal/driven.js"

/**
 * The failure of a generator that threw `error`.
 *
 * @since 0.1.0
 * @category errors
 */
export class GeneratorFailed extends Data.TaggedError("GeneratorFailed")<{ readonly error: unknown }> {
  override get message() {
    return `the generator threw: ${headline(Cause.fail(this.error))}`
  }
}

/**
 * Emits one element and completes when the consumer asks for the next: Python's `yield`.
 *
 * @since 0.1.0
 * @category models
 */
export type Emit<in A> = (element: A) => Effect.Effect<void>

/**
 * Makes a stream of a producer written as an Effect: each `emit` is a `yield` of Python's async generator. The producer
 * starts with the first request, runs only while the consumer waits, and ends with the stream: when the consumer breaks
 * off, fails or is interrupted, the producer is interrupted in its `emit`, and its finalizers have run before the
 * consumer continues. The stream fails as the producer fails.
 *
 * Follows the guide's "asyncio loops" and PEP 525.
 *
 * @example
 * ```ts
 * import { Effect, Stream } from "effect"
 * import * as Generators from "effect-asyncio/services/Generators"
 *
 * const countdown = Generators.produce((emit: Generators.Emit<number>) =>
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
 *
 * @since 0.1.0
 * @category streams
 */
export const produce = <A, E, R>(
  producer: (emit: Emit<A>) => Effect.Effect<unknown, E, R>
): Stream.Stream<A, E, R> =>
  // Not unwrap or unwrapScoped: they lose what dies in clean-up when the consumer breaks off.
  Stream.suspend(() => {
    type Request = Deferred.Deferred<Option.Option<Chunk.Chunk<A>>, E>
    // The consumer's pending request; undefined while it processes the previous element.
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
    // Interruptible even in an uninterruptible region: a consumer that has left requests nothing more.
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

/**
 * Settings of {@link fromGenerator}.
 *
 * @since 0.1.0
 * @category options
 */
export interface FromGeneratorOptions<E> {
  /** Makes the stream's failure of what the generator threw. Default {@link GeneratorFailed}. */
  readonly onError?: (error: unknown) => E
  /**
   * How long the clean-up of a generator that takes the signal may last once the signal was aborted. Default 5 seconds;
   * zero for a generator function without parameters, which cannot observe the signal.
   */
  readonly grace?: Duration.DurationInput
}

/**
 * Makes a stream of a JavaScript generator, sync or async, or of any function's result that `for await` accepts. The
 * generator advances only on request, one element at a time.
 *
 * The generator is finalised (`return()`, so its `finally` blocks run) as soon as the consumer breaks off, fails or is
 * interrupted, and the consumer continues after that. A consumer that is interrupted during a `next()` cannot end the
 * generator's own `await`: it aborts the signal that the generator function was given and waits, `grace` at most. A
 * generator that has not ended by then is finalised whenever its `await` ends; the interruption does not wait for it.
 *
 * Fails with {@link GeneratorFailed} when the generator throws, or with the result of `onError`; dies when its clean-up
 * throws.
 *
 * @example
 * ```ts
 * import { Stream } from "effect"
 * import * as Generators from "effect-asyncio/services/Generators"
 *
 * async function* pages(signal: AbortSignal) {
 *   for (let page = 1; ; page++) {
 *     const response = await fetch(`http://localhost:8080/?page=${page}`, { signal })
 *     if (!response.ok) return
 *     yield await response.text()
 *   }
 * }
 *
 * export const program = Generators.fromGenerator(pages).pipe(Stream.take(3), Stream.runCollect)
 * ```
 *
 * @since 0.1.0
 * @category constructors
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

// An iterator as an effect of the next element (which fails with `None` at the end, else with what was thrown) and one
// of its finalisation. As with `for await`, an iterator that has ended or thrown is not finalised again.
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
      const returned = iterator.return() // queued behind a pending next()
      const over = Effect.promise(() => returned)
      if (!pending) return over
      returned.catch(() => undefined) // a failure after the grace period has no consumer left
      const reason = "the generator's return() takes longer than its grace period"
      return Effect.option(
        Deadline.timeout(Effect.interruptible(over), {
          limit: grace,
          late: { reason, origin: "Generators" },
          onTimeout: () => reason
        })
      )
    })
  }
}
