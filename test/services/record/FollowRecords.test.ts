import { describe, expect, it } from "@effect/vitest"
import { Chunk, Deferred, Effect, Fiber, Stream } from "effect"
import * as FollowRecords from "../../../src/services/record/FollowRecords.js"
import * as ResumePoint from "../../../src/services/record/ResumePoint.js"
import * as Tail from "../../../src/services/record/Tail.js"

describe("FollowRecords.follow", () => {
  const piece = (text: string, inode: string, position: number, anew = false): Tail.Piece => ({
    bytes: new TextEncoder().encode(text),
    file: { device: "1", inode, head: new Uint8Array(0) },
    position,
    anew
  })
  const layer = Tail.layerTest({
    log: [
      piece("a\nb", "1", 3, true),
      piece("c\nend", "1", 8),
      piece("x\n", "2", 2, true),
      piece("y\n", "2", 4)
    ]
  })

  it.live("emits the rest of a rotated file as a line, and numbers the new file's lines from 1", () =>
    Effect.gen(function* () {
      const lines = FollowRecords.follow("log").pipe(Stream.take(5), Stream.runCollect)
      expect(Chunk.toReadonlyArray(yield* lines)).toEqual(["a", "bc", "end", "x", "y"])
      const seen: Array<string> = []
      yield* FollowRecords.followed("log", { format: "lines" }).pipe(
        Stream.take(5),
        Stream.runForEach((record) => {
          const place = ResumePoint.behind(record) as ResumePoint.FollowPlace
          const { index, line, position } = record
          return Effect.sync(() => seen.push(`${index}: ${place.file.inode}:${line} to ${position}`))
        })
      )
      expect(seen).toEqual(["1: 1:1 to 2", "2: 1:2 to 5", "3: 1:3 to 8", "4: 2:1 to 2", "5: 2:2 to 4"])
      const told = yield* Deferred.make<string>()
      const onWaiting = (detail: string) => Deferred.succeed(told, detail)
      const fiber = yield* Effect.fork(Stream.runDrain(FollowRecords.follow("none", { onWaiting })))
      expect(yield* Deferred.await(told)).toBe("it does not exist yet")
      yield* Fiber.interrupt(fiber)
    }).pipe(Effect.provide(layer))
  )
})
