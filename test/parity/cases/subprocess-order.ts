import * as Command from "@effect/platform/Command"
import { Effect } from "effect"
import * as Processes from "../../../src/services/process/Processes.js"
import * as Gather from "../../../src/services/task/Gather.js"
import { say } from "../Case.js"

export const clock = "live"

const run = (...command: [string, ...Array<string>]) =>
  Effect.gen(function* () {
    yield* say("Executing:", ...command)
    const { stdout } = yield* Processes.run(Command.make(...command))
    yield* say(new TextDecoder().decode(stdout).trim())
  })

export default Gather.gather([run("sh", "-c", "sleep 0.25; echo slow"), run("echo", "hello")]).pipe(
  Effect.provide(Processes.layer)
)
