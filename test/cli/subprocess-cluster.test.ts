import { spawnSync } from "node:child_process"
import { existsSync, readFileSync, writeFileSync } from "node:fs"
import { hostname } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { afterAll, describe, expect, it } from "@effect/vitest"
import { Either, Schema } from "effect"
import * as Events from "../../src/services/host/Events.js"
import * as Aio from "../support/Aio.js"
import * as InProcess from "../support/InProcess.js"
import * as Started from "../support/Started.js"

// aio subprocess --cluster and aio runner --commands as processes, over SQLite. A runner that is killed: test/faults/cluster.test.ts.

afterAll(Aio.removeFolders)
const starting = Started.starter()
const start = (cwd: string, ...args: ReadonlyArray<string>) => starting(args, { cwd })
const runner = async (cwd: string, ...more: ReadonlyArray<string>) => {
  const running = start(cwd, "runner", "--store", "jobs.sqlite", "--max-workers", "2", ...more)
  await running.shows("at once")
  return running
}
const submit = (cwd: string, args: ReadonlyArray<string>, stdin?: string) =>
  Aio.run(["subprocess", "--cluster", "jobs.sqlite", ...args], {
    cwd,
    ...(stdin === undefined ? {} : { stdin })
  })

const { lines, untilLines } = Started
const list = async (cwd: string) =>
  (await Aio.run(["runner", "--store", "jobs.sqlite", "--list"], { cwd })).stdout
const numbers = Array.from({ length: 12 }, (_, i) => String(i))

describe("aio subprocess --cluster", () => {
  it("runs the jobs on all runners: output in order, a log with the machine, events", async () => {
    const cwd = Aio.folder()
    const runners = await Promise.all([runner(cwd, "--commands"), runner(cwd, "--commands")])
    const words = ["-k", "--joblog", "log", "echo {} $PPID; sleep 0.3; echo e{} >&2", ":::", ...numbers]
    const { code, stderr, stdout } = await submit(cwd, words)
    expect([
      code,
      stdout
        .trim()
        .split("\n")
        .map((line) => line.split(" ")[0])
    ]).toEqual([0, numbers])
    for (const n of numbers) expect(stderr).toContain(`e${n}\n`)
    const parents = new Set(
      stdout
        .trim()
        .split("\n")
        .map((line) => Number(line.split(" ")[1]))
    )
    expect(parents).toEqual(new Set(runners.map(({ pid }) => pid)))
    const log = lines(join(cwd, "log")).slice(1)
    expect(log.map((line) => line.split("\t")[1])).toEqual(numbers.map(() => hostname()))

    const json = await submit(cwd, ["--json", "--retries", "1,0", "echo {}; exit {}", ":::", "0", "3"])
    const events = json.stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line))
    const decode = Schema.decodeUnknownEither(Events.Subprocess, { onExcessProperty: "error" })
    for (const { schema, ...event } of events) {
      expect(schema).toBe(2)
      expect(Either.mapLeft(decode(event), String)).toEqual(Either.right(event))
    }
    expect(json.code).toBe(1)
    expect(events[0]).toMatchObject({ event: "submitted", run: expect.stringMatching(/^[\w-]{36}$/) })
    expect(events.filter(({ event }) => event === "retrying")).toMatchObject([{ index: 2, attempt: 2 }])
    expect(events.filter(({ event }) => event === "finished")).toMatchObject([
      { index: 1, status: "succeeded", host: hostname() },
      { index: 2, status: "failed", exitCode: 3, attempts: 2, host: hostname() }
    ])
    // Resumed, the log skips what succeeded there.
    const again = await submit(cwd, ["--resume-failed", ...words])
    expect([again.code, again.stdout]).toEqual([0, ""])
  })

  it("has the exit codes, the halt rule and the blocks that it has on this machine", async () => {
    const cwd = Aio.folder()
    await runner(cwd, "--commands")
    expect((await submit(cwd, ["nonesuch", ":::", "a"])).code).toBe(127)
    const late = await submit(cwd, ["--timeout", "100ms", "sleep", ":::", "60"])
    expect([late.code, late.stderr]).toEqual([
      124,
      expect.stringContaining("Timed out sleep 60: not done in 100ms")
    ])
    const halted = await submit(cwd, [
      "--halt",
      "now,fail=1",
      "-j2",
      "[ {} = 0 ] || sleep 60; exit 1",
      ":::",
      "0",
      "1",
      "2"
    ])
    expect(halted).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/0 succeeded, 1 failed, 1 cancelled\n/)
    })
    const blocks = await submit(cwd, ["--pipe", "-n2", "-k", "wc", "-l"], "a\nb\nc\n")
    expect([blocks.code, blocks.stdout]).toEqual([0, "2\n1\n"])
    const large = await submit(cwd, ["head -c {} /dev/zero", ":::", "2M"])
    expect([large.code, large.stderr]).toEqual([
      1,
      expect.stringContaining("wrote more than 1020 KiB to stdout")
    ])
    expect(await list(cwd)).not.toContain("run ")
  })

  it("Ctrl-C ends the processes on the runner, and nothing of the run is left", async () => {
    const cwd = Aio.folder()
    await runner(cwd, "--commands")
    const script = "trap '' TERM; echo $$ >>pids; setsid sh -c 'echo $$ >>pids; exec sleep 60' & wait"
    const submitter = start(
      cwd,
      "subprocess",
      "--cluster",
      "jobs.sqlite",
      "--grace",
      "100ms",
      script,
      ":::",
      "a",
      "b",
      "c"
    )
    await untilLines(join(cwd, "pids"), 4)
    submitter.kill("SIGINT")
    const { code, stderr } = await submitter.ended
    expect([code, stderr]).toEqual([130, expect.stringMatching(/jobs +0 succeeded, 3 cancelled/)])
    const alive = () => lines(join(cwd, "pids")).filter((pid) => existsSync(`/proc/${pid}`))
    for (let i = 0; i < 1000 && alive().length > 0; i++) await sleep(10)
    expect(alive()).toEqual([])
    expect(await list(cwd)).not.toContain("run ")
    expect(lines(join(cwd, "pids"))).toHaveLength(4)
  })

  it("kill -9 of the submitter: --run continues, and no job that has a result runs again", async () => {
    const cwd = Aio.folder()
    await runner(cwd, "--commands")
    const job = ["echo {} >>ran; sleep 0.1; echo {}", ":::", ...numbers]
    const submitter = start(cwd, "subprocess", "-k", "--cluster", "jobs.sqlite", ...job)
    await untilLines(join(cwd, "ran"), 4)
    submitter.kill("SIGKILL")
    const [, run = ""] = /^run ([\w-]{36});/.exec((await submitter.ended).stderr) ?? []
    const { code, stdout } = await submit(cwd, ["-k", "--run", run, ...job])
    expect([code, stdout]).toEqual([0, numbers.map((n) => `${n}\n`).join("")])
    expect(
      lines(join(cwd, "ran"))
        .map(Number)
        .sort((a, b) => a - b)
    ).toEqual(numbers.map(Number))
    const other = await submit(cwd, ["--run", run, ...job])
    expect([other.code, other.stderr]).toEqual([
      2,
      `the store has no run '${run}'; it has ended, or the id is wrong\n`
    ])
  })

  it("a signal drains the runner: its jobs go back, and their processes are gone before", async () => {
    const cwd = Aio.folder()
    const first = await runner(cwd, "--commands", "--grace", "0")
    writeFileSync(join(cwd, "job"), "echo $$ >>pids; while [ ! -e go ]; do sleep 0.05; done; echo done\n")
    const submitter = start(cwd, "subprocess", "--cluster", "jobs.sqlite", "sh", "job", ":::", "a")
    await untilLines(join(cwd, "pids"), 1)
    first.kill("SIGTERM")
    expect((await first.ended).code).toBe(143)
    expect(existsSync(`/proc/${lines(join(cwd, "pids"))[0]}`)).toBe(false)
    await runner(cwd, "--commands")
    await untilLines(join(cwd, "pids"), 2)
    writeFileSync(join(cwd, "go"), "")
    expect(await submitter.ended).toMatchObject({ code: 0, stdout: "done\n" })
  })

  it("the commands of docs/cluster.md do as it says", () => {
    const page = readFileSync(new URL("../../docs/cluster.md", import.meta.url), "utf8")
    const [, block = ""] = /\n## Commands\n+```sh\n([\s\S]*?)```/.exec(page) ?? []
    const cwd = Aio.folder()
    const aio = join(cwd, "aio")
    writeFileSync(aio, `#!/bin/sh\nexec '${process.execPath}' '${Aio.command}' "$@"\n`, { mode: 0o755 })
    const script = `trap 'kill $(jobs -p); wait' EXIT\n${block}`
    const env = { ...process.env, PATH: `${cwd}:${process.env["PATH"]}` }
    const { stderr, stdout } = spawnSync("bash", ["-c", script], {
      cwd,
      encoding: "utf8",
      env,
      timeout: 60_000
    })
    expect(stdout, stderr).toBe(["a", "b", "c"].map((item) => `${item} on ${hostname()}\n`).join(""))
  })

  it("without a runner that allows commands it ends with one line that names the option", async () => {
    const cwd = Aio.folder()
    await runner(cwd)
    const { code, stderr, stdout } = await submit(cwd, ["-q", "true", ":::", "a", "b"])
    expect([code, stdout, stderr]).toEqual([
      1,
      "",
      "aio subprocess: no runner of group default can run it: it runs no command lines; start it with aio runner --commands to allow them\n"
    ])
  })

  it.each([
    [["--run", "x"], "--run applies to --cluster STORE only"],
    [["--tries", "2"], "--tries applies to --cluster STORE only"],
    [["--group=a"], "--group=a applies to --cluster STORE only"],
    [["--cluster", "s", "--group"], "with --cluster --group names the runners' group; write --group=NAME"],
    [
      ["--cluster", "s", "-u"],
      "--ungroup and --line-buffer show output as it comes; with --cluster it comes when its job has ended"
    ],
    [["--cluster", "s", "--line-buffer"], "--ungroup and --line-buffer show"],
    [["--cluster", "s", "--load", "3"], "--delay, --load and --memfree are for jobs that start here"],
    [["--cluster", "s", "--delay", "1s"], "--delay, --load and --memfree are for jobs that start here"],
    [
      ["--cluster", "s", "--timeout", "300%"],
      "--timeout N% follows jobs that run here; with --cluster give a duration"
    ],
    [
      ["--cluster", "s", "-j", "50%"],
      "N% and +N count the processors of this machine; with --cluster give --jobs a number"
    ],
    [["--cluster", "", ""], "option --cluster: '' is empty; expected a store"],
    [["--cluster", "http://a"], "the store of the jobs: 'http:…' is no store; expected FILE"],
    [["--cluster", "s", "--group=a b"], "'a b' is no group; expected letters"],
    [["--cluster", "none/s"], "there is no folder"]
  ])("%j is refused in one line", async (words, message) => {
    const cwd = Aio.folder()
    const { code, stderr, stdout } = await InProcess.run(["subprocess", ...words, "true", ":::", "a"], {
      cwd
    })
    expect([code, stdout]).toEqual([2, ""])
    expect(stderr).toMatch(/^[^\n]+\n$/)
    expect(stderr).toContain(message)
  })
})
