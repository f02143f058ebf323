import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { Schema } from "effect"
import { afterAll, describe, expect, it } from "vitest"
import * as Events from "../../src/services/host/Events.js"
import * as Aio from "../support/Aio.js"
import * as InProcess from "../support/InProcess.js"

afterAll(Aio.removeFolders)

const aio = (args: ReadonlyArray<string>, options: Parameters<typeof Aio.run>[1] = {}) =>
  InProcess.run(["tasks", ...args], options)

const lines = (text: string) => text.split("\n").slice(0, -1)

describe("aio tasks NAME=COMMAND", () => {
  it("runs all at once, each line with its name, and succeeds when all do", async () => {
    const { code, stderr, stdout } = await aio(["web=echo out; echo err >&2", "db=echo $0 | tr a-z A-Z"])
    expect(code).toBe(0)
    expect(lines(stdout).sort()).toEqual(["db  | /BIN/SH", "web | out"])
    expect(lines(stderr)[0]).toBe("web | err")
    expect(lines(stderr).slice(1).join("\n")).toMatch(
      /^tasks {2}2 succeeded\nweb {4}succeeded, \d.*\ndb {5}succeeded, \d.*\ntime {3}\d/
    )
  })

  it("cancels the rest when one fails, and reports which and why", async () => {
    const marker = Aio.marker()
    const { code, stderr } = await aio(["a=sleep 0.5; exit 3", "b=sleep 60 & sleep 60", "c=true"], {
      env: marker.env
    })
    expect(code).toBe(1)
    expect(stderr).toContain("Failed a: exit code 3\n")
    expect(stderr).toContain("Cancelled b: sibling a failed\n")
    expect(stderr).toMatch(
      /^tasks {2}1 succeeded, 1 failed, 1 cancelled\na {6}failed, \d.*\nb {6}cancelled, \d.*\nc {6}succeeded, \d.*\ntime/m
    )
    expect(marker.alive()).toEqual([])
    const kept = await aio(["--on-failure", "continue", "a=exit 3", "b=sleep 0.3; echo done"])
    expect(kept).toMatchObject({ code: 1, stdout: "b | done\n" })
    expect(kept.stderr).toMatch(/^tasks {2}1 succeeded, 1 failed$/m)
  })

  it("starts a command once those before it have succeeded", async () => {
    const file = join(Aio.folder(), "Procfile")
    writeFileSync(file, "# build first\nweb: echo serve\nbuild: sleep 0.2; echo built\n")
    const both = await aio(["-qf", file, "--after", "web:build", "--raw"])
    expect(both).toEqual({ code: 0, signal: null, stdout: "built\nserve\n", stderr: "" })
    const none = await aio(["-f", "-", "--after", "web:build", "--on-failure", "continue"], {
      stdin: "web: echo serve\nbuild: false\n"
    })
    expect(none.stdout).toBe("")
    expect(none.stderr).toContain("Skipped web: build did not succeed\n")
  })

  it("keeps lines whole, however much commands write", async () => {
    const flood = (letter: string) =>
      `${letter}=i=0; while [ $i -lt 2000 ]; do printf ${letter}${letter}; echo ${letter.repeat(60)}; i=$((i+1)); done; printf ${letter}`
    const { stdout } = await aio(["-q", "--prefix", "{index}:{name}:", ...["x", "y", "z"].map(flood)])
    const found = lines(stdout)
    expect(found.length).toBe(3 * 2001)
    for (const line of found) expect(line).toMatch(/^(?:1:x:(?:x{62}|x)|2:y:(?:y{62}|y)|3:z:(?:z{62}|z))$/)
    const raw = await aio(["-q", "--raw", "a=printf 'no end'", "b=sleep 0.3; printf '\\303\\n'"])
    expect(raw.stdout).toBe("no end\n\ufffd\n")
  })

  it("takes commands without names, and scripts of package.json", async () => {
    const cwd = Aio.folder()
    const scripts = { "say:one": "echo 1", "say:two": "echo 2", other: "exit 1" }
    writeFileSync(join(cwd, "package.json"), JSON.stringify({ scripts }))
    const { code, stdout } = await aio(["-q", "echo a; echo b", "npm:say:*"], { cwd })
    expect(code).toBe(0)
    expect(lines(stdout)).toEqual(expect.arrayContaining(["echo | a", "echo | b", "one  | 1", "two  | 2"]))
    expect(stdout).not.toContain("exit 1")
  })

  it("bounds the commands at once and their time, tries again, and groups output", async () => {
    const cwd = Aio.folder()
    const turns = (name: string) => `${name}=echo begin; sleep 0.1; echo end`
    const one = await aio(["-q", "-j1", "--raw", turns("a"), turns("b")])
    expect(one.stdout).toBe("begin\nend\nbegin\nend\n")
    const grouped = await aio(["-q", "--raw", "--group", turns("a"), turns("b")])
    expect(grouped.stdout).toBe("begin\nend\nbegin\nend\n")
    const late = await aio(["-q", "--timeout", "200ms", "sleep 60"])
    expect(late).toMatchObject({ code: 124, stderr: "Timed out sleep: not done in 200ms\n" })
    const again = await aio(["--retries", "1,10ms", "a=echo x; [ -e done ] || { touch done; exit 3; }"], {
      cwd
    })
    expect(again).toMatchObject({ code: 0, stdout: "a | x\na | x\n" })
    expect(again.stderr).toContain("a: exit code 3; attempt 2 in ")
  })

  it("ends all with the first, and exits with the code that was asked for", async () => {
    const marker = Aio.marker()
    const words = ["--kill-others", "a=sleep 0.1", "b=sleep 60"]
    const first = await aio(words, { env: marker.env })
    expect([first.code, first.stderr]).toEqual([0, expect.stringContaining("Cancelled b: a has ended\n")])
    expect(marker.alive()).toEqual([])
    const both = ["-qq", "--on-failure", "continue", "a=exit 3", "b=sleep 0.2"]
    for (const [success, code] of [
      ["all", 1],
      ["first", 1],
      ["last", 0],
      ["a", 1],
      ["b", 0]
    ] as const)
      expect([success, (await aio(["--success", success, ...both])).code]).toEqual([success, code])
  })

  it("passes standard input to one command", async () => {
    const { stdout } = await aio(["-q", "--stdin", "a", "a=cat", "b=cat; echo none"], { stdin: "text\n" })
    expect(lines(stdout).sort()).toEqual(["a | text", "b | none"])
  })

  it("shows times, pids and colours where they are asked for", async () => {
    const { stdout } = await aio(["-q", "--timestamps", "--prefix", "{pid}> ", "a=echo $$"])
    expect(stdout).toMatch(/^\d\d:\d\d:\d\d\.\d{3} (\d+)> \1\n$/)
    const colored = await aio(["-q", "a=echo $FORCE_COLOR", "bb=true"], { env: { FORCE_COLOR: "2" } })
    expect(colored.stdout).toBe("\x1b[36ma  | \x1b[0m2\n")
  })

  it.each([
    ["a=exit 3", "Failed a: exit code 3\n"],
    ["a=kill -KILL $$", "Failed a: ended by SIGKILL\n"]
  ])("keeps failures under -q, and drops them under -qq: %s", async (failing, stderr) => {
    const words = [failing, "b=sleep 60"]
    expect(await aio(["-q", ...words])).toEqual({ code: 1, signal: null, stdout: "", stderr })
    expect(await aio(["-qq", ...words])).toEqual({ code: 1, signal: null, stdout: "", stderr: "" })
  })

  it("prints its events as NDJSON, each of which its schema describes", async () => {
    const failing = "a=until [ -e b -a -e d ]; do sleep 0.02; done; printf 'é\\303'; exit 7"
    const others = ["b=echo > b; sleep 60", "c=true", "d=trap '' TERM; echo > d; while :; do sleep 0.1; done"]
    const { code, stderr, stdout } = await aio(
      ["--json", "--grace", "1500ms", "--after", "c:b", failing, ...others],
      { cwd: Aio.folder() }
    )
    expect({ code, stderr }).toEqual({ code: 1, stderr: "" })
    const decode = Schema.decodeUnknownSync(
      Schema.Struct({ schema: Schema.Literal(2) }).pipe(Schema.extend(Events.Tasks)),
      { onExcessProperty: "error" }
    )
    const events = lines(stdout).map((line) => decode(JSON.parse(line)))
    const of = (name: string) => events.filter((event) => "name" in event && event.name === name)
    expect(of("a").map(({ event }) => event)).toEqual(["started", "output", "finished"])
    expect(of("a")[1]).toMatchObject({ index: 1, stream: "stdout", text: "é\ufffd" })
    expect(of("a")[2]).toMatchObject({ index: 1, status: "failed", exitCode: 7, reason: "exit code 7" })
    expect(of("c")).toMatchObject([{ index: 3, event: "finished", status: "skipped", duration: 0 }])
    expect(of("d").map(({ event }) => event)).toEqual(["started", "lingering", "finished"])
    expect(events.at(-1)).toMatchObject({
      event: "summary",
      failed: 1,
      cancelled: 2,
      skipped: 1,
      exitCode: 1
    })
  })

  it.each([
    ["SIGINT", 130],
    ["SIGTERM", 143]
  ] as const)("ends all on %s, shows their last output, and reports why", async (signal, code) => {
    const marker = Aio.marker()
    const running = Aio.start(
      ["tasks", "a=trap 'echo bye; exit' TERM; echo up; sleep 60 & wait", "b=sleep 60"],
      {
        env: marker.env
      }
    )
    await running.shows("a | up")
    running.kill(signal)
    const ended = await running.ended
    expect(ended.code).toBe(code)
    expect(ended.stdout).toBe("a | up\na | bye\n")
    expect(ended.stderr).toContain(`Cancelled a: ${signal}\n`)
    expect(marker.alive()).toEqual([])
  })

  it("asks each to end with its own signal", async () => {
    const script =
      "trap 'echo int; exit' INT; trap 'echo term; exit' TERM; echo up; while :; do sleep 0.01; done"
    const running = Aio.start(["tasks", "--stop-signal", "b:INT", `a=${script}`, `b=${script}`])
    await running.shows("a | up")
    await running.shows("b | up")
    running.kill("SIGTERM")
    const { code, stdout } = await running.ended
    expect([code, stdout.split("\n").slice(2).sort()]).toEqual([143, ["", "a | term", "b | int"]])
  })

  it("reports wrong usage in one line, before anything runs", async () => {
    const folder = Aio.folder()
    const file = join(folder, "Procfile")
    writeFileSync(file, "web: echo\n\nnonsense\n")
    const empty = join(folder, "empty")
    writeFileSync(empty, "# nothing\n")
    const cases: ReadonlyArray<readonly [ReadonlyArray<string>, string]> = [
      [["=echo"], "'=echo': the name is missing before the command"],
      [["npm:nope"], "'npm:nope': package.json has no script nope; it has "],
      [["a="], "'a=': a has no command"],
      [["a=x", "a=y"], "'a=y': the name a is already used ('a=x')"],
      [["a/b=x"], "'a/b=x': 'a/b' is not a name"],
      [
        ["--success", "c", "a=true"],
        "option --success: 'c' is not a name; expected all, first, last or one of a"
      ],
      [["--stdin", "c", "a=true"], "option --stdin: 'c' is not a name; expected one of a"],
      [["--jobs", "0", "a=x"], "option --jobs: '0' is out of range"],
      [["-f", file], `${file}, line 3: 'nonsense' has no ':'`],
      [["-f", empty], `${empty}: it has no commands; write NAME: COMMAND`],
      [["-f", join(folder, "none")], "the file does not exist"],
      [["-f", folder], "it is a folder"],
      [["--after", "a:c", "a=x"], "option --after: 'a:c': unknown name 'c'; expected one of a"],
      [["--after", "a:b", "--after", "b:a", "a=x", "b=x"], "option --after: a waits for b waits for a"],
      [
        ["--prefix", "{nam}", "a=x"],
        "option --prefix: '{nam}': unknown placeholder {nam}; expected {name}, {index}"
      ],
      [
        ["--on-failure", "stop", "a=x"],
        "option --on-failure: 'stop' is not accepted; expected cancel or continue"
      ],
      [["--grace", "1s"], "no command is given; write [NAME=]'COMMAND', or -f PROCFILE"],
      [["a=x", "--json"], "'--json' is not [NAME=]'COMMAND'; options go before the first command"],
      [["--procfile", "x", "a=x"], "unknown option --procfile; here it is --file FILE (-f)"],
      [["--grace", "soon", "a=x"], "option --grace: "],
      [
        ["--stop-signal", "a:KILLL", "a=x"],
        "option --stop-signal: 'KILLL' is not a signal; expected one like INT"
      ]
    ]
    const results = await Promise.all(cases.map(([args]) => aio(args)))
    for (const [i, { code, stderr, stdout }] of results.entries()) {
      expect(stderr).toContain(cases[i]![1])
      expect({ code, stdout, lines: lines(stderr).length }).toEqual({ code: 2, stdout: "", lines: 1 })
    }
  })
})
