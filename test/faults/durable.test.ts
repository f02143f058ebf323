import { readFileSync } from "node:fs"
import { join } from "node:path"
import { afterAll, describe, expect, it } from "vitest"
import * as Aio from "../support/Aio.js"

afterAll(Aio.removeFolders)

const events = (stdout: string) =>
  stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Readonly<Record<string, any>>)

/** A soak sets more. */
const kills = Number(process.env["AIO_SOAK_KILLS"] ?? 8)

describe("aio schedule serve under kill -9", () => {
  it(
    "loses no run and records each one once, killed at random moments",
    async () => {
      const cwd = Aio.folder()
      const starts = join(cwd, "starts")
      const options = { cwd, env: { TZ: "UTC", AIO_STORE: join(cwd, "jobs.sqlite") } }
      const aio = (...words: ReadonlyArray<string>) => Aio.run(["schedule", ...words], options)
      const count = 8 * kills
      const added = await aio(
        ...["every", "200ms", "--times", String(count), "--overlap", "queueAll", "--catch-up", "all"],
        ...["--retries", "50,1ms,1ms", "--durable", "-q"],
        ...["--", "sh", "-c", `echo $AIO_RUN_ID >> ${starts}; sleep 0.05`]
      )
      const id = added.stdout.trim()
      const serve = ["schedule", "serve", "--poll", "20ms", "--keep", "5000", "--json"]
      for (let i = 0; i < kills; i++) {
        const server = Aio.start(serve, { ...options, input: "ignore" })
        // From before it has opened the store to some runs later.
        await new Promise((resolve) => setTimeout(resolve, 150 + Math.random() * 700))
        server.kill("SIGKILL")
        await server.ended
      }
      const last = await Aio.run([...serve, "--until-done"], options)
      expect(last.stderr).toBe("")

      const [schedule, ...runs] = events((await aio("show", id, "--json")).stdout)
      expect(schedule).toMatchObject({ state: "done", missed: 0 })
      const ids = runs.map((run) => run["id"] as string)
      expect(new Set(ids).size).toBe(ids.length)
      const succeeded = runs.filter(({ status }) => status === "succeeded")
      const numbers = succeeded.map((run) => Number(run["id"].split("-")[1]))
      expect(numbers.sort((a, b) => a - b)).toEqual(Array.from({ length: count }, (_, i) => i + 1))
      // Every other one was cut off, and says so; the record has every start.
      const others = runs.filter(({ status }) => status !== "succeeded")
      for (const run of others) expect(run["reason"]).toBe("cut off: the process that ran it has ended")
      const started = new Set(readFileSync(starts, "utf8").trim().split("\n"))
      expect([...started].filter((run) => !ids.includes(run))).toEqual([])
      for (const run of succeeded) expect(started).toContain(run["id"])
    },
    120_000 + 5000 * kills
  )
})
