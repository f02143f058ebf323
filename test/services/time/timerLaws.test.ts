import { describe, it } from "@effect/vitest"
import * as laws from "../../support/timerLaws.js"

// The same laws run for as long as one likes with `npm run fuzz -- timers`.
describe("laws of timers", () => {
  it.live.prop(
    "VirtualClock and TestClock run a plan as the model",
    [laws.plans],
    ([given]) => laws.virtualIsTest(given),
    {
      fastCheck: { numRuns: 30, endOnFailure: true }
    }
  )

  it.live.prop(
    "the live clock runs calls in order",
    [laws.deadlines],
    ([given]) => laws.liveIsOrdered(given),
    {
      fastCheck: { numRuns: 30, endOnFailure: true }
    }
  )
})
