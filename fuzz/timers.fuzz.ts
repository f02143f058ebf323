import { Effect, FastCheck } from "effect"
import * as laws from "../test/support/timerLaws.js"
import { campaign } from "./Campaign.js"

campaign(
  "Timers: VirtualClock and TestClock run a plan as the model",
  FastCheck.asyncProperty(laws.plans, (given) => Effect.runPromise(laws.virtualIsTest(given)))
)
campaign(
  "Timers: the live clock runs calls in order",
  FastCheck.asyncProperty(laws.deadlines, (given) => Effect.runPromise(laws.liveIsOrdered(given)))
)
