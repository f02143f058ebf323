import { readFileSync, writeFileSync } from "node:fs"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { join } from "node:path"
import { afterAll, describe, expect, it } from "vitest"
import * as Aio from "../support/Aio.js"
import * as InProcess from "../support/InProcess.js"

afterAll(Aio.removeFolders)

const aio = (args: ReadonlyArray<string>, options: Parameters<typeof Aio.run>[1] = {}) =>
  InProcess.run(["long-running", ...args], options)

const lines = (text: string) => text.split("\n").slice(0, -1)

describe("aio long-running", () => {
  it("runs the guide's example in virtual time, with its times", async () => {
    const { code, stdout } = await aio(["--virtual", "--timestamps", "--seed", "1"])
    expect(code).toBe(0)
    expect(lines(stdout).slice(0, 2)).toEqual(["00:00:00.000  task running now...", "00:00:02.000  Hello 2"])
    expect(lines(stdout).at(-1)).toBe("00:00:10.000  task cancelled")
  })
})

describe("aio long-running NAME=COMMAND", () => {
  it("restarts a command that fails, and stops all when it fails too often", async () => {
    const marker = Aio.marker()
    const args = ["a=echo run; exit 3", "b=sleep 60 & sleep 60", "--max-restarts", "2", "--backoff", "50ms"]
    const { code, stderr, stdout } = await aio(args, { env: marker.env })
    expect({ code, stdout }).toEqual({ code: 1, stdout: "a | run\na | run\na | run\n" })
    expect(stderr).toMatch(/^a ended after .*: exit code 3\na starts again in \d+ ms \(restart 1\)\n/)
    expect(stderr).toContain(
      "a failed: restarted 2 times within 1m, and again: exit code 3\nstopping b: sibling a failed\n"
    )
    expect(stderr).toMatch(
      /\nname {2}status {5}restarts {2}why\na {5}failed {5}2 {9}restarted.*\nb {5}cancelled {2}0 {9}sibling a failed\n$/
    )
    expect(marker.alive()).toEqual([])
  })

  it("ends when all have ended, and restarts them by policy", async () => {
    const { code, stdout } = await aio([
      "-q",
      "a=echo a",
      "b=echo b; exit 1",
      "--restart",
      "b:never",
      "--on-failure",
      "continue"
    ])
    expect([code, lines(stdout).sort()]).toEqual([1, ["a | a", "b | b"]])
    const always = await aio([
      "-q",
      "a=echo a",
      "--restart",
      "always",
      "--max-restarts",
      "1",
      "--backoff",
      "1ms"
    ])
    expect([always.code, always.stdout]).toEqual([1, "a | a\na | a\n"])
  })

  it("starts a command when the other is ready, and stops in reverse order when the time is up", async () => {
    const folder = Aio.folder()
    const file = join(folder, "Procfile")
    const child = (name: string) =>
      `trap 'echo ${name} ends; exit' TERM; echo ${name} listens; sleep 60 & wait`
    writeFileSync(file, `web: ${child("web")}\ndb: ${child("db")}\n`)
    const ready = ["--after", "web:db", "--ready-log", "db:^db list"]
    const { code, stderr, stdout } = await aio([
      "-f",
      file,
      ...ready,
      "--for",
      "700ms",
      "--raw",
      "--log-dir",
      join(folder, "logs")
    ])
    expect({ code, stdout }).toEqual({ code: 0, stdout: "db listens\nweb listens\nweb ends\ndb ends\n" })
    expect(stderr).toMatch(
      /^web waits for db\ndb is ready after .*\nstopping web: the run time of 700ms is over\nstopping db: /
    )
    expect(readFileSync(join(folder, "logs/db.log"), "utf8")).toBe("db listens\ndb ends\n")
  })

  it("checks readiness and health by URL, port and command", async () => {
    let sick = false
    const server = createServer((_, response) => response.writeHead(sick ? 503 : 200).end())
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
    const { port } = server.address() as AddressInfo
    const url = `http://127.0.0.1:${port}/`
    const running = Aio.start([
      "long-running",
      ...["a=echo a; sleep 60", "--ready-http", `a:${url}`, "--health-http", `a:${url}`],
      ...["b=echo b; sleep 60", "--ready-port", `b:127.0.0.1:${port}`],
      ...["c=echo c; sleep 60", "--ready-exec", "c:test 1 = 1"],
      ...["--health-every", "100ms", "--health-failures", "2", "--backoff", "10ms"]
    ])
    for (const name of ["a", "b", "c"]) await running.shows(`${name} is ready`)
    sick = true
    await running.shows("a is unhealthy (2): ")
    await running.shows("a ended after")
    sick = false
    await running.shows("(restart 1)")
    running.kill("SIGTERM")
    const { code, stderr } = await running.ended
    server.close()
    expect(code).toBe(143)
    expect(stderr).toContain(`unhealthy: 2 checks in a row failed, the last with: ${url}: status 503\n`)
  })

  it("names a process that lingers, and leaves no process behind", async () => {
    const marker = Aio.marker()
    const stubborn = "trap '' TERM; setsid sleep 60 & echo up; while :; do sleep 0.1; done"
    const running = Aio.start(["long-running", `a=${stubborn}`, "--grace", "1500ms"], { env: marker.env })
    await running.shows("a | up")
    running.kill("SIGINT")
    const { code, stderr } = await running.ended
    expect(code).toBe(130)
    expect(stderr).toMatch(/^stopping a: SIGINT\nwaiting for a \(pid \d+\), which is killed in 500 ms\n/)
    expect(marker.alive()).toEqual([])
  })

  it("starts a command after one that has ended well, and fails it after one that was never ready", async () => {
    const ended = await aio(["-q", "a=true", "b=echo b", "--after", "b:a"])
    expect(ended).toMatchObject({ code: 0, stdout: "b | b\n" })
    const never = await aio(["a=true", "b=echo b", "--after", "b:a", "--ready-log", "a:up"])
    expect(never).toMatchObject({ code: 1, stdout: "" })
    expect(never.stderr).toContain("b failed: a was never ready\n")
  })

  it("ends in time while commands wait for descriptors, and starts none of them then", async () => {
    const services = Array.from({ length: 30 }, (_, i) => `s${i}=echo up; exec sleep 600`)
    const { code, stdout } = await aio(["-q", "--for", "500ms", "--grace", "200ms", ...services], {
      shell: 'ulimit -n 64; exec "$@"'
    })
    expect(code).toBe(0)
    expect(lines(stdout).length).toBeLessThan(30)
  })

  it("leaves no process behind when it is killed itself", async () => {
    const marker = Aio.marker()
    const running = Aio.start(["long-running", "a=setsid sleep 60 & echo up; sleep 60"], { env: marker.env })
    await running.shows("a | up")
    running.kill("SIGKILL")
    expect(await running.exited).toBe(null)
    expect(await marker.left()).toEqual([])
  })

  it("prints events as NDJSON, use of processor and memory included", async () => {
    const { code, stderr, stdout } = await aio(["--json", "a=echo out; sleep 60", "--for", "1500ms"])
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" })
    const events = lines(stdout).map((line) => JSON.parse(line))
    expect(events.map(({ event }) => event).filter((event) => event !== "sampled")).toEqual(
      expect.arrayContaining(
        ["started", "output", "ready", "stopping", "ended", "finished"].filter((e) => e !== "ended")
      )
    )
    const sampled = events.find(({ event }) => event === "sampled")
    expect(sampled.memory).toBeGreaterThan(0)
    expect(sampled.cpu).toBeGreaterThanOrEqual(0)
    const outcome = { name: "a", status: "cancelled", restarts: 0 }
    expect(events.at(-2)).toMatchObject({ schema: 1, event: "finished", ...outcome })
    expect(events.at(-1)).toMatchObject({ schema: 1, event: "summary", services: [outcome] })
  })

  it("reports wrong usage in one line, before anything runs", async () => {
    const folder = Aio.folder()
    const cases: ReadonlyArray<readonly [ReadonlyArray<string>, string, number?]> = [
      [["a=nosuchprogram --flag"], "cannot run nosuchprogram: command not found", 127],
      [["a=/etc/passwd"], "cannot run /etc/passwd: permission denied", 126],
      [["a=x y=z"], "cannot run x: command not found", 127],
      [
        ["a=sleep 1", "--restart", "sometimes"],
        "option --restart: 'sometimes' is not one of always, on-failure, never"
      ],
      [["a=sleep 1", "--ready-log", "a:("], "option --ready-log: '(' is not a regular expression: "],
      [["a=sleep 1", "--ready-port", "0"], "option --ready-port: '0' is not a port; expected 1 to 65535"],
      [["a=sleep 1", "--health-http", "ftp://x"], "option --health-http: 'ftp://x' is not a URL"],
      [["a=sleep 1", "--ready-exec", "a: "], "option --ready-exec: the command is empty"],
      [
        ["a=sleep 1", "--ready-port", "80", "--ready-log", "x"],
        "option --ready-port: cannot be combined with --ready-log for a"
      ],
      [["a=sleep 1", "--after", "a:a"], "option --after: a waits for a"],
      [["a=sleep 1", "--virtual"], "--virtual and --seed apply to the guide's example only"],
      [["a=sleep 1", "--max-restarts", "-1"], "option --max-restarts: "],
      [["a=sleep 1", "--for", "ever"], "option --for: "],
      [["--for", "1s"], "--for does not apply to the guide's example; write NAME='COMMAND'"],
      [
        ["a=sleep 1", "--restart", "b:never"],
        "'b:never' is not one of always, on-failure, never; and 'b' is not one of the names a"
      ],
      [["a=sleep 1", "--stop-signal", "SIGNOPE"], "option --stop-signal: 'SIGNOPE' is not a signal"],
      [
        ["a=sleep 1", "--stop-signal", "a:INT", "--stop-signal", "a:QUIT"],
        "option --stop-signal: is given twice for a"
      ],
      [["-f", join(folder, "Procfile")], "the file does not exist"]
    ]
    const results = await Promise.all(cases.map(([args]) => aio(args)))
    for (const [i, { code, stderr, stdout }] of results.entries()) {
      expect(stderr).toContain(cases[i]![1])
      expect({ code, stdout, lines: lines(stderr).length }).toEqual({
        code: cases[i]![2] ?? 2,
        stdout: "",
        lines: 1
      })
    }
    const logs = join(folder, "file")
    writeFileSync(logs, "")
    const unwritable = await aio(["a=sleep 60", "--log-dir", logs])
    expect(unwritable).toMatchObject({ code: 2, stdout: "" })
    expect(unwritable.stderr).toMatch(
      /^aio long-running: cannot write \S+file: a part of the path is not a folder\n$/
    )
  })
})
