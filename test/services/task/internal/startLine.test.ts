import { describe, expect, it } from "@effect/vitest"
import { FastCheck } from "effect"
import * as startLine from "../../../../src/services/task/internal/startLine.js"

describe("startLine", () => {
  // The model: a list, sorted by priority, stable.
  it.prop(
    "is a list sorted by priority and order, whatever is added, removed and taken",
    [
      FastCheck.array(
        FastCheck.oneof(
          FastCheck.record({ add: FastCheck.integer({ min: -2, max: 2 }) }),
          FastCheck.record({ remove: FastCheck.nat() }),
          FastCheck.constant({ shift: true })
        ),
        { maxLength: 300, size: "max" }
      )
    ],
    ([steps]) => {
      const line = startLine.make()
      const added: Array<startLine.Waiter> = []
      let model: Array<startLine.Waiter> = []
      for (const step of steps) {
        if ("add" in step) {
          const waiter = line.add(step.add, () => undefined)
          added.push(waiter)
          model.push(waiter)
          model.sort((a, b) => b.priority - a.priority || a.order - b.order)
        } else if ("remove" in step && added.length > 0) {
          const waiter = added[step.remove % added.length]!
          expect(line.remove(waiter)).toBe(model.includes(waiter))
          model = model.filter((one) => one !== waiter)
        } else if ("shift" in step) expect(line.shift()).toBe(model.shift())
      }
      for (const waiter of model) expect(line.shift()).toBe(waiter)
      expect(line.shift()).toBeUndefined()
    }
  )

  it("adds, removes and takes 100,000 in about linear time", () => {
    const line = startLine.make()
    const waiters = Array.from({ length: 100_000 }, (_, n) => line.add(n % 7, () => undefined))
    for (const waiter of waiters.slice(1)) line.remove(waiter)
    expect(line.shift()).toBe(waiters[0])
  })
})
