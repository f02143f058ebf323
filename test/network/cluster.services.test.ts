import { spawnSync } from "node:child_process"
import { chmodSync, copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { afterAll, afterEach, beforeAll, describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Storage from "../../src/services/network/Storage.js"
import * as Aio from "../support/Aio.js"
import * as Postgres from "./postgres.js"
import { configured, settings } from "./settings.js"

// Runners and submitters as processes, over PostgreSQL, and what goes wrong between them. In each test every job has one
// result in the output, whatever happened: nothing is lost, and nothing is done twice on record. How often a job ran is in a
// file: at least once.

const fixture = fileURLToPath(new URL("../fixtures/cluster/jobs.mjs", import.meta.url))

let postgres: Postgres.Postgres
const folder = Aio.folder()
const code = join(folder, "code")
beforeAll(async () => {
  mkdirSync(code)
  copyFileSync(fixture, join(code, "jobs.mjs"))
  postgres = await Postgres.make()
})
afterAll(async () => {
  await postgres.remove()
  Aio.removeFolders()
})

const started = new Set<Aio.Running>()
afterEach(async () => {
  for (const running of started) running.kill("SIGKILL")
  await Promise.all([...started].map(({ ended }) => ended))
  started.clear()
})
const start = (args: ReadonlyArray<string>) => {
  const running = Aio.start(args, { cwd: code, input: "ignore" })
  started.add(running)
  return running
}

const runner = async (store = postgres.url, ...more: ReadonlyArray<string>) => {
  const running = start(["runner", "--store", store, "--max-workers", "2", ...more])
  await running.shows("at once")
  return running
}
let tests = 0
/** Submits jobs that note that they run: `n` of them, `ms` each. */
const submit = (n: number, ms: number, ...more: ReadonlyArray<string>) => {
  const file = join(folder, `ran-${++tests}`)
  const items = join(folder, `items-${tests}.ndjson`)
  writeFileSync(
    items,
    Array.from({ length: n }, (_, i) => `${JSON.stringify({ file, ms, n: i })}\n`).join("")
  )
  const words = [
    "executor",
    "--cluster",
    postgres.url,
    "--format",
    "ndjson",
    "-a",
    items,
    ...more,
    "jobs.mjs#noted"
  ]
  return { file, running: start(words), words }
}
const ran = (file: string) => (existsSync(file) ? readFileSync(file, "utf8").trim().split("\n") : [])
const untilRan = async (file: string, n: number) => {
  for (let i = 0; i < 3000 && ran(file).length < n; i++) await sleep(10)
  expect(ran(file).length).toBeGreaterThanOrEqual(n)
}
/** All results, each once and in order. */
const whole = async ({ running }: { readonly running: Aio.Running }, n: number) => {
  const { code, stderr, stdout } = await running.ended
  expect(code, stderr).toBe(0)
  expect(stdout).toBe(Array.from({ length: n }, (_, i) => `${i}\n`).join(""))
}
const list = async () => (await Aio.run(["runner", "--store", postgres.url, "--list"])).stdout

describe("a cluster", { timeout: 120_000 }, () => {
  it("kill -9 of a runner: its jobs run on the other one", async () => {
    const [first] = await Promise.all([runner(), runner()])
    const submitted = submit(60, 100)
    await untilRan(submitted.file, 10)
    first.kill("SIGKILL")
    await whole(submitted, 60)
    expect(new Set(ran(submitted.file)).size).toBe(60)
  })

  it("kill -9 of the submitter: --run continues, and what has a result does not run again", async () => {
    await runner()
    const submitted = submit(40, 50)
    await untilRan(submitted.file, 10)
    submitted.running.kill("SIGKILL")
    const { stderr } = await submitted.running.ended
    const [, run = ""] = /^run ([\w-]{36});/.exec(stderr) ?? []
    const running = start([...submitted.words.slice(0, -1), "--run", run, "jobs.mjs#noted"])
    await whole({ running }, 40)
    expect(ran(submitted.file)).toHaveLength(40)
    expect(await list()).not.toContain(run)
  })

  it("Ctrl-C of the submitter: its jobs are cancelled on their runner, and its run is gone", async () => {
    const one = await runner(postgres.url, "--health", "0")
    await one.shows("/health")
    const submitted = submit(20, 60_000)
    await untilRan(submitted.file, 2)
    submitted.running.kill("SIGINT")
    expect((await submitted.running.ended).code).toBe(130)
    // Both workers are free again.
    await whole(submit(4, 0), 4)
    expect(await list()).not.toContain("run ")
    expect(ran(submitted.file)).toHaveLength(2)
  })

  it("PostgreSQL killed and started again: runners and submitters go on", async () => {
    await Promise.all([runner(), runner()])
    const submitted = submit(100, 50)
    await untilRan(submitted.file, 20)
    await postgres.kill()
    await sleep(2000)
    await postgres.start()
    await whole(submitted, 100)
    // Nothing was dead: no job has run twice.
    expect(ran(submitted.file)).toHaveLength(100)
    await whole(submit(10, 0), 10)
  })

  // AIO_SOAK_STOP: seconds.
  const stopped = Number(process.env["AIO_SOAK_STOP"] ?? 20)
  it("SIGSTOP of a runner for a while: its jobs run elsewhere, and when it wakes its results are dropped", async () => {
    const [first] = await Promise.all([runner(), runner()])
    const submitted = submit(40, 200)
    await untilRan(submitted.file, 10)
    first.kill("SIGSTOP")
    const since = performance.now()
    await whole(submitted, 40)
    const took = performance.now() - since
    await sleep(Math.max(0, 1000 * stopped - took))
    // A run that is not over when it wakes: what it had claimed has another owner, and nothing of it is on record.
    const next = submit(20, 300)
    first.kill("SIGCONT")
    await first.shows("declared")
    await whole(next, 20)
    // Nothing twice on record: of the first run only what had no result ran again.
    const twice = ran(submitted.file).filter((n, i, all) => all.indexOf(n) !== i)
    expect(new Set(twice).size).toBe(twice.length)
    expect(await list()).not.toContain("poison")
  })

  it.each(["aio_runners", "aio_jobs"])(
    "%s locked for 6 s: what its owners recorded still counts",
    async (table) => {
      await Promise.all([runner(), runner()])
      const submitted = submit(60, 100)
      await untilRan(submitted.file, 10)
      const locked = await postgres.ask(`BEGIN; LOCK TABLE ${table} IN ACCESS EXCLUSIVE MODE`)
      await sleep(6000)
      await locked.end()
      await whole(submitted, 60)
      expect(await list()).not.toContain("poison")
      // Both runners are still at work, or have begun anew.
      await whole(submit(10, 0), 10)
    }
  )

  it("no heartbeat can be written, for want of space: the runners end with 1, and others finish", async () => {
    const impatient = () => runner(postgres.url, "--dead-after", "3s")
    const runners = await Promise.all([impatient(), impatient()])
    const submitted = submit(60, 200)
    await untilRan(submitted.file, 10)
    const fails = `CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN RAISE EXCEPTION 'no space left' USING ERRCODE = '53100'; END $$;
      CREATE TRIGGER full_disk BEFORE UPDATE ON aio_runners EXECUTE FUNCTION full_disk()`
    await (await postgres.ask(fails)).end()
    for (const one of runners) {
      const { code, stderr } = await one.ended
      expect({ code, stderr }).toMatchObject({
        code: 1,
        stderr: expect.stringContaining("heartbeat not done in 3s")
      })
    }
    await (await postgres.ask("DROP TRIGGER full_disk ON aio_runners; DROP FUNCTION full_disk")).end()
    await runner()
    await whole(submitted, 60)
    expect(new Set(ran(submitted.file)).size).toBe(60)
  })

  it("a result of some MiB goes through S3, and none is left there", async () => {
    const env = { ...settings }
    const bucket = ["--storage", `s3://${settings["S3_BUCKET"]}`]
    const one = Aio.start(["runner", "--store", postgres.url, ...bucket], { cwd: code, env, input: "ignore" })
    started.add(one)
    await one.shows("at once")
    const words = ["executor", "--cluster", postgres.url, ...bucket, "--format", "ndjson", "jobs.mjs#large"]
    const { code: exit, stderr, stdout } = await Aio.run([...words, "3000000", "5"], { cwd: code, env })
    expect(stderr).not.toContain("Failed")
    expect({ exit, length: stdout.length }).toEqual({ exit: 0, length: 3_000_007 })
    const left = Effect.flatMap(Storage.Storage, ({ list }) => list("aio-jobs/"))
    expect(await Effect.runPromise(Effect.provide(left, configured(Storage.layer)))).toEqual([])
  })

  const ways: ReadonlyArray<Postgres.Cut> = ["requests", "answers"]
  it.each(ways)(
    "a partition in one direction (%s) between a runner and PostgreSQL: its jobs run elsewhere; mended, it begins anew",
    async (how) => {
      const between = await Postgres.proxy(postgres.port)
      const [first] = await Promise.all([runner(between.url, "--dead-after", "5m"), runner()])
      const submitted = submit(40, 200)
      await untilRan(submitted.file, 10)
      between.cut(how)
      await whole(submitted, 40)
      between.mend()
      await first.shows("declared")
      await whole(submit(10, 0), 10)
      between.close()
    }
  )

  it("a runner that is cut off ends with 1 for its supervisor", async () => {
    const between = await Postgres.proxy(postgres.port)
    const one = await runner(between.url, "--dead-after", "3s")
    between.cut()
    const ended = await one.ended
    expect(ended.code).toBe(1)
    expect(ended.stderr).toMatch(
      /(heartbeat|claims) not done in 3s; the runner ends so that its supervisor starts it again/
    )
    between.close()
  })

  it("rolling restart of all runners under load: each drains, and no job runs twice", {
    timeout: 120_000
  }, async () => {
    let runners = await Promise.all([runner(), runner(), runner()])
    const submitted = submit(150, 100)
    await untilRan(submitted.file, 10)
    for (let i = 0; i < 3; i++) {
      const [oldest, ...others] = runners
      oldest!.kill("SIGTERM")
      expect((await oldest!.ended).code).toBe(143)
      runners = [...others, await runner()]
    }
    await whole(submitted, 150)
    expect(ran(submitted.file)).toHaveLength(150)
  })

  it("a job that kills its runners is given up after some, is listed, and costs no other", async () => {
    const keeper = { on: true }
    // Supervisors that start their runner again.
    const keep = async () => {
      while (keeper.on) await (await runner()).ended
    }
    const kept = [keep(), keep()]
    const { code: exit, stderr } = await Aio.run(
      ["executor", "--cluster", postgres.url, "--tries", "2", "jobs.mjs#deadly", "1"],
      { cwd: code }
    )
    expect({ exit, stderr }).toMatchObject({
      exit: 1,
      stderr: expect.stringContaining("2 runners died while they had it")
    })
    await whole(submit(10, 0), 10)
    expect(await list()).toMatch(/poison .* jobs\.mjs#deadly +2 runners died/)
    keeper.on = false
    for (const running of started) running.kill("SIGKILL")
    await Promise.all(kept)
  })

  const kills = Number(process.env["AIO_SOAK_KILLS"] ?? 6)
  const timeout = 120_000 + 5000 * kills
  it("random kills of runners, submitter and PostgreSQL: every result is there once", {
    timeout
  }, async () => {
    const seed = Number(process.env["AIO_SOAK_SEED"] ?? 1)
    let state = seed
    const random = () => {
      state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0
      return state / 2 ** 32
    }
    const runners = await Promise.all([runner(), runner(), runner()])
    const all = kills * 50
    // In a soak more than three runners may die under one job.
    let submitted = submit(all, 150, "--tries", `${kills}`)
    await submitted.running.shows("run ")
    let isOver = false
    void submitted.running.ended.then(({ code }) => (isOver = code === 0))
    for (let i = 0; i < kills && !isOver; i++) {
      await sleep(random() * 500)
      const drawn = random()
      if (drawn < 0.1) {
        await postgres.kill()
        await postgres.start()
      } else if (drawn < 0.25) {
        submitted.running.kill("SIGKILL")
        const { code, stderr } = await submitted.running.ended
        if (code === 0) break
        const [, run = ""] = /^run ([\w-]{36});/m.exec(stderr) ?? []
        const running = start([...submitted.words.slice(0, -1), "--run", run, "jobs.mjs#noted"])
        submitted = { ...submitted, running }
        void running.ended.then(({ code }) => (isOver = code === 0))
        await running.shows("run ")
      } else {
        const at = Math.floor(random() * runners.length)
        runners[at]!.kill(random() < 0.5 ? "SIGKILL" : "SIGTERM")
        runners[at] = await runner()
      }
    }
    await whole(submitted, all)
    expect(new Set(ran(submitted.file)).size).toBe(all)
  })
})

it("the five commands of docs/cluster.md do as it says", { timeout: 120_000 }, () => {
  const page = readFileSync(new URL("../../docs/cluster.md", import.meta.url), "utf8")
  const [, block = ""] = /## To three runners\n+```sh\n([\s\S]*?)```/.exec(page) ?? []
  expect(block.trim().split("\n")).toHaveLength(5)
  const shop = join(folder, "shop")
  mkdirSync(join(shop, "lib"), { recursive: true })
  for (const file of ["square.mjs", "lib/square.mjs"])
    writeFileSync(join(shop, file), "export const square = (n) => n * n\n")
  const aio = join(shop, "aio")
  writeFileSync(aio, `#!/bin/sh\nexec '${process.execPath}' '${Aio.command}' "$@"\n`)
  chmodSync(aio, 0o755)
  const here = block.replace(/STORE=\S+/, `STORE='${postgres.url}'`).replace("808$n", "0") // any free port
  const { status, stderr, stdout } = spawnSync(
    "bash",
    ["-c", `trap 'kill $(jobs -p); wait' EXIT\nset -e\n${here}`],
    {
      cwd: shop,
      encoding: "utf8",
      env: { ...process.env, PATH: `${shop}:${process.env["PATH"]}` }
    }
  )
  expect(
    stdout.split("\n").filter((line) => /^\d+$/.test(line)),
    stderr
  ).toEqual(["1", "4", "9", "1", "4", "9"])
  expect(status, stderr).toBe(0)
})
