import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll } from "@effect/vitest"
import * as Schedules from "../../../src/services/cluster/Schedules.js"
import * as Store from "../../../src/services/cluster/Store.js"
import { scheduleContract } from "./scheduleContract.js"

const folder = mkdtempSync(join(tmpdir(), "aio-schedules-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
let files = 0

scheduleContract("Schedules, SQLite", () =>
  Store.layer({ _tag: "Sqlite", file: join(folder, `${++files}.sqlite`) }, [Schedules.tables])
)
