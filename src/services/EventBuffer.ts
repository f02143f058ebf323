import { type Cause, Chunk, Effect, Option, Stream } from "effect"
import { nextTurn } from "./EventLoop.js"

/**
 * Events from plain code to a stream: `emit` is a push onto an array, and the stream takes all that has gathered in
 * a turn of the event loop as one chunk. Not bounded by itself: who emits looks at `full` and waits with `whenRoom`.
 */
export interface EventBuffer<A, E> {
  readonly emit: (event: A) => void
  /** Nothing more comes: the stream ends when the rest is taken, or fails with the cause. */
  readonly end: (cause?: Cause.Cause<E>) => void
  readonly full: () => boolean
  /** Calls back once when the stream has taken what there was. */
  readonly whenRoom: (callback: () => void) => void
  /** Nobody takes any more: nobody need wait for room. */
  readonly abandon: () => void
  /** To be run once. */
  readonly stream: Stream.Stream<A, E>
}

/** `capacity` is how many events may wait before the buffer calls itself full. */
export const make = <A, E = never>(capacity: number): EventBuffer<A, E> => {
  let events: Array<A> = []
  let over: { readonly cause: Cause.Cause<E> | undefined } | undefined
  let wake: (() => void) | undefined
  let waiters: Array<() => void> = []
  let abandoned = false
  const release = () => {
    const callbacks = waiters
    waiters = []
    for (const callback of callbacks) callback()
  }
  const some: Effect.Effect<void> = Effect.async((resume) => {
    if (events.length > 0 || over !== undefined) resume(nextTurn)
    else wake = () => resume(nextTurn)
    return Effect.sync(() => {
      wake = undefined
    })
  })
  return {
    emit: (event) => {
      if (abandoned) return
      events.push(event)
      wake?.()
      wake = undefined
    },
    end: (cause) => {
      over ??= { cause }
      wake?.()
      wake = undefined
    },
    full: () => events.length >= capacity,
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
        const taken = events
        events = []
        release()
        return Effect.succeed(Chunk.unsafeFromArray(taken))
      })
    )
  }
}
