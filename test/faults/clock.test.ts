import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { pathToFileURL } from "node:url"
import { afterAll, describe, expect, it } from "vitest"
import * as Aio from "../support/Aio.js"

// A wall clock that is set while `aio schedule` waits. A module that is loaded first adds what a file says to the time
// of day; the monotonic clock stays as it is, as for a clock that is set by hand or by NTP.

afterAll(Aio.removeFolders)

const shim = `
import { readFileSync } from "node:fs"
const Real = Date
const offset = () => Number(readFileSync(process.env.CLOCK_OFFSET, "utf8"))
globalThis.Date = class Date extends Real {
  constructor(...words) {
    if (words.length === 0) super(Real.now() + offset())
    else super(...words)
  }
  static now() {
    return Real.now() + offset()
  }
}
`
const hour = 3_600_000

/** `aio schedule` with its clock; \`set\` changes the clock by so many milliseconds. */
const start = (words: ReadonlyArray<string>) => {
  const folder = Aio.folder()
  const file = join(folder, "offset")
  const set = (by: number) => writeFileSync(file, String(by))
  set(0)
  writeFileSync(join(folder, "shim.mjs"), shim)
  const running = Aio.start(["schedule", ...words, "--json", "--", "true"], {
    env: {
      NODE_OPTIONS: `--import ${pathToFileURL(join(folder, "shim.mjs"))}`,
      CLOCK_OFFSET: file,
      TZ: "UTC"
    }
  })
  return { running, set }
}

const eventsOf = (stdout: string): ReadonlyArray<any> =>
  stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line))

const every = ["every", "200ms", "--times", "5"]
const second = ["cron", "* * * * * *", "--times", "4"]
const all = ["cron", "* * * * * *", "--catch-up", "all", "--overlap", "queueAll", "--times", "7"]

/** By how much a run is due after the run before where that is not the period; least and most. */
type Jump = readonly [least: number, most: number] | undefined

const cases: ReadonlyArray<
  readonly [
    title: string,
    words: ReadonlyArray<string>,
    by: number,
    period: number,
    jump: Jump,
    skipped: number
  ]
> = [
  ["an interval goes on as it was, forward", every, hour, 200, [hour + 100, hour + 300], 0],
  ["an interval goes on as it was, back", every, -hour, 200, [-hour + 100, -hour + 300], 0],
  ["cron counts what it missed, forward", second, hour, 1000, [hour + 1000, hour + 1000], 3600],
  ["cron runs all that it missed where it is to, forward", all, 3000, 1000, undefined, 0],
  // What is due within a minute of a change back may be passed over.
  ["cron goes on, back", second, -hour, 1000, [-hour + 1000, -hour + 60_000], 0]
]

describe("a clock that is set while aio schedule waits", { concurrent: true }, () => {
  it.each(cases)("%s", async (_, words, by, period, jump, skipped) => {
    const { running, set } = start(words)
    await running.shows('"event":"finished","run":2')
    set(by)
    const { code, stderr, stdout } = await running.ended
    expect([code, stderr]).toEqual([0, ""])
    const events = eventsOf(stdout)
    const due = events.filter(({ event }) => event === "started").map(({ at }) => Date.parse(at))
    const gaps = due.slice(1).map((at, i) => at - due[i]!)
    const jumps = gaps.filter((gap) => Math.abs(gap - period) > period / 2)
    expect(jumps.length).toBe(jump === undefined ? 0 : 1)
    if (jump !== undefined) {
      expect(jumps[0]).toBeGreaterThanOrEqual(jump[0])
      expect(jumps[0]).toBeLessThanOrEqual(jump[1])
    }
    expect(events.at(-1)).toMatchObject({ event: "summary", succeeded: due.length, skipped })
  })

  it.each([hour, -hour])("a delay is as long as it was, by %i ms", async (by) => {
    const { running, set } = start(["later", "1s"])
    await running.shows('"event":"scheduled"')
    set(by)
    const { code, stderr, stdout } = await running.ended
    expect([code, stderr]).toEqual([0, ""])
    const summary = eventsOf(stdout).at(-1)
    expect(summary).toMatchObject({ runs: 1, succeeded: 1, skipped: 0 })
    expect(summary.elapsed).toBeGreaterThan(990)
  })
})
