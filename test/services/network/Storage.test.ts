import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync
} from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, describe, expect, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Option, Stream } from "effect"
import * as Storage from "../../../src/services/network/Storage.js"

describe("Storage in a folder", () => {
  const parent = mkdtempSync(join(tmpdir(), "aio-storage-test-"))
  afterAll(() => rmSync(parent, { recursive: true, force: true }))
  const some = new Uint8Array([1, 2, 3])

  it.live("follows no link, to a file or a folder, and writes nothing beside the folder", () =>
    Effect.gen(function* () {
      const root = join(parent, "linked")
      const outside = join(parent, "outside")
      mkdirSync(root)
      mkdirSync(outside)
      writeFileSync(join(outside, "secret"), "secret")
      symlinkSync(outside, join(root, "out"))
      symlinkSync(join(outside, "secret"), join(root, "file"))
      const { get, list, put } = Storage.makeFolder(root)
      expect((yield* Effect.flip(put("out/new", some))).message).toBe(
        "storage: a link leads out of the folder"
      )
      expect((yield* Effect.flip(get("out/secret"))).message).toBe("storage: a link leads out of the folder")
      expect((yield* Effect.flip(get("file"))).message).toBe("storage: the file is a link")
      expect(yield* list("")).toEqual([])
      for (const prefix of ["out/", "out/s", "../outside/", "./", "/"])
        expect(yield* list(prefix)).toEqual([])
      yield* put("file", some)
      expect(readFileSync(join(outside, "secret"), "utf8")).toBe("secret")
      expect(readdirSync(outside)).toEqual(["secret"])
    })
  )

  it.live("leaves no temporary file behind when a write is interrupted, and shows none while it runs", () =>
    Effect.gen(function* () {
      const root = join(parent, "interrupted")
      const { get, list, put } = Storage.makeFolder(root)
      const begun = yield* Deferred.make<void>()
      const bytes = Stream.concat(
        Stream.make(some),
        Stream.fromEffect(Effect.zipRight(Deferred.succeed(begun, undefined), Effect.never))
      )
      const fiber = yield* Effect.fork(put("a/b", bytes))
      yield* Deferred.await(begun)
      expect(readdirSync(join(root, "a"))).toHaveLength(1)
      expect(yield* list("")).toEqual([])
      expect(yield* get("a/b")).toEqual(Option.none())
      yield* Fiber.interrupt(fiber)
      expect(readdirSync(join(root, "a"))).toEqual([])
    })
  )

  it.live("fails its check for a folder that is not there, and has no URLs", () =>
    Effect.gen(function* () {
      const root = join(parent, "missing")
      const { check, list, presign } = Storage.makeFolder(root)
      expect((yield* Effect.flip(check)).message).toMatch(/^storage: ENOENT[^\n]*$/)
      expect(yield* list("")).toEqual([])
      expect(existsSync(root)).toBe(false)
      expect((yield* Effect.flip(presign("a", { method: "GET", expires: 1000 }))).message).toBe(
        "storage: a folder has no URLs"
      )
    })
  )

  it.live("reads only the folder that a prefix names, and those below it", () =>
    Effect.gen(function* () {
      const root = join(parent, "listed")
      const { list, put } = Storage.makeFolder(root)
      for (const key of ["a/b/1", "a/b/2", "a/bc/3", "a/4", "ab/5"]) yield* put(key, some)
      const keys = (prefix: string) => Effect.map(list(prefix), (found) => found.map(({ key }) => key))
      expect(yield* keys("a/b/")).toEqual(["a/b/1", "a/b/2"])
      expect(yield* keys("a/b")).toEqual(["a/b/1", "a/b/2", "a/bc/3"])
      expect(yield* keys("a")).toEqual(["a/4", "a/b/1", "a/b/2", "a/bc/3", "ab/5"])
      expect(yield* keys("a/4/")).toEqual([])
      expect(yield* keys("none/")).toEqual([])
      symlinkSync("loop", join(root, "loop"))
      expect(yield* keys("loop/")).toEqual([])
    })
  )
})
