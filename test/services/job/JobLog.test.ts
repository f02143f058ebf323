import { execFileSync } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import * as JobLog from "../../../src/services/job/JobLog.js"

const folder = Effect.acquireRelease(
  Effect.sync(() => fs.mkdtempSync(path.join(os.tmpdir(), "aio-joblog-"))),
  (folder) => Effect.sync(() => fs.rmSync(folder, { recursive: true }))
)
const entry = (seq: number, command: string, exitCode = 0, signal?: NodeJS.Signals): JobLog.Entry => ({
  seq,
  started: 1_700_000_000_123,
  runtime: 1234,
  received: 5,
  exitCode,
  signal,
  command
})
const written = (file: string, resume: JobLog.Resume, entries: ReadonlyArray<JobLog.Entry>) =>
  Effect.scoped(Effect.flatMap(JobLog.open(file, resume), (log) => Effect.forEach(entries, log.append)))

describe("JobLog", () => {
  it.scopedLive("writes GNU parallel's columns", () =>
    Effect.gen(function* () {
      const file = path.join(yield* folder, "log")
      yield* written(file, undefined, [entry(1, "echo a"), entry(2, "sh -c 'a\nb\tc'", 137, "SIGKILL")])
      expect(fs.readFileSync(file, "utf8").split("\n")).toEqual([
        "Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand",
        "1\t:\t1700000000.123\t     1.234\t0\t5\t0\t0\techo a",
        "2\t:\t1700000000.123\t     1.234\t0\t5\t0\t9\tsh -c 'a\\nb\\tc'",
        ""
      ])
      yield* written(file, undefined, [])
      expect(fs.readFileSync(file, "utf8")).toMatch(/^Seq.*\n$/)
    })
  )

  it.scopedLive("recognises done jobs by their command, each as often as it was run", () =>
    Effect.gen(function* () {
      const file = path.join(yield* folder, "log")
      yield* written(file, undefined, [
        entry(1, "a"),
        entry(2, "b", 1),
        entry(3, "a"),
        entry(4, "c\n", 9, "SIGTERM")
      ])
      const taken = (resume: JobLog.Resume, ...commands: ReadonlyArray<string>) =>
        Effect.scoped(Effect.map(JobLog.open(file, resume), (log) => commands.map(log.wasDone)))
      expect(yield* taken("all", "b", "a", "a", "a", "c\n", "new")).toEqual([
        true,
        true,
        true,
        false,
        true,
        false
      ])
      expect(yield* taken("successful", "b", "a", "c\n")).toEqual([false, true, false])
      expect(fs.readFileSync(file, "utf8").split("\n").length).toBe(6)
    })
  )

  it.scopedLive("continues after the last whole line, however often a crash has cut one", () =>
    Effect.gen(function* () {
      const file = path.join(yield* folder, "log")
      const whole = "1\t:\t1.000\t     0.001\t0\t0\t0\t0\techo abc\n"
      fs.writeFileSync(file, "Seq\tHo")
      for (let cut = 0; cut < whole.length; cut++) {
        yield* written(file, "all", [entry(1, "a")])
        fs.appendFileSync(file, whole.slice(0, cut))
        const taken = Effect.map(JobLog.done(file, "all"), (done) => ["a", "echo a", "echo abc"].map(done))
        expect(yield* taken).toEqual([true, false, false])
      }
      yield* written(file, "all", [entry(2, "b")])
      const lines = fs.readFileSync(file, "utf8").split("\n")
      expect([lines[0]!.slice(0, 6), lines.length, lines.at(-1)]).toEqual(["Seq\tHo", whole.length + 3, ""])
      fs.writeFileSync(file, "somebody's only line")
      const wrong = yield* Effect.flip(Effect.scoped(JobLog.open(file, "all")))
      expect([wrong.line, fs.readFileSync(file, "utf8")]).toEqual([1, "somebody's only line"])
    })
  )

  it.scopedLive("counts two successes under one number twice, and failures there once", () =>
    Effect.gen(function* () {
      const file = path.join(yield* folder, "log")
      yield* written(file, undefined, [entry(2, "a"), entry(2, "a"), entry(1, "b", 1), entry(1, "b", 1)])
      yield* written(file, "all", [entry(3, "c", 1), entry(3, "c")])
      const done = (resume: "all" | "successful") =>
        Effect.map(JobLog.done(file, resume), (done) => ["a", "a", "a", "b", "b", "c", "c"].map(done))
      expect(yield* done("all")).toEqual([true, true, false, true, false, true, false])
      expect(yield* done("successful")).toEqual([true, true, false, false, false, true, false])
    })
  )

  it.scopedLive("appends to a path that is not a regular file, and to a file without lines", () =>
    Effect.gen(function* () {
      yield* written("/dev/null", "all", [entry(1, "a")])
      const file = path.join(yield* folder, "log")
      fs.writeFileSync(file, "")
      yield* written(file, "successful", [entry(1, "a")])
      expect(fs.readFileSync(file, "utf8").split("\n").length).toBe(3)
    })
  )

  it.scopedLive("refuses a file that is not a job log, and leaves it unchanged", () =>
    Effect.gen(function* () {
      const at = yield* folder
      const header = "Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\n"
      const row = "1\t:\t1.000\t     0.001\t0\t0\t0\t0\techo abc\n"
      execFileSync("mkfifo", [path.join(at, "pipe")])
      const cases: ReadonlyArray<readonly [name: string, content: string | undefined, says: RegExp]> = [
        ["pipe", undefined, /it is a named pipe, not a regular file$/],
        [".", undefined, /it is a folder, not a regular file$/],
        ["/dev/zero", undefined, /, line 1: '(\\x00)+' is not a line of a job log/],
        ["/dev/urandom", undefined, /is not a line of a job log/],
        ["text", "some notes\nof mine\n", /, line 1: 'some notes' is not a line/],
        ["late", `${header}${row}${row}a\tb\n`, /, line 4: 'a\\tb' is not a line/],
        [
          "long",
          `${header}${row.replace("abc\n", "x".repeat(20 * 1024 * 1024))}`,
          /, line 2: '1\\t:\\t1.000/
        ],
        [
          "long2",
          `${header}${row.replace("abc", "x".repeat(20 * 1024 * 1024))}${row}`,
          /, line 2: '1\\t:\\t1.000/
        ],
        ["csv", header.replaceAll("\t", ","), /, line 1: /]
      ]
      for (const [name, content, says] of cases) {
        const file = path.resolve(at, name)
        if (content !== undefined) fs.writeFileSync(file, content)
        for (const resume of ["all", "successful"] as const) {
          const error = yield* Effect.flip(Effect.scoped(JobLog.open(file, resume)))
          expect([error.message, error.exitCode]).toEqual([expect.stringMatching(says), 2])
        }
        if (content !== undefined) expect(fs.readFileSync(file, "utf8") === content).toBe(true)
      }
      const pipe = yield* Effect.flip(Effect.scoped(JobLog.open(path.join(at, "pipe"), undefined)))
      expect(pipe.message).toMatch(/pipe: it is a named pipe that nothing reads, not a regular file$/)
    })
  )

  it.scopedLive("distinguishes long commands, and those that are not UTF-8", () =>
    Effect.gen(function* () {
      const file = path.join(yield* folder, "log")
      const long = (end: string) => `echo ${"x".repeat(100_000)}${end}`
      yield* written(file, undefined, [entry(1, long("a")), entry(2, long("\udcff"))])
      const done = yield* JobLog.done(file, "all")
      expect(["a", "b", "\udcff", "\udcfe", "\ufffd"].map((end) => done(long(end)))).toEqual([
        true,
        false,
        true,
        false,
        false
      ])
    })
  )

  it.scopedLive("reports the line that is not a log's, and a log that cannot be written", () =>
    Effect.gen(function* () {
      const at = yield* folder
      const file = path.join(at, "log")
      fs.writeFileSync(file, "Seq\tHost\nfoo\n")
      const wrong = yield* Effect.flip(Effect.scoped(JobLog.open(file, "all")))
      expect([wrong.line, wrong.exitCode]).toEqual([1, 2])
      expect(wrong.message).toMatch(
        /log, line 1: 'Seq\\tHost' is not a line of a job log; expected the columns Seq, Host/
      )
      const folderError = yield* Effect.flip(Effect.scoped(JobLog.open(at, undefined)))
      expect(folderError.message).toMatch(/^cannot use the job log .*it is a folder$/)
    })
  )
})
