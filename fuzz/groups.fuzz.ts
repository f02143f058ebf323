import { Effect, FastCheck } from "effect"
import * as VirtualClock from "../src/services/time/VirtualClock.js"
import { laws } from "../test/support/groupLaws.js"
import { campaign } from "./Campaign.js"

for (const { cases, holds, title } of laws) {
  campaign(
    title,
    FastCheck.asyncProperty(cases, (given) => Effect.runPromise(VirtualClock.run(holds(given))))
  )
}
