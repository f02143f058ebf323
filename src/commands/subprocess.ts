import * as Command from "@effect/cli/Command"
import * as Subprocess from "../programs/Subprocess.js"

export const command = Command.make("subprocess", {}, () => Subprocess.example).pipe(
  Command.withDescription("run commands at once as child processes, each group under control")
)
