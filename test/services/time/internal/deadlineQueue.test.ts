import { describe, expect, it } from "@effect/vitest"
import * as fc from "effect/FastCheck"
import { type Entry, Heap, Line } from "../../../../src/services/time/internal/deadlineQueue.js"

const byDeadline = (a: Entry, b: Entry) => a.deadline - b.deadline || a.id - b.id

// Adds with a deadline, or takes out: the first, or the one at this place of those that are left.
const steps = fc.array(
  fc.oneof(
    { weight: 3, arbitrary: fc.integer({ min: 0, max: 20 }).map((deadline) => ({ deadline })) },
    { weight: 1, arbitrary: fc.constant("first" as const) },
    { weight: 1, arbitrary: fc.nat(1000).map((at) => ({ at })) }
  ),
  { maxLength: 400 }
)

describe.each([
  ["Heap", () => new Heap<Entry>()],
  ["Line", () => new Line<Entry>()]
] as const)("%s", (_, make) => {
  it("takes the rest in order of deadline, then of request, whatever is removed from its middle", () => {
    fc.assert(
      fc.property(steps, fc.boolean(), (steps, inOrder) => {
        const queue = make()
        let left: Array<Entry> = []
        let id = 0
        for (const step of steps) {
          if (typeof step === "object" && "deadline" in step) {
            const last = left.at(-1)?.deadline ?? 0
            const entry = {
              deadline: inOrder ? last + (step.deadline % 3) : step.deadline,
              id: id++,
              place: -1
            }
            left.push(entry)
            queue.add(entry)
          } else if (left.length > 0) {
            const entry = step === "first" ? queue.first! : left[step.at % left.length]!
            queue.delete(entry)
            expect(entry.place).toBe(-1)
            left = left.filter((one) => one !== entry)
          }
          left.sort(byDeadline)
          expect(queue.first).toBe(left[0])
        }
        expect([...queue.entries].sort(byDeadline)).toEqual(left)
        for (const entry of left) {
          expect(queue.first).toBe(entry)
          queue.delete(entry)
        }
        expect(queue.first).toBeUndefined()
      })
    )
  })
})

describe("Line", () => {
  const filled = (...deadlines: ReadonlyArray<number>) => {
    const line = new Line<Entry>()
    const entries = deadlines.map((deadline, id) => ({ deadline, id, place: -1 }))
    for (const entry of entries) line.add(entry)
    return { line, entries }
  }

  it("takes all at once when all are due and were added in order", () => {
    const { entries, line } = filled(1, 2, 2)
    expect(line.takeAll(1)).toBeUndefined()
    expect(line.takeAll(2)).toEqual(entries)
    expect(line.first).toBeUndefined()
    // A place from before means nothing to what came since.
    const next = { deadline: 1, id: 9, place: -1 }
    line.add(next)
    for (const entry of entries) line.delete(entry)
    expect(line.first).toBe(next)
  })

  it("does not if one was added out of order, or one was removed", () => {
    expect(filled(2, 1).line.takeAll(9)).toBeUndefined()
    const { entries, line } = filled(1, 2, 3)
    line.delete(entries[1]!)
    expect(line.takeAll(9)).toBeUndefined()
  })
})
