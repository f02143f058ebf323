import { type Cause, Chunk, Duration, Effect, Option, Stream } from "effect"
import { checkOptions, countOrInfinity, time } from "../text/Numbers.js"

/**
 * Events from plain code to a stream: `emit` pushes onto an array, and the stream takes all events of a turn of the
 * event loop as one chunk. The buffer does not bound itself: code that emits checks `full` and waits with `whenRoom`.
 *
 * @since 0.1.0
 * @category models
 */
export interface EventBuffer<A, E> {
  readonly emit: (event: A) => void
  /** Ends the stream once the rest is taken, or fails it with the cause. */
  readonly end: (cause?: Cause.Cause<E>) => void
  readonly full: () => boolean
  /** Calls back once, when the stream has taken all events. */
  readonly whenRoom: (callback: () => void) => void
  /** Drops events from here on, and releases what waits for room: the stream is no longer read. */
  readonly abandon: () => void
  /** The events; run it once. */
  readonly stream: Stream.Stream<A, E>
}

/**
 * Settings of {@link make}.
 *
 * @since 0.1.0
 * @category options
 */
export interface Options {
  /** How many events may wait before the buffer is full. */
  readonly capacity: number
  /**
   * Least time between two chunks, unless the buffer is full or ends: a chunk costs the stream many steps, however few
   * events it has. An event after a pause is emitted at once. Default 0.
   */
  readonly pause?: Duration.DurationInput | undefined
}

/**
 * Makes an empty buffer.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = <A, E = never>(options: Options): EventBuffer<A, E> => {
  checkOptions(options, { capacity: countOrInfinity, pause: time })
  const { capacity } = options
  const pause = Duration.toMillis(options.pause ?? 0)
  let events: Array<A> = []
  let over: { readonly cause: Cause.Cause<E> | undefined } | undefined
  let waiters: Array<() => void> = []
  let abandoned = false
  const full = () => events.length >= capacity
  const release = () => {
    const callbacks = waiters
    waiters = []
    for (const callback of callbacks) callback()
  }

  let taker: (() => void) | undefined
  let takenAt = Number.NEGATIVE_INFINITY
  let later: NodeJS.Timeout | undefined
  let soon: NodeJS.Immediate | undefined
  const stop = () => {
    clearTimeout(later)
    clearImmediate(soon)
    later = soon = undefined
  }
  const take = () => {
    stop()
    taker?.()
  }
  /** Lets the stream take the waiting events. */
  const wake = () => {
    if (taker === undefined || soon !== undefined) return
    const left = pause === 0 || over !== undefined || full() ? 0 : takenAt + pause - performance.now()
    if (left > 0) later ??= setTimeout(take, left)
    else soon = setImmediate(take)
  }
  const some: Effect.Effect<void> = Effect.async((resume) => {
    taker = () => {
      taker = undefined
      resume(Effect.void)
    }
    if (events.length > 0 || over !== undefined) wake()
    return Effect.sync(() => {
      taker = undefined
      stop()
    })
  })
  return {
    emit: (event) => {
      if (abandoned) return
      events.push(event)
      wake()
    },
    end: (cause) => {
      over ??= { cause }
      wake()
    },
    full,
    abandon: () => {
      abandoned = true
      events = []
      release()
    },
    whenRoom: (callback) => waiters.push(callback),
    stream: Stream.repeatEffectChunkOption(
      Effect.flatMap(some, () => {
        if (events.length === 0 && over !== undefined) {
          return over.cause === undefined
            ? Effect.fail(Option.none())
            : Effect.mapError(Effect.failCause(over.cause), Option.some)
        }
        if (pause > 0) takenAt = performance.now()
        const taken = events
        events = []
        release()
        return Effect.succeed(Chunk.unsafeFromArray(taken))
      })
    )
  }
}
