import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { afterAll, describe, expect, it } from "vitest"
import * as Aio from "../support/Aio.js"

afterAll(Aio.removeFolders)

const aio = (args: ReadonlyArray<string>, options: Parameters<typeof Aio.run>[1] = {}) =>
  Aio.run(["subprocess", ...args], options)

describe("aio subprocess", () => {
  it("starts the other jobs once there are descriptors again", async () => {
    const { code, stderr } = await aio(
      ["-j60", "sleep 0.1 #", ":::", ...Array.from({ length: 80 }, (_, i) => String(i))],
      {
        shell: 'ulimit -n 64; exec "$@"'
      }
    )
    expect([code, stderr]).toEqual([0, expect.stringMatching(/^jobs {5}80 succeeded\n/)])
    // Background children keep the pipes of a job that has ended.
    const held = await aio(
      ["-j60", "(sleep 0.3; echo) & exit 0 #", ":::", ...Array.from({ length: 60 }, (_, i) => String(i))],
      {
        shell: 'ulimit -n 64; exec "$@"'
      }
    )
    expect([held.code, held.stdout.length]).toEqual([0, 60])
    // Our own are few too: for results, and for output that waits.
    const results = join(Aio.folder(), "results")
    const flood = `sleep 0.{%}; head -c 600000 /dev/zero; echo {} >&2`
    const saved = await aio(
      [
        "-q",
        "-k",
        "-j50",
        "--results",
        results,
        flood,
        ":::",
        ...Array.from({ length: 50 }, (_, i) => String(i))
      ],
      {
        shell: 'ulimit -n 64; exec "$@" | wc -c'
      }
    )
    expect([saved.code, Number(saved.stdout), Aio.names(results).length]).toEqual([0, 30_000_000, 50])
  }, 60_000)

  it("starts no job that still waits for descriptors when it is ended", async () => {
    const ran = join(Aio.folder(), "ran")
    const count = () => (existsSync(ran) ? readFileSync(ran, "utf8").length : 0)
    const running = Aio.start(
      [
        "subprocess",
        "-q",
        "-j60",
        `printf x >> ${ran}; exec sleep 60 #`,
        ":::",
        ...Array.from({ length: 60 }, (_, i) => String(i))
      ],
      { shell: 'ulimit -n 64; exec "$@"' }
    )
    while (count() < 10) await new Promise(setImmediate)
    running.kill("SIGTERM")
    expect((await running.ended).code).toBe(143)
    expect(count()).toBeLessThan(32)
  })

  it("loses no job when it is killed at any moment and called again", async () => {
    const at = Aio.folder()
    const [log, ran] = [join(at, "log"), join(at, "ran")]
    const items = Array.from({ length: 300 }, (_, i) => String(i + 1))
    const job = ["--", "sh", "-c", `echo $0 >> ${ran}`, ":::", ...items]
    const words = ["subprocess", "-q", "-j3", "--json", "--joblog", log, "--resume", ...job]
    const lines = (path: string) =>
      existsSync(path) ? readFileSync(path, "utf8").split("\n").slice(0, -1) : []
    const logged = () =>
      lines(log)
        .slice(1)
        .map((line) => line.split("\t")[0]!)
    const again: Array<string> = []
    // Killed at the n-th event of a job that has begun or ended, fifteen times: what was under way may run again.
    for (let i = 0; i <= 15; i++) {
      const [done, before] = [new Set(logged()), lines(ran).length]
      const running = Aio.start(words)
      if (i < 15) {
        await running.shows(`"event":"${i % 2 === 0 ? "started" : "finished"}"`, 1 + ((i * 5) % 13))
        running.kill("SIGKILL")
        await running.exited
      } else expect((await running.ended).code).toBe(0)
      again.push(
        ...lines(ran)
          .slice(before)
          .filter((item) => done.has(item))
      )
    }
    expect(again).toEqual([])
    expect([...new Set(lines(ran))].sort()).toEqual([...items].sort())
    expect(logged().sort()).toEqual([...items].sort())
  }, 60_000)
})
