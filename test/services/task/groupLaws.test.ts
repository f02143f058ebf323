import { describe, it } from "@effect/vitest"
import * as VirtualClock from "../../../src/services/time/VirtualClock.js"
import { laws } from "../../support/groupLaws.js"

// The same laws run for as long as one likes with `npm run fuzz -- groups`.
describe("laws of groups", () => {
  for (const { cases, holds, title } of laws) {
    it.live.prop(title, [cases], ([given]) => VirtualClock.run(holds(given)), {
      fastCheck: { numRuns: 30, endOnFailure: true }
    })
  }
})
