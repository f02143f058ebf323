import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, describe, expect, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import * as Schedules from "../../../src/services/cluster/Schedules.js"
import * as Store from "../../../src/services/cluster/Store.js"
import { every, later, scheduleContract, server } from "./scheduleContract.js"

const folder = mkdtempSync(join(tmpdir(), "aio-schedules-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
let files = 0

scheduleContract("Schedules, SQLite", () =>
  Store.layer({ _tag: "Sqlite", file: join(folder, `${++files}.sqlite`) }, [Schedules.tables])
)

const store = () =>
  Store.layer({ _tag: "Sqlite", file: join(folder, `${++files}.sqlite`) }, [Schedules.tables])

describe("Schedules, SQLite", () => {
  // As on a disk without space: the file cannot grow.
  const full = Effect.flatMap(Store.Store, ({ use }) =>
    use((sql) =>
      Effect.flatMap(sql`PRAGMA page_count`, ([row]) =>
        sql.unsafe(`PRAGMA max_page_count = ${row!["page_count"]}`)
      )
    )
  )
  const large = "x".repeat(100_000)

  it.live("refuses a schedule when the disk is full, and keeps those that it has", () =>
    Effect.gen(function* () {
      const id = yield* Schedules.add("tea", every(60_000))
      yield* full
      const error = yield* Effect.flip(Schedules.add(large, every(60_000)))
      expect(error).toMatchObject({ _tag: "StoreError", exitCode: 1, isTransient: true })
      expect(error.message).toMatch(/: the disk is full$/)
      expect((yield* Schedules.list()).map((one) => one.id)).toEqual([id])
    }).pipe(Effect.provide(store()))
  )

  it.live("records the end of a run when the disk has space again, and reports that it had none", () =>
    Effect.gen(function* () {
      const { use } = yield* Store.Store
      const id = yield* Schedules.add("tea", later(0))
      const context = yield* Effect.context<Store.Store>()
      const { events, serve } = server(() =>
        Effect.as(Effect.orDie(Effect.provide(full, context)), {
          status: "failed",
          reason: large,
          exitCode: 1
        } as const)
      )
      const fiber = yield* Effect.fork(Effect.scoped(serve))
      yield* Effect.repeat(Effect.sleep(20), { until: () => events.some(({ event }) => event === "note") })
      yield* use((sql) => sql`PRAGMA max_page_count = 100000`)
      yield* Fiber.join(fiber)
      expect((yield* Schedules.show(id)).last).toMatchObject({ status: "failed", reason: large })
    }).pipe(Effect.provide(store()))
  )
})
