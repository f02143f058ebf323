import { existsSync, readFileSync, realpathSync } from "node:fs"
import { hostname } from "node:os"
import { join } from "node:path"
import * as Command from "@effect/platform/Command"
import { afterAll, describe, expect, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Layer, Logger, Option, Scope, Stream } from "effect"
import * as ClusterExecutor from "../../../src/services/cluster/ClusterExecutor.js"
import * as ClusterProcesses from "../../../src/services/cluster/ClusterProcesses.js"
import * as ClusterStatus from "../../../src/services/cluster/ClusterStatus.js"
import * as Runner from "../../../src/services/cluster/Runner.js"
import * as RunnerCommands from "../../../src/services/cluster/RunnerCommands.js"
import * as SystemLoad from "../../../src/services/host/SystemLoad.js"
import * as Jobs from "../../../src/services/job/Jobs.js"
import * as CommandText from "../../../src/services/process/CommandText.js"
import * as Processes from "../../../src/services/process/Processes.js"
import * as RawText from "../../../src/services/text/RawText.js"
import * as Executor from "../../../src/services/thread/Executor.js"
import type { JobRefused } from "../../../src/services/thread/ExecutorError.js"
import * as InlineExecutor from "../../../src/services/thread/InlineExecutor.js"
import * as Job from "../../../src/services/thread/Job.js"
import * as Aio from "../../support/Aio.js"

// Submitter and runner in the test's process, the commands in their own. Runners and submitters as processes:
// test/cli/subprocess-cluster.test.ts.

afterAll(Aio.removeFolders)

const quiet = Logger.remove(Logger.defaultLogger)
const place = () => {
  const folder = Aio.folder()
  return { folder, store: join(folder, "jobs.sqlite") }
}
type Place = ReturnType<typeof place>

const runner = ({ store }: Place, options: Partial<Runner.Options> = {}) =>
  Layer.unwrapEffect(
    Effect.map(RunnerCommands.job, (commands) =>
      Runner.layer({ store, builtins: [commands], heartbeat: 100, ...options })
    )
  ).pipe(Layer.provide([Processes.layer, Executor.layerThreads({ maxWorkers: 2 })]))
const without = ({ store, folder }: Place) =>
  Layer.provide(Runner.layer({ store, code: folder, heartbeat: 100 }), InlineExecutor.layer)
const submitter = ({ store }: Place, options: Partial<ClusterProcesses.Options> = {}) =>
  ClusterProcesses.layer({ store, ...options })

const text = (bytes: Uint8Array) => RawText.decode(Buffer.from(bytes))
const lines = (file: string) => (existsSync(file) ? readFileSync(file, "utf8").trim().split("\n") : [])
const until = (holds: () => boolean) =>
  Effect.repeat(Effect.sleep(5), { until: holds, times: 2000 }).pipe(
    Effect.tap(() => expect(holds()).toBe(true))
  )
const runs = (pid: number) => {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

describe("ClusterProcesses", () => {
  it.live("runs a command on a runner: output by byte, exit code, signal, usage and machine", () => {
    const at = place()
    return Effect.gen(function* () {
      let pid = 0
      const result = yield* Processes.run(CommandText.shell("printf 'a\\377\\0b'; echo no >&2; exit 3"), {
        onStarted: (started) => {
          pid = started
        }
      })
      expect([...result.stdout]).toEqual([97, 255, 0, 98])
      expect(text(result.stderr)).toBe("no\n")
      expect(result).toMatchObject({ exitCode: 3, signal: undefined, host: hostname(), truncated: false })
      expect(pid).toBeGreaterThan(0)
      expect(Option.isSome(result.usage) || process.platform !== "linux").toBe(true)
      const killed = yield* Processes.run(CommandText.shell("kill -9 $$"))
      expect(killed).toMatchObject({ exitCode: 137, signal: "SIGKILL" })
    }).pipe(Effect.provide([submitter(at), runner(at)]))
  })

  it.live("has the command's words, folder, environment and stdin, and a job id that is its own", () => {
    const at = place()
    // Each byte but NUL, which no word can have.
    const odd = RawText.decode(Buffer.from(Array.from({ length: 255 }, (_, i) => i + 1)))
    const words = [odd, "", "-n", "{}", "$(true)", "ü ' \" \\"]
    return Effect.gen(function* () {
      const printed = yield* Processes.run(Command.make("printf", "%s\\0", ...words))
      expect(text(printed.stdout).split("\0").slice(0, -1)).toEqual(words)
      const placed = yield* CommandText.shell('pwd; echo "$A $AIO_JOB_ID"; cat').pipe(
        Command.workingDirectory(at.folder),
        Command.env({ A: "b" }),
        Command.stdin(Stream.make(Buffer.from("x\xff", "latin1"), Buffer.from("y"))),
        (command) => Processes.run(command)
      )
      const [folder, variables, stdin] = text(placed.stdout).split("\n")
      expect([folder, stdin]).toEqual([realpathSync(at.folder), "x\udcffy"])
      expect(variables).toMatch(/^b [\w-]{36}\/1$/)
      const none = yield* Processes.run(
        Command.make("/usr/bin/env").pipe(Command.env({ A: "b" }, { extendEnv: false }))
      )
      expect(text(none.stdout)).not.toContain("PATH=")
      const inShell = yield* Processes.run(Command.make("echo $((1+1))").pipe(Command.runInShell(true)))
      expect(text(inShell.stdout)).toBe("2\n")
    }).pipe(Effect.provide([submitter(at), runner(at)]))
  })

  it.live("fails as a command on this machine does: not found, timed out, too much output, check", () => {
    const at = place()
    return Effect.gen(function* () {
      const failure = (command: Command.Command, options?: Processes.RunOptions) =>
        Effect.flip(Processes.run(command, options))
      expect(yield* failure(Command.make("nonesuch", "a"))).toMatchObject({
        _tag: "CommandNotFound",
        command: "nonesuch a"
      })
      expect(yield* failure(Command.make("/etc/passwd"))).toMatchObject({ _tag: "CommandNotExecutable" })
      expect(yield* failure(Command.make("true").pipe(Command.workingDirectory("/nonesuch")))).toMatchObject({
        _tag: "CommandNotStarted",
        detail: "there is no folder /nonesuch"
      })
      const late = yield* failure(Command.make("sleep", "60"), { timeout: 50 })
      expect(late).toMatchObject({ _tag: "CommandTimedOut", exitCode: 124 })
      expect(late.message).toBe("sleep 60 was not done in 50ms")
      expect(yield* failure(Command.make("false"), { check: true })).toMatchObject({ _tag: "CommandFailed" })
      // The first bytes are there, as they are when the command runs here.
      let received = 0
      const large = yield* failure(Command.make("head", "-c", "100000", "/dev/zero"), {
        onOutput: (_, bytes) => {
          received += bytes.length
          return undefined
        }
      })
      expect(large).toMatchObject({ _tag: "OutputTooLarge", stream: "stdout", limit: 16 * 1024 - 4096 })
      expect(received).toBe(16 * 1024 - 4096)
      const some = Command.make("head", "-c", "5000", "/dev/zero")
      expect(yield* failure(some, { maxOutput: 100 })).toMatchObject({ _tag: "OutputTooLarge", limit: 100 })
      const cut = yield* Processes.run(some, { maxOutput: 100, onTooLarge: "truncate" })
      expect([cut.stdout.length, cut.truncated]).toEqual([100, true])
    }).pipe(Effect.provide([submitter(at), runner(at, { maxResult: 16 * 1024 })]))
  })

  it.live("time in the queue does not count for a timeout", () => {
    const at = place()
    const file = join(at.folder, "go")
    return Effect.gen(function* () {
      const waits = yield* Effect.fork(Processes.run(Command.make("sleep", "0.01"), { timeout: "1 minute" }))
      yield* Effect.repeat(ClusterStatus.read(at.store), {
        until: ({ runs }) => runs[0]?.ready === 1,
        times: 1000
      })
      const both = yield* Effect.zipRight(
        Fiber.join(waits),
        Effect.sync(() => existsSync(file))
      ).pipe(Effect.provide(runner(at)))
      expect(both).toBe(false)
    }).pipe(Effect.provide([submitter(at), quiet]))
  })

  const here: ReadonlyArray<readonly [string, Command.Command, string]> = [
    ["a pipeline", Command.make("true").pipe(Command.pipeTo(Command.make("cat"))), "is for one machine"],
    ["a stdin of this process", Command.make("true").pipe(Command.stdin("inherit")), "its stdin is that of"],
    ["a stdout of this process", Command.make("true").pipe(Command.stdout("inherit")), "its output goes"],
    ["a large stdin", Command.make("true").pipe(Command.feed("x".repeat(2000))), "at most 1000 B"],
    ["a large command", Command.make("true", "x".repeat(2000)), "it takes 2.1 KiB, and at most 1000 B"],
    ["a word with NUL", Command.make("true", "\0"), ""]
  ]
  it.live.each(here)("refuses %s, and nothing runs", ([, command, reason]) => {
    const at = place()
    return Effect.gen(function* () {
      const error = yield* Effect.flip(Processes.run(command))
      expect(error).toMatchObject({ _tag: "CommandNotStarted", detail: expect.stringContaining(reason) })
    }).pipe(Effect.provide([submitter(at, { maxSize: 1000 }), runner(at)]))
  })

  it.live("a runner that does not allow commands refuses them; one that does runs them", () => {
    const at = place()
    let refused: JobRefused | undefined
    const onRefused = (error: JobRefused) => {
      refused = error
    }
    return Effect.gen(function* () {
      const error = yield* Effect.flip(Processes.run(Command.make("true"))).pipe(
        Effect.provide(submitter(at, { onRefused }))
      )
      const reason =
        "no runner of group default can run it: it runs no command lines; start it with aio runner --commands to allow them"
      expect(error).toMatchObject({ _tag: "CommandNotStarted", detail: reason })
      expect(refused?.reason).toBe(reason)
      const ran = yield* Processes.run(Command.make("echo", "a")).pipe(
        Effect.provide([submitter(at), runner(at)])
      )
      expect(text(ran.stdout)).toBe("a\n")
    }).pipe(Effect.provide([without(at), quiet]))
  })

  it.live("a runner of commands runs no code without a folder of it, and code beside them with one", () => {
    const at = place()
    const url = new URL("../../fixtures/cluster/jobs.mjs", import.meta.url)
    const code = join(url.pathname, "..")
    const inc = Executor.run(Job.fromModule<(n: number) => number>(url, "inc"), 1).pipe(
      Effect.provide(ClusterExecutor.layer({ store: at.store, code }))
    )
    return Effect.gen(function* () {
      const error = yield* Effect.provide(Effect.flip(inc), runner(at))
      expect(error.message).toMatch(/it runs no code; start it with --code DIR$/)
      expect(yield* Effect.provide(inc, runner(at, { code }))).toBe(2)
    }).pipe(Effect.provide(quiet))
  })

  it.live("an interrupted command ends with its tree on the runner, and nothing of the run is left", () => {
    const at = place()
    const file = join(at.folder, "pids")
    return Effect.gen(function* () {
      yield* Effect.gen(function* () {
        const script = `trap '' TERM; echo $$ >>${file}; setsid sh -c 'echo $$ >>${file}; exec sleep 60' & wait`
        const fiber = yield* Effect.fork(Processes.run(CommandText.shell(script), { grace: 50 }))
        yield* until(() => lines(file).length === 2)
        yield* Fiber.interrupt(fiber)
        yield* until(() => !lines(file).map(Number).some(runs))
      }).pipe(Effect.provide(submitter(at)))
      expect((yield* ClusterStatus.read(at.store)).runs).toEqual([])
    }).pipe(Effect.provide(runner(at)))
  })

  it.live("a runner that is drained ends its commands first; then they go back, and run on another", () => {
    const at = place()
    const [file, go] = [join(at.folder, "pids"), join(at.folder, "go")]
    return Effect.gen(function* () {
      const first = yield* Scope.make()
      yield* Layer.buildWithScope(runner(at, { grace: 0 }), first)
      const script = `trap '' TERM; echo $$ >>${file}; while [ ! -e ${go} ]; do sleep 0.01; done`
      const fiber = yield* Effect.fork(Processes.run(CommandText.shell(script), { grace: 50 }))
      yield* until(() => lines(file).length === 1)
      yield* Scope.close(first, Exit.void)
      expect(runs(Number(lines(file)[0]))).toBe(false)
      expect((yield* ClusterStatus.read(at.store)).runs).toMatchObject([{ ready: 1, running: 0, done: 0 }])
      yield* Effect.gen(function* () {
        yield* until(() => lines(file).length === 2)
        yield* Processes.run(Command.make("touch", go))
        expect(yield* Fiber.join(fiber)).toMatchObject({ exitCode: 0 })
      }).pipe(Effect.provide(runner(at)))
    }).pipe(Effect.provide([submitter(at), quiet]))
  })

  it.live("long commands are claimed as workers are free, so that no other runner idles", () => {
    const at = place()
    return Effect.gen(function* () {
      const commands = yield* Effect.fork(
        Effect.forEach([1, 2, 3, 4, 5], () => Processes.run(Command.make("sleep", "60")), {
          concurrency: "unbounded"
        })
      )
      const status = yield* Effect.repeat(Effect.zipLeft(ClusterStatus.read(at.store), Effect.sleep(20)), {
        until: ({ runs }) => runs[0]?.running === 2,
        times: 500
      })
      expect(status.runs).toMatchObject([{ ready: 3, running: 2 }])
      yield* Fiber.interrupt(commands)
    }).pipe(Effect.provide([submitter(at), runner(at)]))
  })

  it.live(
    "jobs that are continued by their run run no command again that has a result, retries included",
    () => {
      const at = place()
      const file = join(at.folder, "ran")
      let id = ""
      const requests = ["a", "b", "c", "d"].map((name) => ({
        command: () => CommandText.shell(`echo ${name} >>${file}; [ ${name} != b ]`)
      }))
      const all = (options: Partial<ClusterProcesses.Options>, more: Partial<Jobs.JobsOptions> = {}) =>
        Jobs.stream(requests, {
          output: "keepOrder",
          concurrency: 2,
          retries: 1,
          backoff: { first: 0 },
          ...more
        }).pipe(
          Stream.filter((event) => event.event === "finished" || event.event === "retrying"),
          Stream.map((event) =>
            "status" in event ? [event.index, event.status, event.attempts] : event.attempt
          ),
          Stream.runCollect,
          Effect.map((events) => [...events].map(String).sort()),
          Effect.provide(submitter(at, { resumable: true, ...options }))
        )
      const expected = ["1,succeeded,1", "2", "2,failed,2", "3,succeeded,1", "4,succeeded,1"]
      return Effect.gen(function* () {
        // The first submitter hangs when it has all results; the next one takes its run.
        const gone = yield* Effect.fork(
          Effect.scoped(
            Effect.gen(function* () {
              const scope = yield* Scope.make()
              const built = yield* Layer.buildWithScope(
                submitter(at, { resumable: true, onRun: (run) => Effect.sync(() => (id = run)) }),
                scope
              )
              yield* Stream.runDrain(
                Jobs.stream(requests, { concurrency: 2, retries: 1, backoff: { first: 0 } })
              ).pipe(Effect.provide(built))
              return yield* Effect.never
            })
          )
        )
        yield* until(() => lines(file).length === 5)
        yield* Effect.repeat(ClusterStatus.read(at.store), {
          until: ({ runs }) => runs[0]?.done === 5,
          times: 500
        })
        expect(yield* all({ run: id })).toEqual(expected)
        expect(lines(file).sort()).toEqual(["a", "b", "b", "c", "d"])
        yield* Fiber.interrupt(gone)
        const none = yield* Effect.flip(all({ run: id }))
        expect(none).toMatchObject({ _tag: "RunError", exitCode: 2 })
      }).pipe(Effect.provide([runner(at), SystemLoad.layer]))
    }
  )

  it.live("a run of functions is not continued as one of commands", () => {
    const at = place()
    const url = new URL("../../fixtures/cluster/jobs.mjs", import.meta.url)
    let id = ""
    const onRun = (run: string) => Effect.sync(() => (id = run))
    const code = join(url.pathname, "..")
    return Effect.gen(function* () {
      const executor = ClusterExecutor.layer({ store: at.store, code, resumable: true, onRun })
      yield* Effect.gen(function* () {
        yield* Executor.run(Job.fromModule<(n: number) => number>(url, "inc"), 1)
        const error = yield* Effect.flip(Layer.build(submitter(at, { run: id })))
        expect(error).toMatchObject({
          message: expect.stringMatching(
            `^the run ${id} is of jobs.mjs#inc, version \\w+, not of aio:command#run, version 1$`
          ),
          exitCode: 2
        })
      }).pipe(Effect.provide(executor))
    }).pipe(Effect.scoped, Effect.provide(runner(at, { code })))
  })

  it.live.each([
    ["nothing", undefined],
    ["a text", "rm -rf /"],
    ["no words", { file: "true" }],
    [
      "a signal that is none",
      { file: "a", args: [], shell: false, env: {}, extendEnv: true, stopSignal: "X" }
    ],
    ["a negative time", { file: "a", args: [], shell: false, env: {}, extendEnv: true, grace: -1 }]
  ])("a runner runs no request that is %s", ([, request]) =>
    Effect.gen(function* () {
      const { run } = yield* RunnerCommands.job
      const error = yield* Effect.flip(run(request, { job: "j", id: "i", maxResult: 10_000 }))
      expect(error).toMatchObject({ _tag: "NotSerializable", part: "arguments" })
    }).pipe(Effect.provideService(Processes.Processes, {} as Processes.Processes["Type"]))
  )
})
