import { copyFileSync, existsSync, mkdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath, pathToFileURL } from "node:url"
import { expect } from "@effect/vitest"
import { Effect, Layer, Logger } from "effect"
import * as ClusterExecutor from "../../../src/services/cluster/ClusterExecutor.js"
import * as Runner from "../../../src/services/cluster/Runner.js"
import * as Executor from "../../../src/services/thread/Executor.js"
import * as Job from "../../../src/services/thread/Job.js"
import * as Aio from "../../support/Aio.js"

// A cluster in the test's process, over an SQLite file: what the tests of its parts share.

export const jobs = fileURLToPath(new URL("../../fixtures/cluster/jobs.mjs", import.meta.url))

/** A folder with the code, and a store in it. */
export const place = () => {
  const folder = Aio.folder()
  const code = join(folder, "code")
  mkdirSync(code)
  copyFileSync(jobs, join(code, "jobs.mjs"))
  const file = join(code, "jobs.mjs")
  return { folder, code, file, store: join(folder, "jobs.sqlite"), url: pathToFileURL(file) }
}
export type Place = ReturnType<typeof place>

export const runnerOf = ({ code, store }: Place, options: Partial<Runner.Options> = {}, maxWorkers = 2) =>
  Layer.provide(
    Runner.layer({ store, code, heartbeat: 100, ...options }),
    Executor.layerThreads({ maxWorkers, grace: 0 })
  )
export const submitter = ({ code, store }: Place, options: Partial<ClusterExecutor.Options> = {}) =>
  ClusterExecutor.layer({ store, code, ...options })
export const job = <F extends (...args: any) => unknown>({ url }: Place, name: string) =>
  Job.fromModule<F>(url, name)

export const lines = (file: string) =>
  existsSync(file) ? readFileSync(file, "utf8").trim().split("\n").map(Number) : []
export const until = (holds: () => boolean) =>
  Effect.repeat(Effect.sleep(5), { until: holds, times: 2000 }).pipe(
    Effect.tap(() => expect(holds()).toBe(true))
  )
export const range = (n: number) => Array.from({ length: n }, (_, i) => i)
export const quiet = Logger.remove(Logger.defaultLogger)
