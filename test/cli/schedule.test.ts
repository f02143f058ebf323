import { existsSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { afterAll, describe, expect, it } from "vitest"
import * as Aio from "../support/Aio.js"
import * as InProcess from "../support/InProcess.js"

afterAll(Aio.removeFolders)

const aio = (args: ReadonlyArray<string>, options: Parameters<typeof Aio.run>[1] = {}) =>
  InProcess.run(["schedule", ...args], { env: { TZ: "UTC" }, ...options })

const events = (stdout: string) =>
  stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Readonly<Record<string, unknown>>)

const lines = (stdout: string) => stdout.split("\n").slice(0, -1)

describe("aio schedule next", () => {
  const berlin = ["--tz", "Europe/Berlin"]

  it("prints the next times of a cron expression, and marks times that a clock change moves", async () => {
    const spring = ["next", "30 2 * * *", ...berlin, "--from", "2027-03-27T12:00", "-n", "3"]
    expect(await aio(spring)).toEqual({
      code: 0,
      signal: null,
      stdout:
        "2027-03-28T03:00:00+02:00  moved from 02:30\n2027-03-29T02:30:00+02:00\n2027-03-30T02:30:00+02:00\n",
      stderr: ""
    })
    // Words need no quotes where the shell leaves them alone, and the repeated hour counts once.
    const autumn = await aio([
      "next",
      "30",
      "2",
      "*",
      "*",
      "*",
      ...berlin,
      "--from",
      "2027-10-30T12:00",
      "-n2"
    ])
    expect(lines(autumn.stdout)).toEqual(["2027-10-31T02:30:00+02:00", "2027-11-01T02:30:00+01:00"])
    const json = await aio([
      "next",
      "@daily",
      "--tz",
      "America/Havana",
      "--from",
      "2027-03-13",
      "-n1",
      "--json"
    ])
    expect(events(json.stdout)).toEqual([
      { schema: 2, event: "next", index: 1, at: "2027-03-14T01:00:00-04:00", movedFrom: "00:00" }
    ])
    expect(lines((await aio(["next", "* * * * *"])).stdout).length).toBe(5)
  })

  it("prints the next times of an interval, from a given time or aligned to the clock", async () => {
    const from = ["--from", "2027-01-01T00:10:00Z", "--tz", "UTC", "-n2"]
    expect(lines((await aio(["next", "1h30m", ...from])).stdout)).toEqual([
      "2027-01-01T01:40:00+00:00",
      "2027-01-01T03:10:00+00:00"
    ])
    expect(lines((await aio(["next", "2", "days", ...from])).stdout)[0]).toBe("2027-01-03T00:10:00+00:00")
    expect(lines((await aio(["next", "15m", "--align", ...from])).stdout)).toEqual([
      "2027-01-01T00:15:00+00:00",
      "2027-01-01T00:30:00+00:00"
    ])
  })
})

describe("aio schedule --dry-run", () => {
  it("prints the times of the runs, and runs nothing", async () => {
    const file = join(Aio.folder(), "made")
    const words = ["--dry-run", "--times", "2", "--tz", "+00:00", "--", "touch", file]
    const cron = await aio(["cron", "0 0 1 1 *", ...words])
    expect(cron.code).toBe(0)
    for (const line of lines(cron.stdout)) {
      expect(line).toMatch(new RegExp(`^\\d{4}-01-01T00:00:00\\+00:00  touch ${file}$`))
    }
    expect(lines(cron.stdout).length).toBe(2)
    const later = await aio(["later", "2 days", "--dry-run", "--json", "--", "echo", "a b"])
    expect(events(later.stdout)).toMatchObject([{ event: "planned", index: 1, name: "echo 'a b'" }])
    const at = await aio(["at", "2999-12-31T23:59:59", "--tz", "Asia/Kathmandu", "--dry-run", "--", "echo"])
    expect(at.stdout).toBe("2999-12-31T23:59:59+05:45  echo\n")
    expect(existsSync(file)).toBe(false)
  })

  it("prints ten times of a series without an end, and those until a given time", async () => {
    const endless = await aio(["every", "1h", "--align", "--dry-run", "--", "echo"])
    expect(lines(endless.stdout).length).toBe(10)
    expect(endless.stderr).toBe("and so on; limit the runs with --times or --until\n")
    const whole = lines(endless.stdout).map((line) => line.slice(14, 19))
    expect(new Set(whole)).toEqual(new Set(["00:00"]))
    const until = new Date(Date.now() + 3.5 * 3_600_000).toISOString()
    const some = await aio(["every", "1h", "--until", until, "--dry-run", "--", "echo"])
    expect(lines(some.stdout).length).toBe(3)
    expect(some.stderr).toBe("")
  })

  it("gives the same jitter for the same seed", async () => {
    // Whole minutes apart, so that only the jitter is in the seconds.
    const words = ["cron", "0 0 * * *", "--jitter", "1h", "--dry-run", "--times", "4", "--", "echo"]
    const times = async (seed: string) =>
      lines((await aio([...words.slice(0, 4), "--seed", seed, ...words.slice(4)])).stdout)
    expect(await times("1")).toEqual(await times("1"))
    expect(await times("1")).not.toEqual(await times("2"))
  })
})

describe("aio schedule later and at", () => {
  it("runs the command when it is due, and announces the time", async () => {
    const { code, stderr, stdout } = await aio(["later", "100ms", "--", "echo", "tea"])
    expect([code, stdout]).toEqual([0, "tea\n"])
    expect(stderr).toMatch(/^echo tea: at \d{4}-\d\d-\d\dT\S+\+00:00, in \d+ ms\n$/)
    const shell = await aio(["later", "0s", "-q", "--shell", "--", "echo $((6 * 7)); echo err >&2"])
    expect(shell).toEqual({ code: 0, signal: null, stdout: "42\n", stderr: "err\n" })
    const soon = new Date(Date.now() + 1500).toISOString()
    expect((await aio(["at", soon, "-q", "--", "echo", "now"])).stdout).toBe("now\n")
  })

  it("refuses a time in the past, unless --if-past run is given", async () => {
    const refused = await aio(["at", "2020-01-01T12:00", "--tz", "UTC", "--", "echo"])
    expect(refused).toMatchObject({
      code: 2,
      stdout: "",
      stderr:
        "aio schedule at: '2020-01-01T12:00' is past (2020-01-01T12:00:00+00:00); expected a future time, or --if-past run to run it at once\n"
    })
    const run = await aio(["at", "2020-01-01T12:00", "--if-past", "run", "-q", "--", "echo", "late"])
    expect([run.code, run.stdout]).toEqual([0, "late\n"])
  })

  it("exits with 1 when the command fails, 124 when it times out, 127 at once when it is not found", async () => {
    const failed = await aio(["later", "1ms", "--", "sh", "-c", "exit 3"])
    expect(failed.code).toBe(1)
    expect(failed.stderr).toContain("Failed sh -c 'exit 3': exit code 3\n")
    expect((await aio(["later", "1ms", "-q", "--timeout", "50ms", "--", "sleep", "60"])).code).toBe(124)
    const missing = await aio(["later", "1h", "--", "no-such-command"])
    expect(missing).toMatchObject({ code: 127, stderr: "cannot run no-such-command: command not found\n" })
  })
})

describe("aio schedule -f CRONTAB", () => {
  const crontab = (text: string) => {
    const file = join(Aio.folder(), "crontab")
    writeFileSync(file, text)
    return file
  }

  it("previews and runs the jobs of a crontab, each with its zone and its input", async () => {
    const file = crontab(
      "GREETING=hi\n* * * * * cat; echo $GREETING%text\nCRON_TZ=Asia/Tokyo\n@daily echo night\n"
    )
    const planned = events((await aio(["-f", file, "--dry-run", "--times", "1", "--json"])).stdout)
    expect(planned).toMatchObject([
      { event: "planned", index: 1, name: "cat; echo $GREETING" },
      { event: "planned", index: 1, name: "echo night", at: expect.stringMatching(/T00:00:00\+09:00$/) }
    ])
    const logs = join(Aio.folder(), "logs")
    const words = ["-f", file, "--now", "--times", "1", "--log-dir", logs]
    const { code, stderr, stdout } = await aio(words)
    expect([code, lines(stdout).sort()]).toEqual([0, ["hi", "night", "text"]])
    expect(stderr).toMatch(/^runs +2 succeeded$/m)
    expect(readFileSync(join(logs, "cat.log"), "utf8")).toBe("text\nhi\n")
    expect(readFileSync(join(logs, "echo.log"), "utf8")).toBe("night\n")
  })

  it("refuses what is no crontab in one line", async () => {
    const cases: ReadonlyArray<readonly [ReadonlyArray<string>, string]> = [
      [["-f", crontab("MAILTO=a@b.c\n")], "line 1: MAILTO is not supported"],
      [["-f", crontab("* * * * *\n")], "line 1: '* * * * *' is not a job"],
      [["-f", crontab("# nothing\n")], "it has no jobs"],
      [["-f", "/nowhere/crontab"], "the file does not exist"],
      [["-f", crontab("* * * * * x"), "--virtual"], "--virtual applies to the guide's example only"],
      [["--times", "2"], "no subcommand is given"]
    ]
    for (const [args, message] of cases) {
      const { code, stderr, stdout } = await aio(args)
      expect([code, stdout, lines(stderr).length]).toEqual([2, "", 1])
      expect(stderr).toContain(message)
    }
  })
})

describe("aio schedule every and cron", () => {
  it("runs at once with --now, tries again, and puts times before lines", async () => {
    const cwd = Aio.folder()
    const script = "echo out; echo err >&2; [ -e done ] || { touch done; exit 3; }"
    const words = ["every", "1h", "--now", "--times", "1", "--retries", "1,10ms", "--timestamps", "--shell"]
    const { code, stderr, stdout } = await aio([...words, "--", script], { cwd, env: { TZ: "UTC" } })
    expect(code).toBe(0)
    expect(stdout).toMatch(/^(\d{4}-\d\d-\d\dT\S+\+00:00 out\n){2}$/)
    expect(stderr).toMatch(/^\d{4}-\S+ err$/m)
    expect(stderr).toContain("exit code 3; attempt 2 in ")
    expect(stderr).toMatch(/^runs +1 succeeded$/m)
  })

  it("runs the given number of times, and prints a summary", async () => {
    const { code, stderr, stdout } = await aio(["every", "50ms", "--times", "3", "--", "echo", "hi"])
    expect([code, stdout]).toEqual([0, "hi\nhi\nhi\n"])
    expect(stderr).toMatch(
      /^echo hi: first at \S+, in \d+ ms\n(Skipped .*\n)*runs +3 succeeded(, \d+ skipped)?\ntime +.*\n$/
    )
    const cron = await aio(["cron", "* * * * * *", "--times", "1", "-q", "--", "echo", "tick"])
    expect([cron.code, cron.stdout, cron.stderr]).toEqual([0, "tick\n", ""])
  })

  it("continues after a run that fails, and exits with its code", async () => {
    const at = Aio.folder()
    const script = "echo x >> log; test $(wc -l < log) -ne 2"
    const { code, stderr } = await aio(["every", "50ms", "--times", "3", "--shell", "--", script], {
      cwd: at
    })
    expect(code).toBe(1)
    expect(readFileSync(join(at, "log"), "utf8")).toBe("x\nx\nx\n")
    expect(stderr).toContain(`Failed run 2 of ${script}: exit code 1\n`)
    expect(stderr).toMatch(/^runs +2 succeeded, 1 failed(, \d+ skipped)?$/m)
  })

  it("prints all events as NDJSON", async () => {
    const words = ["every", "100ms", "--times", "2", "--overlap", "queueAll", "--json", "--", "sh", "-c"]
    const { stderr, stdout } = await aio([...words, "sleep 0.15; echo out"])
    expect(stderr).toBe("")
    const all = events(stdout)
    const of = (name: string) => all.filter(({ event }) => event === name)
    expect(new Set(all.map(({ schema }) => schema))).toEqual(new Set([2]))
    expect(of("scheduled").length).toBeGreaterThanOrEqual(2)
    expect(of("started").map(({ index }) => index)).toEqual([1, 2])
    expect(of("started")[0]).toMatchObject({
      name: "sh -c 'sleep 0.15; echo out'",
      at: of("scheduled")[0]!["at"]
    })
    expect(of("output")[0]).toMatchObject({ index: 1, stream: "stdout", text: "out\n" })
    expect(of("finished")[1]).toMatchObject({ index: 2, status: "succeeded", exitCode: 0 })
    expect(all.at(-1)).toMatchObject({ event: "summary", succeeded: 2, failed: 0, exitCode: 0 })
  })

  it("skips or cancels by --overlap", async () => {
    const skip = await aio(["every", "100ms", "--times", "2", "--json", "--", "sleep", "0.35"])
    expect(events(skip.stdout).find(({ event }) => event === "skipped")).toMatchObject({
      reason: "the previous run is still running"
    })
    // A second is enough for the first run to begin.
    const words = ["every", "1s", "--times", "2", "--overlap", "cancelRunning", "--", "sh", "-c"]
    const cancel = await aio([...words, "test -e made && echo second || { touch made; sleep 60; }"], {
      cwd: Aio.folder()
    })
    expect([cancel.code, cancel.stdout]).toEqual([0, "second\n"])
    expect(cancel.stderr).toContain(": the next run is due\n")
    expect(cancel.stderr).toMatch(/^runs +1 succeeded, 1 cancelled(, \d+ skipped)?$/m)
  })

  it("stops the current run at a signal, and still prints a summary", async () => {
    const child = Aio.start(["schedule", "every", "50ms", "--json", "--", "sh", "-c", "echo $$; sleep 60"])
    await child.shows('"event":"output"')
    child.kill("SIGTERM")
    const { code, stdout } = await child.ended
    expect(code).toBe(143)
    const all = events(stdout)
    expect(all.find(({ event }) => event === "finished")).toMatchObject({
      status: "cancelled",
      reason: "SIGTERM"
    })
    expect(all.at(-1)).toMatchObject({ event: "summary", cancelled: 1 })
    const pid = String(all.find(({ event }) => event === "output")!["text"]).trim()
    expect(existsSync(`/proc/${pid}`)).toBe(false)
  })

  it("asks the current run to end with its own signal", async () => {
    const script =
      "trap 'echo int; exit' INT; trap 'echo term; exit' TERM; echo up; while :; do sleep 0.01; done"
    const running = Aio.start([
      "schedule",
      "later",
      "0",
      "-q",
      "--stop-signal",
      "INT",
      "--",
      "sh",
      "-c",
      script
    ])
    await running.shows("up")
    running.kill("SIGTERM")
    const { code, stdout } = await running.ended
    expect([code, stdout]).toEqual([143, "up\nint\n"])
  })

  it("ends quietly when its output has no reader", async () => {
    const piped = await aio(["every", "20ms", "-q", "--", "echo", "hi"], {
      shell: '{ "$@"; echo "code $?" >&2; } | head -1'
    })
    expect(piped.stdout).toBe("hi\n")
    expect(piped.stderr).toBe("code 141\n")
  })
})

describe("aio schedule, wrong usage", () => {
  it("shows in its help that a time and a command are required", async () => {
    expect((await aio(["later", "--help"])).stdout).toContain(
      "aio schedule later [OPTIONS] DELAY -- CMD [ARG...]\n"
    )
  })

  it.each<[ReadonlyArray<string>, string]>([
    [["later", "1x", "--", "echo"], "later: unit 'x' in duration '1x' is unknown; use ms, s, m, h, d or w"],
    [["next"], "next: no expression or interval is given; expected one, like '0 9 * * 1-5' or 15m"],
    [["later", "--", "echo"], "later: no delay is given; expected DELAY -- CMD"],
    [["later", "5s"], "later: no command is given; expected it after --, like -- echo tea"],
    [["later", "5s", "--", ""], "later: the command is empty; expected one, like -- echo tea"],
    [
      ["later", "5s", "--shell", "--", "echo", "tea"],
      "later: --shell takes one string, but 2 words are given; quote them as one"
    ],
    [["at", "25:00", "--", "echo"], "at: time '25:00' has hour '25' at character 1; allowed are 00 to 24"],
    [
      ["at", "23:59", "--tz", "Mars", "--", "echo"],
      "at: option --tz: 'Mars' is not a time zone; expected an IANA name like Europe/Berlin, UTC, local or an offset like +02:00 (see aio schedule at --help)"
    ],
    [
      ["every", "0s", "--", "echo"],
      "every: '0s' is out of range; expected a duration above 0, like 90s or 1h30m"
    ],
    [
      ["every", "1h", "--until", "2020-01-01", "--tz", "UTC", "--", "echo"],
      "every: option --until: '2020-01-01' is past (2020-01-01T00:00:00+00:00); expected a future time"
    ],
    [
      ["every", "1h", "--overlap", "no", "--", "echo"],
      "every: option --overlap: 'no' is not accepted; expected skip, queueOne, queueAll, cancelRunning or parallel (see aio schedule every --help)"
    ],
    [
      ["cron", "61 * * * *", "--", "echo"],
      "cron: cron '61 * * * *' has minute '61' at character 1; allowed are 0 to 59"
    ],
    [
      ["cron", "0 0 30 2 *", "--", "echo"],
      "cron: cron '0 0 30 2 *' never fires: no FEB has a day 30; days are at character 5, months at character 8"
    ],
    [["next", "5q"], "next: unit 'q' in duration '5q' is unknown; use ms, s, m, h, d or w"],
    [
      ["next", "@never"],
      "next: cron '@never' has name '@never' at character 1; allowed are @yearly, @annually, @monthly, @weekly, @daily, @midnight, @hourly, alone"
    ],
    [
      ["next", "@daily", "--from", "noon"],
      "next: option --from: time 'noon' is not a time; write one like 2027-01-31T09:00, 2027-01-31T09:00:00+01:00 or 09:00"
    ],
    [
      ["weekly"],
      "unknown subcommand 'weekly' (one of later, at, every, cron, next, list, show, cancel, pause, resume, trigger, serve)"
    ]
  ])("%j exits 2 with one line", async (words, line) => {
    const { code, stderr, stdout } = await aio(words)
    expect({ code, stdout, stderr }).toEqual({
      code: 2,
      stdout: "",
      stderr: `aio schedule${line.startsWith("unknown") ? ":" : ""} ${line}\n`
    })
  })
})
