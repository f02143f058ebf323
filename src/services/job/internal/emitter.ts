import { Effect } from "effect"
import type { EventBuffer } from "../../stream/EventBuffer.js"

/** The writing end of an event buffer that counts what passes, and makes effects wait while the buffer is full. */
export interface Emitter<A> {
  /** Adds an event, even to a full buffer. */
  readonly emit: (event: A) => void
  /** Adds an event once there is room. */
  readonly send: (event: A) => Effect.Effect<void>
  readonly full: () => boolean
  /** Waits until the buffer is not full. */
  readonly room: Effect.Effect<void>
  /** How many events there have been. */
  readonly emitted: () => number
}

/** Makes the emitter of a buffer. */
export const make = <A, E>({
  emit: push,
  full,
  whenRoom
}: Pick<EventBuffer<A, E>, "emit" | "full" | "whenRoom">): Emitter<A> => {
  let emitted = 0
  const emit = (event: A) => {
    emitted++
    push(event)
  }
  const room = Effect.async<void>((resume) => {
    if (full()) whenRoom(() => resume(Effect.void))
    else resume(Effect.void)
  })
  return {
    emit,
    send: (event) => {
      if (full()) return Effect.map(room, () => emit(event))
      emit(event)
      return Effect.void
    },
    full,
    room,
    emitted: () => emitted
  }
}
