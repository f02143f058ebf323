import * as Command from "@effect/cli/Command"
import * as Executors from "../programs/Executors.js"

export const command = Command.make("executor", {}, () => Executors.example).pipe(
  Command.withDescription("run blocking functions on worker threads, beside an event loop that turns on")
)
