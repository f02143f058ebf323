import {
  appendFileSync,
  closeSync,
  mkdtempSync,
  openSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
  writeSync
} from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { describe, expect, it } from "@effect/vitest"
import { Cause, Chunk, Effect, Exit, Layer, Queue, Stream } from "effect"
import * as Tail from "../../../src/services/record/Tail.js"

const inFolder = <A, E>(body: (path: string) => Effect.Effect<A, E, Tail.Follow>) =>
  Effect.acquireUseRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "aio-follow-"))),
    (folder) => body(join(folder, "log")),
    (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
  ).pipe(Effect.provide(Tail.layerWith({ interval: "5 millis" })))

/** Follows a file; `reads(n)` is the next n bytes as text, `|` where a piece begins anew. */
const following = (path: string, from?: Tail.Place) =>
  Effect.gen(function* () {
    const { open } = yield* Tail.Follow
    const queue = yield* Queue.unbounded<string>()
    const gaps: Array<string> = []
    let last: Tail.Piece | undefined
    const options = {
      from,
      rotateWait: "60 millis",
      onGap: (gap: Tail.Gap) => Effect.sync(() => gaps.push(gap.message))
    } as const
    yield* Effect.forkScoped(
      Stream.runForEach(open(path, options), (piece) => {
        last = piece
        const text = (piece.anew ? "|" : "") + new TextDecoder().decode(piece.bytes)
        return Queue.offerAll(queue, text)
      })
    )
    return {
      gaps,
      last: () => last!,
      reads: (n: number) => Effect.map(Queue.takeN(queue, n), (all) => Chunk.toReadonlyArray(all).join(""))
    }
  })

describe("Follow", () => {
  it.live("emits existing bytes, then appended ones", () =>
    inFolder((path) =>
      Effect.gen(function* () {
        writeFileSync(path, "one\n")
        const { reads } = yield* following(path)
        expect(yield* reads(5)).toBe("|one\n")
        appendFileSync(path, "two\n")
        expect(yield* reads(4)).toBe("two\n")
      }).pipe(Effect.scoped)
    )
  )

  it.live("survives rotation and loses nothing, and truncation", () =>
    inFolder((path) =>
      Effect.gen(function* () {
        writeFileSync(path, "one\n")
        const { reads } = yield* following(path)
        expect(yield* reads(5)).toBe("|one\n")
        renameSync(path, `${path}.1`)
        appendFileSync(`${path}.1`, "late\n") // the writer has it open still
        expect(yield* reads(5)).toBe("late\n")
        writeFileSync(path, "new\n")
        expect(yield* reads(5)).toBe("|new\n")
        truncateSync(path)
        expect(yield* Effect.zipRight(Effect.sleep("50 millis"), Effect.void)).toBeUndefined()
        appendFileSync(path, "cut\n")
        expect(yield* reads(5)).toBe("|cut\n")
      }).pipe(Effect.scoped)
    )
  )

  it.live("resumes from a place, even if the file was rotated meanwhile", () =>
    inFolder((path) =>
      Effect.gen(function* () {
        writeFileSync(path, "one\ntwo\n")
        const first = yield* following(path)
        yield* first.reads(9)
        const from = Tail.placeBehind(first.last().file, 4, Buffer.from("one\n"))
        const again = yield* following(path, from)
        expect(yield* again.reads(5)).toBe("|two\n")
        renameSync(path, `${path}.1`)
        writeFileSync(path, "three\n")
        const rotated = yield* following(path, from)
        expect(yield* rotated.reads(12)).toBe("|two\n|three\n")
        expect([...again.gaps, ...rotated.gaps]).toEqual([])
        const gone = yield* following(path, { ...from, inode: "0" })
        expect(yield* gone.reads(7)).toBe("|three\n")
        expect(gone.gaps).toEqual([
          `${path}: the file of the checkpoint is no longer in the folder, because it was removed, compressed or moved; data after its first 4 bytes may be lost, and reading continues at the beginning of the current file`
        ])
      }).pipe(Effect.scoped)
    )
  )

  it.live("passes over the hole that a writer leaves in a truncated file", () =>
    inFolder((path) =>
      Effect.gen(function* () {
        const fd = openSync(path, "w")
        writeSync(fd, "one\n")
        const { gaps, reads } = yield* following(path)
        expect(yield* reads(5)).toBe("|one\n")
        truncateSync(path)
        writeSync(fd, "two\nthree\n", 100_000)
        closeSync(fd)
        expect(yield* reads(12)).toBe("||two\nthree\n")
        expect(gaps.length).toBe(1)
      }).pipe(Effect.scoped)
    )
  )

  it.live("waits for a file that does not exist, and fails for a path that is not a regular file", () =>
    inFolder((path) =>
      Effect.gen(function* () {
        const { open } = yield* Tail.Follow
        const why = (path: string) => Effect.flip(Stream.runDrain(open(path)))
        const told: Array<string> = []
        const onWaiting = (detail: string) =>
          Effect.sync(() => {
            told.push(detail)
            writeFileSync(path, "new\n")
          })
        const pieces = yield* Stream.runCollect(Stream.take(open(path, { onWaiting }), 2))
        expect(Chunk.toReadonlyArray(pieces).map(({ bytes }) => bytes.toString())).toEqual(["", "new\n"])
        expect(told).toEqual(["it does not exist yet"])
        expect((yield* why(tmpdir())).message).toBe(
          `cannot read ${tmpdir()}: it is not a regular file; only regular files can be followed`
        )
        expect(Exit.isFailure(yield* Effect.exit(Stream.runDrain(open("/dev/null"))))).toBe(true)
        expect((yield* why(join(path, "below"))).message).toMatch(/the file does not exist$/)
      })
    )
  )

  it.live("refuses invalid waits and intervals", () =>
    inFolder((path) =>
      Effect.gen(function* () {
        const { open } = yield* Tail.Follow
        for (const rotateWait of [Number.NaN, -1]) {
          const cause = yield* Effect.flip(Effect.sandbox(Stream.runDrain(open(path, { rotateWait }))))
          expect(Cause.pretty(cause)).toContain(`rotateWait: ${rotateWait} is out of range`)
        }
        const layer = Layer.build(Tail.layerWith({ interval: Number.NaN }))
        expect(Cause.pretty(yield* Effect.flip(Effect.sandbox(layer)))).toContain(
          "interval: NaN is out of range"
        )
      }).pipe(Effect.scoped)
    )
  )
})
