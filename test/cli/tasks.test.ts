import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { afterAll, describe, expect, it } from "vitest"
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
    expect(lines(stderr).at(-1)).toMatch(/^2 tasks in /)
  })

  it("cancels the rest when one fails, and reports which and why", async () => {
    const marker = Aio.marker()
    const { code, stderr } = await aio(["a=sleep 0.2; exit 3", "b=sleep 60 & sleep 60", "c=true"], {
      env: marker.env
    })
    expect(code).toBe(1)
    expect(stderr).toContain("a failed: exit code 3\n")
    expect(stderr).toContain("b was cancelled: sibling a failed\n")
    expect(stderr).toMatch(
      /^task {2}status {5}time +why\na {5}failed {5}\d.* exit code 3\nb {5}cancelled .* sibling a failed\nc {5}succeeded/m
    )
    expect(marker.alive()).toEqual([])
    const kept = await aio(["--on-failure", "continue", "-q", "a=exit 3", "b=sleep 0.3; echo done"])
    expect(kept).toEqual({ code: 1, signal: null, stdout: "b | done\n", stderr: "" })
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
    expect(none.stderr).toContain("web was cancelled: build did not succeed\n")
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

  it("shows times, pids and colours where they are asked for", async () => {
    const { stdout } = await aio(["-q", "--timestamps", "--prefix", "{pid}> ", "a=echo $$"])
    expect(stdout).toMatch(/^\d\d:\d\d:\d\d\.\d{3} (\d+)> \1\n$/)
    const colored = await aio(["-q", "a=echo $FORCE_COLOR", "bb=true"], { env: { FORCE_COLOR: "2" } })
    expect(colored.stdout).toBe("\x1b[36ma  | \x1b[0m2\n")
  })

  it("prints its events as NDJSON", async () => {
    const { code, stderr, stdout } = await aio(["--json", "a=echo out; exit 7"])
    expect({ code, stderr }).toEqual({ code: 1, stderr: "" })
    const events = lines(stdout).map((line) => JSON.parse(line))
    expect(events.map((event) => [event.schema, event.event, event.name])).toEqual([
      [1, "started", "a"],
      [1, "output", "a"],
      [1, "finished", "a"],
      [1, "summary", undefined]
    ])
    expect(events[1]).toMatchObject({ stream: "stdout", text: "out\n" })
    expect(events[2]).toMatchObject({ status: "failed", exitCode: 7 })
    expect(events[3]).toMatchObject({ exitCode: 1, tasks: [{ name: "a", status: "failed" }] })
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
    expect(ended.stderr).toContain(`a was cancelled: ${signal}\n`)
    expect(marker.alive()).toEqual([])
  })

  it("asks each to end with its own signal", async () => {
    const script =
      "trap 'echo int; exit' INT; trap 'echo term; exit' TERM; echo up; while :; do sleep 0.01; done"
    const running = Aio.start(["tasks", `a=${script}`, `b=${script}`, "--stop-signal", "b:INT"])
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
      [["echo"], "'echo': the name is missing; write NAME='COMMAND'"],
      [["a="], "'a=': a has no command"],
      [["a=x", "a=y"], "'a=y': the name a is already used ('a=x')"],
      [["a b=x"], "'a b=x': 'a b' is not a name"],
      [["-f", file], `${file}, line 3: 'nonsense' has no ':'`],
      [["-f", empty], `${empty} has no commands`],
      [["-f", join(folder, "none")], "the file does not exist"],
      [["-f", folder], "it is a folder"],
      [["a=x", "--after", "a:c"], "option --after: 'a:c': unknown name 'c'; expected one of a"],
      [["a=x", "b=x", "--after", "a:b", "--after", "b:a"], "option --after: a waits for b waits for a"],
      [
        ["a=x", "--prefix", "{nam}"],
        "option --prefix: '{nam}': unknown placeholder {nam}; expected {name}, {index}"
      ],
      [["a=x", "--on-failure", "stop"], "option --on-failure: 'stop' is not one of cancel, continue"],
      [["--grace", "1s"], "--grace does not apply to the guide's example; write NAME='COMMAND'"],
      [["a=x", "--grace", "soon"], "option --grace: "],
      [
        ["a=x", "--stop-signal", "a:KILLL"],
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
