import { describe, expect, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as Progress from "../../../src/commands/gather/progress.js"
import type { DownloadEvent, Finished } from "../../../src/services/download/Downloads.js"
import * as Width from "../../../src/services/text/Width.js"

const MiB = 1024 ** 2
const url = (index: number) => `https://a.example/files/f${index}.bin`

const progress = (index: number, bytes: number, total?: number): DownloadEvent => ({
  event: "progress",
  index,
  name: url(index),
  bytes,
  ...(total === undefined ? {} : { total })
})
const finished = (
  index: number,
  status: Finished["status"],
  more: Partial<Finished> = {}
): DownloadEvent => ({
  event: "finished",
  index,
  name: url(index),
  status,
  duration: 1,
  ...more
})

/** Events at times in milliseconds, and the line for the whole after them. */
const whole = (
  files: number | undefined,
  events: ReadonlyArray<readonly [time: number, event: DownloadEvent]>,
  columns = 100
) => {
  let time = 0
  const { count, lines } = Progress.make({ files: () => files, now: () => time })
  let shown = lines(columns)[0]
  for (const [at, event] of events) {
    time = at
    count(event)
    shown = lines(columns)[0]
  }
  return shown
}

const half = [
  [0, progress(1, 0, 10 * MiB)],
  [1000, progress(1, 5 * MiB, 10 * MiB)]
] as const

describe("progress", () => {
  it.each([
    ["before the first byte", 3, [], "0/3 files  0 B"],
    ["of a list whose end is unknown", undefined, half, "0 files  5.0 MiB  5.0 MiB/s"],
    ["of one file", 1, half, "0/1 files  50%  5.0 MiB  5.0 MiB/s  1 s left"],
    [
      "of files that are as large as the known ones",
      4,
      [...half, [2000, finished(1, "succeeded", { bytes: 10 * MiB })]],
      "1/4 files  25%  10 MiB  5.0 MiB/s  6 s left"
    ],
    [
      "of a continued file: what was there is received, and no speed",
      1,
      [
        [0, progress(1, 8 * MiB, 10 * MiB)],
        [1000, progress(1, 9 * MiB, 10 * MiB)]
      ],
      "0/1 files  90%  9.0 MiB  1.0 MiB/s  1 s left"
    ],
    [
      "with failures, skipped files and a retry that begins again",
      4,
      [
        [0, finished(2, "failed")],
        [0, finished(3, "skipped", { bytes: 99, path: "d/f3" })],
        [0, finished(4, "timed_out")],
        ...half,
        [
          1000,
          {
            event: "retrying",
            index: 1,
            name: url(1),
            attempt: 2,
            delay: 1,
            reason: "broke",
            cause: "dropped"
          }
        ],
        [1000, progress(1, MiB, 10 * MiB)]
      ],
      "3/4 files  2 failed  10%  1.0 MiB  5.0 MiB/s  2 s left"
    ],
    [
      "stalled",
      1,
      [...half, [60_000, progress(1, 5 * MiB, 10 * MiB)], [66_000, progress(1, 5 * MiB, 10 * MiB)]],
      "0/1 files  50%  5.0 MiB  0 B/s"
    ],
    ["of an empty file", 1, [[0, finished(1, "succeeded", { bytes: 0 })]], "1/1 files  0 B"]
  ] as const)("%s", (_, files, events, line) => {
    expect(whole(files, events)).toBe(line)
  })

  it.each([
    [100, "3/5 files  1 failed  19%  17 MiB  17 MiB/s  5 s left"],
    [50, "3/5 files  1 failed  19%  17 MiB/s  5 s left"],
    [39, "3/5 files  19%  17 MiB/s  5 s left"],
    [30, "19%  17 MiB/s  5 s left"],
    [10, "19%  17 M…"]
  ])("drops what matters least at %d columns", (columns, line) => {
    const events = [
      [0, progress(1, 0, 50 * MiB)],
      [0, finished(2, "failed")],
      [0, finished(3, "skipped")],
      [0, finished(4, "succeeded", { bytes: 7 * MiB })],
      [1000, progress(1, 10 * MiB, 50 * MiB)]
    ] as const
    expect(whole(5, events, columns)).toBe(line)
  })

  it("has a bar for each transfer, with the end of a long name", () => {
    const { count, lines } = Progress.make({ files: () => 2, now: () => 0 })
    count(progress(1, 5 * MiB, 10 * MiB))
    count({ ...progress(2, MiB), name: `https://a.example/${"long-".repeat(20)}name.bin` } as DownloadEvent)
    expect(lines(79).slice(1)).toEqual([
      `━━━━━━━━━━${" ".repeat(11)}f1.bin${" ".repeat(29)} 50%  5.0 MiB of 10 MiB`,
      `${" ".repeat(21)}…-long-long-long-long-long-long-name.bin 1.0 MiB`
    ])
    expect(lines(39).slice(1)).toEqual([
      "f1.bin           50%  5.0 MiB of 10 MiB",
      "…g-long-long-long-long-name.bin 1.0 MiB"
    ])
  })

  it.each([
    [
      100,
      10 * MiB,
      `${"━".repeat(12)}${" ".repeat(8)} f1.bin${" ".repeat(29)} 60%  6.0 MiB of 10 MiB  1.0 MiB/s  4 s left`
    ],
    [60, 10 * MiB, `${"━".repeat(12)}${" ".repeat(8)} f1.bin         60%  1.0 MiB/s  4 s left`],
    [40, 10 * MiB, "f1.bin          60%  1.0 MiB/s  4 s left"],
    [26, 10 * MiB, "f1.bin      60%  1.0 MiB/s"],
    [14, 10 * MiB, "f1.bin     60%"],
    [40, undefined, "f1.bin                6.0 MiB  1.0 MiB/s"],
    [20, undefined, "f1.bin     1.0 MiB/s"]
  ])(
    "a bar at %d columns has the percentage, the speed and the time left, of %s bytes",
    (columns, total, line) => {
      let time = 0
      const { count, lines } = Progress.make({ files: () => 1, now: () => time })
      count(progress(1, 5 * MiB, total))
      time = 1000
      count(progress(1, 6 * MiB, total))
      expect(lines(columns)[1]!.trimEnd()).toBe(line)
      count(progress(1, MiB, total)) // it has begun anew
      expect(lines(columns)[1]).not.toMatch(/-|\/s/)
    }
  )

  const event = fc.oneof(
    fc
      .tuple(fc.integer({ min: 1, max: 5 }), fc.nat(1e12), fc.option(fc.nat(1e12), { nil: undefined }))
      .map((given) => progress(...given)),
    fc
      .tuple(
        fc.integer({ min: 1, max: 5 }),
        fc.constantFrom<Finished["status"]>("succeeded", "failed", "skipped", "cancelled", "timed_out"),
        fc.nat(1e12)
      )
      .map(([index, status, bytes]) => finished(index, status, { bytes }))
  )

  it.prop(
    "no line is wider than the terminal, no percentage above 100, no speed below 0, whatever happens",
    [
      fc.array(fc.tuple(event, fc.nat(3000)), { maxLength: 30 }),
      fc.option(fc.nat(9), { nil: undefined }),
      fc.integer({ min: 10, max: 120 })
    ],
    ([events, files, columns]) => {
      let time = 0
      const { count, lines } = Progress.make({ files: () => files, now: () => time })
      for (const [event, pause] of events) {
        time += pause
        count(event)
        const shown = lines(columns)
        for (const line of shown) expect(Width.of(line)).toBeLessThanOrEqual(columns)
        expect(shown[0]).not.toMatch(/NaN|Infinity|-\d|undefined/)
        expect(Number(/(\d+)%/.exec(shown[0]!)?.[1] ?? 0)).toBeLessThanOrEqual(100)
      }
    }
  )
})
