import { spawnSync } from "node:child_process"
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { Effect } from "effect"
import { afterAll, describe, expect, it } from "vitest"
import * as Store from "../../src/services/cluster/Store.js"
import * as Aio from "../support/Aio.js"
import * as InProcess from "../support/InProcess.js"

// Durable schedules as a person uses them: real processes that share a file.

afterAll(Aio.removeFolders)

const place = () => {
  const cwd = Aio.folder()
  const store = join(cwd, "jobs.sqlite")
  const options = { cwd, env: { TZ: "UTC", AIO_STORE: store } }
  // A server is a process of its own.
  const aio = (...words: ReadonlyArray<string>) =>
    (words[0] === "serve" ? Aio : InProcess).run(["schedule", ...words], options)
  const serve = (...words: ReadonlyArray<string>) =>
    Aio.start(["schedule", "serve", "--poll", "50ms", ...words], { ...options, input: "ignore" })
  return { aio, cwd, options, serve, store }
}
const events = (stdout: string) =>
  stdout
    .trim()
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as Readonly<Record<string, any>>)
const appended = (path: string) => (existsSync(path) ? readFileSync(path, "utf8").trim().split("\n") : [])

describe("aio schedule --durable", () => {
  it("records a job, prints its id, and serve runs it with the id of the run", async () => {
    const { aio, cwd } = place()
    const added = await aio("later", "10ms", "--durable", "--", "sh", "-c", "echo $AIO_RUN_ID; pwd")
    const id = added.stdout.trim()
    expect(id).toMatch(/^[0-9a-z]{8}$/)
    expect(added.stderr).toMatch(/: at \d{4}-.+; aio schedule serve runs it\n$/)
    const served = await aio("serve", "--until-done")
    expect(served).toMatchObject({ code: 0, stdout: `${id}-1-1\n${cwd}\n` })
    const [schedule, run] = events((await aio("show", id, "--json")).stdout)
    expect(schedule).toMatchObject({ event: "schedule", id, state: "done", missed: 0 })
    expect(run).toMatchObject({
      event: "ran",
      id: `${id}-1-1`,
      status: "succeeded",
      text: `${id}-1-1\n${cwd}\n`
    })
  })

  it("lists the next run, the last result and what was missed, and changes schedules by their id", async () => {
    const { aio } = place()
    const id = (await aio("every", "1h", "--durable", "--name", "hourly", "-q", "--", "true")).stdout.trim()
    const [head, row] = (await aio("list")).stdout.split("\n")
    expect(head).toMatch(/^ID +NEXT +LAST +MISSED +NAME$/)
    expect(row).toMatch(new RegExp(`^${id}  20\\d\\d-\\S+  - +0 +hourly$`))
    expect((await aio("pause", id)).stdout).toBe(`${id}: paused\n`)
    expect((await aio("pause", id)).stdout).toBe(`${id}: paused already\n`)
    expect((await aio("resume", id)).stdout).toBe(`${id}: active\n`)
    const run = (await aio("trigger", id)).stdout.trim()
    expect((await aio("cancel", id)).stdout).toBe(`${id}: cancelled\n`)
    expect((await aio("cancel", id, "--json")).stdout).toBe(
      `{"schema":2,"event":"changed","id":"${id}","state":"cancelled","changed":false}\n`
    )
    const [schedule, ran] = events((await aio("show", id, "--json")).stdout)
    expect(schedule).toMatchObject({ state: "cancelled" })
    expect(ran).toMatchObject({ id: run, status: "cancelled", reason: "the schedule was cancelled" })
    expect((await aio("list")).stdout).toBe("")
  })

  it("runs by cron, with retries, and reports by the events of aio schedule", async () => {
    const { aio } = place()
    const words = ["--times", "1", "--retries", "1,10ms", "--durable", "-q", "--", "false"]
    await aio("cron", "* * * * * *", ...words)
    const served = await aio("serve", "--until-done", "--json")
    // A time that passed before it served is skipped.
    const seen = events(served.stdout).filter(({ event }) => event !== "skipped")
    expect([served.code, seen.map(({ event }) => event)]).toEqual([
      1,
      ["started", "finished", "retrying", "started", "finished", "summary"]
    ])
    expect(seen[1]).toMatchObject({ status: "failed", exitCode: 1, index: 1 })
  })
})

describe("aio schedule -f CRONTAB --durable", () => {
  const crontab =
    'WHO="ada l"\n@daily echo "$WHO $AIO_RUN_ID" a\\%b; cat%one%two\nCRON_TZ=Asia/Tokyo\n0 9 * * 1-5 true\n'

  it("records each job with its variables, its standard input and its time zone", async () => {
    const { aio, cwd } = place()
    writeFileSync(join(cwd, "crontab"), crontab)
    const added = await aio("-f", "crontab", "--durable")
    expect(added.code).toBe(0)
    const ids = added.stdout.trim().split("\n")
    expect(ids).toHaveLength(2)
    expect(added.stderr).toMatch(
      /^echo .*: at \d{4}-\d\d-\d\dT00:00:00.*; aio schedule serve runs it\ntrue: at \d{4}-\d\d-\d\dT09:00:00\+09:00.*\n$/
    )
    const run = (await aio("trigger", ids[0]!)).stdout.trim()
    await aio("cancel", ids[1]!)
    const serving = Aio.start(["schedule", "serve", "--poll", "50ms"], {
      cwd,
      env: { TZ: "UTC", AIO_STORE: join(cwd, "jobs.sqlite") },
      input: "ignore"
    })
    await serving.shows("two\n")
    serving.kill("SIGTERM")
    expect((await serving.ended).stdout).toBe(`ada l ${run} a%b\none\ntwo\n`)
  })

  it("gives each job a jitter of its own", async () => {
    const { aio, cwd, store } = place()
    writeFileSync(join(cwd, "crontab"), "@daily true\n".repeat(4))
    await aio("-f", "crontab", "--durable", "--jitter", "1h")
    const deadlines = Store.open({ _tag: "Sqlite", file: store }, []).pipe(
      Effect.flatMap(({ use }) =>
        use((sql) => sql<{ deadline: number }>`SELECT deadline FROM aio_schedules`)
      ),
      Effect.scoped,
      Effect.runPromise
    )
    expect(new Set((await deadlines).map(({ deadline }) => deadline)).size).toBe(4)
  })

  it("refuses what a record cannot keep, and adds nothing", async () => {
    const { aio, cwd } = place()
    writeFileSync(join(cwd, "crontab"), crontab)
    writeFileSync(join(cwd, "boot"), `${crontab}@reboot true\n`)
    const refused = async (...words: ReadonlyArray<string>) => {
      const { code, stderr, stdout } = await aio(...words)
      expect([code, stdout]).toEqual([2, ""])
      return stderr
    }
    expect(await refused("-f", "boot", "--durable")).toContain("@reboot does not apply with --durable")
    expect(await refused("-f", "crontab", "--name", "x")).toContain("--name applies to --durable only")
    expect(await refused("later", "0", "--name", "x", "--", "true")).toContain("--name applies to --durable")
    for (const words of [
      ["later", "0"],
      ["at", "9:00"],
      ["every", "1s"],
      ["cron", "@daily"]
    ])
      expect(await refused(...words, "--store", "s.db", "--", "true")).toBe(
        `aio schedule ${words[0]}: --store applies to --durable only\n`
      )
    expect(await refused("-f", "crontab", "--store", "s.db")).toContain("--store applies to --durable only")
    expect(await refused("-f", "crontab", "--durable", "--name", "x")).toContain("--name is for one schedule")
    expect(await refused("-f", "crontab", "--durable", "--log-dir", "logs")).toContain(
      "--log-dir does not apply"
    )
    expect((await aio("list", "--json")).stdout).toBe("")
  })
})

describe("bad input of durable schedules", () => {
  it.each([
    [
      "a store that is none",
      ["list", "--store", "mysql://ada:secret@db/x"],
      2,
      /option --store: 'mysql:…' is no store; expected FILE/
    ],
    [
      "a folder that is not there",
      ["list", "--store", "no/such.sqlite"],
      2,
      /there is no folder .+; make it first/
    ],
    ["a device", ["list", "--store", "/dev/full"], 2, /is not a regular file/],
    ["an unknown id", ["cancel", "nothing"], 2, /there is no schedule 'nothing'/],
    ["no id", ["show"], 2, /no id is given; expected one/],
    [
      "a server that is down",
      ["list", "--store", "postgres://ada:secret@127.0.0.1:1/x"],
      1,
      /cannot be reached: connection refused/
    ],
    [
      "a run that never is",
      ["every", "1m", "--times", "1", "--log-dir", "logs", "--durable", "--", "true"],
      2,
      /--log-dir does not apply/
    ]
  ] as const)("is one clear line: %s", async (_, words, code, message) => {
    const { aio } = place()
    const result = await aio(...words)
    expect([result.code, result.stdout]).toEqual([code, ""])
    expect(result.stderr).toMatch(message)
    expect(result.stderr).toMatch(/^[^\n]+\n$/)
    expect(result.stderr).not.toContain("secret")
  })

  it("refuses a file that is no database, and a folder", async () => {
    const { aio, cwd } = place()
    const text = join(cwd, "text")
    writeFileSync(text, "hello ".repeat(1000))
    const refused = await aio("serve", "--store", text)
    expect([refused.code, refused.stderr]).toEqual([
      2,
      `the store ${text}: the file is no SQLite database; expected one, or the name of a new file\n`
    ])
    mkdirSync(join(cwd, "folder"))
    expect((await aio("list", "--store", join(cwd, "folder"))).code).toBe(2)
  })
})

describe("aio schedule serve", () => {
  it("is one process for a file: a second one is told which serves it", async () => {
    const { aio, serve, store } = place()
    await aio("later", "0", "--durable", "-q", "--", "echo", "first")
    const first = serve()
    await first.shows("first")
    const second = await aio("serve")
    expect(second.code).toBe(1)
    expect(second.stderr).toMatch(
      new RegExp(`^process ${first.pid} on \\S+ serves the schedules of ${store}; only one`)
    )
    first.kill("SIGTERM")
    expect((await first.ended).code).toBe(143)
    expect((await aio("serve", "--until-done")).code).toBe(0)
  })

  it("waits for its runs at the first signal", async () => {
    const { aio, serve } = place()
    const id = (
      await aio("later", "0", "--durable", "-q", "--", "sh", "-c", "echo begun; sleep 0.5; echo done")
    ).stdout.trim()
    const server = serve()
    await server.shows("begun")
    server.kill("SIGTERM")
    const { code, stderr, stdout } = await server.ended
    expect([code, stdout]).toEqual([143, "begun\ndone\n"])
    expect(stderr).toContain("waiting up to 30.0 s for 1 run")
    expect(events((await aio("show", id, "--json")).stdout)[0]).toMatchObject({
      last: { status: "succeeded" }
    })
  })

  it("sees what others record and cancel while it runs", async () => {
    const { aio, serve } = place()
    const server = serve()
    const id = (
      await aio("later", "0", "--durable", "-q", "--", "sh", "-c", "echo begun; sleep 60")
    ).stdout.trim()
    await server.shows("begun")
    await aio("cancel", id)
    await server.shows("Cancelled")
    server.kill("SIGTERM")
    await server.ended
    expect(events((await aio("show", id, "--json")).stdout)[0]).toMatchObject({
      last: { status: "cancelled" }
    })
  })

  it("reports a run that kill -9 cut off, ends its process, and tries it again", async () => {
    const { aio, cwd, serve } = place()
    const file = join(cwd, "starts")
    const script = `echo $AIO_RUN_ID >> ${file}; [ "\${AIO_RUN_ID##*-}" = 2 ] || { echo begun; sleep 60; }`
    const id = (
      await aio("later", "0", "--retries", "1,10ms", "--durable", "-q", "--", "sh", "-c", script)
    ).stdout.trim()
    const server = serve()
    await server.shows("begun")
    server.kill("SIGKILL")
    await server.ended
    const next = await aio("serve", "--until-done", "--json")
    expect(events(next.stdout)[0]).toMatchObject({
      event: "finished",
      status: "failed",
      run: `${id}-1-1`,
      reason: "cut off: the process that ran it has ended"
    })
    expect(appended(file)).toEqual([`${id}-1-1`, `${id}-1-2`])
    const [, ...runs] = events((await aio("show", id, "--json")).stdout)
    expect(runs.map(({ attempt, status }) => [attempt, status])).toEqual([
      [1, "failed"],
      [2, "succeeded"]
    ])
  })

  it("continues after it was stopped for a while (SIGSTOP): what was due meanwhile runs late, once", async () => {
    const { aio, cwd, serve } = place()
    const file = join(cwd, "starts")
    const server = serve()
    await aio(
      "every",
      "500ms",
      "--times",
      "4",
      "--catch-up",
      "all",
      "--overlap",
      "queueAll",
      "--durable",
      "-q",
      "--",
      "sh",
      "-c",
      `echo $AIO_RUN_ID >> ${file}; echo ran`
    )
    await server.shows("ran")
    server.kill("SIGSTOP")
    await new Promise((resolve) => setTimeout(resolve, 1200))
    server.kill("SIGCONT")
    await server.shows("ran", 2)
    server.kill("SIGTERM")
    await server.ended
    await aio("serve", "--until-done")
    const starts = appended(file)
    expect(new Set(starts).size).toBe(starts.length)
  })
})

describe("docs/durable.md", () => {
  it("goes from one process to a file in five commands, as written there", async () => {
    const page = readFileSync(new URL("../../docs/durable.md", import.meta.url), "utf8")
    const [, block = ""] = /## From one process to a file\n+```sh\n([\s\S]*?)```/.exec(page) ?? []
    expect(block.trim().split("\n").length).toBe(5)
    const cwd = Aio.folder()
    const script = `aio() { "${process.execPath}" "${Aio.command}" "$@"; }\nset -e\n${block}`
    const { status, stdout } = spawnSync("sh", ["-c", script], {
      cwd,
      encoding: "utf8",
      env: { PATH: process.env["PATH"], HOME: cwd, TZ: "UTC" }
    })
    expect(status).toBe(0)
    expect(stdout).toMatch(
      /^tea\nID .+\n(\w{8}) +20\S+ +- +0 +echo tea\ntea\nID .+\n\1 +done +succeeded +0 +echo tea\n20\S+ {2}\1-1-1 {2}succeeded\n {4}tea\n$/
    )
    expect(existsSync(join(cwd, ".local/state/effect-asyncio/schedules.sqlite"))).toBe(true)
  })
})
