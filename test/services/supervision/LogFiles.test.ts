import { execFileSync } from "node:child_process"
import {
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
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as LogFiles from "../../../src/services/supervision/LogFiles.js"

const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "aio-logs-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true }))
)
const write = (log: LogFiles.LogFile, text: string) => log.write(new TextEncoder().encode(text))
const contents = (path: string) =>
  Object.fromEntries(readdirSync(path).map((name) => [name, readFileSync(join(path, name), "utf8")]))

describe("LogFiles", () => {
  it.scoped("rotates a full file, and keeps the given number of files", () =>
    Effect.gen(function* () {
      const path = join(yield* folder, "deep/logs")
      yield* Effect.scoped(
        Effect.gen(function* () {
          const log = yield* LogFiles.open(path, "web", { maxSize: 8, keep: 2 })
          for (const text of ["one\n", "two\n", "three\n", "a line that is longer\n", "five\n"])
            yield* write(log, text)
        })
      )
      assert.deepStrictEqual(contents(path), {
        "web.log": "five\n",
        "web.log.1": "a line that is longer\n",
        "web.log.2": "three\n"
      })
      // and continues there
      yield* Effect.scoped(
        Effect.flatMap(LogFiles.open(path, "web", { maxSize: 8, keep: 0 }), (log) =>
          Effect.zipRight(write(log, "6\n"), write(log, "seven\n"))
        )
      )
      assert.strictEqual(contents(path)["web.log"], "seven\n")
    })
  )

  it.scoped("reports a log that cannot be written", () =>
    Effect.gen(function* () {
      const path = yield* folder
      writeFileSync(join(path, "file"), "")
      const error = yield* Effect.flip(LogFiles.open(join(path, "file"), "web"))
      assert.match(error.message, /^cannot write .*web\.log: /)
    })
  )

  it.scoped("writes to a regular file only, and follows no link", () =>
    Effect.gen(function* () {
      const path = yield* folder
      writeFileSync(join(path, "victim"), "precious")
      symlinkSync("victim", join(path, "link.log"))
      symlinkSync("nowhere", join(path, "dangling.log"))
      symlinkSync("/dev/null", join(path, "device.log"))
      mkdirSync(join(path, "folder.log"))
      execFileSync("mkfifo", [join(path, "pipe.log")])
      for (const [name, kind] of [
        ["link", "a symbolic link, not a regular file"],
        ["dangling", "a symbolic link, not a regular file"],
        ["device", "a symbolic link, not a regular file"],
        ["folder", "a folder"],
        ["pipe", "a named pipe or a device, not a regular file"]
      ] as const) {
        const error = yield* Effect.flip(LogFiles.open(path, name))
        assert.strictEqual(error.message, `cannot write ${join(path, name)}.log: it is ${kind}`)
        assert.strictEqual(error.exitCode, 2)
      }
      assert.strictEqual(readFileSync(join(path, "victim"), "utf8"), "precious")
    })
  )
})
