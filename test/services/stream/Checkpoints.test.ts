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
import { Effect, Fiber, Option, Stream } from "effect"
import * as DeadLetters from "../../../src/services/record/DeadLetters.js"
import * as Checkpoints from "../../../src/services/stream/Checkpoints.js"
import * as VirtualClock from "../../../src/services/time/VirtualClock.js"

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

  it.effect("refuses a file that is not a checkpoint, and reports one that cannot be written", () =>
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
        expect((yield* Effect.flip(written)).detail).toBe("the folder does not exist")
        expect((yield* Effect.flip(read(nowhere))).detail).toBe("the folder does not exist")
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

  it.effect("reads through a link, replaces the link, and does not change its target", () =>
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

/** Elements that are emitted at these times. */
const arriving = (...times: ReadonlyArray<number>) =>
  Stream.fromIterable(times).pipe(
    Stream.rechunk(1),
    Stream.mapAccum(0, (before, time) => [time, [time, time - before] as const]),
    Stream.mapEffect(([time, wait]) => Effect.as(Effect.sleep(wait), time))
  )

describe("Checkpoints.checkpointed", () => {
  const options = { path: "checkpoint", input: "numbers", position: (n: number) => n }
  const from = (last: number | undefined) => Stream.rechunk(Stream.range((last ?? 0) + 1, 20), 3)

  it.live("resumes after the last done element, in every way that a run can end", () =>
    Effect.gen(function* () {
      const files = new Map<string, Checkpoints.Checkpoint | "broken">()
      const run = (stop: number) =>
        Effect.gen(function* () {
          const got: Array<number> = []
          yield* Checkpoints.checkpointed(options, from).pipe(
            Stream.runForEach((n) => (n === stop ? Effect.fail("stop") : Effect.sync(() => got.push(n)))),
            Effect.ignore
          )
          return got
        }).pipe(Effect.provide(Checkpoints.layerTest(files)))
      expect(yield* run(8)).toEqual([1, 2, 3, 4, 5, 6, 7])
      expect(files.get("checkpoint")).toEqual({ input: "numbers", position: 6 }) // 7 was not yet known to be done
      expect(yield* run(0)).toEqual([7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20])
      expect(files.get("checkpoint")).toEqual({ input: "numbers", position: 20 })
      expect(yield* run(0)).toEqual([])
    })
  )

  it.live("writes while it runs, as often as allowed, also if no further element arrives", () =>
    Effect.gen(function* () {
      const files = new Map<string, Checkpoints.Checkpoint | "broken">()
      const position = () => (files.get("checkpoint") as Checkpoints.Checkpoint | undefined)?.position
      const slow = Stream.concat(arriving(400, 800, 1200, 1600), Stream.never)
      const fiber = yield* Effect.fork(
        Stream.runDrain(Checkpoints.checkpointed({ ...options, every: "1 second" }, () => slow)).pipe(
          Effect.provide(Checkpoints.layerTest(files))
        )
      )
      const seen: Array<unknown> = []
      for (const wait of [900, 200, 800, 200]) {
        yield* Effect.sleep(wait)
        seen.push(position())
      }
      expect(seen).toEqual([undefined, 800, 800, 1600])
      yield* Fiber.interrupt(fiber)
    }).pipe(VirtualClock.run())
  )

  it.live("refuses a file that is not a checkpoint, and a checkpoint of another input", () =>
    Effect.gen(function* () {
      const why = (found: Checkpoints.Checkpoint | "broken") =>
        Effect.flip(Stream.runDrain(Checkpoints.checkpointed(options, from))).pipe(
          Effect.map(({ message }) => message),
          Effect.provide(Checkpoints.layerTest(new Map([["checkpoint", found]])))
        )
      expect(yield* why("broken")).toBe("cannot use the checkpoint checkpoint: it is not a checkpoint")
      expect(yield* why({ input: "letters", position: 1 })).toBe(
        "cannot use the checkpoint checkpoint: it is of another input, letters, not numbers"
      )
    })
  )
})
