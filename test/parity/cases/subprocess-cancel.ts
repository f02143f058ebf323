import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Command from "@effect/platform/Command"
import { Effect, Exit, Fiber } from "effect"
import * as Processes from "../../../src/services/process/Processes.js"
import * as EventLoop from "../../../src/services/task/EventLoop.js"
import { say } from "../Case.js"

export const clock = "live"

const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "parity-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)

const isThere = (pid: number) => {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

export default Effect.gen(function* () {
  const file = join(yield* folder, "pid")
  const started = () => existsSync(file) && readFileSync(file, "utf8").endsWith("\n")
  const command = Command.make("sh", "-c", 'echo $$ > "$0"; exec sleep 10', file)
  const run = yield* Effect.fork(Processes.run(command))
  yield* Effect.repeat(EventLoop.nextTurn, { until: started })
  if (Exit.isInterrupted(yield* Fiber.interrupt(run))) yield* say("cancelled")
  yield* say(isThere(Number(readFileSync(file, "utf8"))) ? "still there" : "gone")
}).pipe(Effect.scoped, Effect.provide(Processes.layer))
