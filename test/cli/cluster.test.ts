import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { afterAll, afterEach, describe, expect, it } from "vitest"
import * as Aio from "../support/Aio.js"

// aio runner and aio executor --cluster as processes, over an SQLite file. On PostgreSQL, with faults:
// test/network/cluster.services.test.ts.

const fixture = fileURLToPath(new URL("../fixtures/cluster/jobs.mjs", import.meta.url))

afterAll(Aio.removeFolders)
const started = new Set<Aio.Running>()
afterEach(async () => {
  for (const running of started) running.kill("SIGKILL")
  await Promise.all([...started].map(({ ended }) => ended))
  started.clear()
})

const place = () => {
  const folder = Aio.folder()
  const code = join(folder, "code")
  mkdirSync(code)
  copyFileSync(fixture, join(code, "jobs.mjs"))
  const options = {
    cwd: code,
    env: { AIO_RUNNER_STORE: "../jobs.sqlite", AIO_EXECUTOR_CLUSTER: "../jobs.sqlite" }
  }
  const start = (...words: ReadonlyArray<string>) => {
    const running = Aio.start(words, { ...options, input: "ignore" })
    started.add(running)
    return running
  }
  const runner = async (...words: ReadonlyArray<string>) => {
    const running = start("runner", "--max-workers", "2", ...words)
    await running.shows("at once")
    return running
  }
  const objects = join(folder, "objects", "aio-jobs")
  return {
    folder,
    runner,
    start,
    executor: (...words: ReadonlyArray<string>) => start("executor", ...words).ended,
    objects: () => (existsSync(objects) ? readdirSync(objects) : [])
  }
}
const ran = (file: string) => (existsSync(file) ? readFileSync(file, "utf8").trim().split("\n") : [])
const storage = ["--storage", "../objects"]

describe("aio executor --cluster", () => {
  it("prints results that are too large for the store, and leaves none in the storage", async () => {
    const { executor, objects, runner } = place()
    await runner(...storage, "--max-result", "1K")
    const { code, stdout } = await executor(
      ...storage,
      "--format",
      "ndjson",
      "jobs.mjs#large",
      "3",
      "3000",
      "5"
    )
    expect({ code, stdout }).toEqual({ code: 0, stdout: `xxx\n${"x".repeat(3000)}\nxxxxx\n` })
    expect(objects()).toEqual([])
    const without = await executor("--format", "ndjson", "jobs.mjs#large", "3000")
    expect(without.code).toBe(1)
    expect(without.stderr).toContain("it is in a storage, and none is given here; expected --storage")
  })

  it("--run continues a run that was killed with results in the storage, and none runs again", async () => {
    const { executor, folder, objects, runner, start } = place()
    await runner(...storage, "--max-result", "1K")
    const file = join(folder, "ran")
    const go = join(folder, "go")
    const items = [0, 1, 2].map((n) => {
      const until = n === 2 ? join(folder, "never") : go
      return JSON.stringify({ file, n, until, bytes: 2000 + n })
    })
    writeFileSync(go, "")
    const words = [...storage, "--format", "ndjson"]
    const killed = start("executor", ...words, "jobs.mjs#heldLarge", ...items)
    await killed.shows("x".repeat(2001))
    killed.kill("SIGKILL")
    const [, run = ""] = /^run ([\w-]{36});/.exec((await killed.ended).stderr) ?? []
    expect(objects()).toHaveLength(2)
    writeFileSync(join(folder, "never"), "")
    const { code, stdout } = await executor(...words, "--run", run, "jobs.mjs#heldLarge", ...items)
    expect({ code, lines: stdout.split("\n").map(({ length }) => length) }).toEqual({
      code: 0,
      lines: [2000, 2001, 2002, 0]
    })
    expect(ran(file).sort()).toEqual(["0", "1", "2"])
    expect(objects()).toEqual([])
  })

  it("--run with another function, group or id is wrong usage, and takes the run from no submitter", async () => {
    const { executor, folder, runner, start } = place()
    await runner()
    const until = join(folder, "go")
    const item = JSON.stringify({ file: join(folder, "ran"), n: 7, until })
    const first = start("executor", "--format", "ndjson", "jobs.mjs#held", item)
    await first.shows("run ")
    for (let i = 0; i < 1000 && ran(join(folder, "ran")).length === 0; i++) await sleep(10)
    const listed = (await start("runner", "--list", "--json").ended).stdout.trim().split("\n")
    const kinds = listed.map((line) => JSON.parse(line))
    expect(kinds.find(({ kind }) => kind === "runner")).toMatchObject({ grp: "default", offers: [] })
    const run: string = kinds.find(({ kind }) => kind === "run").id
    for (const [words, line] of [
      [["--run", run, "jobs.mjs#inc"], `the run ${run} is of jobs.mjs#held, version`],
      [
        ["--run", run, "--group", "other", "jobs.mjs#held"],
        `the run ${run} belongs to the group default, not other`
      ],
      [
        ["--run", "nothing", "jobs.mjs#held"],
        "the store has no run 'nothing'; it has ended, or the id is wrong"
      ]
    ] as const) {
      const { code, stderr, stdout } = await executor("--format", "ndjson", ...words, item)
      expect({ code, stdout, lines: stderr.trim().split("\n").length }).toEqual({
        code: 2,
        stdout: "",
        lines: 1
      })
      expect(stderr).toContain(line)
    }
    writeFileSync(until, "")
    expect(await first.ended).toMatchObject({ code: 0, stdout: "7\n" })
  })

  it("refuses --storage that is none, or without --cluster", async () => {
    const { executor, start } = place()
    for (const ended of [
      executor("--storage", "ftp://x", "jobs.mjs#inc", "1"),
      start("runner", "--storage", "ftp://x").ended
    ]) {
      expect(await ended).toMatchObject({
        code: 2,
        stdout: "",
        stderr: expect.stringContaining("storage: 'ftp:…' is no storage; expected a folder or s3://BUCKET")
      })
    }
    const alone = await Aio.run(["executor", "--storage", "x", "jobs.mjs#inc", "1"])
    expect(alone.code).toBe(2)
  })
})
