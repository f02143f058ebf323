import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import { Effect } from "effect"
import * as Network from "../programs/Network.js"
import { codes, ExitError } from "../services/host/ExitCodes.js"
import * as Output from "../services/host/Output.js"
import * as VirtualClock from "../services/time/VirtualClock.js"
import * as Values from "./kernel/Values.js"

const options = {
  user: Options.text("user").pipe(
    Options.withPseudoName("name"),
    Options.withDescription("the user whose page is shown; the embedded services know ada; default ada"),
    Options.withDefault("ada")
  ),
  timeout: Values.duration("timeout").pipe(
    Options.withDescription(
      "time limit of each part, like 100ms; a part that exceeds it is unavailable; default 1s"
    ),
    Options.withDefault(1000)
  ),
  onFailure: Values.choice("on-failure", ["cancel", "continue", "collect"]).pipe(
    Options.withDescription(
      "when a part is unavailable: cancel the others, fail after the others, or show the page without it; default collect"
    ),
    Options.withDefault("collect" as const)
  ),
  virtual: Options.boolean("virtual").pipe(
    Options.withDescription("run in virtual time; ends at once, with exact times")
  )
}

export const command = Command.make("network", options, ({ onFailure, timeout, user, virtual }) => {
  const page = Network.dashboard(user, { onFailure, timeout })
  return Effect.gen(function* () {
    const shown = yield* virtual ? VirtualClock.run(page) : page
    yield* Effect.forEach(Network.render(shown), Output.print, { discard: true })
    if (!Network.isComplete(shown)) return yield* new ExitError({ exitCode: codes.failed, message: "" })
  })
}).pipe(
  Command.withDescription("query database, cache, OAuth, storage and two APIs at once, and show one page")
)
