import { Effect, Fiber } from "effect"
import * as EventLoop from "../../src/services/task/EventLoop.js"

/** Waits until the condition holds: a test orders what it starts by what it sees, never by turns or by time. */
export const until = (condition: () => boolean): Effect.Effect<void> =>
  Effect.repeat(EventLoop.nextTurn, { until: condition })

/** Waits until the fiber itself waits, or has ended. */
export const suspended = (fiber: Fiber.RuntimeFiber<any, any>): Effect.Effect<void> =>
  Effect.asVoid(
    Effect.repeat(Effect.zipRight(EventLoop.nextTurn, Fiber.status(fiber)), {
      until: (status): boolean => status._tag !== "Running"
    })
  )
