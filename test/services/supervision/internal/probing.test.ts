import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Option } from "effect"
import type * as Processes from "../../../../src/services/process/Processes.js"
import * as probing from "../../../../src/services/supervision/internal/probing.js"
import * as serviceRun from "../../../../src/services/supervision/internal/serviceRun.js"
import * as Probes from "../../../../src/services/supervision/Probes.js"
import * as VirtualClock from "../../../../src/services/time/VirtualClock.js"

describe("probing", () => {
  const play = (
    ready: { readonly port: number; readonly host?: string },
    owned: (now: number) => boolean | undefined
  ) =>
    Effect.gen(function* () {
      const state = serviceRun.makeState()
      state.child = {
        listens: () => Effect.map(Clock.currentTimeMillis, (now) => Option.fromNullable(owned(now)))
      } as unknown as Processes.Process
      const { untilItAnswers } = probing.make({} as never, yield* Probes.Probes, "1 second")
      const message = yield* Effect.merge(Effect.as(untilItAnswers(ready, state), "ready"))
      return `${typeof message === "string" ? message : message.message} at ${yield* Clock.currentTimeMillis}`
    }).pipe(Effect.provide(Probes.layerTest({ port: () => Effect.succeed(true) })), VirtualClock.run())

  it.live(
    "waits until the open port is that of the service, and fails when it stays another's for 10 s",
    () =>
      Effect.gen(function* () {
        assert.strictEqual(yield* play({ port: 80 }, (now) => now >= 2000), "ready at 2000")
        assert.strictEqual(
          yield* play({ port: 80 }, () => false),
          "port 80 is open, but no process of this service listens on it at 9750"
        )
        // Where the system does not show it, and for a host that is named, any answer counts.
        assert.strictEqual(yield* play({ port: 80 }, () => undefined), "ready at 0")
        assert.strictEqual(yield* play({ port: 80, host: "localhost" }, () => false), "ready at 0")
      })
  )
})
