import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import { Effect } from "effect"
import * as Scheduling from "../programs/Scheduling.js"
import * as Timers from "../services/Timers.js"
import * as VirtualClock from "../services/VirtualClock.js"

const virtual = Options.boolean("virtual").pipe(
  Options.withDescription("in virtual time: it ends at once, with the same lines in the same order")
)

export const command = Command.make("schedule", { virtual }, ({ virtual }) =>
  // Timers go by the clock that they are built on: those at hand are on the live one.
  virtual ? VirtualClock.run(Effect.provide(Scheduling.example, Timers.layer)) : Scheduling.example
).pipe(Command.withDescription("run effects soon, later, or at a time of day"))
