import * as Command from "@effect/cli/Command"
import * as Loops from "../programs/Loops.js"

export const command = Command.make("loop", {}, () => Loops.example).pipe(
  Command.withDescription("map a function over a stream, the producer running only when asked")
)
