import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Observer from "../../../src/services/cluster/internal/observer.js"
import type { Queue } from "../../../src/services/cluster/internal/queue.js"

describe("observer", () => {
  it.effect.each([20, 100, 2000])(
    "gives a submitter a minute without a beat, with a heartbeat of %d ms",
    (heartbeat) =>
      Effect.gen(function* () {
        const abandoned: Array<string> = []
        const queue = {
          beats: () => Effect.succeed({ runners: [], runs: [{ id: "run", beat: 7 }] }),
          abandon: (id: string) => Effect.sync(() => abandoned.push(id))
        }
        const { look } = Observer.make({ queue: queue as unknown as Queue, group: "default", heartbeat })
        const looks = 60_000 / heartbeat
        for (let i = 0; i < looks; i++) yield* look("me")
        expect(abandoned).toEqual([])
        yield* look("me")
        expect(abandoned).toEqual(["run"])
      })
  )
})
