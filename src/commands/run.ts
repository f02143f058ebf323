import * as Command from "@effect/cli/Command"
import * as Run from "../programs/Run.js"

export const command = Command.make("run", {}, () => Run.example).pipe(
  Command.withDescription("run the guide's hello, or an Effect program from a file of yours")
)
