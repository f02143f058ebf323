import { readdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { Effect, Either, Stream } from "effect"
import { afterAll, describe, expect, it } from "vitest"
import * as Failures from "../../src/services/host/Failures.js"
import * as Executor from "../../src/services/thread/Executor.js"
import * as Job from "../../src/services/thread/Job.js"
import * as MapJobs from "../../src/services/thread/MapJobs.js"
import * as Aio from "../support/Aio.js"
import * as InProcess from "../support/InProcess.js"

afterAll(Aio.removeFolders)

const module = join(process.cwd(), "test/fixtures/executor/odd.mjs")
const aio = (args: ReadonlyArray<string>, options: Parameters<typeof Aio.run>[1] = {}) =>
  InProcess.run(["executor", "--on-failure", "continue", ...args], options)

/** The detail of `Failed ITEM: …` of each item. */
const failuresOf = (stderr: string): Readonly<Record<string, string>> =>
  Object.fromEntries(
    [...stderr.matchAll(/^(?:Failed|Timed out) ([^:]*): (?:(?:the|job) .*?: )?(.*)$/gm)].map(
      ([, item, why]) => [item!, why!]
    )
  )

/** The items that succeeded, and those that did not. */
const countsOf = (stderr: string) => {
  const [, row = ""] = /^items +(.*)$/m.exec(stderr) ?? []
  const of = (word: string) => Number(new RegExp(`(\\d+) ${word}`).exec(row)?.[1] ?? 0)
  return [of("succeeded"), of("failed") + of("timed out")]
}

const modes = [
  ["threads", []],
  ["processes", ["--processes"]],
  ["threads in chunks", ["--chunk", "8"]],
  ["processes in chunks", ["--processes", "--chunk", "8"]]
] as const

const tooDeep =
  /^(it is nested too deep to be read where it arrives|the result is nested \d+ levels deep, which is too deep to be copied)$/

// Each kind of worker, and each kind of message.
describe.each([modes[0]!, modes[3]!])("a message that cannot cross, %s", (_, mode) => {
  it("fails the job of a result that is too deep at once, and no other", async () => {
    const depths = [2_500, 3_000, 4_000, 4_500, 6_000, 12_000, 20_000, 100_000]
    // Read by some stacks and not by others; then it is a result.
    const edge = (depth: number) => depth < 4_000
    const items = depths.flatMap((depth) => [`${depth} array`, "0 x", `${depth} object`, `${depth} map`])
    const { code, stderr, stdout } = await aio([...mode, "-j2", `${module}#deep`, ...items])
    const failures = failuresOf(stderr)
    for (const depth of depths) {
      for (const kind of ["array", "object", "map"]) {
        const why = failures[`${depth} ${kind}`]
        if (!edge(depth) || why !== undefined)
          expect([depth, kind, why]).toEqual([depth, kind, expect.stringMatching(tooDeep)])
      }
    }
    expect(code).toBe(1)
    expect(stdout.split("\n").filter((line) => line === "flat").length).toBe(depths.length)
    const failed = Object.keys(failures).length
    expect(countsOf(stderr)).toEqual([items.length - failed, failed])
  })

  it("names the part of a result that cannot be cloned, however wide, deep or odd it is", async () => {
    const expected: Readonly<Record<string, string>> = {
      function: "the result is a function, which cannot be cloned",
      named: "the result.on.close is a function (close), which cannot be cloned",
      symbol: "the result is a symbol, which cannot be cloned",
      generator: "the result is a generator object, which cannot be cloned",
      "async generator": "the result is a generator object, which cannot be cloned",
      iterator: "the result is an Array Iterator, which cannot be cloned",
      arguments: "the result is an arguments object, which cannot be cloned",
      proxy: "the result.p is a Proxy, which cannot be cloned",
      "weak map": "the result is a WeakMap, which cannot be cloned",
      promise: "the result.later[0] is a Promise, which cannot be cloned",
      port: "the result is a MessagePort, which cannot be cloned",
      detached: "the result[0] is a detached ArrayBuffer, which cannot be cloned",
      view: "the result is a detached Uint8Array, which cannot be cloned",
      getter: "the result.a.b cannot be read: no b",
      constructor: "the result.constructor cannot be read: no constructor",
      tagged: "the result.f is a function (f), which cannot be cloned",
      "null prototype": "the result.f is a function (f), which cannot be cloned",
      "map value": 'the result["a b"][0] is a symbol, which cannot be cloned',
      "map key": "the result[0] is a function, which cannot be cloned",
      "array property": "the result.f is a function (f), which cannot be cloned",
      "error cause": "the result.cause is a function (cause), which cannot be cloned",
      wide: "the result.f is a function (f), which cannot be cloned",
      "cyclic and bad": "the result.bad is a function, which cannot be cloned",
      "deep and bad": "the result.a.a.a.a.a.a…(19991 more)….a.a.a.f is a function (f), which cannot be cloned"
    }
    const { code, stderr, stdout } = await aio([...mode, "-j1", `${module}#result`, ...Object.keys(expected)])
    expect([code, stdout]).toEqual([1, ""])
    expect(failuresOf(stderr)).toEqual(expected)
  })

  it("fails a job with the value that it throws, of any kind", async () => {
    const expected: Readonly<Record<string, string | RegExp>> = {
      "deep value": "[ [ [ [Array] ] ] ]",
      "deep field": /^Error: field \(/,
      "long chain": /^Error: next \(/,
      round: /^Error: round \(/,
      unreadable: "Error: its message cannot be read",
      proxy: /^Error: p/,
      inspected: "an object that cannot be shown",
      tagged: "an object that cannot be shown",
      symbol: "Symbol(s)",
      nothing: "undefined",
      thenable: /^Error: then \(/,
      "effect chain": /^Error: next \(/,
      "effect round": /^Error: round \(/,
      "effect deep": /^Failure: \{ _tag: 'Deep', deep: /,
      "effect getter": "Failure: { a: [Getter] }"
    }
    const { code, stderr } = await aio([...mode, "-j1", `${module}#thrower`, ...Object.keys(expected)])
    expect(code).toBe(1)
    const failures = failuresOf(stderr)
    for (const [kind, why] of Object.entries(expected)) {
      if (typeof why === "string") expect([kind, failures[kind]]).toEqual([kind, why])
      else expect(failures[kind], kind).toMatch(why)
    }
  })

  it("fails an argument that is too deep, and no other", async () => {
    const levels = [1, 2_500, 5, 3_000, 20_000, 2, 100_000, 3]
    const stdin = levels.map((n) => `${'{"a":'.repeat(n)}0${"}".repeat(n)}\n`).join("")
    const { code, stderr, stdout } = await aio(
      [...mode, "-j1", "--format", "ndjson", `${module}#levels`],
      // The main thread writes more levels than a thread can read.
      { stdin, shell: 'node="$1"; shift; exec "$node" --stack-size=3900 "$@"' }
    )
    const failed = stderr.split("\n").filter((line) => line.startsWith("Failed"))
    for (const line of failed) {
      expect(line).toMatch(
        /: the arguments of job odd\.mjs#levels cannot cross to another thread: (it is nested too deep to be read where it arrives|arguments\[0\] is nested \d+ levels deep, which is too deep to be copied)$/
      )
    }
    expect(code).toBe(1)
    const got = stdout.trim().split("\n").map(Number)
    expect(got.length + failed.length).toBe(levels.length)
    for (const small of [1, 5, 2, 3]) expect(got).toContain(small)
    expect(got).not.toContain(100_000)
  })

  it("fails the job that ends a worker, and no other", async () => {
    const kinds = mode.includes("--processes" as never) ? ["exit", "abort", "kill", "late"] : ["exit", "late"]
    const items = [...kinds, "spin", "never", "full"].flatMap((kind) => [kind, "ok"])
    const { code, stderr, stdout } = await aio([
      ...[...mode, "-j2", "--timeout", "1s", "--grace", "0ms", "--max-memory", "32M"],
      ...[`${module}#end`, ...items]
    ])
    expect([code, stdout]).toEqual([1, "ok\n".repeat(items.length / 2)])
    const failures = failuresOf(stderr)
    expect(failures["exit"]).toBe("it called process.exit(3)")
    const late = "not done in 1s"
    expect([failures["spin"], failures["never"]]).toEqual([late, late])
    expect(failures["late"]).toMatch(/^uncaught Error: late \(/)
    if (kinds.includes("abort"))
      expect([failures["abort"], failures["kill"]]).toEqual([
        "it was ended by SIGABRT",
        "it was ended by SIGKILL"
      ])
    expect(countsOf(stderr)).toEqual([items.length / 2, items.length / 2])
  })
})

it("ends a process that closed its channel, and fails its job", async () => {
  const { code, stderr, stdout } = await aio(["--processes", "-j1", `${module}#end`, "ok", "cut", "ok"])
  expect([code, stdout]).toEqual([1, "ok\nok\n"])
  expect(failuresOf(stderr)).toEqual({ cut: "it was ended by SIGKILL" })
})

describe.each(modes.slice(0, 2))("words of a job, %s", (_, mode) => {
  it("passes on the output and log entries of a job, and no other message of it", async () => {
    const kinds = ["log", "annotation", "cause", "round", "print", "send"]
    const { code, stderr, stdout } = await aio([...mode, "-j1", `${module}#talker`, ...kinds])
    expect([code, stdout]).toEqual([0, kinds.map((kind) => `${kind} done\n`).join("")])
    expect(stderr).toContain("annotated")
  })

  it("passes on output of a job after its end, separately from the results", async () => {
    const { code, stderr, stdout } = await aio([...mode, "-j1", `${module}#later`, "print", "wait"])
    expect([code, stdout]).toEqual([0, "ended\nwaited\n"])
    expect(stderr).toContain("printed later\n")
  })

  it("lets a job have workers of its own, which end with it", async () => {
    const marker = Aio.marker()
    const { code, stderr, stdout } = await aio(
      [
        ...mode,
        "-j2",
        "--timeout",
        "1s",
        "--grace",
        "0ms",
        `${module}#worker`,
        "answers",
        "never",
        "answers"
      ],
      { env: marker.env }
    )
    expect([code, stdout]).toEqual([124, "from a worker\nfrom a worker\n"])
    expect(failuresOf(stderr)).toEqual({ never: "not done in 1s" })
    expect(marker.alive()).toEqual([])
  })
})

describe("executor, library", () => {
  const threads = () => (process.platform === "linux" ? readdirSync("/proc/self/task").length : 0)
  // Every 97th result can be written and not be read.
  const job = Job.fromFunction((n: number): unknown => {
    if (n % 97 !== 96) return n % 2 === 0 ? n : { n }
    if (n === 1066) process.exit(1)
    let value: Array<unknown> = []
    for (let i = 0; i < 8_000; i++) value = [value]
    return value
  })
  const inputs = Array.from({ length: 2_000 }, (_, n) => n)

  it.each([1, 7, 64])("fails just the jobs whose results cannot be read, in chunks of %i", async (chunk) => {
    const before = threads()
    const items = await Effect.runPromise(
      Stream.runCollect(MapJobs.each(job, inputs, { chunk, timeout: "1 minute" })).pipe(
        Effect.provide(Executor.layerThreads({ maxWorkers: 2 }))
      )
    )
    const got = Array.from(items, ({ result }) =>
      Either.match(result, {
        onLeft: (error) => error._tag,
        onRight: (value) => (typeof value === "number" ? value : (value as { n: number }).n)
      })
    )
    expect(got).toEqual(
      inputs.map((n) => (n === 1066 ? "WorkerCrashed" : n % 97 === 96 ? "NotSerializable" : n))
    )
    expect(threads()).toBeLessThanOrEqual(before + 4) // of Node's own pool
  })

  it.each([
    ["that end them", "WorkerCrashed", "1 minute"],
    ["that are ended", "JobTimedOut", "50 millis"]
  ] as const)("has at most maxWorkers threads, for jobs %s", async (_, tag, timeout) => {
    const before = threads()
    const job = Job.fromFunction((tag: string) => {
      if (tag === "WorkerCrashed") process.exit(1)
      for (;;);
    })
    const counts: Array<number> = []
    const results = await Effect.runPromise(
      MapJobs.each(
        job,
        Array.from({ length: 6 }, () => tag),
        { timeout }
      ).pipe(
        Stream.tap(() => Effect.sync(() => counts.push(threads()))),
        Stream.runCollect,
        Effect.provide(Executor.layerThreads({ maxWorkers: 2, grace: 0 }))
      )
    )
    const tags = Array.from(results, ({ result }) => Either.isLeft(result) && result.left._tag)
    expect(tags).toEqual(Array.from({ length: 6 }, () => tag))
    // One that ends beside each that takes its place, and those of Node's own pool.
    expect(Math.max(...counts)).toBeLessThanOrEqual(before + 2 * 2 + 4)
    expect(threads()).toBeLessThanOrEqual(before + 4)
  })

  it("keeps the thread of a job whose result could not be read", async () => {
    const id = Executor.blocking(async () => (await import("node:worker_threads")).threadId)
    const nest = Executor.blocking((levels: number) => {
      let value: Array<unknown> = []
      for (let i = 0; i < levels; i++) value = [value]
      return value
    }, 8_000)
    const [before, error, after] = await Effect.runPromise(
      Effect.all([id, Effect.flip(nest), id]).pipe(Effect.provide(Executor.layerThreads({ maxWorkers: 1 })))
    )
    expect(after).toBe(before)
    expect(error).toMatchObject({ _tag: "NotSerializable", part: "result" })
  })
})

describe("executor, results that cannot be written", () => {
  const kinds = ["circular", "circular map", "nan", "infinity", "date", "undefined"]
  const why = [
    "an object that contains itself cannot be represented in JSON (at a)",
    "an object that contains itself cannot be represented in JSON (at value[0][1])",
    "NaN cannot be represented in JSON",
    "-Infinity cannot be represented in JSON (at [1])",
    "an invalid Date cannot be represented in JSON",
    "undefined cannot be represented in JSON (at [0])"
  ].map((text) => `the result cannot be written: ${text}`)

  it("are failures of their items, counted, in text", async () => {
    const { code, stderr, stdout } = await aio([`${module}#unwritable`, "a", ...kinds, "b"])
    expect([code, stdout]).toEqual([1, "a\nb\n"])
    const failed = stderr.split("\n").filter((line) => line.startsWith("Failed"))
    expect(failed).toEqual(kinds.map((kind, i) => `Failed ${kind}: ${why[i]}`))
    expect(countsOf(stderr)).toEqual([2, kinds.length])
  })

  it("are the same failures in --json", async () => {
    const { code, stdout } = await aio(["--json", `${module}#unwritable`, "a", ...kinds, "b"])
    const events = stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line))
    expect(code).toBe(1)
    expect(events.map(({ event, reason, value }) => reason ?? value ?? event)).toEqual([
      "a",
      ...why,
      "b",
      "summary"
    ])
    expect(events[1]).toMatchObject({
      event: "finished",
      status: "failed",
      error: "BadResult",
      index: 2,
      name: "circular"
    })
    expect(events.at(-1)).toMatchObject({ succeeded: 2, failed: kinds.length, exitCode: 1 })
  })

  it.each([[[]], [["--json"]]])("cancel the others by default, %j", async (json) => {
    const { code, stderr, stdout } = await InProcess.run([
      "executor",
      ...json,
      "-j1",
      `${module}#unwritable`,
      "a",
      "nan",
      "b"
    ])
    expect(code).toBe(1)
    if (json.length === 0)
      expect([stdout, stderr]).toEqual([
        "a\n",
        expect.stringMatching(/^items +1 succeeded, 1 failed(, 1 cancelled)?$/m)
      ])
    else
      expect(JSON.parse(stdout.trim().split("\n").at(-1)!)).toMatchObject({
        succeeded: 1,
        failed: 1,
        cancelled: expect.any(Number),
        exitCode: 1
      })
  })
})

describe("executor, items", () => {
  it("keeps integers and refuses a line that is not a record, by its number", async () => {
    const lines = [
      '{"id":12345678901234567890}',
      "",
      "[-9007199254740993,1.50]\r",
      "nope",
      "caf\xe9",
      "-0",
      "1e400",
      '"é"'
    ]
    const stdin = Buffer.concat(lines.map((line, i) => Buffer.from(`${line}\n`, i === 4 ? "latin1" : "utf8")))
    const file = join(Aio.folder(), "items")
    writeFileSync(file, stdin)
    const { code, stderr, stdout } = await aio(["--format", "ndjson", "-a", file, `${module}#wrap`])
    expect([code, stdout]).toEqual([
      1,
      '{"r":{"id":12345678901234567890}}\n{"r":[-9007199254740993,1.5]}\n{"r":-0}\n{"r":"é"}\n'
    ])
    expect(stderr.split("\n").slice(0, 3)).toEqual([
      expect.stringMatching(new RegExp(`^Failed nope: line 4 of ${file} is not JSON: `)),
      expect.stringMatching(/^Failed caf.*: line 5 of .* is not UTF-8$/),
      `Failed 1e400 (line 7 of ${file}): the result cannot be written: Infinity cannot be represented in JSON (at r)`
    ])
    const json = await aio(["--json", "--format", "ndjson", `${module}#same`, "123456789012345678901"])
    expect(json.stdout.split("\n")[0]).toMatch(/"value":123456789012345678901\}$/)
  })

  it("fails a line that is not UTF-8, and one that is too long", async () => {
    const file = join(Aio.folder(), "items")
    writeFileSync(file, Buffer.from(`a\ncaf\xe9\n${"x".repeat(16 * 1024 * 1024 + 1)}\nb`, "latin1"))
    const { code, stderr, stdout } = await aio(["-a", file, `${module}#same`])
    expect([code, stdout]).toEqual([1, "a\nb\n"])
    expect(stderr).toMatch(
      /^Failed caf.*: line 2 of .* is not UTF-8\nFailed line 3 of .*: line 3 of .* is longer than 16 MiB\n/
    )
    const first = await InProcess.run(["executor", "-q", "-a", file, `${module}#same`])
    expect([first.code, first.stdout]).toEqual([2, "a\n"])
    expect(first.stderr).toMatch(
      /^aio executor: line 2 of .* is not UTF-8; --on-failure continue runs the others\n$/
    )
  })

  it("passes names of Object.prototype untouched", async () => {
    const stdin = '{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}},"toString":1}\n{}\n'
    const { code, stdout } = await aio(["--format", "ndjson", `${module}#same`], { stdin })
    expect([code, stdout]).toEqual([0, stdin])
  })

  it.each([
    `${module}#__proto__`,
    `${module}#constructor`,
    "data:text/javascript,export default 1",
    "node:fs#readFileSync",
    `${module}?x#same`
  ])("refuses a function that is not an export of a file: %s", async (target) => {
    const { code, stderr, stdout } = await aio([target, "a"])
    expect([code, stdout, stderr.trim().split("\n").length]).toEqual([2, "", 1])
  })
})

describe("executor, times and places", () => {
  it("reports the time that a job ran before it was ended, and none for jobs that never ran", async () => {
    const late = await aio(["--timeout", "300ms", "--grace", "0ms", `${module}#end`, "spin"])
    expect(Number(/^run {4}p50 (\d+) ms/m.exec(late.stderr)?.[1])).toBeGreaterThanOrEqual(290)
    const never = await aio(["--format", "ndjson", `${module}#same`, "{"])
    expect(never.stderr).toMatch(/items +0 succeeded, 1 failed\ntime .*\n$/)
  })

  it("names file and line of a thrown error, relative to the working directory", async () => {
    const folder = Aio.folder()
    writeFileSync(
      join(folder, "ex.ts"),
      'export const bad = (text: string): string => {\n  throw new Error(text + " is bad")\n}\n'
    )
    const { stderr } = await aio(["./ex.ts#bad", "3"], { cwd: folder })
    expect(stderr.split("\n")[0]).toBe("Failed 3: job ex.ts#bad failed: Error: 3 is bad (ex.ts:2:9)")
  })
})

describe("Failures.place", () => {
  const stackOf = (...frames: ReadonlyArray<string>) =>
    ["Error: no", ...frames.map((at) => `    at ${at}`)].join("\n")

  it.each([
    [stackOf("save (file:///home/me/app/src/my%20file.ts?namespace=1:3:7)"), "src/my file.ts:3:7"],
    [stackOf("JSON.parse (<anonymous>)", "async /home/me/app/b.ts:4:1"), "b.ts:4:1"],
    [
      stackOf("run (/home/me/app/node_modules/pkg/index.js:1:1)", "async c (/home/me/c.js:5:2)"),
      "/home/me/c.js:5:2"
    ],
    [stackOf("listOnTimeout (node:internal/timers:581:17)"), undefined],
    [stackOf(`${"?".repeat(1_000_000)} (/home/me/app/a.ts:1:1)`), undefined],
    ["", undefined]
  ])("is the innermost frame in the user's own files, %#", (stack, place) => {
    expect(Failures.place(stack, "/home/me/app")).toBe(place)
  })
})
