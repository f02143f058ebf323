import { symlinkSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import * as NodeContext from "@effect/platform-node/NodeContext"
import { describe, it } from "@effect/vitest"
import { Cause, Effect, HashMap, Layer, List, LogLevel } from "effect"
import { afterAll, assert } from "vitest"
import { concepts } from "../../src/manifest.js"
import * as Run from "../../src/programs/Run.js"
import * as Output from "../../src/services/host/Output.js"
import * as Signals from "../../src/services/host/Signals.js"
import * as Causes from "../../src/services/task/Causes.js"
import * as StderrLogger from "../../src/services/task/StderrLogger.js"
import * as Aio from "../support/Aio.js"
import * as Terminal from "../support/Terminal.js"

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

/** Errors as no program should have them, and the report of each. */
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
      StderrLogger.stderr(output, "/").log({
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
      /^ +… and further causes are left out$/
    ],
    [
      "a new cause whenever it is asked for",
      () => new Endless("first"),
      /^ +… and further causes are left out$/
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

  it("100 000 parallel errors in a cause", () => {
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
  it.effect("count as 1 unless they are a whole number from 1 to 255, and the error is reported", () =>
    Effect.forEach(wrong, (exitCode) =>
      Effect.map(outcome(Object.assign(new Error("the disk is broken"), { exitCode })), ({ code, lines }) =>
        assert.deepStrictEqual([exitCode, code, lines[0]], [exitCode, 1, "error: the disk is broken"])
      )
    )
  )

  it.effect("are those of the process from 1 to 255; undefined and null do not count", () =>
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
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Mailbox from "effect/Mailbox"
import * as Stream from "effect/Stream"

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
// By Effect's own executor, which a program may bring along.
export const stray = Effect.promise(async () => {
  const { spawn } = await import("node:child_process")
  spawn("setsid", ["sleep", "60"], { stdio: "ignore" }).unref()
  spawn("sh", ["-c", "(setsid sleep 60 &) ; sleep 60"], { stdio: "ignore", detached: true }).unref()
})
export const stock = Effect.promise(() => import("@effect/platform-node/NodeContext")).pipe(
  Effect.flatMap(({ layer }) =>
    Command.make("sh", "-c", "echo up >&2; exec sleep 1000").pipe(
      Command.stderr("inherit"),
      Command.exitCode,
      Effect.provide(layer)
    )
  )
)
`

describe("run: the services of NodeContext", () => {
  it.live("are there, each of them, and work in a pipe", () =>
    Effect.gen(function* () {
      const context = yield* Layer.build(NodeContext.layer)
      const file = program(usesAll)
      const stdin = "Ann\r\nxyz\nlast"
      const [keys, all] = yield* Effect.promise(() =>
        Promise.all([Aio.run(["run", `${file}#keys`]), Aio.run(["run", `${file}#all`], { stdin })])
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
        Aio.run(["run", "--timestamps", `${file}#order`]),
        Aio.run(["run", `${file}#inputs`], { stdin: "a\u001b[Ab" }),
        Aio.run(["run", `${file}#eof`])
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
        (
          [
            ["tree", "SIGINT", 130],
            ["tree", "SIGTERM", 143],
            ["tree", "SIGHUP", 129],
            ["tree", "SIGKILL", null],
            ["stock", "SIGKILL", null],
            ["stock", "SIGINT", 130],
            ["stock", "SIGHUP", 129]
          ] as const
        ).map(async ([name, signal, expected]) => {
          const { env, left } = Aio.marker()
          const aio = Aio.start(["run", `${file}#${name}`], { env })
          await aio.shows("up")
          aio.kill(signal)
          const { code } = await aio.ended
          assert.strictEqual(code, expected)
          assert.deepStrictEqual(await left(), [])
        })
      )
      const { alive, env } = Aio.marker()
      assert.deepInclude(await Aio.run(["run", `${file}#stray`], { env }), { code: 0, stderr: "" })
      assert.deepStrictEqual(alive(), [])
    })
  )
})

describe("run: uncaught errors", () => {
  const hostile = `
import * as Effect from "effect/Effect"
const throws = () => { throw new Error("trap") }
const hostile = new Proxy({}, { get: throws, has: throws, getPrototypeOf: throws })
export const thrown = Effect.sync(() => { throw hostile })
export const timer = Effect.async(() => { setTimeout(() => { throw hostile }) })
export const rejected = Effect.async(() => { Promise.reject(hostile) })
export const plain = Effect.async(() => { Promise.reject(42) })
`
  it.live("ends the program with 1 and one report, even if the value breaks its fiber", () =>
    Effect.promise(async () => {
      const file = program(hostile)
      const told = "uncaught error: "
      const unprintable = `${told}an error that cannot be printed: reading it throws Error: trap\n`
      const names = ["thrown", "timer", "rejected", "plain"]
      const results = await Promise.all(names.map((name) => Aio.run(["run", `${file}#${name}`])))
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

describe.concurrent("run: a program that misbehaves", () => {
  const programs = `
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
export const throws = Effect.sync(() => { throw new TypeError("odd") })
export const string = Effect.fail("only words")
export const nothing = Effect.fail(null)
const error = new Error("first"); error.cause = new Error("second", { cause: error })
export const cyclic = Effect.fail(error)
export const exits = Effect.sync(() => process.exit(7)).pipe(Effect.zipRight(Console.log("never")))
export const rejection = Effect.async(() => { Promise.reject(new Error("late")) })
export const timers = Console.log("done").pipe(Effect.zipLeft(Effect.sync(() => { setInterval(() => {}, 1000); setTimeout(() => {}, 1e9) })))
export const prototype = Effect.sync(() => {
  for (const one of [Object.prototype, Array.prototype, Function.prototype, Promise.prototype]) one.polluted = () => { throw new Error("polluted") }
}).pipe(Effect.zipRight(Console.log("well")))
export const many = Effect.forEach(Array.from({ length: 300_000 }, (_, i) => i), (i) => Console.log("line " + i), { discard: true })
`
  const rows: ReadonlyArray<
    readonly [name: string, code: number, stdout: string | RegExp, stderr: string | RegExp]
  > = [
    ["throws", 1, "", /^error: TypeError: odd\n/],
    ["string", 1, "", "error: only words\n"],
    ["nothing", 1, "", "error: null\n"],
    ["cyclic", 1, "", /^error: first\n(.*\n)*? {2}caused by: second\n/],
    ["exits", 7, "", ""],
    ["rejection", 1, "", /^uncaught error: late\n/],
    ["timers", 0, "done\n", ""],
    ["prototype", 0, "well\n", ""],
    ["many", 0, /^line 0\n(line \d+\n){299998}line 299999\n$/, ""]
  ]
  it.live.each(rows)("%s ends with %i", ([name, code, stdout, stderr]) =>
    Effect.promise(async () => {
      const result = await Aio.run(["run", `${program(programs)}#${name}`])
      assert.strictEqual(result.code, code)
      const matches = (text: string, expected: string | RegExp) =>
        typeof expected === "string" ? assert.strictEqual(text, expected) : assert.match(text, expected)
      matches(result.stdout, stdout)
      matches(result.stderr, stderr)
    })
  )

  it.live("is ended by Node when its heap is full, with Node's report", () =>
    Effect.promise(async () => {
      const leak = `
import * as Effect from "effect/Effect"
export default Effect.sync(() => { const kept = []; for (;;) kept.push(new Array(1000).fill({})) })
`
      const env = { NODE_OPTIONS: "--max-old-space-size=48" }
      const { code, signal, stderr } = await Aio.run(["run", program(leak)], { env })
      assert.isTrue(code === 134 || signal === "SIGABRT", `${code} ${signal}`)
      assert.include(stderr, "heap out of memory")
    })
  )

  it.live("ends with 141 and without a message if the reader of its output closes it", () =>
    Effect.promise(async () => {
      const shell = '{ "$@"; echo "code $?" >&2; } | head -n 2'
      const { stderr, stdout } = await Aio.run(["run", `${program(programs)}#many`], { shell })
      assert.deepStrictEqual([stdout, stderr], ["line 0\nline 1\n", "code 141\n"])
    })
  )
})

describe.concurrent("run: signals", () => {
  const waits = (setup: string) => `
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
${setup}
export default Effect.never.pipe(Effect.ensuring(Console.log("cleaned")))
`
  // Some arrive before there is a listener, some while the file is loaded, some while it runs.
  const cases = ([20, 100, 200] as const).flatMap((after) =>
    (["SIGINT", "SIGTERM"] as const).flatMap((signal) =>
      [1, 2].map((times) => [after, signal, times] as const)
    )
  )
  it.live.each(cases)("after %i ms, %s, %i times", ([after, signal, times]) =>
    Effect.promise(async () => {
      const aio = Aio.start(["run", program(waits(""))])
      await new Promise((done) => setTimeout(done, after))
      for (let i = 0; i < times; i++) aio.kill(signal)
      const ended = await aio.ended
      const code = signal === "SIGINT" ? 130 : 143
      // Until Node listens, the signal itself ends the process.
      assert.isTrue(ended.code === code || ended.signal === signal, JSON.stringify(ended))
      assert.strictEqual(ended.stderr, "")
      assert.include(["", "cleaned\n"], ended.stdout)
    })
  )

  it.live.each([
    ["SIGINT", 1],
    ["SIGTERM", 1],
    ["SIGINT", 2]
  ] as const)("while the file is loaded: %s, %i times", ([signal, times]) =>
    Effect.promise(async () => {
      const file = program(
        waits('process.stderr.write("loading\\n"); await new Promise(() => setInterval(() => {}, 1000))')
      )
      const aio = Aio.start(["run", file])
      await aio.shows("loading")
      for (let i = 0; i < times; i++) aio.kill(signal)
      const { code, stderr, stdout } = await aio.ended
      assert.deepStrictEqual([code, stdout, stderr], [signal === "SIGINT" ? 130 : 143, "", "loading\n"])
    })
  )
})

describe.runIf(Terminal.available).concurrent("run: a program on a terminal", () => {
  const asks = `
import { Terminal } from "@effect/platform/Terminal"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
export default Effect.gen(function* () {
  const terminal = yield* Terminal
  yield* terminal.display("name? ")
  const name = yield* terminal.readLine
  yield* terminal.display("town? ")
  const town = yield* terminal.readLine
  yield* terminal.display("hello " + name + " of " + town + "\\n")
}).pipe(Effect.ensuring(Console.log("bye")))
`
  it.live("displays and reads line after line", () =>
    Effect.promise(async () => {
      const aio = Terminal.start(["run", program(asks)])
      await aio.shows("name? ")
      aio.press("Ann\r")
      await aio.shows("town? ")
      aio.press("Bonn\r")
      const { code, lines } = await aio.ended
      assert.deepStrictEqual([code, lines], [0, ["name? Ann", "town? Bonn", "hello Ann of Bonn", "bye", ""]])
    })
  )

  it.live("keeps what is typed ahead", () =>
    Effect.promise(async () => {
      const aio = Terminal.start(["run", program(asks)])
      await aio.shows("name? ")
      aio.press("Ann\rBonn\r")
      await aio.shows("hello Ann of Bonn")
      assert.strictEqual((await aio.ended).code, 0)
    })
  )

  it.live.each([
    ["Ctrl-C", "\x03", 130, []],
    ["Ctrl-D", "\x04", 1, ["error: QuitException"]]
  ] as const)("%s at the prompt ends it, cleaned up", ([, keys, exitCode, last]) =>
    Effect.promise(async () => {
      const aio = Terminal.start(["run", program(asks)])
      await aio.shows("name? ")
      aio.press("Ann\r")
      await aio.shows("town? ")
      aio.press(keys)
      const { code, lines } = await aio.ended
      assert.strictEqual(code, exitCode)
      assert.match(lines.join("\n"), /town\? .*bye/s)
      for (const line of last) assert.include(lines, line)
    })
  )
})

describe.concurrent("a working directory that is removed", () => {
  const shell = 'mkdir "$GONE" && cd "$GONE" && rmdir "$GONE" && exec "$@"'
  const inRemoved = (words: ReadonlyArray<string>) =>
    Aio.run(words, { shell, env: { GONE: join(Aio.folder(), "gone") } })

  it.live.each(
    [[], ...[...concepts.map(({ name }) => name), "guide"].map((name) => [name, "x"])].map((words) => [words])
  )("costs one line and exit code 2: aio %j", ([words]) =>
    Effect.promise(async () => {
      const { code, stderr, stdout } = await inRemoved(words!)
      assert.deepStrictEqual(
        [code, stdout, stderr],
        [2, "", "aio: the working directory was removed or may not be read; change to one that is there\n"]
      )
    })
  )

  it.live.each([["--help"], ["--version"], ["run", "--help"], ["gather", "--help"]].map((words) => [words]))(
    "does not matter to aio %j",
    ([words]) =>
      Effect.promise(async () => {
        const { code, stderr, stdout } = await inRemoved(words!)
        assert.deepStrictEqual([code, stderr], [0, ""])
        assert.isNotEmpty(stdout)
      })
  )
})
