import { assert, beforeAll, describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Output from "../../src/services/host/Output.js"
import * as VirtualClock from "../../src/services/time/VirtualClock.js"
import type { Case } from "./Case.js"
import { divergences } from "./divergences.js"
import * as Python from "./Python.js"

// Each case is a Python program and its counterpart here; the lines that they print are the events that are compared.

const here = async (name: string): Promise<ReadonlyArray<string>> => {
  const { clock, default: program } = (await import(`./cases/${name}.ts`)) as Case
  const printed = Effect.gen(function* () {
    const { stdout } = yield* Output.Captured
    yield* clock === "live" ? program : VirtualClock.run(program)
    return stdout
  })
  return await Effect.runPromise(Effect.provide(printed, Output.layerTest))
}

describe("parity", () => {
  it("has a counterpart for each Python program, and divergences of these only", () => {
    expect(Python.counterparts).toEqual(Python.programs)
    expect(Python.programs).toEqual(expect.arrayContaining(divergences.map((divergence) => divergence.case)))
    expect(new Set(divergences.map((divergence) => divergence.case)).size).toBe(divergences.length)
  })

  describe.skipIf(Python.missing !== undefined)(`with ${Python.python}`, () => {
    // Before any counterpart runs: a child process would hold the virtual clock.
    let runs: ReadonlyMap<string, Python.Ended>
    beforeAll(async () => {
      runs = await Python.runAll()
    })

    it.for(Python.programs)("%s", async (name, { skip }) => {
      const { code, stderr, stdout } = runs.get(name)!
      if (code !== 77) assert.deepStrictEqual({ code, stderr }, { code: 0, stderr: "" })
      const printed = await here(name)
      const divergence = divergences.find((divergence) => divergence.case === name)
      if (divergence !== undefined) {
        assert.deepStrictEqual(printed, divergence.here)
        assert.notDeepEqual(divergence.here, divergence.python)
      }
      if (code === 77) {
        console.warn(`parity: ${name} is not compared: ${stderr.trim()}`)
        return skip(stderr.trim())
      }
      assert.deepStrictEqual(stdout, divergence?.python ?? printed)
    })
  })
})
