import { existsSync, readdirSync, readFileSync } from "node:fs"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { afterAll, describe, expect, it } from "@effect/vitest"
import * as Aio from "../support/Aio.js"
import * as SetClock from "../support/SetClock.js"
import * as Started from "../support/Started.js"

// Runners that are killed under what they run for aio subprocess and aio gather. Functions: test/network/cluster.services.test.ts.

afterAll(Aio.removeFolders)
const starting = Started.starter()
const start = (cwd: string, ...args: ReadonlyArray<string>) => starting(args, { cwd })
const runner = async (cwd: string, ...more: ReadonlyArray<string>) => {
  const running = start(cwd, "runner", "--store", "jobs.sqlite", "--max-workers", "2", ...more)
  await running.shows("at once")
  return running
}
const { lines, untilLines } = Started

describe("kill -9 of a runner", () => {
  it("the downloads of its hosts are made by another, and each file is whole and there once", async () => {
    const cwd = Aio.folder()
    const body = "x".repeat(100_000)
    const requested: Array<string> = []
    const server = createServer((request, response) => {
      requested.push(request.url!)
      response.write(body.slice(0, 50_000))
      setTimeout(() => response.end(body.slice(50_000)), 1000)
    })
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
    const { port } = server.address() as AddressInfo
    try {
      const [first] = [await runner(cwd, "--downloads", "mirror"), await runner(cwd, "--downloads", "mirror")]
      const urls = ["127.0.0.1", "localhost"].flatMap((host, at) =>
        [1, 2, 3].map((n) => `http://${host}:${port}/${at}-${n}`)
      )
      const submitter = start(cwd, "gather", "--cluster", "jobs.sqlite", ...urls)
      for (let i = 0; i < 1000 && requested.length < 6; i++) await sleep(10)
      first.kill("SIGKILL")
      const { code, stderr } = await submitter.ended
      expect([code, stderr]).toEqual([0, expect.stringContaining("6 succeeded")])
      const files = readdirSync(join(cwd, "mirror")).filter((name) => !name.startsWith("."))
      expect(files).toEqual(["0-1", "0-2", "0-3", "1-1", "1-2", "1-3"])
      for (const name of files) expect(readFileSync(join(cwd, "mirror", name), "utf8")).toBe(body)
      // Those of one host were cut off, and requested again.
      expect(requested.length).toBeGreaterThanOrEqual(9)
    } finally {
      server.closeAllConnections()
      server.close()
    }
  })

  it("its commands end with it and run on another, and each has one result, in order", async () => {
    const cwd = Aio.folder()
    const [first] = await Promise.all([runner(cwd, "--commands"), runner(cwd, "--commands")])
    const numbers = Array.from({ length: 8 }, (_, i) => String(i))
    const script = "echo {} $PPID $$ $AIO_JOB_ID >>ran; sleep 1; echo {}"
    const submitter = start(cwd, "subprocess", "-k", "--cluster", "jobs.sqlite", script, ":::", ...numbers)
    const ran = () => lines(join(cwd, "ran")).map((line) => line.split(" "))
    const ofFirst = () => ran().filter(([, parent]) => Number(parent) === first.pid)
    for (let i = 0; i < 1000 && ofFirst().length < 2; i++) await sleep(10)
    first.kill("SIGKILL")
    const cut = ofFirst().slice(-2)
    for (let i = 0; i < 1000 && cut.some(([, , pid]) => existsSync(`/proc/${pid}`)); i++) await sleep(10)
    expect(cut.filter(([, , pid]) => existsSync(`/proc/${pid}`))).toEqual([])
    const { code, stdout } = await submitter.ended
    expect([code, stdout]).toEqual([0, numbers.map((n) => `${n}\n`).join("")])
    // What was cut off has run again, as the same job.
    const ids = (n: string | undefined) => ran().flatMap(([number, , , id]) => (number === n ? [id] : []))
    for (const [n, , , id] of cut) expect(ids(n)).toEqual([id, id])
    await untilLines(join(cwd, "ran"), numbers.length + cut.length)
  })
})

describe("a clock that is set", () => {
  it("under a runner and its submitter ends no job, and none runs twice", async () => {
    const cwd = Aio.folder()
    const { env, set } = SetClock.make(cwd)
    const own = async () => {
      const words = ["runner", "--store", "jobs.sqlite", "--max-workers", "2", "--commands"]
      const running = starting(words, { cwd, env })
      await running.shows("at once")
    }
    // The clock of the other machine stays right.
    await Promise.all([own(), runner(cwd, "--commands")])
    const numbers = Array.from({ length: 30 }, (_, i) => String(i))
    const script = "echo {} >> ran; sleep 0.4; echo {}"
    const words = ["subprocess", "-k", "--cluster", "jobs.sqlite", script, ":::", ...numbers]
    const submitter = starting(words, { cwd, env })
    for (const [at, by] of [
      [4, 3_600_000],
      [12, -7_200_000],
      [20, 0]
    ] as const) {
      await untilLines(join(cwd, "ran"), at)
      set(by)
    }
    const { code, stdout } = await submitter.ended
    expect([code, stdout]).toEqual([0, numbers.map((n) => `${n}\n`).join("")])
    expect([...lines(join(cwd, "ran"))].sort()).toEqual([...numbers].sort())
  })
})
