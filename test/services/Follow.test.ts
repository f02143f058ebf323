import { appendFileSync, mkdtempSync, renameSync, rmSync, truncateSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { describe, expect, it } from "@effect/vitest"
import { Chunk, Effect, Exit, Queue, Stream } from "effect"
import * as Follow from "../../src/services/Follow.js"

const inFolder = <A, E>(body: (path: string) => Effect.Effect<A, E, Follow.Follow>) =>
  Effect.acquireUseRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "aio-follow-"))),
    (folder) => body(join(folder, "log")),
    (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
  ).pipe(Effect.provide(Follow.layerWith({ interval: "5 millis" })))

/** Follows a file; `reads(n)` is the next n bytes as text, `|` where a piece begins anew. */
const following = (path: string, from?: Pick<Follow.Piece, "file" | "position">) =>
  Effect.gen(function* () {
    const { open } = yield* Follow.Follow
    const queue = yield* Queue.unbounded<string>()
    let last: Follow.Piece | undefined
    yield* Effect.forkScoped(
      Stream.runForEach(open(path, from), (piece) => {
        last = piece
        const text = (piece.anew ? "|" : "") + new TextDecoder().decode(piece.bytes)
        return Queue.offerAll(queue, text)
      })
    )
    return {
      last: () => last!,
      reads: (n: number) => Effect.map(Queue.takeN(queue, n), (all) => Chunk.toReadonlyArray(all).join(""))
    }
  })

describe("Follow", () => {
  it.live("gives what is there, then what is appended", () =>
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

  it.live("goes on from a place, also where the file was rotated meanwhile", () =>
    inFolder((path) =>
      Effect.gen(function* () {
        writeFileSync(path, "one\ntwo\n")
        const first = yield* following(path)
        yield* first.reads(9)
        const { file } = first.last()
        const again = yield* following(path, { file, position: 4 })
        expect(yield* again.reads(5)).toBe("|two\n")
        renameSync(path, `${path}.1`)
        writeFileSync(path, "three\n")
        const rotated = yield* following(path, { file, position: 4 })
        expect(yield* rotated.reads(12)).toBe("|two\n|three\n")
        const gone = yield* following(path, { file: "0:0", position: 4 })
        expect(yield* gone.reads(7)).toBe("|three\n")
      }).pipe(Effect.scoped)
    )
  )

  it.live("fails for what is not there, and for what is no file", () =>
    inFolder((path) =>
      Effect.gen(function* () {
        const { open } = yield* Follow.Follow
        const why = (path: string) => Effect.flip(Stream.runDrain(open(path)))
        expect((yield* why(path)).message).toBe(`cannot read ${path}: there is no such file`)
        expect((yield* why(tmpdir())).message).toBe(
          `cannot read ${tmpdir()}: it is no file; only files can be followed`
        )
        expect(Exit.isFailure(yield* Effect.exit(Stream.runDrain(open("/dev/null"))))).toBe(true)
      })
    )
  )
})
