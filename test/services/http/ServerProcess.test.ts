import { existsSync } from "node:fs"
import * as Command from "@effect/platform/Command"
import { describe, expect, it } from "@effect/vitest"
import { Effect, Exit, Option } from "effect"
import * as ServerProcess from "../../../src/services/http/ServerProcess.js"
import * as Processes from "../../../src/services/process/Processes.js"

const sh = (script: string) => Command.make("sh", "-c", script)

describe("ServerProcess", () => {
  it.live("returns when the server listens, reads what it uses, and kills it with the scope", () =>
    Effect.gen(function* () {
      const pid = yield* Effect.scoped(
        Effect.gen(function* () {
          const script = "trap '' TERM; echo noise >&2; echo listening on http://127.0.0.1:1; sleep 60; true"
          const server = yield* ServerProcess.start(sh(script))
          expect(server.url).toBe("http://127.0.0.1:1")
          const sample = Option.getOrThrow(yield* server.sample)
          expect(sample.memory).toBeGreaterThan(100_000)
          expect(sample.cpu).toBeGreaterThanOrEqual(0)
          expect(sample.switches).toBeGreaterThan(0)
          return server.pid
        })
      )
      expect(existsSync(`/proc/${pid}`)).toBe(false)
    }).pipe(Effect.provide(Processes.layer))
  )

  it.live.each([
    ["echo hello", "its first line is 'hello'; expected 'listening on URL'"],
    ["echo 'port 80 is in use' >&2; exit 2", "port 80 is in use"],
    ["exit 3", "exit code 3"],
    ["sleep 60", "it printed no address within 50ms"]
  ] as const)("fails in one line for a server that does: %s", ([script, detail]) =>
    Effect.gen(function* () {
      const timeout = script === "sleep 60" ? "50 millis" : "10 seconds"
      const error = yield* Effect.flip(Effect.scoped(ServerProcess.start(sh(script), { timeout })))
      expect(error.message.split("did not start to listen: ")[1]).toBe(detail)
      expect(error.exitCode).toBe(1)
    }).pipe(Effect.provide(Processes.layer))
  )

  it.live("refuses a timeout that is none", () =>
    Effect.gen(function* () {
      const exit = yield* Effect.exit(Effect.scoped(ServerProcess.start(sh("true"), { timeout: 0 })))
      expect(Exit.isFailure(exit) && String(exit.cause)).toContain("timeout: 0 is out of range")
    }).pipe(Effect.provide(Processes.layer))
  )
})
