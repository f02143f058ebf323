import * as Command from "@effect/platform/Command"
import { Effect } from "effect"
import * as Processes from "../../../src/services/process/Processes.js"
import { say } from "../Case.js"

export const clock = "live"

const words = (bytes: Uint8Array) => new TextDecoder().decode(bytes).split(/\s+/).filter(Boolean)

export default Effect.gen(function* () {
  for (const script of ["exit 3", "echo out; echo err >&2; exit 0"]) {
    const { exitCode, stderr, stdout } = yield* Processes.run(Command.make("sh", "-c", script))
    yield* say(exitCode, ...words(stdout), ...words(stderr))
  }
  yield* Processes.run(Command.make("no-such-program-anywhere"))
}).pipe(
  Effect.catchTag("CommandNotFound", () => say("not found")),
  Effect.provide(Processes.layer)
)
