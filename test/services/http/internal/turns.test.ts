import { describe, expect, it } from "@effect/vitest"
import { Turns } from "../../../../src/services/http/internal/turns.js"

/** Turns whose clock and event loop are driven by the test; a request takes `cost` ms. */
const make = (waitTime: number, cost: number) => {
  const seen: Array<string> = []
  let now = 1000
  let pending: (() => void) | undefined
  const begin = (name: string) => {
    seen.push(name)
    now += cost
  }
  const turns: Turns<string> = new Turns<string>(
    waitTime,
    (name, isLate) => (isLate ? void seen.push(`${name} late`) : begin(name)),
    () => now,
    (turned) => (pending = turned)
  )
  return {
    seen,
    turns,
    pass: (ms: number) => (now += ms),
    /** The end of a turn; false if the loop is not kept awake. */
    turn: () => {
      const turned = pending
      pending = undefined
      turned?.()
      return turned !== undefined
    },
    arrive: (name: string) => {
      const entered = turns.enter(name)
      if (entered === "begin") begin(name)
      if (entered === "refuse") seen.push(`${name} refused`)
    }
  }
}

describe("turns", () => {
  it("requests begin at once while the turn is short, the others in order in later turns", () => {
    const { arrive, seen, turn } = make(1000, 3)
    for (const name of ["a", "b", "c", "d", "e"]) arrive(name)
    expect(seen).toEqual(["a", "b"])
    turn()
    expect(seen).toEqual(["a", "b", "c", "d"])
    arrive("f")
    turn()
    expect(seen).toEqual(["a", "b", "c", "d", "e", "f"])
  })

  it("the loop is not kept awake without requests", () => {
    const { arrive, turn } = make(1000, 1)
    arrive("a")
    expect([turn(), turn(), turn()]).toEqual([true, true, false])
  })

  it("connections are accepted first, at most so many in a row", () => {
    const { arrive, seen, turn, turns } = make(10_000, 1)
    turns.accepted()
    arrive("a")
    for (let n = 0; n < 20; n++) {
      expect(seen).toEqual([])
      turn()
      turns.accepted()
    }
    for (let n = 0; n < 20; n++) {
      turn()
      turns.accepted()
    }
    expect(seen).toEqual(["a"])
  })

  it("what has waited too long is late, and what would wait too long is refused at once", () => {
    const { arrive, pass, seen, turn } = make(100, 10)
    for (let n = 0; n < 20; n++) arrive(`${n}`)
    for (let n = 0; n < 17; n++) turn()
    expect(seen.filter((name) => name.endsWith("late"))).not.toEqual([])
    pass(1)
    for (let n = 20; n < 60; n++) arrive(`${n}`)
    expect(seen.at(-1)).toBe("59 refused")
  })

  it("what has left does not begin", () => {
    const { arrive, seen, turn, turns } = make(1000, 5)
    for (const name of ["a", "b", "c"]) arrive(name)
    expect([turns.leave("b"), turns.leave("a")]).toEqual([true, false])
    turn()
    turn()
    expect(seen).toEqual(["a", "c"])
  })
})
