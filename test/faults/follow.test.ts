import { execFileSync } from "node:child_process"
import * as fs from "node:fs"
import { join } from "node:path"
import { FastCheck } from "effect"
import { afterAll, describe, expect, it } from "vitest"
import * as Aio from "../support/Aio.js"
import * as FollowModel from "../support/FollowModel.js"

afterAll(Aio.removeFolders)

/** A folder with the identity as a function, and a log in it that does not exist yet. */
const make = () => {
  const cwd = Aio.folder()
  fs.writeFileSync(join(cwd, "id.mjs"), "export default (record) => record\n")
  const at = (name: string) => join(cwd, name)
  return {
    cwd,
    at,
    /** Appends lines; the last one has no end if it is not empty. */
    write: (name: string, ...lines: ReadonlyArray<string>) => fs.appendFileSync(at(name), lines.join("\n")),
    move: (from: string, to: string) => fs.renameSync(at(from), at(to)),
    remove: (name: string) => fs.rmSync(at(name)),
    copyTruncate: () => {
      fs.copyFileSync(at("log"), at("log.1"))
      fs.truncateSync(at("log"))
    },
    start: (...words: ReadonlyArray<string>) =>
      Aio.start(["loop", "-q", "-F", "log", ...words, "id.mjs"], { cwd })
  }
}

type Log = ReturnType<typeof make>

const ended = async (running: Aio.Running, code = 130) => {
  running.kill("SIGINT")
  const result = await running.ended
  expect([result.code, result.stderr.includes("    at ")]).toEqual([code, false])
  return result
}

const quick = ["--rotate-wait", "100ms"]
/** Longer than a test: what is written to the old file is read in it, and the new one is not. */
const patient = ["--rotate-wait", "1h"]

describe.concurrent("a followed file, while it is read", () => {
  it("reads the old file for as long as its writer writes to it, and SIGINT ends the wait at once", async () => {
    const { at, move, start, write } = make()
    write("log", "o1", "")
    const running = start(...patient)
    await running.shows("o1\n")
    const old = fs.openSync(at("log"), "a")
    move("log", "log.1")
    write("log", "n1", "")
    for (let i = 2; i < 8; i++) {
      fs.writeSync(old, `o${i}\n`)
      await running.shows(`o${i}\n`) // a look later, each time
    }
    fs.closeSync(old)
    const { stderr, stdout } = await ended(running)
    expect([stdout, stderr]).toEqual(["o1\no2\no3\no4\no5\no6\no7\n", ""])
  })

  it("waits in the old file for the rest of a line, and cuts none in two", async () => {
    const { at, move, start, write } = make()
    write("log", "o1", "ha")
    const running = start(...patient)
    await running.shows("o1\n")
    const old = fs.openSync(at("log"), "a")
    move("log", "log.1")
    write("log", "n1", "")
    for (const [text, shown] of [
      ["lf\n", "half\n"],
      ["o2\nan", "o2\n"],
      ["d half\n", "and half\n"]
    ] as const) {
      fs.writeSync(old, text)
      await running.shows(shown)
    }
    fs.closeSync(old)
    expect((await ended(running)).stdout).toBe("o1\nhalf\no2\nand half\n")
  })

  it("emits half a line as it is when its writer is quiet for the rotate-wait", async () => {
    const { move, start, write } = make()
    write("log", "o1", "ha")
    const running = start(...quick)
    await running.shows("o1\n")
    move("log", "log.1")
    write("log", "n1", "")
    await running.shows("n1\n")
    expect(await ended(running)).toMatchObject({ stdout: "o1\nha\nn1\n", stderr: "" })
  })

  const while_: ReadonlyArray<readonly [string, (log: Log) => void, string, RegExp]> = [
    [
      "renamed and created in bursts, several times in one look",
      ({ move, write }) => {
        for (let i = 1; i <= 20; i++) {
          move("log", `log-20261127-${100 + i}`)
          write("log", `n${i}`, "")
        }
      },
      Array.from({ length: 20 }, (_, i) => `n${i + 1}\n`).join(""),
      /^$/
    ],
    [
      "rotated by numbers, twice in one look",
      ({ move, write }) => {
        move("log", "log.1")
        write("log", "n1", "")
        move("log.1", "log.2")
        move("log", "log.1")
        write("log", "n2", "")
      },
      "n1\nn2\n",
      /^$/
    ],
    [
      "removed and made anew",
      ({ remove, write }) => {
        remove("log")
        write("log", "n1", "n2", "n3", "n4", "")
      },
      "n1\nn2\nn3\nn4\n",
      /^$/
    ],
    [
      "copied and truncated, and smaller",
      ({ copyTruncate, write }) => {
        copyTruncate()
        write("log", "n", "")
      },
      "n\n",
      /^log: it was truncated or rewritten after 6 bytes of it were read; .* may be lost, and reading continues at the beginning of the new content\n$/
    ],
    [
      "copied and truncated, and of the same size",
      ({ copyTruncate, write }) => {
        copyTruncate()
        write("log", "n1", "n2", "")
      },
      "n1\nn2\n",
      /^log: it was truncated or rewritten after 6 bytes/
    ],
    [
      "copied and truncated, and larger",
      ({ copyTruncate, write }) => {
        copyTruncate()
        write("log", "n1", "n2", "n3", "n4", "")
      },
      "n1\nn2\nn3\nn4\n",
      /^log: it was truncated or rewritten after 6 bytes/
    ]
  ]
  it.each(while_)("is %s", async (_, change, want, gap) => {
    const log = make()
    log.write("log", "o1", "o2", "")
    const running = log.start(...quick)
    await running.shows("o2\n")
    change(log)
    log.write("log", "end", "")
    await running.shows("end\n")
    const { stderr, stdout } = await ended(running)
    expect(stdout).toBe(`o1\no2\n${want}end\n`)
    expect(stderr).toMatch(gap)
  })

  it("follows a link to its next target, with its targets in between", async () => {
    const { at, start, write } = make()
    const link = (to: string) => {
      fs.symlinkSync(to, at("next"))
      fs.renameSync(at("next"), at("log"))
    }
    write("app.2026-11-27.log", "a1", "")
    link("app.2026-11-27.log")
    const running = start(...quick)
    await running.shows("a1\n")
    write("app.2026-11-28.log", "b1", "")
    link("app.2026-11-28.log")
    write("app.2026-11-29.log", "c1", "")
    link("app.2026-11-29.log")
    await running.shows("c1\n")
    expect(await ended(running)).toMatchObject({ stdout: "a1\nb1\nc1\n", stderr: "" })
  })

  it("has files that are rotated and removed while the function is slow", async () => {
    const { cwd, move, remove, write } = make()
    fs.writeFileSync(
      join(cwd, "slow.mjs"),
      `import { existsSync } from "node:fs"
       export default async (record) => {
         if (record === "o1") process.stderr.write("slow\\n")
         while (!existsSync("go")) await new Promise((resolve) => setTimeout(resolve, 10))
         return record
       }\n`
    )
    write("log", "o1", "o2", "")
    const running = Aio.start(["loop", "-q", "-F", "log", ...quick, "slow.mjs"], { cwd })
    await running.shows("slow\n")
    for (const name of ["n1", "n2", "n3"]) {
      move("log", "log.1")
      write("log", name, "")
      // Until it is open, which an open descriptor of the process shows.
      const { ino } = fs.statSync(join(cwd, "log"))
      const isOpen = () =>
        fs.readdirSync(`/proc/${running.pid}/fd`).some((fd): boolean => {
          try {
            return fs.statSync(`/proc/${running.pid}/fd/${fd}`).ino === ino
          } catch {
            return false
          }
        })
      while (!isOpen()) await new Promise((resolve) => setTimeout(resolve, 10))
      remove("log.1")
    }
    write("go")
    await running.shows("n3\n")
    expect((await ended(running)).stdout).toBe("o1\no2\nn1\nn2\nn3\n")
  })

  it("waits for a file that does not exist yet, and reports that once", async () => {
    const { at, cwd } = make()
    const running = Aio.start(["loop", "-F", "later/log", "id.mjs"], { cwd })
    await running.shows("waiting for later/log: it does not exist yet\n")
    fs.mkdirSync(at("later"))
    fs.writeFileSync(at("later/log"), "a1\n")
    await running.shows("a1\n")
    expect(await ended(running)).toMatchObject({
      stdout: "a1\n",
      stderr: expect.stringMatching(/^waiting for later\/log: it does not exist yet\nrecords +1 succeeded\n/)
    })
  })

  it("refuses at once a path that is not a regular file", async () => {
    const { at, cwd } = make()
    execFileSync("mkfifo", [at("pipe")])
    for (const [name, why] of [
      ["pipe", /cannot read pipe: it is not a regular file; only regular files can be followed\n$/],
      [".", /cannot read \.: it is not a regular file/],
      ["/dev/null", /it is not a regular file/],
      ["id.mjs/log", /the file does not exist\n$/]
    ] as const) {
      const { code, stderr } = await Aio.run(["loop", "-F", name, "id.mjs"], { cwd })
      expect([code, stderr], name).toEqual([2, expect.stringMatching(why)])
    }
  })

  it("ends with 3 at a gap by --on-gap fail, after the records before it", async () => {
    const { copyTruncate, start, write } = make()
    write("log", "o1", "o2", "")
    const running = start("--on-gap", "fail")
    await running.shows("o2\n")
    copyTruncate()
    write("log", "n1", "")
    const { code, stderr, stdout } = await running.ended
    expect([code, stdout]).toEqual([3, "o1\no2\n"])
    expect(stderr).toMatch(/^aio loop: log: it was truncated .*; --on-gap warn continues\n$/)
  })
})

// What happens to `log`, which holds d1 and d2 and is done, between two runs with one checkpoint.
const gone =
  /^log: [^\n]*; data after its first 6 bytes may be lost, and reading continues at the beginning of the current file\n$/

/** A line is written, then the file is renamed, and a new file begins. */
const rotatedTo =
  (name: string) =>
  ({ move, write }: Log) => {
    write("log", "d3", "")
    move("log", name)
    write("log", "e1", "")
  }

const between: ReadonlyArray<readonly [string, (log: Log) => void, string, RegExp]> = [
  ["written to", ({ write }) => write("log", "d3", ""), "d3\n", /^$/],
  ["rotated once", rotatedTo("log.1"), "d3\ne1\n", /^$/],
  [
    "rotated twice",
    (log) => {
      rotatedTo("log.1")(log)
      log.move("log.1", "log.2")
      log.move("log", "log.1")
      log.write("log", "f1", "")
    },
    "d3\ne1\nf1\n",
    /^$/
  ],
  [
    "rotated by date, thrice, with older files, logs of others and copies beside",
    ({ at, move, write }) => {
      write("log", "d3", "")
      move("log", "log-20261125")
      write("log", "e1", "")
      move("log", "log-20261126")
      write("log", "f1", "")
      move("log", "log-20261127")
      write("log", "g1", "")
      write("logger-20261126", "foreign", "")
      write("log.js", "foreign", "")
      write("log-20261124.gz", "older, compressed", "")
      fs.utimesSync(at("log-20261124.gz"), 1, 1)
    },
    "d3\ne1\nf1\ng1\n",
    /^$/
  ],
  ["rotated to a name of its own", rotatedTo("kept"), "d3\ne1\n", /^$/],
  [
    "rotated, and what came next is compressed",
    ({ at, move, remove, write }) => {
      write("log", "d3", "")
      move("log", "log.2")
      fs.utimesSync(at("log.2"), 1, 1)
      write("log.1", "e1", "")
      execFileSync("gzip", [at("log.1")])
      expect(fs.existsSync(at("log.1"))).toBe(false)
      write("log", "f1", "")
      remove("id.mjs")
      write("id.mjs", "export default (record) => record\n")
    },
    "d3\nf1\n",
    /^log: log\.1\.gz, which came after log\.2, is compressed; its lines are lost, and reading continues at byte 6 of log\.2\n$/
  ],
  [
    "rotated, and what came next is gone",
    ({ move, write }) => {
      move("log", "log.3")
      write("log.1", "f1", "")
      write("log", "g1", "")
    },
    "f1\ng1\n",
    /log\.2, which came after log\.3, is not there any more; its lines are lost/
  ],
  [
    "compressed",
    ({ at, move, write }) => {
      write("log", "d3", "")
      move("log", "log.1")
      execFileSync("gzip", [at("log.1")])
      write("log", "e1", "")
    },
    "e1\n",
    gone
  ],
  [
    "moved to another folder",
    ({ at, move, write }) => {
      fs.mkdirSync(at("old"))
      move("log", "old/log.1")
      write("log", "e1", "")
    },
    "e1\n",
    gone
  ],
  [
    "copied, truncated and smaller",
    ({ copyTruncate, write }) => {
      copyTruncate()
      write("log", "e1", "")
    },
    "e1\n",
    gone
  ],
  [
    "copied, truncated and grown",
    ({ copyTruncate, write }) => {
      copyTruncate()
      write("log", "long e1", "e2", "e3", "")
    },
    "long e1\ne2\ne3\n",
    gone
  ],
  [
    "removed and made anew, under the same inode where the file system has it so",
    ({ remove, write }) => {
      remove("log")
      write("log", "e1", "e2", "e3", "e4", "")
    },
    "e1\ne2\ne3\ne4\n",
    gone
  ]
]

describe.concurrent("a followed file with a checkpoint, between two runs", () => {
  const first = async (log: Log) => {
    log.write("log", "d1", "d2", "")
    const running = log.start("--checkpoint", "ck")
    await running.shows("d2\n")
    await ended(running)
  }

  it.each(between)("is %s", async (_, change, want, gap) => {
    const log = make()
    await first(log)
    change(log)
    if (!gap.test("")) {
      const { code, stderr, stdout } = await log.start("--checkpoint", "ck", "--on-gap", "fail").ended
      expect([code, stdout, stderr.split("\n").length]).toEqual([3, "", 2])
    }
    const again = log.start("--checkpoint", "ck", ...quick)
    await again.shows(want.slice(want.lastIndexOf("\n", want.length - 2) + 1))
    const { stderr, stdout } = await ended(again)
    expect(stdout).toBe(want)
    expect(stderr).toMatch(gap)
  })

  it("continues in the file after a gap, and reports nothing more", async () => {
    const log = make()
    await first(log)
    log.copyTruncate()
    for (const [i, text] of ["a long line", "next"].entries()) {
      log.write("log", text, "")
      const running = log.start("--checkpoint", "ck")
      await running.shows(`${text}\n`)
      const { stderr, stdout } = await ended(running)
      expect([stdout, stderr === ""]).toEqual([`${text}\n`, i > 0])
    }
  })

  it("emits half a line that was emitted before again once it is complete, and only then", async () => {
    const log = make()
    log.write("log", "d1", "ha")
    const running = log.start("--checkpoint", "ck", ...quick)
    await running.shows("d1\n")
    log.move("log", "log.1")
    log.write("log")
    await running.shows("d1\nha")
    await ended(running)
    const checkpoint = fs.readFileSync(log.at("ck"))
    log.write("log", "e1", "")
    const again = log.start("--checkpoint", "ck", ...quick)
    await again.shows("e1\n")
    expect((await ended(again)).stdout).toBe("e1\n")
    fs.writeFileSync(log.at("ck"), checkpoint)
    log.write("log.1", "lf", "")
    const whole = log.start("--checkpoint", "ck", ...quick)
    await whole.shows("e1\n")
    expect((await ended(whole)).stdout).toBe("half\ne1\n")
  })

  it.each([
    ["a named pipe", (path: string): unknown => execFileSync("mkfifo", [path]), /it is a named pipe/],
    ["a folder", (path: string): void => fs.mkdirSync(path), /it is a folder/],
    [
      "garbage",
      (path: string): void => fs.writeFileSync(path, "garbage"),
      /it is not a checkpoint; name another file/
    ],
    [
      "out of range",
      (path: string): void =>
        fs.writeFileSync(
          path,
          JSON.stringify({
            schema: 1,
            input: join(path, "../log"),
            position: { index: -1, line: 1e300, format: "lines", file: {} }
          })
        ),
      /its position does not fit this kind of input; name another file, or remove it to start over/
    ],
    [
      "of the earlier version",
      (path: string): void =>
        fs.writeFileSync(
          path,
          JSON.stringify({
            schema: 1,
            input: join(path, "../log"),
            position: { index: 2, line: 2, position: 6, file: "1:2" }
          })
        ),
      /it has no digest of the file, .*; name another file, or remove it to start over/
    ]
  ] as const)("is refused when the checkpoint is %s", async (_, plant, why) => {
    const { at, start, write } = make()
    write("log", "d1", "")
    plant(at("ck"))
    const { code, stderr, stdout } = await start("--checkpoint", "ck").ended
    expect([code, stdout]).toEqual([2, ""])
    expect(stderr).toMatch(/^aio loop: cannot use the checkpoint ck: [^\n]*\n$/)
    expect(stderr).toMatch(why)
  })

  it("is refused as records of another format", async () => {
    const log = make()
    await first(log)
    const { code, stderr } = await log.start("--checkpoint", "ck", "--format", "ndjson").ended
    expect([code, stderr]).toEqual([
      2,
      "aio loop: cannot use the checkpoint ck: it is of records as lines, not ndjson\n"
    ])
  })
})

it("loses, cuts and disorders no line, whatever happens to the files and to the follower", async () => {
  await FastCheck.assert(
    FastCheck.asyncProperty(FollowModel.cases, async (one) => {
      expect(await FollowModel.run(one)).toEqual([])
    }),
    { numRuns: 40 }
  )
})
