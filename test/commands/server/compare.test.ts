import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import * as PlatformCommand from "@effect/platform/Command"
import { afterAll, describe, expect, it } from "@effect/vitest"
import { Effect, Either, FastCheck as fc, Layer, Schema } from "effect"
import * as Comparison from "../../../src/commands/kernel/Comparison.js"
import * as Compare from "../../../src/commands/server/compare.js"
import { report } from "../../../src/commands/server/compareView.js"
import { predictions } from "../../../src/commands/server/predictions.js"
import { type Load, type Measured, type Model, models } from "../../../src/programs/ServerCompare.js"
import * as Events from "../../../src/services/host/Events.js"
import * as Output from "../../../src/services/host/Output.js"
import * as SystemLoad from "../../../src/services/host/SystemLoad.js"
import * as LoadDriver from "../../../src/services/http/LoadDriver.js"
import * as Processes from "../../../src/services/process/Processes.js"
import * as Width from "../../../src/services/text/Width.js"
import * as Aio from "../../support/Aio.js"

afterAll(Aio.removeFolders)

const silent = () => PlatformCommand.make("sh", "-c", "echo listening on http://127.0.0.1:1; exec sleep 60")

const driver = (driven: { count: number }) =>
  LoadDriver.layerTest((url, { connections = 0 }) => {
    driven.count++
    return {
      requests: connections * 10,
      time: 1000,
      p50: { ms: url.includes("wait") ? 100 : 1, atLeast: false },
      p99: { ms: 200, atLeast: true }
    }
  })

const run = (config: Partial<Compare.Config>, busy = 0) =>
  Effect.gen(function* () {
    const driven = { count: 0 }
    const small = { models: ["event-loop"], connections: [1, 10], webSockets: 0, command: silent } as const
    const layers = Layer.mergeAll(
      driver(driven),
      Processes.layer,
      Output.layerTest,
      SystemLoad.layerTest({ load: Effect.succeed(busy) })
    )
    return yield* Effect.gen(function* () {
      const result = yield* Effect.either(Compare.run({ json: false, quiet: 0, ...small, ...config }))
      const { stderr, stdout } = yield* Output.Captured
      return { driven: driven.count, result, stdout: stdout.join("\n"), stderr: stderr.join("\n") }
    }).pipe(Effect.provide(layers))
  })

describe("aio server --compare", () => {
  it.live("prints the table, the pictures and what the guide says, and the summary on stderr", () =>
    Effect.gen(function* () {
      const { result, stderr, stdout } = yield* run({ columns: 70 })
      expect(Either.isRight(result)).toBe(true)
      expect(stdout).toContain("event loop  /wait?ms=100           10        100  100 ms  ≥200 ms")
      expect(stdout).toContain("o event loop")
      expect(stdout).toContain("Processes are expensive on RAM")
      expect(stderr).toMatch(/^3 loads measured, 0 failed, in /)
    })
  )

  it.live("notes a busy machine", () =>
    Effect.gen(function* () {
      const { stderr } = yield* run({}, 3)
      expect(stderr).toContain("the machine is busy (load 3.0 on 4 processors)")
    })
  )

  it.live("prints events that the schema accepts with --json, and nothing else", () =>
    Effect.gen(function* () {
      const { stdout } = yield* run({ json: true }, 3)
      const events = stdout
        .split("\n")
        .filter((line) => line !== "")
        .map((line) => JSON.parse(line) as { event: string; schema: number })
      const decode = Schema.decodeUnknownEither(Events.ServerCompare, { onExcessProperty: "error" })
      for (const { schema, ...event } of events) {
        expect([schema, Either.mapLeft(decode(event), String)]).toEqual([2, Either.right(event)])
      }
      expect(new Set(events.map(({ event }) => event))).toEqual(
        new Set(["note", "started", "measured", "predicted", "summary"])
      )
      expect(events.at(-1)).toMatchObject({ measured: 3, failed: 0, predictions: 10, exitCode: 0 })
    })
  )

  it.live("writes the picture, whole, as its ending says", () =>
    Effect.gen(function* () {
      const folder = Aio.folder()
      for (const [name, begin] of [
        ["a.svg", "<svg "],
        ["b.HTML", "<!doctype html>"]
      ] as const) {
        const out = join(folder, name)
        writeFileSync(out, "old")
        const { stderr } = yield* run({ out })
        expect(readFileSync(out, "utf8")).toMatch(new RegExp(`^${begin}[^]*</(svg|html)>\n$`))
        expect(stderr).toContain(`picture: ${out}`)
      }
      expect(Aio.names(folder)).toEqual(["a.svg", "b.HTML"])
    })
  )

  it.live.each([
    ["picture.png", "--out 'picture.png' has an unknown ending; expected .svg or .html"],
    ["picture", "--out 'picture' has an unknown ending; expected .svg or .html"],
    ["/nowhere/at/all.svg", "--out '/nowhere/at/all.svg' cannot be written: no such file or folder"],
    ["/proc/all.html", "--out '/proc/all.html' cannot be written: no such file or folder"],
    ["FOLDER/it.svg", "cannot be written: it is a folder"]
  ] as const)("refuses --out %s in one line, before any load", ([given, message]) =>
    Effect.gen(function* () {
      const out = given.replace("FOLDER", Aio.folder())
      if (out !== given) mkdirSync(out)
      const { driven, result } = yield* run({ out })
      expect(Either.getLeft(result)).toMatchObject({
        value: { _tag: "Problem", message: expect.stringContaining(message) }
      })
      expect([driven, existsSync("picture.png")]).toEqual([0, false])
    })
  )
})

// The view is plain code from measurements to texts.

const quantity = fc.double({ min: 0, max: 1e9, noNaN: true })
const quantile = fc.record({ ms: quantity, atLeast: fc.boolean() })
const measured: fc.Arbitrary<Measured> = fc.record(
  {
    event: fc.constant("measured" as const),
    index: fc.integer({ min: 1, max: 99 }),
    name: fc.string(),
    model: fc.constantFrom(...models),
    load: fc.constantFrom<Load>("hello", "wait", "sockets"),
    connections: fc.integer({ min: 1, max: 5000 }),
    connected: fc.nat(5000),
    webSockets: fc.nat(1000),
    requests: fc.nat(),
    refused: fc.nat(),
    throughput: quantity,
    p50: quantile,
    p99: quantile,
    errors: fc.nat(),
    failures: fc.array(fc.string()),
    timeWait: fc.nat(),
    cpu: quantity,
    cpuPerRequest: quantity,
    switches: quantity,
    memory: fc.nat(),
    memoryPerConnection: quantity
  },
  {
    requiredKeys: [
      ...(["event", "index", "name", "model", "load", "connections", "connected", "webSockets"] as const),
      ...(["requests", "refused", "throughput", "errors", "failures"] as const)
    ]
  }
)

const one = (model: Model, load: Load, given: Partial<Measured>): Measured => ({
  ...{ event: "measured", index: 1, name: model, model, load, connections: 64, connected: 64, webSockets: 0 },
  ...{ requests: 1, refused: 0, throughput: 1, errors: 0, failures: [] },
  ...given
})

/** Measurements that all sentences of the guide agree with. */
const agreeing: ReadonlyArray<Measured> = [
  one("event-loop", "hello", {
    throughput: 20_000,
    cpu: 0.98,
    cpuPerRequest: 0.05,
    switches: 0.02,
    memory: 6e7
  }),
  one("event-loop", "wait", { connections: 100, throughput: 990, p50: { ms: 101, atLeast: false } }),
  one("event-loop", "wait", {
    connections: 1000,
    throughput: 9500,
    p50: { ms: 104, atLeast: false },
    memoryPerConnection: 9000
  }),
  one("event-loop", "sockets", { throughput: 19_500, cpuPerRequest: 0.051, webSockets: 1000 }),
  one("threads", "hello", { throughput: 9000, cpu: 0.98, cpuPerRequest: 0.11, switches: 4, memory: 7e7 }),
  one("threads", "wait", { connections: 100, throughput: 79, p50: { ms: 1200, atLeast: true } }),
  one("threads", "wait", { connections: 1000, throughput: 80, p50: { ms: 1500, atLeast: true } }),
  one("threads", "sockets", { throughput: 0, webSockets: 8 }),
  one("blocking", "wait", { connections: 100, throughput: 9.9 }),
  one("blocking", "wait", { connections: 1000, throughput: 9.8 })
]
const settings = { threads: 8, wait: 100 }
const held = (all: ReadonlyArray<Measured>) => predictions(all, settings).map(({ holds }) => holds)
const changed = (model: Model, load: Load, given: Partial<Measured>) =>
  held(agreeing.map((each) => (each.model === model && each.load === load ? { ...each, ...given } : each)))

describe("predictions", () => {
  it("quote the guide", () => {
    const guide = readFileSync(new URL("../../../docs/server-compare.md", import.meta.url), "utf8")
    for (const { claim } of predictions([], settings)) expect(guide).toContain(`| ${claim} `)
  })

  it("hold where the measurements agree, and are unknown without measurements", () => {
    expect(held(agreeing)).toEqual(Array(10).fill(true))
    expect(held([])).toEqual(Array(10).fill(undefined))
    expect(predictions([], settings).every(({ measured }) => measured === "not measured")).toBe(true)
  })

  it.each<[string, ReadonlyArray<number>, ReadonlyArray<boolean | undefined>]>([
    [
      "threads that serve as many as the loop",
      [0, 2, 3],
      changed("threads", "wait", { throughput: 9900, p50: { ms: 101, atLeast: false } })
    ],
    ["idle WebSockets that double the work", [1], changed("event-loop", "sockets", { cpuPerRequest: 0.1 })],
    ["threads that cost no processor time", [4], changed("threads", "hello", { cpuPerRequest: 0.05 })],
    ["a process that takes no memory", [5], changed("event-loop", "hello", { memory: 1000 })],
    ["an event loop that queues", [6], changed("event-loop", "wait", { p50: { ms: 5000, atLeast: true } })],
    ["waits that do not block", [0, 7, 9], changed("blocking", "wait", { throughput: 9500 })],
    ["an event loop that rests", [8], changed("event-loop", "hello", { cpu: 0.3 })],
    ["an event loop that switches", [8], changed("event-loop", "hello", { switches: 5 })]
  ])("does not hold for %s", (_, wrong, found) => {
    expect(found.flatMap((holds, at) => (holds === true ? [] : [at]))).toEqual(wrong)
  })
})

describe("the view of a comparison", () => {
  it("shows no NaN, keeps pictures within the columns, and is well-formed, whatever was measured", () => {
    fc.assert(
      fc.property(
        fc.array(measured, { maxLength: 12 }),
        fc.integer({ min: 20, max: 120 }),
        (all, columns) => {
          const plain = all.map((each) => ({ ...each, name: "n", failures: each.failures.map(() => "E") }))
          const compared = report(plain, settings)
          const lines = Comparison.lines(compared, columns)
          expect(lines.join("\n")).not.toMatch(/NaN|Infinity|undefined/)
          const from = lines.findIndex((line) => line.startsWith("answers a"))
          const to = lines.indexOf("what the guide says, and what was measured")
          for (const line of lines.slice(from, to)) expect(Width.of(line)).toBeLessThanOrEqual(columns)
          for (const picture of Object.values(Comparison.pictures)) {
            expect(picture(compared)).not.toMatch(/NaN|Infinity|undefined/)
          }
        }
      ),
      { numRuns: 30 }
    )
  })

  it("escapes what it was given", () => {
    const compared = report([one("threads", "wait", { errors: 1, failures: ["<script>"] })], settings)
    const html = Comparison.pictures[".html"]!(compared)
    expect([html.includes("<script>"), html.includes("1 &lt;script&gt;")]).toEqual([false, true])
  })
})
