import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { afterAll, describe, expect, it, vi } from "vitest"
import * as Aio from "../support/Aio.js"
import * as InProcess from "../support/InProcess.js"

afterAll(Aio.removeFolders)

const aio = (args: ReadonlyArray<string>, options: Parameters<typeof Aio.run>[1] = {}) =>
  InProcess.run(["executor", ...args], options)

const file = (name: string, text: string): string => {
  const path = join(Aio.folder(), name)
  writeFileSync(path, text)
  return path
}

const jobs = file(
  "jobs.mjs",
  `export const shout = (text) => text.toUpperCase() + "!"
export default (text) => text.length
export const json = (value) => ({ got: value, big: 1n, map: new Map([[1, new Uint8Array([2])]]) })
export const nothing = () => undefined
export const picky = (text) => {
  if (text === "bad") throw new RangeError("not this one")
  if (text === "exit") process.exit(5)
  if (text === "spin") for (;;);
  if (text === "full") { const all = []; for (;;) all.push(new Array(10000).fill(Math.random())) }
  if (text === "uncaught") { Promise.reject(new Error("nobody waits")); return new Promise(() => {}) }
  if (text === "function") return () => 1
  return text
}
export const talks = (text) => { console.log("log", text); console.error("error", text); return text }
export const slow = (text) => new Promise((resolve) => setTimeout(resolve, text === "a" ? 300 : 0, text))
let tries = 0
export const flaky = (text) => { if (tries++ === 0) throw new Error("not yet"); return text }
export const who = async () => {
  const { threadId, isMainThread } = await import("node:worker_threads")
  return isMainThread ? "process" : "thread"
}
export const value = 1
const { x } = {}
export const closure = () => missing + 1
export const some = (text) => (text === "none" ? undefined : text)
export const within = ({ keep }) => (keep ? { kept: keep, gone: undefined } : [undefined])

const helper = async (n) => { await null; if (n === 2) throw new Error("deep"); return n }
export const inner = async (n) => helper(Number(n))
`
)
const of = (name: string) => `${jobs}#${name}`

describe("aio executor", () => {
  it("maps a function over items from words, standard input and files, in input order", async () => {
    expect(await aio(["-q", of("shout"), "a", "b c"])).toEqual({
      code: 0,
      signal: null,
      stdout: "A!\nB C!\n",
      stderr: ""
    })
    expect((await aio(["-q", jobs], { stdin: "abc\n\nde\r\nf" })).stdout).toBe("3\n2\n1\n")
    const list = file("list", "a\nb\0c\0")
    expect((await aio(["-q", "-a", list, "--format", "null", of("shout")])).stdout).toBe("A\nB!\nC!\n")
    expect((await aio(["-q", "--jobs", "2", of("slow"), "a", "b"])).stdout).toBe("a\nb\n")
    expect((await aio(["-q", "-j2", "--unordered", of("slow"), "a", "b"])).stdout).toBe("b\na\n")
    expect((await aio(["-q", of("shout"), "-x", "--json", "--"])).stdout).toBe("-X!\n--JSON!\n--!\n")
    expect((await aio(["-q", of("shout"), ":::", "a"])).stdout).toBe("A!\n")
  })

  it("gives text as it is and everything else as JSON", async () => {
    const { stdout } = await aio(["-q", "--format", "ndjson", of("json")], { stdin: '{"a":[1]}\n"text"\n' })
    expect(stdout).toBe('{"got":{"a":[1]},"big":1,"map":[[1,[2]]]}\n{"got":"text","big":1,"map":[[1,[2]]]}\n')
  })

  it("writes no line for undefined, as aio loop does", async () => {
    expect(await aio(["-q", of("some"), "a", "none", "b"])).toMatchObject({ code: 0, stdout: "a\nb\n" })
    const events = (await aio(["--json", "-j1", of("some"), "none"])).stdout
    expect(JSON.parse(events.split("\n")[0]!)).toEqual({
      ...{ schema: 2, event: "finished", index: 1, name: "none", status: "succeeded" },
      ...{ duration: expect.any(Number), wait: expect.any(Number), attempts: 1 }
    })
    const stdin = '[{"keep": 1}, {"part": [1]}]'
    const within = await aio(["--format", "json", "--on-failure", "continue", of("within")], { stdin })
    expect([within.code, within.stdout]).toEqual([1, '{"kept":1}\n'])
    expect(within.stderr).toContain(
      'Failed {"part": [1]} (line 1 of standard input): the result cannot be written: undefined cannot'
    )
  })

  it.each([[[]], [["--processes"]], [["--chunk", "8"]]])(
    "names the place of a failure: in the function, and in the input, with %j",
    async (options) => {
      const list = file("items.txt", "a\n\nbad\n")
      const all = [...options, "--on-failure", "continue"]
      const { stderr } = await aio([...all, "-a", list, of("picky")])
      const thrown = `job jobs.mjs#picky failed: RangeError: not this one (${jobs}:6:29)`
      expect(stderr).toContain(`Failed bad (line 3 of ${list}): ${thrown}\n`)
      expect((await aio([...all, of("picky"), "bad"])).stderr).toContain(`Failed bad: ${thrown}\n`)
      const nul = await aio([...all, "-0", of("picky")], { stdin: "a\0bad\0" })
      expect(nul.stderr).toContain(`Failed bad (item 2 of standard input): ${thrown}\n`)
      const json = await aio([...all, "--json", "--format", "json", of("inner")], { stdin: "[1,\n2]" })
      expect(JSON.parse(json.stdout.split("\n")[1]!)).toMatchObject({
        ...{ index: 2, name: "2", place: "line 2 of standard input", error: "JobFailed" },
        stack: expect.stringContaining(`${jobs}:`)
      })
      const deep = await aio([...all, of("inner"), "2"])
      expect(deep.stderr).toMatch(
        /^Failed 2: job jobs\.mjs#inner failed: Error: deep \(.*jobs\.mjs:28:62\)\n/m
      )
    }
  )

  it("runs TypeScript as it is, and effects", async () => {
    const ts = join(process.cwd(), "test/fixtures/executor/jobs.ts")
    expect((await aio(["-q", `${ts}#shout`, "a"])).stdout).toBe("A!\n")
    expect(await aio(["-qq", `${ts}#fails`, "a"])).toMatchObject({ code: 1, stdout: "", stderr: "" })
  })

  for (const kind of [[], ["--processes"]] as const) {
    it(`fails an item whose job fails, and no other${kind.length > 0 ? ", in processes too" : ""}`, async () => {
      const { code, stderr, stdout } = await aio([
        ...[...kind, "-j2", "--on-failure", "continue", "--timeout", "300ms", "--grace", "50ms"],
        ...["--max-memory", "32M", of("picky"), "a", "bad", "b", "exit", "c", "spin", "d"],
        ...["full", "e", "uncaught", "f", "function", "g"]
      ])
      expect([code, stdout]).toEqual([1, "a\nb\nc\nd\ne\nf\ng\n"])
      const failures = stderr.split("\n").filter((line) => /^(Failed|Timed out)/.test(line))
      expect(failures).toEqual([
        `Failed bad: job jobs.mjs#picky failed: RangeError: not this one (${jobs}:6:29)`,
        "Failed exit: the thread of job jobs.mjs#picky ended under it: it called process.exit(5)",
        "Timed out spin: not done in 300ms",
        expect.stringMatching(/^(Failed|Timed out) full: (.*its heap was full|not done in 300ms)$/),
        `Failed uncaught: the thread of job jobs.mjs#picky ended under it: uncaught Error: nobody waits (${jobs}:10:45)`,
        expect.stringContaining("Failed function: the result of job jobs.mjs#picky cannot cross")
      ])
      expect(stderr).toMatch(
        /^items +7 succeeded, [45] failed, [12] timed out\nrun +p50 .* ms, p95 .*, p99 .*\nwait +p50 .*\ntime +\d.*\n$/m
      )
    })
  }

  it("ends everything at the first failure unless it is to continue, tries again, and takes chunks", async () => {
    const first = await aio(["-j1", of("picky"), "a", "bad", "b"])
    expect([first.code, first.stdout]).toEqual([1, "a\n"])
    expect(first.stderr).toMatch(/^Failed bad: .*\nitems +1 succeeded, 1 failed(, 1 cancelled)?\n/)
    const late = await aio(["-q", "--timeout", "100ms", "--grace", "0ms", of("picky"), "spin"])
    expect(late.code).toBe(124)
    expect((await aio(["-q", "-j1", "--retries", "1,10ms", of("flaky"), "a"])).stdout).toBe("a\n")
    const numbers = Array.from({ length: 5000 }, (_, i) => `${i}`)
    const chunked = await aio(["-q", "--chunk", "100", of("shout")], { stdin: numbers.join("\n") })
    expect(chunked.stdout).toBe(numbers.map((n) => `${n}!\n`).join(""))
    expect((await aio(["-q", "--processes", of("who"), "a"])).stdout).toBe("process\n")
    expect((await aio(["-q", of("who"), "a"])).stdout).toBe("thread\n")
  })

  it("keeps stdout for results: output of jobs goes to stderr", async () => {
    const { stderr, stdout } = await aio(["-j1", of("talks"), "a", "b"])
    expect(stdout).toBe("a\nb\n")
    expect(stderr).toContain("log a\nerror a\nlog b\nerror b\n")
    const json = (await aio(["--json", "-j1", of("talks"), "a"])).stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line))
    expect(json.map(({ event, schema }) => `${schema} ${event}`)).toEqual([
      "2 output",
      "2 output",
      "2 finished",
      "2 summary"
    ])
    expect(json[0]).toMatchObject({ stream: "stdout", text: "log a" })
    expect(json[2]).toMatchObject({ index: 1, name: "a", status: "succeeded", value: "a", attempts: 1 })
    expect(json[3]).toMatchObject({ succeeded: 1, failed: 0, exitCode: 0 })
    const failed = (await aio(["--json", of("picky"), "bad"])).stdout.split("\n")[0]!
    expect(JSON.parse(failed)).toMatchObject({
      event: "finished",
      status: "failed",
      error: "JobFailed",
      stack: expect.stringMatching(/RangeError: not this one\n.*jobs\.mjs/)
    })
  })

  it.each([
    [["nowhere.mjs#x", "a"], /^aio executor: nowhere\.mjs: no such file in .*\n$/],
    [[of("shot"), "a"], /no export 'shot'; did you mean shout\? \(it exports .*\)\n$/],
    [[of("value"), "a"], /export 'value' is a number; expected a function that takes an item\n$/],
    [["#x", "a"], /'#x' names no file; expected FILE or FILE#EXPORT, like .*\n$/],
    [
      ["--jobs", "0", of("shout"), "a"],
      /option --jobs: '0' is out of range; expected 1 or more \(see aio executor --help\)\n$/
    ],
    [["--chunk", "2000", of("shout"), "a"], /option --chunk: '2000': expected a whole number, 1 to 1024 /],
    [["--max-memory", "64", of("shout"), "a"], /option --max-memory: '64' is 64 bytes; .*64M/],
    [["--max-workers", "2", of("shout")], /unknown option --max-workers; here it is --jobs N \(-j\)/],
    [["-i", "x", of("shout")], /unknown option -i; here it is --arg-file FILE \(-a\)/],
    [["-a", "x", of("shout"), "a"], /items come as words or from --arg-file, not from both\n$/],
    [["-a", "x"], /no function is given; expected MODULE#EXPORT ITEM/],
    [["-a", "/nowhere/x", of("shout")], /cannot read \/nowhere\/x: the file does not exist\n$/],
    [["--on-failure", "stop", of("shout"), "a"], /'stop' is not accepted; expected cancel or continue/],
    [["--format", "ndjson", of("json"), "1", "{"], /argument 2 is not JSON: .*\n$/]
  ])("reports the problem of %j in one line", async (args, message) => {
    const { code, stderr, stdout } = await aio(args)
    expect([code, stdout]).toEqual([2, ""])
    expect(stderr).toMatch(message)
    expect(stderr.trimEnd().split("\n").length).toBe(1)
  })

  it("takes the elements of an array of JSON as items", async () => {
    const { code, stderr, stdout } = await aio(["-q", "--format", "json", of("json")], {
      stdin: '[{"a": 1},\n 9007199254740993]'
    })
    expect({ code, stderr, lines: stdout.trim().split("\n") }).toMatchObject({ code: 0, stderr: "" })
    expect(stdout).toContain('{"got":{"a":1}')
    expect(stdout).toContain('{"got":9007199254740993')
    const bad = await aio(["-q", "--format", "json", of("json")], { stdin: "[1,\n2" })
    expect([bad.code, bad.stderr]).toEqual([
      2,
      "aio executor: line 2 of standard input is not JSON: the array has no ]\n"
    ])
  })

  it("names the line that is not JSON, and loses no other under continue", async () => {
    const stdin = "1\nnope\n3\n"
    const all = ["-j1", "--format", "ndjson", of("json")]
    const cancelled = await aio(["-q", ...all], { stdin })
    expect([cancelled.code, cancelled.stdout.split("\n").length]).toEqual([2, 2])
    expect(cancelled.stderr).toMatch(/^aio executor: line 2 of standard input is not JSON: [^\n]*\n$/)
    const { code, stderr, stdout } = await aio(["--on-failure", "continue", ...all], { stdin })
    expect([
      code,
      stdout
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line).got)
    ]).toEqual([1, [1, 3]])
    expect(stderr).toMatch(
      /^Failed nope: line 2 of standard input is not JSON: .*\nitems +2 succeeded, 1 failed\n/
    )
  })

  it("names the variable that a closure misses, for a module too", async () => {
    const { code, stderr } = await aio([of("closure"), "a"])
    expect([code, stderr.split("\n")[0]]).toEqual([
      1,
      `Failed a: job jobs.mjs#closure failed: ReferenceError: missing is not defined (${jobs}:24:38)`
    ])
  })

  it("prints results of endless input as they come, and ends quietly when stdout is closed", async () => {
    const running = Aio.start(["executor", "-q", of("shout")])
    await running.send("a\n")
    await running.shows("A!")
    await running.send("b\n")
    await running.shows("B!")
    running.end()
    expect((await running.ended).code).toBe(0)
    const endless = await aio(["-q", of("shout")], { shell: 'yes | "$@" | head -1' })
    expect(endless).toMatchObject({ code: 0, stdout: "Y!\n", stderr: "" })
  })

  it.each([[[]], [["--processes"]]])("ends what its jobs have started, with %j", async (kind) => {
    const marker = Aio.marker()
    const module = join(Aio.folder(), "kids.mjs")
    writeFileSync(
      module,
      `import { spawn } from "node:child_process"
       export const f = () => new Promise(() => {
         spawn("sleep", ["60"])
         spawn("setsid", ["sleep", "60"]).once("spawn", () => console.error("up"))
       })`
    )
    const late = await Aio.run(
      ["executor", "-q", ...kind, "--timeout", "500ms", "--grace", "50ms", `${module}#f`, "1"],
      {
        env: marker.env
      }
    )
    expect([late.code, marker.alive()]).toEqual([124, []])
    const running = Aio.start(["executor", ...kind, `${module}#f`, "1"], { env: marker.env })
    await running.shows("up")
    running.kill("SIGKILL")
    await running.exited
    expect(await marker.left()).toEqual([])
  })

  it("leaves no process in synchronous code that never ends when it is killed with KILL", async () => {
    const marker = Aio.marker()
    const module = join(Aio.folder(), "stuck.mjs")
    const begun = `${module}.begun`
    writeFileSync(
      module,
      `import { writeFileSync } from "node:fs"
       export const f = (file) => {
         writeFileSync(file, "")
         for (;;);
       }`
    )
    const running = Aio.start(["executor", "--processes", `${module}#f`, begun], { env: marker.env })
    await vi.waitFor(() => expect(existsSync(begun)).toBe(true), { timeout: 20_000 })
    running.kill("SIGKILL")
    await running.exited
    expect(await marker.left()).toEqual([])
  })

  it("ends its threads and processes when it is interrupted", async () => {
    const marker = `AIO_TEST=${process.pid}-${Math.random()}`
    const [name, value] = marker.split("=") as [string, string]
    for (const kind of [[], ["--processes"]]) {
      const running = Aio.start(["executor", "--grace", "50ms", ...kind, "-a", "-", of("talks")], {
        env: { [name]: value }
      })
      await running.send("a\n")
      await running.shows("log a")
      running.kill("SIGINT")
      expect((await running.ended).code).toBe(130)
      const left = readdirSync("/proc")
        .filter((entry) => /^\d+$/.test(entry))
        .filter((pid) => {
          try {
            return readFileSync(`/proc/${pid}/environ`, "latin1").includes(marker)
          } catch {
            return false
          }
        })
      expect(left).toEqual([])
    }
  })
})
