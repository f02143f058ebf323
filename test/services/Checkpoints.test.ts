import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { describe, expect, it } from "@effect/vitest"
import { Effect, Option } from "effect"
import * as Checkpoints from "../../src/services/Checkpoints.js"
import * as DeadLetters from "../../src/services/DeadLetters.js"

const inFolder = <A, E>(body: (folder: string) => Effect.Effect<A, E, Checkpoints.Checkpoints>) =>
  Effect.acquireUseRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "aio-checkpoints-"))),
    body,
    (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
  ).pipe(Effect.provide(Checkpoints.layer))

describe("Checkpoints", () => {
  it.effect("reads what it wrote, in one file", () =>
    inFolder((folder) =>
      Effect.gen(function* () {
        const { read, write } = yield* Checkpoints.Checkpoints
        const path = join(folder, "check")
        expect(yield* read(path)).toEqual(Option.none())
        for (const position of [1, { index: 2 }]) {
          yield* write(path, { input: "numbers", position })
          expect(yield* read(path)).toEqual(Option.some({ input: "numbers", position }))
        }
        expect(readdirSync(folder)).toEqual(["check"])
      })
    )
  )

  it.effect("refuses what is no checkpoint, and says what cannot be written", () =>
    inFolder((folder) =>
      Effect.gen(function* () {
        const { read, write } = yield* Checkpoints.Checkpoints
        const path = join(folder, "check")
        for (const text of ["", "{", "[]", "null", '{"schema":2,"input":"a"}', '{"schema":1}']) {
          writeFileSync(path, text)
          expect((yield* Effect.flip(read(path))).message).toBe(
            `cannot use the checkpoint ${path}: it is none; name another file, or remove it to begin anew`
          )
        }
        expect((yield* Effect.flip(read(folder))).detail).toBe("it is a folder")
        const nowhere = join(folder, "no", "check")
        const written = write(nowhere, { input: "a", position: 1 })
        expect((yield* Effect.flip(written)).detail).toBe("there is no such folder")
        const letters = Effect.scoped(DeadLetters.open(nowhere))
        expect((yield* Effect.flip(letters)).message).toBe(
          `cannot write failed records to ${nowhere}: no such file or directory`
        )
      })
    )
  )
})
