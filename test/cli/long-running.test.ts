import { execFileSync } from "node:child_process"
import { mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { writeFile } from "node:fs/promises"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { join } from "node:path"
import { Schema } from "effect"
import { afterAll, describe, expect, it } from "vitest"
import * as Events from "../../src/services/host/Events.js"
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
    const args = ["--retries", "2,50ms", "a=echo run; exit 3", "b=sleep 60 & sleep 60"]
    const { code, stderr, stdout } = await aio(args, { env: marker.env })
    expect({ code, stdout }).toEqual({ code: 1, stdout: "a | run\na | run\na | run\n" })
    expect(stderr).toMatch(/^a exited after .*: exit code 3\na restarts in \d+ ms \(restart 1\)\n/)
    expect(stderr).toContain(
      "Failed a: restarted 2 times within 1 m 00 s, and again: exit code 3\nstopping b: sibling a failed\n"
    )
    expect(stderr).toMatch(
      /\nservices {2}0 succeeded, 1 failed, 1 cancelled\na {9}failed, 2 restarts\nb {9}cancelled, 0 restarts\ntime {6}\d.*\n$/
    )
    expect(marker.alive()).toEqual([])
  })

  it("ends when all have ended, and restarts them by policy", async () => {
    const each = ["--restart", "always", "--restart", "b:always", "--restart", "b:never"]
    const limit = ["--retries", "1,1ms", "--on-failure", "continue"]
    const { code, stderr, stdout } = await aio(["-q", ...each, ...limit, "a=echo a", "b=echo b; exit 1"])
    expect([code, lines(stdout).sort()]).toEqual([1, ["a | a", "a | a", "b | b"]])
    expect(lines(stderr).sort()).toEqual([
      "Failed a: restarted 1 time within 1 m 00 s, and again: it ended",
      "Failed b: exit code 1"
    ])
    expect(await aio(["-qq", "--restart", "never", "b=exit 1"])).toMatchObject({ code: 1, stderr: "" })
  })

  it("starts a command when the other is ready, and stops in reverse order when the time is up", async () => {
    const folder = Aio.folder()
    const file = join(folder, "Procfile")
    const child = (name: string) =>
      `trap 'echo ${name} ends; exit' TERM; echo ${name} listens; sleep 60 & wait`
    writeFileSync(file, `web: ${child("web")}\ndb: ${child("db")}\n`)
    const ready = ["--after", "web:db", "--ready-log", "db:^db list"]
    const more = ["--for", "700ms", "--raw", "--log-dir", join(folder, "logs")]
    const { code, stderr, stdout } = await aio(["-f", file, ...ready, ...more])
    expect({ code, stdout }).toEqual({ code: 0, stdout: "db listens\nweb listens\nweb ends\ndb ends\n" })
    expect(stderr).toMatch(
      /^web waits for db\ndb is ready after .*\nstopping web: the run time of 700 ms is over\nstopping db: /
    )
    expect(readFileSync(join(folder, "logs/db.log"), "utf8")).toBe("db listens\ndb ends\n")
  })

  it("takes the options of commands from comments of the Procfile, and those of the command line first", async () => {
    const folder = Aio.folder()
    const file = join(folder, "Procfile")
    const db = "# aio: --ready-log '^db is up' --scale 2\ndb: echo db is up; sleep 60\n"
    writeFileSync(file, `# aio: --after db --restart always --stop-signal INT\nweb: echo web\n${db}`)
    const { code, stderr, stdout } = await aio([
      ...["-f", file, "--for", "1s", "--restart", "web:never", "--scale", "db=1", "--raw"]
    ])
    expect({ code, stdout }).toEqual({ code: 0, stdout: "db is up\nweb\n" })
    expect(stderr).toMatch(/^web waits for db.1\ndb.1 is ready after .*\nweb exited after /)
    const cases: ReadonlyArray<readonly [string, string]> = [
      ["--after cache", "option --after: 'web:cache': unknown name 'cache'; expected one of web"],
      ["--ready-port 0", `${file}, line 2: option --ready-port: '0' is not a port`],
      ["--json", `${file}, line 2: unknown option --json`],
      ["db", `${file}, line 2: 'db' is not an option; write # aio: --after db`]
    ]
    for (const [options, message] of cases) {
      writeFileSync(file, `\n# aio: ${options}\nweb: sleep 60\n`)
      const { code, stderr } = await aio(["-f", file])
      expect(stderr).toContain(`aio long-running: ${message}`)
      expect([code, lines(stderr).length]).toEqual([2, 1])
    }
  })

  it("checks readiness and health by URL, port and command", async () => {
    let sick = false
    const server = createServer((_, response) => response.writeHead(sick ? 503 : 200).end())
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
    const { port } = server.address() as AddressInfo
    const url = `http://127.0.0.1:${port}/`
    const running = Aio.start([
      "long-running",
      ...["--ready-http", `a:${url}`, "--health-http", `a:${url}`],
      ...["--ready-port", `b:127.0.0.1:${port}`, "--ready-exec", "c:test 1 = 1"],
      ...["--health-every", "100ms", "--health-failures", "2", "--retries", "unlimited,10ms"],
      ...["a=echo a; sleep 60", "b=echo b; sleep 60", "c=echo c; sleep 60"]
    ])
    for (const name of ["a", "b", "c"]) await running.shows(`${name} is ready`)
    sick = true
    await running.shows("a is unhealthy (2): ")
    await running.shows("a exited after")
    sick = false
    await running.shows("(restart 1)")
    running.kill("SIGTERM")
    const { code, stderr } = await running.ended
    server.close()
    expect(code).toBe(143)
    expect(stderr).toContain(`unhealthy: 2 checks in a row failed, the last with: ${url}: status 503\n`)
  })

  it("takes a port without a host only from a process of the command itself", async () => {
    const server = createServer(() => undefined)
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
    const { port } = server.address() as AddressInfo
    const listener = join(Aio.folder(), "listen.cjs")
    const code = `require("net").createServer().listen(+process.argv[2], function () { console.log(this.address().port) })`
    writeFileSync(listener, code)
    const probe = Aio.start(["long-running", `a=node ${listener} 0`])
    await probe.shows("a | ")
    probe.kill("SIGTERM")
    const own = /a \| (\d+)/.exec((await probe.ended).stdout)![1]!
    const running = Aio.start([
      "long-running",
      ...["--ready-port", `stranger:${port}`, "--ready-port", `own:${own}`, "--after", "next:own"],
      "stranger=sleep 60",
      `own=node ${listener} ${own} & wait`,
      "next=echo next; sleep 60"
    ])
    await running.shows("own is ready")
    await running.shows("next     | next")
    running.kill("SIGTERM")
    const { stderr } = await running.ended
    server.close()
    expect(stderr).not.toContain("stranger is ready")
  })

  it("restarts a command when files change, and keeps one that has ended", async () => {
    const folder = Aio.folder()
    mkdirSync(join(folder, "src/logs"), { recursive: true })
    const env = { XDG_RUNTIME_DIR: folder }
    const watch = [
      "--watch",
      "once:src",
      "--watch",
      "web:src",
      "--watch",
      "web:web.conf",
      "--log-dir",
      "src/logs"
    ]
    writeFileSync(join(folder, "web.conf"), "")
    const running = Aio.start(
      ["long-running", ...watch, "once=echo once", "web=echo web; sleep 60", "other=echo other; sleep 60"],
      { cwd: folder, env }
    )
    await running.shows("once exited")
    for (const text of ["web   | web", "other | other"]) await running.shows(text)
    writeFileSync(join(folder, "src/a.ts"), "")
    await running.shows("once  | once", 2)
    await running.shows("web   | web", 2)
    writeFileSync(join(folder, "web.conf"), "x")
    await running.shows("web   | web", 3)
    running.kill("SIGTERM")
    const { stderr, stdout } = await running.ended
    expect(stderr).toContain("stopping web: src/a.ts has changed\n")
    expect(stderr).toContain("stopping web: web.conf has changed\n")
    expect(stdout.match(/other \| other/g)).toHaveLength(1)
    expect(stdout.match(/once {2}\| once/g)).toHaveLength(2)
  })

  it("is asked for its state, and to restart, stop and start commands, in the same folder", async () => {
    const folder = Aio.folder()
    const options = { cwd: folder, env: { XDG_RUNTIME_DIR: folder } }
    const ask = (...args: ReadonlyArray<string>) => Aio.run(["long-running", ...args], options)
    expect(await ask("status")).toMatchObject({
      code: 1,
      stderr: "aio long-running status: nothing runs in this folder that takes requests\n"
    })
    const running = Aio.start(
      ["long-running", "--scale", "web=2", "db=echo db; sleep 60", "web=echo web; sleep 60"],
      options
    )
    for (const text of ["db    | db", "web.1 | web", "web.2 | web"]) await running.shows(text)
    expect((await ask("status")).stdout).toMatch(
      /^NAME .*\ndb +ready +\d+ .*\nweb\.1 +ready .*\nweb\.2 +ready .*\n$/
    )
    expect(await ask("restart", "web")).toMatchObject({ code: 0, stderr: "restarted web.1, web.2\n" })
    expect(await ask("stop", "db")).toMatchObject({ code: 0, stderr: "stopped db\n" })
    const { stdout } = await ask("status", "--json", "db", "web.1")
    const decode = Schema.decodeUnknownSync(
      Schema.extend(Schema.Struct({ schema: Schema.Literal(2) }), Events.LongRunning),
      { onExcessProperty: "error" }
    )
    expect(lines(stdout).map((line) => decode(JSON.parse(line)))).toMatchObject([
      { event: "status", index: 1, name: "db", state: "stopped", restarts: 0, reason: "stop requested" },
      { event: "status", index: 2, name: "web.1", state: "ready", restarts: 1, reason: "restart requested" }
    ])
    expect(await ask("start")).toMatchObject({ code: 0, stderr: "started db, web.1, web.2\n" })
    await running.shows("db    | db", 2)
    expect((await ask("logs", "db")).stdout).toBe("db\ndb\n")
    expect((await ask("logs", "web.2", "db")).stdout).toBe("web.2 | web\nweb.2 | web\ndb | db\ndb | db\n")
    expect(await ask("stop", "cache")).toMatchObject({
      code: 2,
      stderr: "aio long-running stop: unknown name 'cache'; expected one of db, web, web.1, web.2\n"
    })
    expect(await ask("status", "--pid", "0")).toMatchObject({ code: 2 })
    running.kill("SIGTERM")
    expect(await running.ended).toMatchObject({ code: 143 })
    expect(Aio.names(join(folder, "effect-asyncio"))).toEqual([])
  })

  it("is followed by logs, up to its last output, whatever comes in pieces", async () => {
    const folder = Aio.folder()
    const options = { cwd: folder, env: { XDG_RUNTIME_DIR: folder } }
    execFileSync("mkfifo", [join(folder, "go")])
    const web =
      "trap 'echo bye; exit 0' TERM; echo up; read x < go; printf 'half '; sleep 0.1; echo line; exec 2>&-; while :; do sleep 0.1; done"
    const running = Aio.start(["long-running", `web=${web}`, "db=echo db; exec sleep 60"], options)
    await running.shows("web | up")
    await running.shows("db  | db")
    const follow = (...words: ReadonlyArray<string>) => Aio.start(["long-running", "logs", ...words], options)
    const [one, all] = [follow("--follow", "web"), follow("-F")]
    await one.shows("up\n")
    await all.shows("web | up\n")
    await all.shows("db | db\n")
    const write = (text: string) => writeFile(join(folder, "go"), `${text}\n`)
    await write("1")
    await one.shows("half line\n")
    await all.shows("web | half line\n")
    const gone = follow("-F")
    await gone.shows("db | db")
    gone.kill("SIGINT")
    expect((await gone.ended).code).toBe(130)
    expect(await Aio.run(["long-running", "logs", "-F", "cache"], options)).toMatchObject({
      code: 2,
      stderr: "aio long-running logs: unknown name 'cache'; expected one of web, db\n"
    })
    const many = Array.from({ length: 6 }, () => follow("-F", "db"))
    await Promise.all(many.map((each) => each.shows("db")))
    expect(await Aio.run(["long-running", "logs", "-F"], options)).toMatchObject({
      code: 1,
      stderr: "aio long-running logs: 8 follow already; end one of them, or ask without --follow\n"
    })
    expect((await Aio.run(["long-running", "status"], options)).code).toBe(0)
    running.kill("SIGTERM")
    expect((await running.ended).code).toBe(143)
    expect(await one.ended).toMatchObject({ code: 0, stdout: "up\nhalf line\nbye\n", stderr: "" })
    const { code, stdout } = await all.ended
    expect([code, lines(stdout).sort()]).toEqual([0, ["db | db", "web | bye", "web | half line", "web | up"]])
    await Promise.all(many.map((each) => each.ended))
    expect(await Aio.run(["long-running", "logs", "-F"], options)).toMatchObject({
      code: 1,
      stderr: "aio long-running logs: nothing runs in this folder that takes requests\n"
    })
  })

  it("names a process that lingers, and leaves no process behind", async () => {
    const marker = Aio.marker()
    const stubborn = "trap '' TERM; setsid sleep 60 & echo up; while :; do sleep 0.1; done"
    const running = Aio.start(["long-running", "--grace", "1500ms", `a=${stubborn}`], { env: marker.env })
    await running.shows("a | up")
    running.kill("SIGINT")
    const { code, stderr } = await running.ended
    expect(code).toBe(130)
    expect(stderr).toMatch(/^stopping a: SIGINT\nwaiting for a \(pid \d+\), which is killed in 500 ms\n/)
    expect(marker.alive()).toEqual([])
  })

  it("starts a command after one that has ended well, and fails it after one that was never ready", async () => {
    const ended = await aio(["-q", "--after", "b:a", "a=true", "b=echo b"])
    expect(ended).toMatchObject({ code: 0, stdout: "b | b\n" })
    const never = await aio(["--after", "b:a", "--ready-log", "a:up", "a=true", "b=echo b"])
    expect(never).toMatchObject({ code: 1, stdout: "" })
    expect(never.stderr).toContain("Failed b: a was never ready\n")
  })

  it("scales a command, gives each instance its PORT, and applies options to a command or to one instance", async () => {
    const { code, stdout } = await aio([
      ...["-q", "--restart", "never", "--scale", "web=2,idle=0", "--port-base", "5000"],
      ...["--ready-log", "web:up", "--ready-log", "web.2:go", "--after", "job:web,idle", "--raw"],
      ...["web=echo web $PORT up go", "job=echo job $PORT", "idle=echo idle"]
    ])
    expect(code).toBe(0)
    const [first, second, ...rest] = lines(stdout)
    expect([first, second].sort()).toEqual(["web 5000 up go", "web 5001 up go"])
    expect(rest).toEqual(["job 5100"])
    const one = await aio(["-q", "--restart", "web:never", "--scale", "web=1", "web=echo x$PORT"])
    expect(one.stdout).toBe("web.1 | x\n")
  })

  it("runs a command in its folder, with the variables of files that are not set yet", async () => {
    const folder = Aio.folder()
    mkdirSync(join(folder, "sub"))
    writeFileSync(join(folder, "sub/here"), "#!/bin/sh\nbasename $(pwd)\n", { mode: 0o755 })
    writeFileSync(join(folder, "a.env"), "# one\nexport A='a b'\nB=\"x\\ny\"\nSET=file\nPORT=1\n")
    writeFileSync(join(folder, "b.env"), "C=c # comment\nA=later\n")
    const files = ["--env-file", "a.env", "--env-file", "b.env", "--port-base", "7000"]
    const { code, stderr, stdout } = await aio(
      [
        ...["-q", "--raw", "--restart", "never", "--workdir", "b:sub", ...files],
        ...["--after", "b:a", 'a=echo "$A-$B-$C-$SET-$PORT"', "b=./here"]
      ],
      { cwd: folder, env: { SET: "environment" } }
    )
    expect({ code, stderr, stdout }).toEqual({
      code: 0,
      stderr: "",
      stdout: "later-x\ny-c-environment-7000\nsub\n"
    })
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

  it("prints events as NDJSON, each of which its schema describes, use of processor and memory included", async () => {
    const options = ["--restart", "a:never", "--ready-log", "b:up", "--after", "c:b", "--retries", "1,1ms"]
    const health = ["--health-exec", "b:false", "--health-every", "1500ms", "--health-failures", "1"]
    const { code, stderr, stdout } = await aio([
      ...["--json", "--grace", "1500ms", ...options, ...health],
      ...["a=exit 0", "b=trap '' TERM; echo up; while :; do sleep 0.1; done", "c=sleep 60"]
    ])
    expect({ code, stderr }).toEqual({ code: 1, stderr: "" })
    const decode = Schema.decodeUnknownSync(
      Schema.Struct({ schema: Schema.Literal(2) }).pipe(Schema.extend(Events.LongRunning)),
      { onExcessProperty: "error" }
    )
    const events = lines(stdout).map((line) => decode(JSON.parse(line)))
    const of = (name: string) =>
      events.filter((event) => "name" in event && event.name === name && event.event !== "sampled")
    expect(of("a").map(({ event }) => event)).toEqual(["started", "ready", "exited", "finished"])
    expect(of("a").at(-1)).toMatchObject({ index: 1, status: "succeeded", restarts: 0 })
    const run = ["started", "output", "ready", "unhealthy", "lingering", "exited"]
    expect(of("b").map(({ event }) => event)).toEqual([...run, "restarting", ...run, "finished"])
    expect(of("b").at(-1)).toMatchObject({ index: 2, status: "failed", restarts: 1 })
    expect(of("c").map(({ event }) => event)).toEqual(["waiting", "started", "ready", "stopping", "finished"])
    const sampled = events.find(({ event }) => event === "sampled")
    expect(sampled).toMatchObject({ memory: expect.any(Number), cpu: expect.any(Number) })
    expect(events.at(-1)).toMatchObject({
      event: "summary",
      succeeded: 1,
      failed: 1,
      cancelled: 1,
      exitCode: 1
    })
  })

  it("reports wrong usage in one line, before anything runs", async () => {
    const folder = Aio.folder()
    const cases: ReadonlyArray<readonly [ReadonlyArray<string>, string, number?]> = [
      [["a=nosuchprogram --flag"], "cannot run nosuchprogram: command not found", 127],
      [["a=/etc/passwd"], "cannot run /etc/passwd: permission denied", 126],
      [["a=x y=z"], "cannot run x: command not found", 127],
      [
        ["--restart", "sometimes", "a=sleep 1"],
        "option --restart: 'sometimes' is not accepted; expected always, on-failure or never"
      ],
      [["--ready-log", "a:(", "a=sleep 1"], "option --ready-log: '(' is not a regular expression: "],
      [["--ready-port", "0", "a=sleep 1"], "option --ready-port: '0' is not a port; expected 1 to 65535"],
      [["--health-http", "ftp://x", "a=sleep 1"], "option --health-http: 'ftp://x' is not a URL"],
      [["--ready-exec", "a: ", "a=sleep 1"], "option --ready-exec: the command is empty"],
      [
        ["--ready-port", "80", "--ready-log", "x", "a=sleep 1"],
        "option --ready-port: cannot be combined with --ready-log for a"
      ],
      [["--after", "a:a", "a=sleep 1"], "option --after: a waits for a"],
      [["--virtual", "a=sleep 1"], "--virtual and --seed apply to the guide's example only"],
      [
        ["--retries=-1", "a=sleep 1"],
        "option --retries: '-1': expected a whole number or unlimited, 0 or more"
      ],
      [
        ["--max-restarts", "1", "a=sleep 1"],
        "unknown option --max-restarts; here it is --retries N[,FIRST[,MAX]]"
      ],
      [["--backoff", "1s", "a=sleep 1"], "unknown option --backoff; here it is --retries N[,FIRST[,MAX]]"],
      [
        ["--backoff-max=1s", "a=sleep 1"],
        "unknown option --backoff-max; here it is --retries N[,FIRST[,MAX]]"
      ],
      [["--for", "ever", "a=sleep 1"], "option --for: "],
      [["--for", "1s"], "no command is given; write [NAME=]'COMMAND', or -f PROCFILE"],
      [["--for", "0", "a=sleep 1"], "option --for: '0' is out of range; expected a duration above 0"],
      [["--log-size", "5", "a=sleep 1"], "option --log-size: '5' is 5 bytes; expected 4 KiB or more"],
      [
        ["--restart", "b:never", "a=sleep 1"],
        "'b:never' is not accepted; expected always, on-failure or never; and 'b' is not one of the names a"
      ],
      [["--env-file", "none.env", "a=sleep 1"], "option --env-file: cannot read none.env: the file does not"],
      [["--env-file", folder, "a=sleep 1"], `option --env-file: cannot read ${folder}: it is a folder`],
      [["--env-file", process.execPath, "a=sleep 1"], "contains a null byte"],
      [["--workdir", "a:none", "a=sleep 1"], "option --workdir: cannot use none: it does not exist"],
      [["--watch", "a:none", "a=sleep 1"], "option --watch: cannot watch none: it does not exist"],
      [["--workdir", "/etc/passwd", "a=sleep 1"], "option --workdir: /etc/passwd is not a folder"],
      [["--port", "5000", "a=sleep 1"], "unknown option --port; here it is --port-base N"],
      [["--port-base", "0", "a=sleep 1"], "option --port-base: '0' is not a port; expected 1 to 65535"],
      [
        ["--port-base", "65500", "a=sleep 1", "b=sleep 1"],
        "option --port-base: 65500: the port of b would be 65600; expected at most 65535"
      ],
      [["--scale", "a", "a=sleep 1"], "option --scale: 'a' is not a scale; expected NAME=N, N from 0 to 100"],
      [["--scale", "a=101", "a=sleep 1"], "option --scale: 'a=101' is not a scale"],
      [["--scale", "b=2", "a=sleep 1"], "option --scale: unknown name 'b'; expected one of a"],
      [["--scale", "a=0", "a=sleep 1"], "option --scale: no command is left"],
      [["--scale", "a=2", "a=sleep 1", "a.2=sleep 1"], "option --scale: two commands would be named a.2"],
      [
        ["--scale", "a=2", "--restart", "a.3:never", "a=sleep 1"],
        "and 'a.3' is not one of the names a, a.1, a.2"
      ],
      [["--stop-signal", "SIGNOPE", "a=sleep 1"], "option --stop-signal: 'SIGNOPE' is not a signal"],
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
    const unwritable = await aio(["--log-dir", logs, "a=sleep 60"])
    expect(unwritable).toMatchObject({ code: 2, stdout: "" })
    expect(unwritable.stderr).toMatch(
      /^aio long-running: cannot write \S+file: a part of the path is not a folder\n$/
    )
  })
})
