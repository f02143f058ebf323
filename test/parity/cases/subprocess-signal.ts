import * as Command from "@effect/platform/Command"
import { Effect } from "effect"
import * as Processes from "../../../src/services/process/Processes.js"
import { say } from "../Case.js"

export const clock = "live"

export default Processes.run(Command.make("sh", "-c", "kill -TERM $$")).pipe(
  Effect.flatMap(({ exitCode }) => say(exitCode)),
  Effect.provide(Processes.layer)
)
