import { symlinkSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import * as NodeContext from "@effect/platform-node/NodeContext"
import { describe, it } from "@effect/vitest"
import { Cause, Effect, HashMap, Layer, List, LogLevel } from "effect"
import { afterAll, assert } from "vitest"
import * as Run from "../../src/programs/Run.js"
import * as Causes from "../../src/services/Causes.js"
import * as Logs from "../../src/services/Logs.js"
import * as Output from "../../src/services/Output.js"
import * as Signals from "../../src/services/Signals.js"
import * as Aio from "../support/Aio.js"

afterAll(Aio.removeFolders)

const throws = (): never => {
  throw new Error("trap")
}
const traps = { get: throws, has: throws, ownKeys: throws, getPrototypeOf: throws }
const revoked = (target: object) => {
  const { proxy, revoke } = Proxy.revocable(target, {})
  revoke()
  return proxy
}
const withGetter = (key: string, error: object = new Error("read me")): unknown =>
  Object.defineProperty(error, key, { get: throws, enumerable: true })
class Endless extends Error {
  override get cause() {
    return new Endless("and again")
  }
}

const cannot = /^error: an error that cannot be printed: reading it throws /

/** Errors as no program should have them, and what is said of each. */
const errors: ReadonlyArray<readonly [string, () => unknown, RegExp]> = [
  ["a getter for its message throws", () => withGetter("message"), cannot],
  ["the same, of an object that is no Error", () => withGetter("message", {}), cannot],
  ["a getter for its name throws", () => withGetter("name"), /^error: read me$/],
  ["a getter for its tag throws", () => withGetter("_tag"), /^error: read me$/],
  ["a getter for its stack throws", () => withGetter("stack"), /^error: read me$/],
  ["a getter for its cause throws", () => withGetter("cause"), /^error: read me$/],
  ["a getter for its errors throws", () => withGetter("errors"), /^error: read me$/],
  ["a getter for its exit code throws", () => withGetter("exitCode"), /^error: read me$/],
  ["a field throws", () => withGetter("path", {}), cannot],
  [
    "its texts are no texts",
    () => Object.assign(new Error(), { message: 7, name: {}, stack: 3n }),
    /^error: Error$/
  ],
  ["a symbol is its message", () => Object.assign(new Error(), { message: Symbol("m") }), /^error: Error$/],
  ["all traps of a proxy throw", () => new Proxy({}, traps), cannot],
  ["all traps of a proxy of an error throw", () => new Proxy(new Error(""), traps), cannot],
  ["a revoked proxy", () => revoked({}), cannot],
  ["a revoked proxy of a function", () => revoked(() => undefined), /^error: <Revoked Proxy>$/],
  ["no prototype", () => Object.assign(Object.create(null), { a: 1 }), /^error: \{ a: 1 \}$/],
  [
    "toString and toPrimitive throw",
    () => ({ toString: throws, [Symbol.toPrimitive]: throws }),
    /^error: \{/
  ],
  [
    "inspect's own method throws",
    () => ({ in: { [Symbol.for("nodejs.util.inspect.custom")]: throws } }),
    cannot
  ],
  ["frozen, with a cause", () => Object.freeze(new Error("cold", { cause: "ice" })), /^error: cold$/],
  ["a symbol", () => Symbol("s"), /^error: Symbol\(s\)$/],
  ["undefined", () => undefined, /^error: undefined$/]
]

const layer = Layer.merge(Output.layerTest, Signals.layerTest)
const outcome = (error: unknown) =>
  Effect.gen(function* () {
    const code = yield* Run.supervise(Effect.failCause(Cause.fail(error)))
    const { stderr } = yield* Output.Captured
    return { code, lines: stderr.filter((line) => !line.includes("    at ")) }
  }).pipe(Effect.provide(layer))

describe("run: errors that are hard to print", () => {
  it.effect.each(errors)("%s", ([, make, expected]) =>
    Effect.gen(function* () {
      const { code, lines } = yield* outcome(make())
      assert.match(lines[0]!, expected)
      assert.strictEqual(code, 1)
      assert.isAtMost(lines.length, 2)
      // The same values in a headline, and in Effect's log.
      assert.isString(Causes.headline(Cause.fail(make())))
      const { stderr } = yield* Output.Captured
      const output = yield* Output.Output
      Logs.stderr(output, "/").log({
        fiberId: yield* Effect.fiberId,
        logLevel: LogLevel.Info,
        message: ["before", make()],
        cause: Cause.fail(make()),
        context: yield* Effect.getFiberRefs,
        spans: List.empty(),
        annotations: HashMap.make(["key", make()]),
        date: new Date(0)
      })
      assert.match(stderr.join("\n"), /level=INFO .*message=before/)
    }).pipe(Effect.provide(Output.layerTest))
  )

  const bounded: ReadonlyArray<readonly [string, () => unknown, RegExp]> = [
    [
      "a cause that goes round",
      () => {
        const a = new Error("a")
        a.cause = new Error("b", { cause: a })
        return a
      },
      /^ {2}caused by: b$/
    ],
    [
      "an error among its own errors",
      () => {
        const all = new AggregateError([], "all")
        all.errors.push(all, new Error("one"))
        return all
      },
      /^ {2}caused by: one$/
    ],
    [
      "100 000 causes in a row",
      () => {
        let e = new Error("0")
        for (let i = 1; i <= 100_000; i++) e = new Error(String(i), { cause: e })
        return e
      },
      /^ +… and what caused that is left out$/
    ],
    [
      "a new cause whenever it is asked for",
      () => new Endless("first"),
      /^ +… and what caused that is left out$/
    ],
    [
      "100 000 errors in one",
      () => new AggregateError(Array.from({ length: 100_000 }, (_, i) => new Error(String(i)))),
      /^… and 99901 more errors are left out$/
    ],
    [
      "a message of 10 MB",
      () => new Error("x".repeat(10_000_000)),
      /x… \(9934464 more characters are left out\)$/
    ],
    [
      "a message of 1 000 000 lines",
      () => new Error("x\n".repeat(1_000_000)),
      /more characters are left out\)$/
    ]
  ]
  it.effect.each(bounded)("%s, in bounded space", ([, make, last]) =>
    Effect.gen(function* () {
      const { code, lines } = yield* outcome(make())
      assert.strictEqual(code, 1)
      assert.match(lines.at(-1)!, last)
      assert.isBelow(lines.join("\n").length, 200_000)
    })
  )

  it("100 000 errors beside each other in a cause", () => {
    let cause: Cause.Cause<string> = Cause.empty
    for (let i = 0; i < 100_000; i++) cause = Cause.parallel(Cause.fail(String(i)), cause)
    return Effect.runPromise(
      Effect.gen(function* () {
        const code = yield* Run.supervise(Effect.failCause(cause))
        const { stderr } = yield* Output.Captured
        assert.deepStrictEqual([code, stderr.at(-1)], [1, "… and 99900 more errors are left out"])
      }).pipe(Effect.provide(layer))
    )
  })
})

describe("run: exit codes of errors", () => {
  const wrong = [
    Number.NaN,
    1.5,
    -1,
    0,
    -0,
    256,
    512,
    1e9,
    -256,
    1e-9,
    Number.POSITIVE_INFINITY,
    "3",
    3n,
    true,
    {},
    new Number(3)
  ]
  it.effect("count as 1 where they are no whole number from 1 to 255, and the error is reported", () =>
    Effect.forEach(wrong, (exitCode) =>
      Effect.map(outcome(Object.assign(new Error("the disk is broken"), { exitCode })), ({ code, lines }) =>
        assert.deepStrictEqual([exitCode, code, lines[0]], [exitCode, 1, "error: the disk is broken"])
      )
    )
  )

  it.effect("are those of the process from 1 to 255; undefined and null are none", () =>
    Effect.forEach([1, 2, 7, 255, undefined, null], (exitCode) =>
      Effect.map(outcome(Object.assign(new Error("text"), { exitCode })), ({ code, lines }) =>
        assert.deepStrictEqual(
          [code, lines],
          typeof exitCode === "number" ? [exitCode, ["text"]] : [1, ["error: text"]]
        )
      )
    )
  )
})

const built = fileURLToPath(new URL("../../node_modules", import.meta.url))
const program = (text: string): string => {
  const path = Aio.folder()
  symlinkSync(built, join(path, "node_modules"))
  writeFileSync(join(path, "main.mjs"), text)
  return join(path, "main.mjs")
}

// One export for each service of NodeContext, under the service's key.
const usesAll = `
import * as Command from "@effect/platform/Command"
import { FileSystem } from "@effect/platform/FileSystem"
import { Path } from "@effect/platform/Path"
import { Terminal } from "@effect/platform/Terminal"
import { WorkerManager } from "@effect/platform/Worker"
import { Console, Effect, Mailbox, Stream } from "effect"

const shown = (effect) => Effect.flatMap(effect, (value) => Console.log(JSON.stringify(value)))
const terminal = (use) => Effect.flatMap(Terminal, use)
const programs = {
  "@effect/platform/FileSystem": shown(Effect.flatMap(FileSystem, (fs) => fs.exists("/"))),
  "@effect/platform/Path": shown(Effect.map(Path, (path) => path.join("a", "b"))),
  "@effect/platform/Worker/WorkerManager": shown(Effect.map(WorkerManager, ({ spawn }) => typeof spawn)),
  "@effect/platform/CommandExecutor": shown(Effect.all([
    Command.string(Command.pipeTo(Command.make("echo", "b"), Command.make("tr", "b", "c"))),
    Command.exitCode(Command.make("sh", "-c", "exit 3")),
    Command.lines(Command.feed(Command.make("cat"), "fed")),
    Effect.flip(Command.exitCode(Command.make("aio-no-such-command"))).pipe(Effect.map(({ reason }) => reason))
  ])),
  "@effect/platform/Terminal": terminal(({ display, readInput, readLine }) => Effect.gen(function* () {
    yield* display("name? ")
    yield* shown(readLine)
    yield* Effect.scoped(Effect.flatMap(readInput, (keys) => shown(Effect.map(keys.take, ({ key }) => key.name))))
    yield* shown(readLine)
    yield* shown(readLine)
    yield* shown(Effect.flip(readLine))
  }))
}
export const keys = Console.log(JSON.stringify(Object.keys(programs)))
export const all = Effect.forEach(Object.values(programs), (one) => one, { discard: true })
export const eof = terminal(({ readLine }) => readLine)
export const inputs = terminal(({ readInput }) => Effect.flatMap(readInput, (keys) =>
  Stream.runForEach(Mailbox.toStream(keys), ({ key }) => Console.log(key.name))))
export const order = terminal(({ display }) => Effect.gen(function* () {
  for (const n of [1, 2]) {
    yield* Console.log("log " + n)
    yield* display("display " + n + "\\n")
  }
}))
export const tree = Command.exitCode(Command.make("sh", "-c", "setsid sleep 1000 & sleep 1000 & echo up >&2; wait")
  .pipe(Command.stderr("inherit")))
`

describe("run: the services of NodeContext", () => {
  it.live("are there, each of them, and work in a pipe", () =>
    Effect.gen(function* () {
      const context = yield* Layer.build(NodeContext.layer)
      const file = program(usesAll)
      const stdin = "Ann\r\nxyz\nlast"
      const [keys, all] = yield* Effect.promise(() =>
        Promise.all([Aio.run(["run", file, "keys"]), Aio.run(["run", file, "all"], { stdin })])
      )
      assert.deepStrictEqual(JSON.parse(keys.stdout).sort(), [...context.unsafeMap.keys()].sort())
      assert.deepStrictEqual(all, {
        code: 0,
        signal: null,
        stderr: "",
        stdout: [
          "true",
          '"a/b"',
          '"function"',
          '["c\\n",3,["fed"],"NotFound"]',
          'name? "Ann"',
          '"x"',
          '"yz"',
          '"last"',
          '{"_tag":"QuitException"}',
          ""
        ].join("\n")
      })
    }).pipe(Effect.scoped)
  )

  it.live("give what is displayed its place, keys to the end of input, and end a program that reads on", () =>
    Effect.promise(async () => {
      const file = program(usesAll)
      const [order, inputs, eof] = await Promise.all([
        Aio.run(["run", "--timestamps", file, "order"]),
        Aio.run(["run", file, "inputs"], { stdin: "a\u001b[Ab" }),
        Aio.run(["run", file, "eof"])
      ])
      assert.deepStrictEqual(
        order.stdout.split("\n").map((line) => line.slice("00:00:00.000  ".length)),
        ["log 1", "display 1", "log 2", "display 2", ""]
      )
      assert.deepStrictEqual([inputs.code, inputs.stdout], [0, "a\nup\nb\n"])
      assert.deepStrictEqual([eof.code, eof.stderr], [1, "error: QuitException\n"])
    })
  )

  it.live("leave no process of a command behind, whatever ends the program", () =>
    Effect.promise(async () => {
      const file = program(usesAll)
      await Promise.all(
        (["SIGINT", "SIGTERM", "SIGKILL"] as const).map(async (signal) => {
          const { env, left } = Aio.marker()
          const aio = Aio.start(["run", file, "tree"], { env })
          await aio.shows("up")
          aio.kill(signal)
          const { code } = await aio.ended
          assert.strictEqual(code, { SIGINT: 130, SIGTERM: 143, SIGKILL: null }[signal])
          assert.deepStrictEqual(await left(), [])
        })
      )
    })
  )
})

describe("run: what nothing catches", () => {
  const hostile = `
import { Effect } from "effect"
const throws = () => { throw new Error("trap") }
const hostile = new Proxy({}, { get: throws, has: throws, getPrototypeOf: throws })
export const thrown = Effect.sync(() => { throw hostile })
export const timer = Effect.async(() => { setTimeout(() => { throw hostile }) })
export const rejected = Effect.async(() => { Promise.reject(hostile) })
export const plain = Effect.async(() => { Promise.reject(42) })
`
  it.live("ends the program with 1 and one report, even where the value breaks its fiber", () =>
    Effect.promise(async () => {
      const file = program(hostile)
      const told = "error that nothing caught: "
      const unprintable = `${told}an error that cannot be printed: reading it throws Error: trap\n`
      const names = ["thrown", "timer", "rejected", "plain"]
      const results = await Promise.all(names.map((name) => Aio.run(["run", file, name])))
      assert.deepStrictEqual(
        results.map(({ code, stderr }) => [code, stderr]),
        [
          [1, `${told}trap\n    at Object.throws (${file}:3:30)\n`],
          [1, unprintable],
          [1, unprintable],
          [1, `${told}42\n`]
        ]
      )
    })
  )
})
