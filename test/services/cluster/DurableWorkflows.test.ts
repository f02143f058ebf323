import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll } from "@effect/vitest"
import { Layer } from "effect"
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
