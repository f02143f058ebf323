import { afterAll, describe, expect, it } from "vitest"
import * as Aio from "../support/Aio.js"
import * as SetClock from "../support/SetClock.js"

// A wall clock that is set while `aio schedule` waits.

afterAll(Aio.removeFolders)

const hour = 3_600_000

/** `aio schedule` with its clock; `set` changes the clock by so many milliseconds. */
const start = (words: ReadonlyArray<string>) => {
  const { env, set } = SetClock.make(Aio.folder())
  return { running: Aio.start(["schedule", ...words, "--json", "--", "true"], { env }), set }
}

const eventsOf = (stdout: string): ReadonlyArray<any> =>
  stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line))

const every = ["every", "200ms", "--times", "5"]
const second = ["cron", "* * * * * *", "--times", "4"]
const all = ["cron", "* * * * * *", "--catch-up", "all", "--overlap", "queueAll", "--times", "7"]

const cases: ReadonlyArray<readonly [title: string, words: ReadonlyArray<string>, by: number]> = [
  ["an interval goes on, forward", every, hour],
  ["an interval goes on, back", every, -hour],
  ["cron counts what it missed, forward", second, hour],
  ["cron runs all that it missed where it is to, forward", all, 3000],
  ["cron goes on, back", second, -hour]
]

describe("a clock that is set while aio schedule waits", { concurrent: true }, () => {
  it.each(cases)("%s", async (_, words, by) => {
    const { running, set } = start(words)
    await running.shows('"event":"finished","index":2')
    set(by)
    const { code, stderr, stdout } = await running.ended
    expect([code, stderr]).toEqual([0, ""])
    const events = eventsOf(stdout)
    const due = events.filter(({ event }) => event === "started").map(({ at }) => Date.parse(at))
    const gaps = due.slice(1).map((at, i) => at - due[i]!)
    const { skipped, succeeded } = events.at(-1)
    expect(succeeded).toBe(Number(words[words.indexOf("--times") + 1]))
    // One run is due as much later, or earlier; none else is, though a busy machine may miss some.
    const far = gaps.filter((gap) => Math.abs(gap) > 60_000)
    if (words === all) expect([far, skipped]).toEqual([[], 0])
    else {
      expect(far.length).toBe(1)
      expect(far[0]! - by).toBeGreaterThan(0)
      expect(far[0]! - by).toBeLessThan(60_000)
    }
    for (const gap of gaps) expect(gap === far[0] || gap > 0).toBe(true)
    // Each second that cron has passed over is counted.
    if (words[0] === "cron" && by > 0) expect(due.at(-1)! - due[0]!).toBe((succeeded - 1 + skipped) * 1000)
  })

  it.each([hour, -hour])("a delay is as long as it was, by %i ms", async (by) => {
    const { running, set } = start(["later", "1s"])
    await running.shows('"event":"scheduled"')
    set(by)
    const { code, stderr, stdout } = await running.ended
    expect([code, stderr]).toEqual([0, ""])
    const summary = eventsOf(stdout).at(-1)
    expect(summary).toMatchObject({ succeeded: 1, skipped: 0 })
    expect(summary.duration).toBeGreaterThan(990)
  })
})
