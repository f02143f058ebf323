import { spawn } from "node:child_process"
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll, assert, describe, it } from "vitest"
import * as InProcess from "../support/InProcess.js"

const root = fileURLToPath(new URL("../..", import.meta.url))
const command = join(root, "dist/bin/aio.cjs")
const fixtures = join(root, "test/fixtures/run")

interface Result {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
}

/** Starts `aio run …`; waits for words of its output rather than for time. */
const start = (args: ReadonlyArray<string>, cwd = fixtures) => {
  const env = { PATH: process.env["PATH"], HOME: process.env["HOME"] }
  const child = spawn(process.execPath, [command, "run", ...args], {
    cwd,
    env,
    stdio: ["ignore", "pipe", "pipe"]
  })
  let stdout = ""
  let stderr = ""
  const waiting = new Set<() => void>()
  const check = () => {
    for (const one of waiting) one()
  }
  child.stdout.on("data", (chunk) => {
    stdout += chunk
    check()
  })
  child.stderr.on("data", (chunk) => {
    stderr += chunk
    check()
  })
  const ended = new Promise<Result>((resolve) =>
    child.on("close", (code, signal) => resolve({ code, signal, stdout, stderr }))
  )
  const shows = (text: string) =>
    new Promise<void>((resolve, reject) => {
      const done = () => {
        if (!stdout.includes(text)) return
        waiting.delete(done)
        resolve()
      }
      waiting.add(done)
      void ended.then((result) => reject(new Error(`ended before '${text}': ${JSON.stringify(result)}`)))
      done()
    })
  return { child, ended, shows }
}

const run = (...args: ReadonlyArray<string>) => start(args).ended

const folders: Array<string> = []
afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true })
})

/** A folder of a user's, with the project's packages unless told otherwise. */
const folder = (files: Readonly<Record<string, string>>, packages = true) => {
  const path = mkdtempSync(join(tmpdir(), "aio-run-"))
  folders.push(path)
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(path, name)), { recursive: true })
    writeFileSync(join(path, name), text)
  }
  if (packages) symlinkSync(join(root, "node_modules"), join(path, "node_modules"))
  return path
}

const success = (stdout: string) => ({ code: 0, signal: null, stdout, stderr: "" })
const usage = (message: string) => ({ code: 2, signal: null, stdout: "", stderr: `aio run: ${message}\n` })

describe("aio run", () => {
  it("prints hi, as the guide's first program does", async () => {
    assert.deepStrictEqual(await run(), success("hi\n"))
  })

  it("runs default or main of a .ts, .js or .cjs file", async () => {
    const results = await Promise.all([run("hello.ts"), run("plain.js"), run("common.cjs")])
    assert.deepStrictEqual(results, [success("hello from main\n"), success("plain\n"), success("common\n")])
  })

  it("runs the named export, a function that returns an effect", async () => {
    assert.deepStrictEqual(await run("named.mjs#other"), success("hello from other\n"))
  })

  it("awaits the promise that a function returns, and reports its rejection", async () => {
    const [fine, rejected] = await Promise.all([run("promise.ts"), run("promise.ts#rejects")])
    assert.deepStrictEqual(fine, success("promise\n"))
    assert.deepStrictEqual(rejected, {
      code: 1,
      signal: null,
      stdout: "",
      stderr: "error: RangeError: out of range\n    at rejects (promise.ts:5:9)\n"
    })
  })

  it("provides the services of NodeContext and of this library", async () => {
    assert.deepStrictEqual(await run("output.mjs"), success("exists: true\n"))
  })

  it("passes the words behind the file to the program as process.argv", async () => {
    assert.deepStrictEqual(await run("named.mjs#words", "--flag", "x"), success('["--flag","x"]\n'))
  })

  it("takes a file outside any package for a module when it is written as one", async () => {
    const cwd = folder({
      "main.ts": [
        'import * as Console from "effect/Console"',
        'import { name } from "./name.js"',
        "const text: string = await Promise.resolve(name)",
        "export default Console.log(text)"
      ].join("\n"),
      "name.ts": 'export const name = "top-level await"'
    })
    assert.deepStrictEqual(await start(["main.ts"], cwd).ended, success("top-level await\n"))
  })

  it("keeps Effect's log on stderr", async () => {
    const { code, stderr, stdout } = await run("output.mjs#log")
    assert.deepStrictEqual([code, stdout], [0, "result\n"])
    assert.match(stderr, /^timestamp=\S+ level=WARN fiber=#\d+ message=careful key=value\n$/)
  })
})

describe("aio run, when the program fails", () => {
  const failed = (stderr: string) => ({ code: 1, signal: null, stdout: "", stderr })

  it("prints the failure once, with the file, the line and the spans", async () => {
    assert.deepStrictEqual(
      await run("failing.ts"),
      failed(
        [
          "error: NotFound: { id: 7 }",
          "    at failing.ts:7:17",
          "    at find (failing.ts:6:21)",
          "    at find (failing.ts:10:16)",
          "    at lookup (failing.ts:10:36)",
          ""
        ].join("\n")
      )
    )
  })

  it("prints a defect with its cause", async () => {
    assert.deepStrictEqual(
      await run("failing.ts#defect"),
      failed(
        [
          "error: TypeError: no such method",
          "    at failing.ts:13:9",
          "  caused by: the disk is full",
          "      at failing.ts:13:50",
          ""
        ].join("\n")
      )
    )
  })

  it("exits with an error's own exit code, and prints only its message", async () => {
    assert.deepStrictEqual(await run("ending.mjs#coded"), {
      ...failed("seven, in one line\n"),
      code: 7
    })
  })

  it("exits with 124 for a timeout, the program's own or --timeout", async () => {
    const [own, given] = await Promise.all([
      run("ending.mjs#late"),
      run("--timeout", "10ms", "fibers.mjs#waiting")
    ])
    assert.strictEqual(own.code, 124)
    assert.match(own.stderr, /^error: TimeoutException: Operation timed out after '10ms'\n/)
    // On a busy machine its own timer is due before it has ended.
    assert.match(given.stdout, /^ready\n/)
    assert.deepStrictEqual([given.code, given.stderr], [124, "aio run: not done in 10ms\n"])
  })

  it("reports that the program interrupted itself", async () => {
    assert.deepStrictEqual(await run("ending.mjs#interrupted"), failed("error: cancelled\n"))
  })

  it("reports an error that a callback throws, and runs finalizers", async () => {
    assert.deepStrictEqual(await run("ending.mjs#uncaught"), {
      ...failed("uncaught error: thrown in a callback\n    at ending.mjs:8:11\n"),
      stdout: "closed\n"
    })
  })

  it("reports an error that the file throws while it is loaded, with the line", async () => {
    const cwd = folder({ "main.ts": 'const a: number = 1\nthrow new Error("at load")\nexport default a' })
    assert.deepStrictEqual(
      await start(["main.ts"], cwd).ended,
      failed(
        "error: ModuleThrew: main.ts failed while it was loaded\n  caused by: at load\n      at main.ts:2:7\n"
      )
    )
  })
})

describe("aio run, on bad input", () => {
  const refused = (args: ReadonlyArray<string>, cwd = fixtures) => InProcess.run(["run", ...args], { cwd })

  it("reports what is missing and what is accepted, in one line", async () => {
    assert.deepStrictEqual(
      await Promise.all([
        refused(["helo.ts"]),
        refused(["hello"]),
        refused(["lib"]),
        refused(["/etc/passwd"]),
        refused(["hello.ts#mani"]),
        refused(["hello.ts#five"]),
        refused(["hello.ts#nothing"]),
        refused(["hello.ts#Job"]),
        refused(["hello.ts#"]),
        refused(["--timeout", "soon", "hello.ts"])
      ]),
      [
        usage(`helo.ts: no such file in ${fixtures}; did you mean hello.ts?`),
        usage(`hello: no such file in ${fixtures}; did you mean hello.ts?`),
        usage("lib: is a folder; expected a .ts or .js file"),
        usage(
          "/etc/passwd: neither TypeScript nor JavaScript; expected a .ts, .mts, .cts, .tsx, .js, .mjs, .cjs file"
        ),
        usage(
          "hello.ts: no export 'mani'; did you mean main? (it exports Job, five, main, nothing, other, words)"
        ),
        usage(
          "hello.ts: export 'five' is a number; a program is an Effect, or a function that returns an Effect or a promise"
        ),
        usage(
          "hello.ts: export 'nothing' returned undefined; a program is an Effect, or a function that returns an Effect or a promise"
        ),
        usage(
          "hello.ts: export 'Job' is a class; a program is an Effect, or a function that returns an Effect or a promise"
        ),
        usage("'hello.ts#' names no export; expected FILE or FILE#EXPORT, like ./images.ts#thumbnail"),
        usage(
          "option --timeout: 'soon' in duration 'soon' is not a number; write one like 90s or 1h30m (see aio run --help)"
        )
      ]
    )
  })

  it("names file and line of a syntax error, in an imported file too", async () => {
    const bad =
      'import * as Effect from "effect/Effect"\nexport const job = Effect.sync(() => {\n  const = 3\n})\n'
    const cwd = folder({
      "package.json": '{"type":"module"}',
      "bad.ts": bad,
      "bad.js": bad,
      "outer.ts": 'export { job as default } from "./bad.js"',
      "outer.js": 'export { job as default } from "./bad.js"'
    })
    const results = await Promise.all(
      ["bad.ts", "bad.js", "outer.js"].map((name) => start([name], cwd).ended)
    )
    assert.deepStrictEqual(results, [
      usage('bad.ts:3:8: syntax error: Expected identifier but found "="'),
      usage("bad.js:3: syntax error: Unexpected token '='"),
      usage("bad.js:3: syntax error: Unexpected token '='")
    ])
  })

  it("names an import that cannot be found", async () => {
    const cwd = folder(
      {
        "effect.ts": 'import * as Effect from "effect/Effect"\nexport default Effect.void',
        "near.ts": 'import { job } from "./jobs/job.js"\nexport default job',
        "far.mjs": 'import { job } from "@acme/jobs/fast"\nexport default job',
        "required.cjs": 'module.exports = require("./jobs")'
      },
      false
    )
    const results = await Promise.all(
      ["effect.ts", "near.ts", "far.mjs", "required.cjs"].map((name) => refused([name], cwd))
    )
    assert.deepStrictEqual(results, [
      usage(`effect.ts imports "effect", which is not installed in ${cwd}: npm install effect@3`),
      usage("near.ts imports jobs/job.js, which does not exist"),
      usage(`far.mjs imports "@acme/jobs", which is not installed in ${cwd}: npm install @acme/jobs`),
      usage("required.cjs imports ./jobs, which does not exist")
    ])
  })
})

describe("aio run, signalled", () => {
  for (const [name, code] of [
    ["SIGINT", 130],
    ["SIGTERM", 143],
    ["SIGHUP", 129]
  ] as const) {
    it(`runs the finalizers on ${name} and exits with ${code}`, async () => {
      const { child, ended, shows } = start(["closing.mjs"])
      await shows("ready")
      child.kill(name)
      assert.deepStrictEqual(await ended, {
        code,
        signal: null,
        stdout: "ready\nclosing\nclosed\n",
        stderr: ""
      })
    })
  }

  it("waits for a finalizer that holds the thread", async () => {
    const { child, ended, shows } = start(["closing.mjs#slow"])
    await shows("ready")
    child.kill("SIGTERM")
    assert.deepStrictEqual(await ended, {
      code: 143,
      signal: null,
      stdout: "ready\nclosing\nclosed\n",
      stderr: ""
    })
  })

  it("ends at once on the second signal, though the finalizer hangs", async () => {
    const { child, ended, shows } = start(["closing.mjs#stubborn"])
    await shows("ready")
    child.kill("SIGINT")
    await shows("closing")
    child.kill("SIGTERM")
    assert.deepStrictEqual(await ended, { code: 143, signal: null, stdout: "ready\nclosing\n", stderr: "" })
  })

  it("ends at once on the second signal, though the program cannot be interrupted", async () => {
    const { child, ended, shows } = start(["closing.mjs#deaf"])
    await shows("ready")
    const again = setInterval(() => child.kill("SIGINT"), 20)
    const result = await ended
    clearInterval(again)
    assert.deepStrictEqual(result, { code: 130, signal: null, stdout: "ready\n", stderr: "" })
  })

  it("does not wait for a promise, which cannot be cancelled", async () => {
    const { child, ended, shows } = start(["promise.ts#never"])
    await shows("ready")
    child.kill("SIGINT")
    assert.deepStrictEqual(await ended, { code: 130, signal: null, stdout: "ready\n", stderr: "" })
  })

  it("reports a finalizer that fails", async () => {
    const { child, ended, shows } = start(["closing.mjs#broken"])
    await shows("ready")
    child.kill("SIGINT")
    const { code, stderr, stdout } = await ended
    assert.deepStrictEqual([code, stdout], [130, "ready\nclosing\n"])
    assert.match(stderr, /^error: RuntimeException: the clean-up broke\n/)
  })

  it("stays alive while a fiber waits without a timer or a handle", async () => {
    const { child, ended, shows } = start(["fibers.mjs#waiting"])
    await shows("ready")
    await shows("still here")
    child.kill("SIGINT")
    assert.strictEqual((await ended).code, 130)
  })

  it("ends quietly with 141 when stdout has no reader any more, and runs its finalizers", async () => {
    const { child, ended, shows } = start(["output.mjs#endless"])
    await shows("yyy")
    child.stdout.destroy()
    const { code, stderr } = await ended
    assert.deepStrictEqual([code, stderr], [141, "closed\n"])
  })
})

describe("aio run, fibers", () => {
  it("reports a fiber that failed unobserved, and exits with 1", async () => {
    const { code, stderr, stdout } = await run("fibers.mjs#unobserved")
    assert.deepStrictEqual([code, stdout], [1, "done\n"])
    assert.match(
      stderr,
      /^error in fiber #\d+ that was never joined: boom\n {4}at fibers\.mjs:6:26\n {4}at work \(fibers\.mjs:6:\d+\)\n$/
    )
  })

  it("reports no fiber whose outcome was observed", async () => {
    assert.deepStrictEqual(await run("fibers.mjs#observed"), success("done\n"))
  })

  it("cancels the fibers that outlive the program and waits for their clean-up", async () => {
    assert.deepStrictEqual(await run("fibers.mjs#daemon"), success("done\ndaemon closed\n"))
  })
})
