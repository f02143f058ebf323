import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import { Option } from "effect"
import * as LongRunning from "../programs/LongRunning.js"
import * as VirtualClock from "../services/VirtualClock.js"
import * as Values from "./Values.js"

const seed = Values.integer("seed", 0).pipe(
  Options.withDescription("a whole number: the same seed gives the same pauses, and so the same lines"),
  Options.optional
)

const virtual = Options.boolean("virtual").pipe(
  Options.withDescription("in virtual time: it ends at once, with the same lines in the same order")
)

export const command = Command.make("long-running", { seed, virtual }, ({ seed, virtual }) => {
  const example = LongRunning.example({ seed: Option.getOrUndefined(seed) })
  return virtual ? VirtualClock.run(example) : example
}).pipe(Command.withDescription("run a task that never ends by itself, and cancel it after ten seconds"))
