import { type ChildProcess, spawn } from "node:child_process"
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as pause } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { afterAll, afterEach, describe, expect, it } from "@effect/vitest"

// Workflows in processes that are killed or stopped at any point: each step that has finished has run once since.

const fixture = fileURLToPath(new URL("../../fixtures/workflows/server.mjs", import.meta.url))

interface Started {
  readonly child: ChildProcess
  readonly lines: () => ReadonlyArray<string>
  readonly shows: (n: number) => Promise<void>
  /** Ends it, or waits for its end. */
  readonly kill: (signal?: 0) => Promise<void>
  readonly text: () => string
}

/** A soak sets more. */
const kills = Number(process.env["AIO_SOAK_KILLS"] ?? 6)

const scenes = (storeIn: (folder: string) => string) => {
  const folder = mkdtempSync(join(tmpdir(), "aio-workflow-kills-"))
  const started = new Set<Started>()
  afterEach(async () => {
    await Promise.all([...started].map(({ kill }) => kill()))
    started.clear()
  })
  afterAll(() => rmSync(folder, { recursive: true, force: true }))
  let tests = 0
  return () => {
    const store = storeIn(folder)
    const file = join(folder, `steps-${++tests}`)
    const start = (...words: ReadonlyArray<string>): Started => {
      const child = spawn(process.execPath, [fixture, store, file, ...words], {
        stdio: ["ignore", "pipe", "inherit"]
      })
      const closed = new Promise<void>((resolve) => child.once("close", () => resolve()))
      let text = ""
      child.stdout!.setEncoding("utf8").on("data", (more) => {
        text += more
      })
      // The others are logs.
      const lines = () =>
        text
          .split("\n")
          .slice(0, -1)
          .filter((line) => /^(ready$|\[)/.test(line))
      const one: Started = {
        child,
        lines,
        shows: async (n) => {
          for (let i = 0; i < 20_000 && lines().length < n; i++) await pause(10)
          expect(lines().length).toBeGreaterThanOrEqual(n)
        },
        text: () => text,
        kill: (signal) => {
          child.kill(signal ?? "SIGKILL")
          return closed
        }
      }
      started.add(one)
      return one
    }
    const notes = () => (existsSync(file) ? readFileSync(file, "utf8").trim().split("\n") : [])
    const untilNoted = async (line: string) => {
      for (let i = 0; i < 20_000 && !notes().includes(line); i++) await pause(10)
      expect(notes()).toContain(line)
    }
    return { file, notes, start, untilNoted }
  }
}

const results = (lines: ReadonlyArray<string>) =>
  lines.slice(1).map((line) => JSON.parse(line) as ReadonlyArray<string>)

export const workflowKills = (name: string, storeIn: (folder: string) => string) => {
  const scene = scenes(storeIn)
  describe(name, { timeout: 240_000 }, () => {
    it("kill -9 in the second of three steps: the first one does not run again, the second one does", async () => {
      const { file, notes, start, untilNoted } = scene()
      const hold = `${file}.hold-2`
      writeFileSync(hold, "")
      const one = start("--serve", "--execute", "1")
      await untilNoted("1 2 1")
      await one.kill()
      rmSync(hold)
      // Another process has not asked for it, and a third one waits for the result.
      start("--serve")
      const client = start("--execute", "1")
      await client.shows(2)
      expect(results(client.lines())).toEqual([["1 1 1", "1 2 2", "1 3 1"]])
      expect(notes()).toEqual(["1 1 1", "1 2 1", "1 2 2", "1 3 1"])
    })

    it("SIGSTOP for longer than the lease: another process continues, and what the woken one does is dropped", async () => {
      const { file, notes, start, untilNoted } = scene()
      const hold = `${file}.hold-2`
      writeFileSync(hold, "")
      const one = start("--serve", "--execute", "1")
      await untilNoted("1 2 1")
      one.child.kill("SIGSTOP")
      start("--serve")
      await untilNoted("1 2 2")
      one.child.kill("SIGCONT")
      rmSync(hold)
      await one.shows(2)
      expect(results(one.lines())).toEqual([["1 1 1", "1 2 2", "1 3 1"]])
      expect(notes()).toEqual(["1 1 1", "1 2 1", "1 2 2", "1 3 1"])
    })

    const timeout = 120_000 + 5000 * kills
    it("kill -9 at random moments: each execution has one result, and no finished step ran again", {
      timeout
    }, async () => {
      const { notes, start } = scene()
      const count = 5 * kills
      const client = start("--execute", `1-${count}`, "--steps", "6", "--ms", "25")
      const servers = [start("--serve"), start("--serve")]
      for (let i = 0; i < kills; i++) {
        await servers[i % 2]!.shows(1)
        await pause(Math.random() * 250)
        await servers[i % 2]!.kill()
        servers[i % 2] = start("--serve")
      }
      await client.shows(count + 1)
      const all = results(client.lines())
      expect(all.map((steps) => steps[0]!.split(" ")[0]).sort()).toEqual(
        Array.from({ length: count }, (_, i) => String(i + 1)).sort()
      )
      expect(new Set(notes()).size).toBe(notes().length)
      const last = new Map(notes().map((line) => [line.replace(/ \d+$/, ""), line]))
      const steps = all.flat()
      expect(steps.length).toBe(count * 6)
      for (const step of steps) expect(last.get(step.replace(/ \d+$/, ""))).toBe(step)
      expect(last.size).toBe(count * 6)
    })
  })
}

/** What takes many processes, and does not depend on the store. */
export const workflowDeaths = (name: string, storeIn: (folder: string) => string) => {
  const scene = scenes(storeIn)
  describe(name, { timeout: 240_000 }, () => {
    it("a step that kills its process each time is suspended after ten times, and takes no other execution with it", async () => {
      const { file, start } = scene()
      writeFileSync(`${file}.kill-13`, "")
      const client = start("--execute", "10-15")
      let server = start("--serve")
      for (let i = 0; i < 20; i++) {
        const ended = server.kill(0)
        const settled = async () => {
          while (
            server.child.exitCode === null &&
            server.child.signalCode === null &&
            !server.text().includes("is suspended")
          )
            await pause(10)
        }
        await Promise.race([ended, settled()])
        if (server.text().includes("is suspended")) break
        server = start("--serve")
      }
      expect(server.text()).toContain("is suspended: its process died 10 times in a row")
      await client.shows(6)
      const done = results(client.lines()).map(([first]) => first!.split(" ")[0])
      expect(done.sort()).toEqual(["10", "11", "12", "14", "15"])
    })
  })
}
