import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, describe, expect, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import * as DurableWorkflows from "../../../src/services/cluster/DurableWorkflows.js"
import * as Store from "../../../src/services/cluster/Store.js"
import { workflowContract } from "./workflowContract.js"

const folder = mkdtempSync(join(tmpdir(), "aio-workflows-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
let files = 0

const fresh = () =>
  Layer.fresh(
    Store.layer({ _tag: "Sqlite", file: join(folder, `${++files}.sqlite`) }, [DurableWorkflows.tables])
  )

workflowContract("DurableWorkflows, SQLite", fresh)

describe("DurableWorkflows", () => {
  it.scopedLive("refuses a store whose workflows are newer, and leaves it as it is", () =>
    Effect.gen(function* () {
      const location = { _tag: "Sqlite", file: join(folder, "newer.sqlite") } as const
      const { use } = yield* Store.open(location, [DurableWorkflows.tables])
      yield* use((sql) => sql`UPDATE aio_schema SET version = 9 WHERE name = 'workflows'`)
      const layer = Layer.provide(DurableWorkflows.layer(), Store.layer(location, [DurableWorkflows.tables]))
      const error = yield* Effect.flip(Effect.scoped(Layer.build(layer)))
      expect(error.message).toContain(
        "its workflows have version 9, and this program knows 1; use a newer aio"
      )
      expect(yield* use((sql) => sql`SELECT * FROM aio_workflow_workers`)).toEqual([])
    })
  )
})
