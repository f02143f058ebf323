import { spawnSync } from "node:child_process"
import { fileURLToPath } from "node:url"
import { describe, expect, it } from "@effect/vitest"

// Run.runMain in a process of a user's own, from the built library.
const run = (body: string) => {
  const url = new URL("../../dist/programs/Run.js", import.meta.url)
  const script = `
    import * as Effect from "effect/Effect"; import * as Logger from "effect/Logger"; import * as Supervisor from "effect/Supervisor"
    import * as Run from ${JSON.stringify(fileURLToPath(url))}
    const before = { logger: { ...Logger.defaultLogger }, none: { ...Supervisor.none } }
    const changed = () => [
      Object.keys(before.logger).some((key) => before.logger[key] !== Logger.defaultLogger[key]),
      Object.keys({ ...Supervisor.none }).length !== Object.keys(before.none).length
    ].join()
    ${body}`
  const { status, stderr, stdout } = spawnSync(process.execPath, ["--input-type=module", "-e", script], {
    encoding: "utf8",
    cwd: fileURLToPath(new URL("../..", import.meta.url))
  })
  return { status, stderr: stderr.replace(/timestamp=\S+ /g, "").trim(), stdout: stdout.trim() }
}

const program = 'Effect.log("hello").pipe(Effect.zipRight(Effect.sync(() => console.log(changed()))))'

describe("Run.runMain", () => {
  it("logs to stderr, and changes nothing that all copies of effect share", () => {
    expect(run(`Run.runMain(${program})`)).toEqual({
      status: 0,
      stderr: "level=INFO fiber=#1 message=hello",
      stdout: "false,false"
    })
  })

  it("logs by the logger that it is given", () => {
    const logger = 'Logger.make(({ message }) => console.log("mine:", ...message))'
    expect(run(`Run.runMain(${program}, { logger: ${logger} })`)).toEqual({
      status: 0,
      stderr: "",
      stdout: "mine: hello\nfalse,false"
    })
  })

  it("in a process of its own changes them, so that a logger in the program replaces the one on stderr", () => {
    const replaced = `${program}.pipe(Effect.provide(Logger.replace(Logger.defaultLogger, Logger.none)))`
    expect(run(`Run.runMain(${replaced}, { ownProcess: true })`)).toEqual({
      status: 0,
      stderr: "",
      stdout: "true,true"
    })
  })

  it("reports a fiber that failed unobserved either way", () => {
    const losing = 'Effect.zipRight(Effect.fork(Effect.fail("gone")), Effect.sleep(1))'
    for (const options of ["{}", "{ ownProcess: true }"]) {
      const { status, stderr } = run(`Run.runMain(${losing}, ${options})`)
      expect([status, stderr]).toEqual([1, expect.stringContaining("gone")])
    }
  })

  it("takes the options of NodeRuntime.runMain, data-last too", () => {
    const fails = "Effect.fail(new Error('no'))"
    expect(run(`Run.runMain(${fails}, { disableErrorReporting: true })`)).toEqual({
      status: 1,
      stderr: "",
      stdout: ""
    })
    const teardown = "(exit, onExit) => { console.log(exit._tag); onExit(7) }"
    expect(run(`Effect.succeed(1).pipe(Run.runMain({ teardown: ${teardown} }))`)).toEqual({
      status: 7,
      stderr: "",
      stdout: "Success"
    })
    const { stdout } = run(`Run.runMain(${program}, { disablePrettyLogger: true })`)
    expect(stdout).toContain("message=hello")
  })

  it("provides the services of NodeContext, if @effect/platform-node is installed", () => {
    const reads = `Effect.flatMap(FileSystem.FileSystem, (fs) => fs.exists("package.json")).pipe(Effect.map(console.log))`
    expect(run(`import * as FileSystem from "@effect/platform/FileSystem"; Run.runMain(${reads})`)).toEqual({
      status: 0,
      stderr: "",
      stdout: "true"
    })
  })
})
