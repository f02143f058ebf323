import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Fiber, Stream } from "effect"
import * as EventBuffer from "../../../src/services/stream/EventBuffer.js"
import * as EventLoop from "../../../src/services/task/EventLoop.js"

const turns = Effect.repeatN(EventLoop.nextTurn, 5)

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
        yield* turns
        for (const i of [1, 2, 3]) emit(i)
        yield* turns
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
      emit(1)
      yield* turns
      assert.deepStrictEqual(chunks, [[1]])
      emit(2)
      yield* turns
      emit(3)
      yield* turns
      assert.deepStrictEqual(chunks, [[1]])
      emit(4)
      yield* turns
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
      yield* turns
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
