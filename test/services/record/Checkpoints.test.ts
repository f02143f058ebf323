import { execFileSync } from "node:child_process"
import {
  lstatSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync
} from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { describe, expect, it } from "@effect/vitest"
import { Effect, Option } from "effect"
import * as Checkpoints from "../../../src/services/record/Checkpoints.js"
import * as DeadLetters from "../../../src/services/record/DeadLetters.js"

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
            `cannot use the checkpoint ${path}: it is not a checkpoint; name another file, or remove it to start over`
          )
        }
        expect((yield* Effect.flip(read(folder))).detail).toBe("it is a folder, not a regular file")
        const nowhere = join(folder, "no", "check")
        const written = write(nowhere, { input: "a", position: 1 })
        expect((yield* Effect.flip(written)).detail).toBe("there is no such folder")
        expect((yield* Effect.flip(read(nowhere))).detail).toBe("there is no such folder")
        const letters = Effect.scoped(DeadLetters.open(nowhere))
        expect((yield* Effect.flip(letters)).message).toBe(
          `cannot write failed records to ${nowhere}: no such file or directory`
        )
      })
    )
  )

  // The first column is what is put at the path, the second what reading it gives.
  const planted: ReadonlyArray<readonly [string, (path: string) => void, string]> = [
    ["a named pipe", (path) => execFileSync("mkfifo", [path]), "it is a named pipe, not a regular file"],
    ["a link to a device", (path) => symlinkSync("/dev/zero", path), "it is a device, not a regular file"],
    ["a link to a folder", (path) => symlinkSync(".", path), "it is a folder, not a regular file"],
    ["a link to itself", (path) => symlinkSync(path, path), "it is a symbolic link, not a regular file"],
    [
      "more than 1 MiB",
      (path) => writeFileSync(path, " ".repeat(1024 * 1024 + 1)),
      "at most 1048576 are read"
    ],
    ["no UTF-8", (path) => writeFileSync(path, Buffer.from([0xff, 0x7b])), "it is not a checkpoint"],
    [
      "another schema",
      (path) => writeFileSync(path, '{"schema":2,"input":"a","position":1}'),
      "it is not a checkpoint"
    ],
    [
      "an input that is no text",
      (path) => writeFileSync(path, '{"schema":1,"input":1,"position":1}'),
      "it is not a checkpoint"
    ],
    ["no position", (path) => writeFileSync(path, '{"schema":1,"input":"a"}'), "it is not a checkpoint"]
  ]
  it.effect.each(planted)("refuses %s at once", ([, plant, detail]) =>
    inFolder((folder) =>
      Effect.gen(function* () {
        const { read } = yield* Checkpoints.Checkpoints
        const path = join(folder, "check")
        plant(path)
        expect((yield* Effect.flip(read(path))).detail).toContain(detail)
      })
    )
  )

  it.effect("reads through a link, replaces the link, and leaves alone what it leads to", () =>
    inFolder((folder) =>
      Effect.gen(function* () {
        const { read, write } = yield* Checkpoints.Checkpoints
        const [path, target] = [join(folder, "check"), join(folder, "target")]
        symlinkSync("target", path)
        expect(yield* read(path)).toEqual(Option.none()) // it leads to nothing
        const before = '{"schema":1,"input":"numbers","position":7}'
        writeFileSync(target, before)
        expect(yield* read(path)).toEqual(Option.some({ input: "numbers", position: 7 }))
        yield* write(path, { input: "numbers", position: 8 })
        expect(readFileSync(target, "utf8")).toBe(before)
        expect(lstatSync(path).isFile()).toBe(true)
        expect(yield* read(path)).toEqual(Option.some({ input: "numbers", position: 8 }))
      })
    )
  )

  it.effect("writes by way of a name that nothing can be put at before", () =>
    inFolder((folder) =>
      Effect.gen(function* () {
        const { write } = yield* Checkpoints.Checkpoints
        const [path, victim] = [join(folder, "check"), join(folder, "victim")]
        writeFileSync(victim, "precious")
        symlinkSync("victim", `${path}.${process.pid}.tmp`)
        yield* write(path, { input: "numbers", position: 1 })
        expect(readFileSync(victim, "utf8")).toBe("precious")
        expect(readdirSync(folder)).toEqual(["check", `check.${process.pid}.tmp`, "victim"])
      })
    )
  )
})
