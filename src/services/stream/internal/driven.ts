import { Cause, Chunk, Effect, Exit, type Fiber, Option, Stream } from "effect"
import * as Cancellation from "../../task/Cancellation.js"
import { parallel, raise } from "../../task/Causes.js"

/** The reason with which producers are cancelled when the consumer leaves; a cancelled consumer passes on its own. */
export const left: Cancellation.Cancellation = { reason: "the consumer has left the loop", origin: "loop" }

export const defects = (cause: Cause.Cause<unknown>): Cause.Cause<never> =>
  Option.getOrElse(Cause.keepDefects(cause), () => Cause.empty)

// The stream of the chunks of `next`, up to its first `None`. Not `repeatEffectOption`: if a cause also holds a
// defect, that turns the typed failure into a defect of an `Option`.
export const pulled = <A, E, R>(
  next: Effect.Effect<Option.Option<Chunk.Chunk<A>>, E, R>
): Stream.Stream<A, E, R> =>
  Stream.unfoldChunkEffect(undefined, () =>
    Effect.map(
      next,
      Option.map((chunk) => [chunk, undefined])
    )
  )
/** Waits until a condition holds that plain code brings about; that code calls `check` after each change. */
export const gate = (holds: () => boolean) => {
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

export type Running = Fiber.RuntimeFiber<unknown, unknown>

/**
 * A stream that answers each request with `next`, while `parts` run as fibers: from the first request until the consumer
 * is done, which then awaits their clean-up, the last part's first.
 */
export const driven = <B, E, R>(
  parts: ReadonlyArray<Effect.Effect<unknown, unknown, R>>,
  next: Effect.Effect<Option.Option<Chunk.Chunk<B>>, E, R>,
  hooks: {
    readonly started?: (fibers: ReadonlyArray<Running>) => void
    readonly leaving?: () => void
    /** Defects in the clean-up of parts that the consumer does not see; they are logged. */
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
        const ended = fiber.unsafePoll() ?? undefined // its failure has been seen
        const cancelled = yield* Cancellation.cancel(fiber, why)
        if (ended !== undefined || Exit.isSuccess(cancelled)) continue
        broken = parallel(broken, defects(cancelled.cause))
      }
      const unseen = hooks.unseen?.() ?? Cause.empty
      if (!Cause.isEmptyType(unseen))
        yield* Effect.logError("the clean-up of a cancelled element failed", unseen)
      yield* raise(broken) // a clean-up that died
    })
  const answer = Effect.suspend(() => (fibers === undefined ? Effect.zipRight(start, next) : next))
  return Stream.ensuringWith(pulled(answer), end)
}
export const ending = <E>(exit: Exit.Exit<unknown, E> | undefined): Effect.Effect<Option.Option<never>, E> =>
  exit !== undefined && Exit.isFailure(exit) ? Effect.failCause(exit.cause) : Effect.succeedNone

/** The elements of a stream for plain code, a chunk at a time. */
export interface Feed<A, E, R> {
  /** Runs the stream: a part of {@link driven}. */
  readonly run: Effect.Effect<void, E, R>
  /** Nanoseconds, by the clock of the stream's fiber. */
  readonly now: () => bigint
  /** How many elements have arrived and are not taken. */
  readonly waiting: () => number
  readonly take: (most: number) => ReadonlyArray<A>
  /** Lets the stream produce its next chunk if all elements are taken; to be called after `take`. */
  readonly pull: () => void
  /** The stream's end. */
  readonly over: () => Exit.Exit<void, E> | undefined
}

/** Calls `arrived` after each chunk and at the end. The stream produces a further chunk only while `wanted` holds. */
export const feed = <A, E, R>(
  self: Stream.Stream<A, E, R>,
  arrived: () => void,
  wanted: () => boolean = () => true
): Feed<A, E, R> => {
  let now = () => 0n
  let input: ReadonlyArray<A> = []
  let at = 0
  let over: Exit.Exit<void, E> | undefined
  const hungry = gate(() => at >= input.length && wanted())
  // Not `Stream.unwrap` of the clock, which loses what dies in clean-up when the consumer breaks off.
  const run = Effect.clockWith((clock) => {
    now = () => clock.unsafeCurrentTimeNanos()
    return Stream.runForEachChunk(self, (chunk) => {
      input = Chunk.toReadonlyArray(chunk)
      at = 0
      arrived()
      return hungry.wait
    })
  })
  return {
    run: Effect.onExit(run, (exit) =>
      Effect.sync(() => {
        over = exit
        arrived()
      })
    ),
    now: () => now(),
    waiting: () => input.length - at,
    take: (most) => {
      const from = at
      at = Math.min(at + most, input.length)
      return input.slice(from, at)
    },
    pull: hungry.check,
    over: () => over
  }
}
