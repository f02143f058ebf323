import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, describe, expect, it } from "@effect/vitest"
import { Deferred, Effect, Layer } from "effect"
import * as DurableTimers from "../../../src/services/cluster/DurableTimers.js"
import * as Schedules from "../../../src/services/cluster/Schedules.js"
import * as Store from "../../../src/services/cluster/Store.js"
import { durableTimersContract, mail, mailer, quiet } from "./durableTimersContract.js"

const folder = mkdtempSync(join(tmpdir(), "aio-timers-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
let files = 0

/** A store in a file of its own; each layer that is made from it opens the file anew. */
const storeOf = () => {
  const file = join(folder, `${++files}.sqlite`)
  return () => Layer.fresh(Store.layer({ _tag: "Sqlite", file }, [Schedules.tables]))
}
durableTimersContract("DurableTimers", () => storeOf()())

describe("DurableTimers in a file", () => {
  it.scopedLive(
    "waits at its end for the runs in progress, and is refused while another layer serves the file",
    () => {
      const store = storeOf()
      return Effect.gen(function* () {
        const started = yield* Deferred.make<void>()
        const { timer } = mailer(() =>
          Effect.zipRight(Deferred.succeed(started, undefined), Effect.sleep(100))
        )
        const id = yield* Effect.gen(function* () {
          const timers = yield* DurableTimers.DurableTimers
          const { id } = yield* timers.callLater(timer, 0, mail)
          yield* Deferred.await(started)
          const second = Layer.provide(DurableTimers.layer([timer], quiet), store())
          const error = yield* Effect.flip(Effect.scoped(Layer.build(second)))
          expect(error).toMatchObject({ _tag: "AlreadyServed", pid: process.pid })
          return id
        }).pipe(Effect.provide(Layer.provide(DurableTimers.layer([timer], quiet), store())))
        const { runs } = yield* Effect.provide(Schedules.show(id), store())
        expect(runs).toMatchObject([{ status: "succeeded" }])
      })
    }
  )
})
