import * as Command from "@effect/cli/Command"
import * as Tasks from "../programs/Tasks.js"

export const command = Command.make("tasks", {}, () => Tasks.example).pipe(
  Command.withDescription("start tasks as one group and wait for them")
)
