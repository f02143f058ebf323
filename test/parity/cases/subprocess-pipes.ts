import * as Command from "@effect/platform/Command"
import { Effect } from "effect"
import * as Processes from "../../../src/services/process/Processes.js"
import { say } from "../Case.js"

export const clock = "live"

const script = "head -c 300000 /dev/zero; head -c 300000 /dev/zero >&2; head -c 300000 /dev/zero"

export default Effect.gen(function* () {
  const { stderr, stdout } = yield* Processes.run(Command.make("sh", "-c", script))
  yield* say(stdout.length, stderr.length)
  const { exitCode } = yield* Processes.run(Command.make("true").pipe(Command.feed("x".repeat(300_000))))
  yield* say("never read its input:", exitCode)
}).pipe(Effect.provide(Processes.layer))
