import { existsSync, readFileSync } from "node:fs"
import { setTimeout as sleep } from "node:timers/promises"
import { afterEach, expect } from "vitest"
import * as Aio from "./Aio.js"

// Processes of `aio` that a test starts and that are ended after it, and files that they write line by line.

/** Starts `aio` in a folder; what is left of it after the test is killed. */
export const starter = () => {
  const started = new Set<Aio.Running>()
  afterEach(async () => {
    for (const running of started) running.kill("SIGKILL")
    await Promise.all([...started].map(({ ended }) => ended))
    started.clear()
  })
  return (args: ReadonlyArray<string>, options: Aio.SpawnOptions): Aio.Running => {
    const running = Aio.start(args, { input: "ignore", ...options })
    started.add(running)
    return running
  }
}

/** The lines of a file; none if it is not there. */
export const lines = (file: string): ReadonlyArray<string> =>
  existsSync(file) ? readFileSync(file, "utf8").trim().split("\n") : []

/** Waits until a file has so many lines. */
export const untilLines = async (file: string, n: number): Promise<void> => {
  for (let i = 0; i < 3000 && lines(file).length < n; i++) await sleep(10)
  expect(lines(file).length).toBeGreaterThanOrEqual(n)
}
