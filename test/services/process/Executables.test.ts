import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Command from "@effect/platform/Command"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { describe, expect, it } from "@effect/vitest"
import { ConfigProvider, Effect, Either } from "effect"
import * as Executables from "../../../src/services/process/Executables.js"
import * as ProcessError from "../../../src/services/process/ProcessError.js"

const folder = Effect.acquireRelease(
  Effect.sync(() => {
    const folder = mkdtempSync(join(tmpdir(), "aio-executables-"))
    for (const name of ["first", "second"]) mkdirSync(join(folder, name))
    const put = (name: string, mode: number) => {
      writeFileSync(join(folder, name), "#!/bin/sh\n")
      chmodSync(join(folder, name), mode)
    }
    put("second/tool", 0o755)
    put("first/tool", 0o644)
    put("first/text", 0o644)
    mkdirSync(join(folder, "first/sub"))
    mkdirSync(join(folder, "first/shadowed"))
    put("second/shadowed", 0o755)
    return folder
  }),
  (folder) => Effect.sync(() => rmSync(folder, { recursive: true }))
)

describe("Executables", () => {
  it.scopedLive("finds executable programs, and fails as Processes does for others", () =>
    Effect.gen(function* () {
      const at = yield* folder
      const PATH = `${at}/nowhere:${at}/first:${at}/second`
      const check = (word: string) =>
        Executables.check(Command.make(word, "x")).pipe(
          Effect.withConfigProvider(ConfigProvider.fromMap(new Map([["PATH", PATH]]))),
          Effect.either
        )
      const fine = Either.right(undefined)
      const notFound = (word: string) =>
        Either.left(new ProcessError.CommandNotFound({ command: `${word} x` }))
      const denied = (word: string) =>
        Either.left(
          new ProcessError.CommandNotExecutable({ command: `${word} x`, detail: "permission denied" })
        )
      for (const [word, expected] of [
        ["tool", fine],
        ["shadowed", fine],
        [`${at}/second/tool`, fine],
        ["text", denied("text")],
        [`${at}/first/text`, denied(`${at}/first/text`)],
        [`${at}/first`, denied(`${at}/first`)],
        ["sub", notFound("sub")],
        ["nothing", notFound("nothing")],
        [`${at}/nothing`, notFound(`${at}/nothing`)],
        ["", notFound("''")]
      ] as const) {
        expect([word, yield* check(word)]).toEqual([word, expected])
      }
    }).pipe(Effect.provide(NodeFileSystem.layer))
  )

  it.live("searches as execvp does without PATH", () =>
    Executables.check(Command.make("sh")).pipe(
      Effect.withConfigProvider(ConfigProvider.fromMap(new Map())),
      Effect.provide(NodeFileSystem.layer)
    )
  )
})
