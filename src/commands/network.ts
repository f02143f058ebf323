import { Effect, Layer } from "effect"
import * as Network from "../programs/Network.js"
import { codes } from "../services/host/ExitCodes.js"
import * as Output from "../services/host/Output.js"
import * as Apis from "../services/network/Apis.js"
import * as Cache from "../services/network/Cache.js"
import * as Database from "../services/network/Database.js"
import * as OAuth from "../services/network/OAuth.js"
import * as Storage from "../services/network/Storage.js"
import * as VirtualClock from "../services/time/VirtualClock.js"
import * as Command from "./kernel/Command.js"
import * as Flag from "./kernel/Flag.js"
import * as Flags from "./kernel/Flags.js"
import * as Values from "./kernel/Values.js"

const flags = {
  user: Flag.withDefault(
    Flag.kind("NAME", Values.text("a name"))(
      "user",
      "the user whose page is shown; the embedded services know ada"
    ),
    "ada"
  ),
  timeout: Flag.withDefault(
    Flag.withText(
      Flags.timeout,
      "time limit of each part, like 100ms; a part that exceeds it is unavailable"
    ),
    1000,
    "1s"
  ),
  onFailure: Flags.onFailure(["cancel", "continue", "collect"], "collect"),
  virtual: Flags.virtual
}

export const command = Command.provide(
  Command.make(
    "network",
    {
      summary: "query database, cache, OAuth, storage and two APIs at once, and show one page",
      usage: ["[OPTIONS]"],
      flags,
      examples: [
        ["network", "the page, with the time of each part and of all"],
        ["network --virtual --user ada", "the same without waiting"]
      ]
    },
    ({ onFailure, timeout, user, virtual }) =>
      Effect.gen(function* () {
        const page = Network.dashboard(user, { onFailure, timeout })
        const shown = yield* virtual ? VirtualClock.run(page) : page
        yield* Effect.forEach(Network.render(shown), Output.print, { discard: true })
        yield* Command.exit(Network.isComplete(shown) ? codes.ok : codes.failed)
      })
  ),
  Layer.mergeAll(Apis.layer, Cache.layer, Database.layer, OAuth.layer, Storage.layer)
)
