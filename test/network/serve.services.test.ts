import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { afterAll, beforeAll, describe, expect, it } from "@effect/vitest"
import * as Aio from "../support/Aio.js"
import * as Started from "../support/Started.js"
import * as Postgres from "./postgres.js"

// aio schedule serve as processes, over a PostgreSQL that is killed. Each due run is on record as succeeded once.

let postgres: Postgres.Postgres
const cwd = Aio.folder()
beforeAll(async () => {
  postgres = await Postgres.make()
})
afterAll(async () => {
  await postgres.remove()
  Aio.removeFolders()
})
const start = Started.starter()

const options = () => ({ cwd, env: { TZ: "UTC", AIO_STORE: postgres.url } })
const aio = (...words: ReadonlyArray<string>) => Aio.run(["schedule", ...words], options())
const serve = (...words: ReadonlyArray<string>) =>
  start(["schedule", "serve", "--poll", "50ms", "--keep", "500", ...words], options())
let files = 0
/** A series of runs that note their ids in a file. */
const series = async (count: number, script = "") => {
  const file = join(cwd, `ran-${++files}`)
  const { stdout } = await aio(
    ...["every", "100ms", "--times", String(count), "--overlap", "queueAll", "--catch-up", "all"],
    ...[
      "--retries",
      "5,1ms,1ms",
      "--durable",
      "-q",
      "--",
      "sh",
      "-c",
      `echo $AIO_RUN_ID >> ${file}; ${script}`
    ]
  )
  return { file, id: stdout.trim() }
}
const { lines: ran, untilLines: untilRan } = Started
const runsOf = async (id: string) => {
  const lines = (await aio("show", id, "--json")).stdout.trim().split("\n")
  const [schedule, ...runs] = lines.map((line) => JSON.parse(line) as Readonly<Record<string, any>>)
  return { schedule: schedule!, runs }
}
/** Each number has succeeded once on record, under an id that its command had. */
const whole = async ({ file, id }: { readonly file: string; readonly id: string }, count: number) => {
  const { runs, schedule } = await runsOf(id)
  expect(schedule).toMatchObject({ state: "done", missed: 0 })
  const succeeded = runs.filter(({ status }) => status === "succeeded")
  const numbers = succeeded.map((run) => Number(run["id"].split("-")[1])).sort((a, b) => a - b)
  expect(numbers).toEqual(Array.from({ length: count }, (_, i) => i + 1))
  expect(ran(file)).toEqual(expect.arrayContaining(succeeded.map((run) => run["id"])))
  return runs
}

describe("aio schedule serve on PostgreSQL", { timeout: 120_000 }, () => {
  it("goes on when PostgreSQL is killed and started again: each run takes place once", async () => {
    const made = await series(40, "sleep 0.05")
    const running = serve("--until-done")
    await untilRan(made.file, 5)
    await postgres.kill()
    await running.shows("cannot be reached")
    await postgres.start()
    const { code, stderr } = await running.ended
    expect(code, stderr).toBe(0)
    const runs = await whole(made, 40)
    expect(runs).toHaveLength(40)
    expect(ran(made.file)).toHaveLength(40)
  })

  it("SIGSTOP for longer than the lease: another one tries its run again, and what the woken one reports is dropped", async () => {
    const file = join(cwd, `ran-${++files}`)
    const go = `${file}-go`
    const script = `echo $AIO_RUN_ID >> ${file}; [ "\${AIO_RUN_ID##*-}" = 2 ] || while [ ! -e ${go} ]; do sleep 0.1; done`
    const words = ["later", "0", "--retries", "1,10ms", "--durable", "-q", "--", "sh", "-c", script]
    const id = (await aio(...words)).stdout.trim()
    const first = serve()
    await untilRan(file, 1)
    // A run that is not on record as started would start again under the same id.
    const status = async () => (await runsOf(id)).runs[0]!["status"]
    for (let i = 0; i < 100 && (await status()) !== "running"; i++) await sleep(10)
    first.kill("SIGSTOP")
    const second = serve("--until-done")
    await untilRan(file, 2)
    expect((await second.ended).stderr).toContain("cut off")
    const { runs, schedule } = await runsOf(id)
    expect(runs.map(({ id, status }) => [id, status])).toEqual(
      expect.arrayContaining([
        [`${id}-1-1`, "failed"],
        [`${id}-1-2`, "succeeded"]
      ])
    )
    writeFileSync(go, "")
    first.kill("SIGCONT")
    await first.shows("silent")
    first.kill("SIGTERM")
    await first.ended
    expect(await runsOf(id)).toEqual({ runs, schedule })
    expect(ran(file)).toEqual([`${id}-1-1`, `${id}-1-2`])
  })
})
