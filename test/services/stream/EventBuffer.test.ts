import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Fiber, Stream } from "effect"
import * as EventBuffer from "../../../src/services/stream/EventBuffer.js"
import { suspended, until } from "../../support/Waits.js"

const chunksOf = <A, E>(stream: Stream.Stream<A, E>) => {
  const chunks: Array<ReadonlyArray<A>> = []
  const taken = Stream.runForEachChunk(stream, (chunk) => Effect.sync(() => void chunks.push([...chunk])))
  return Effect.map(Effect.fork(taken), (fiber) => ({ chunks, fiber }))
}

describe("EventBuffer", () => {
  it.live("emits the events of a turn of the event loop as one chunk, then ends or fails", () =>
    Effect.gen(function* () {
      for (const cause of [undefined, Cause.fail("no")]) {
        const { emit, end, stream } = EventBuffer.make<number, string>({ capacity: 2 })
        const { chunks, fiber } = yield* chunksOf(stream)
        yield* suspended(fiber)
        for (const i of [1, 2, 3]) emit(i)
        yield* until(() => chunks.length > 0)
        emit(4)
        end(cause)
        assert.deepStrictEqual(
          yield* Fiber.await(fiber),
          cause === undefined ? Exit.void : Exit.failCause(cause)
        )
        assert.deepStrictEqual(chunks, [[1, 2, 3], [4]])
      }
    })
  )

  it.live("waits between chunks, but not for the first, not when it is full, and not at the end", () =>
    Effect.gen(function* () {
      const { emit, end, stream } = EventBuffer.make<number>({ capacity: 3, pause: 30_000 })
      const { chunks, fiber } = yield* chunksOf(stream)
      // A buffer without a pause, which gives later what it was given later.
      const plain = EventBuffer.make<number>({ capacity: 3 })
      const passed = yield* chunksOf(plain.stream)
      const afterwards = Effect.suspend(() => {
        const count = passed.chunks.length
        plain.emit(0)
        return until(() => passed.chunks.length > count)
      })
      yield* Effect.zipRight(suspended(fiber), suspended(passed.fiber))
      emit(1)
      yield* until(() => chunks.length > 0)
      assert.deepStrictEqual(chunks, [[1]])
      yield* suspended(fiber)
      emit(2)
      yield* afterwards
      emit(3)
      yield* afterwards
      assert.deepStrictEqual(chunks, [[1]])
      emit(4)
      yield* until(() => chunks.length > 1)
      assert.deepStrictEqual(chunks, [[1], [2, 3, 4]])
      emit(5)
      end()
      yield* Fiber.join(fiber)
      assert.deepStrictEqual(chunks, [[1], [2, 3, 4], [5]])
    })
  )

  it.live("calls whenRoom back when all is taken, or when the buffer is abandoned", () =>
    Effect.gen(function* () {
      const { abandon, emit, full, stream, whenRoom } = EventBuffer.make<number>({ capacity: 2 })
      emit(1)
      assert.isFalse(full())
      emit(2)
      assert.isTrue(full())
      const calls: Array<string> = []
      whenRoom(() => calls.push("taken"))
      const { fiber } = yield* chunksOf(stream)
      yield* until(() => calls.length > 0)
      assert.isFalse(full())
      assert.deepStrictEqual(calls, ["taken"])
      yield* Fiber.interrupt(fiber)
      emit(3)
      emit(4)
      whenRoom(() => calls.push("abandoned"))
      abandon()
      emit(5)
      assert.isFalse(full())
      assert.deepStrictEqual(calls, ["taken", "abandoned"])
    })
  )
})
