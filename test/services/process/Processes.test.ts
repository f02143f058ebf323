import * as childProcess from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import * as Command from "@effect/platform/Command"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Duration, Effect, Exit, Fiber, Option, Stream } from "effect"
import * as ProcessError from "../../../src/services/process/ProcessError.js"
import * as Processes from "../../../src/services/process/Processes.js"
import * as Cancellation from "../../../src/services/task/Cancellation.js"
import * as EventLoop from "../../../src/services/task/EventLoop.js"
import { idle } from "../../support/Idle.js"

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes)
const sh = (script: string, ...args: ReadonlyArray<string>) => Command.make("sh", "-c", script, "sh", ...args)

const folder = Effect.acquireRelease(
  Effect.sync(() => fs.mkdtempSync(path.join(os.tmpdir(), "aio-processes-"))),
  (folder) => Effect.sync(() => fs.rmSync(folder, { recursive: true }))
)

// The pids that children have written, one a line, once there are so many. They write a line at once.
const pids = (file: string, count: number) =>
  Effect.repeat(
    Effect.zipRight(
      EventLoop.nextTurn,
      Effect.sync(() =>
        (fs.existsSync(file) ? fs.readFileSync(file, "utf8").split("\n").filter(Boolean) : []).map(Number)
      )
    ),
    { until: (found) => found.length >= count }
  )

// Gone, or a zombie that waits for process 1.
const isAlive = (pid: number) => {
  try {
    return !/^State:\s+Z/m.test(fs.readFileSync(`/proc/${pid}/status`, "utf8"))
  } catch {
    return false
  }
}

const cancel = <A, E>(fiber: Fiber.Fiber<A, E>) =>
  Cancellation.cancel(fiber, { reason: "not needed", origin: "test" })

/** Starts a process that has left its group and has nothing of the environment, and waits until it runs. */
const setsid = childProcess.execFileSync("/bin/sh", ["-c", "command -v setsid"], { encoding: "utf8" }).trim()
const unmarked = `env -i ${setsid} /bin/sh -c "echo \\$\\$ >> $1; exec /bin/sleep 60" > /dev/null 2>&1 & until grep -q . "$1" 2> /dev/null; do sleep 0.01; done`

/** The guardians that this process has started. */
const guardians = (): ReadonlyArray<number> =>
  fs
    .readdirSync("/proc/self/task")
    .flatMap((thread) => fs.readFileSync(`/proc/self/task/${thread}/children`, "latin1").split(" "))
    .filter((pid) => pid !== "" && fs.readFileSync(`/proc/${pid}/cmdline`, "latin1").includes("aio guardian"))
    .map(Number)

const backends = ["posix_spawn", "node"] as const

describe.each(backends)("Processes, %s", (backend) => {
  const live = Effect.provide(Processes.layerWith({ backend }))

  it.live("gives exit code, bytes of both pipes and duration", () =>
    Effect.gen(function* () {
      const result = yield* Processes.run(sh("printf 'a\\377\\000'; printf 'two\\n' >&2; exit 3"))
      assert.strictEqual(result.exitCode, 3)
      assert.isUndefined(result.signal)
      assert.deepStrictEqual(result.stdout, Uint8Array.of(97, 255, 0))
      assert.strictEqual(text(result.stderr), "two\n")
      assert.isAbove(Duration.toMillis(result.duration), 0)
    }).pipe(live)
  )

  it.live("reports the pid of a run, passes output on as it comes, and keeps none of it", () =>
    Effect.gen(function* () {
      const seen: Array<string> = []
      const { stderr, stdout } = yield* Processes.run(sh("echo $$; echo two >&2; exit 1"), {
        onStarted: (pid) => seen.push(`pid ${pid}`),
        onOutput: (stream, bytes) => Effect.sync(() => seen.push(`${stream} ${text(bytes).trim()}`))
      })
      assert.lengthOf(seen, 3)
      const pid = /^pid (\d+)$/.exec(seen[0]!)?.[1]
      assert.deepStrictEqual(seen.slice(1).sort(), ["stderr two", `stdout ${pid}`])
      assert.strictEqual(stdout.length + stderr.length, 0)
    }).pipe(live)
  )

  it.live("fails a run whose onOutput fails, once no process of it is left", () =>
    Effect.gen(function* () {
      const line = "sh -c 'echo 1; sleep 60' sh"
      const tooLarge = new ProcessError.OutputTooLarge({ command: line, stream: "stdout", limit: 0 })
      let pid = 0
      const exit = yield* Effect.exit(
        Processes.run(sh("echo 1; sleep 60"), {
          onStarted: (started) => {
            pid = started
          },
          onOutput: () => tooLarge
        })
      )
      assert.deepStrictEqual(exit, Exit.fail(tooLarge))
      assert.isFalse(isAlive(pid))
    }).pipe(live)
  )

  it.live("passes on no blocked or ignored signal, and no setting of its own", () =>
    Effect.gen(function* () {
      const { stdout } = yield* Processes.run(
        sh("grep -E '^Sig(Blk|Ign)' /proc/self/status; env | grep -E '^(LD_BIND_NOW|PERL_)'")
      )
      assert.strictEqual(text(stdout), "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n")
    }).pipe(live)
  )

  it.live("gives the signal that ended it, with a shell's exit code", () =>
    Effect.gen(function* () {
      const result = yield* Processes.run(sh("kill -HUP $$"))
      assert.deepInclude(result, { exitCode: 129, signal: "SIGHUP" })
    }).pipe(live)
  )

  it.live("passes words, environment and folder as they are, and runs no shell", () =>
    Effect.gen(function* () {
      const words = ["$HOME", "a b", "'", "*", ""]
      const print = Command.make("printf", "%s\\n", ...words)
      assert.strictEqual(text((yield* Processes.run(print)).stdout), `${words.join("\n")}\n`)
      const env = sh('printf "%s %s" "$AIO_TEST" "$PWD"').pipe(
        Command.env({ AIO_TEST: "x y" }),
        Command.workingDirectory("/")
      )
      assert.strictEqual(text((yield* Processes.run(env)).stdout), "x y /")
      const shell = Command.make("echo $((1 + 1))").pipe(Command.runInShell(true))
      assert.strictEqual(text((yield* Processes.run(shell)).stdout), "2\n")
    }).pipe(live)
  )

  it.live("feeds stdin, which is empty otherwise, and lets a child close it early", () =>
    Effect.gen(function* () {
      const cat = Command.make("cat")
      assert.strictEqual(text((yield* Processes.run(cat)).stdout), "")
      assert.strictEqual(text((yield* Processes.run(Command.feed(cat, "to\nyou"))).stdout), "to\nyou")
      const flood = Stream.repeatValue(new Uint8Array(65536))
      const early = Command.make("head", "-c", "3").pipe(Command.stdin(flood))
      assert.deepInclude(yield* Processes.run(early), { exitCode: 0, stdout: new Uint8Array(3) })
      const broken = Command.stdin(cat, Stream.die(new Error("no more")) as Stream.Stream<Uint8Array>)
      assert.strictEqual(
        (yield* Effect.flip(Processes.run(broken))).message,
        "the input of cat failed: no more"
      )
    }).pipe(live)
  )

  it.scopedLive(
    "finds programs as execvp does: in the PATH they are given, behind what cannot be run, scripts without a first line",
    () =>
      Effect.gen(function* () {
        const at = yield* folder
        const put = (name: string, content: string, mode: number) => {
          fs.mkdirSync(path.dirname(path.join(at, name)), { recursive: true })
          fs.writeFileSync(path.join(at, name), content, { mode })
        }
        put("a/tool", "#!/bin/sh\necho a", 0o644)
        put("b/tool", "#!/bin/sh\necho b $#", 0o755)
        put("c/script", 'echo "$1" "$AIO_TEST"', 0o755)
        const output = (command: Command.Command, given: string) =>
          Effect.map(
            Processes.run(
              command.pipe(Command.env({ PATH: given, AIO_TEST: "t" }), Command.workingDirectory(at))
            ),
            ({ stdout }) => text(stdout)
          )
        assert.strictEqual(yield* output(Command.make("tool", "x", "y"), `${at}/a:${at}/b`), "b 2\n")
        assert.strictEqual(yield* output(Command.make("tool"), "none:b"), "b 0\n")
        assert.strictEqual(yield* output(Command.make("script", "x y"), `${at}/c`), "x y t\n")
        assert.strictEqual(yield* output(Command.make("./c/script", "z"), "/bin"), "z t\n")
        const denied = yield* Effect.flip(output(Command.make("tool"), `${at}/a:${at}/c`))
        assert.strictEqual(denied._tag, "CommandNotExecutable")
        const missing = yield* Effect.flip(output(Command.make("tool"), `${at}/c:${at}/a/tool`))
        assert.strictEqual(missing._tag, "CommandNotFound")
      }).pipe(live)
  )

  it.scopedLive("reports why there is no process", () =>
    Effect.gen(function* () {
      const at = yield* folder
      const file = (name: string, content: string, mode: number) => {
        fs.writeFileSync(path.join(at, name), content, { mode })
        return path.join(at, name)
      }
      const fails = (command: Command.Command) => Effect.flip(Processes.run(command))
      const missing = yield* fails(Command.make("aio-no-such-program", "a b"))
      assert.deepInclude(missing, { _tag: "CommandNotFound", exitCode: 127 })
      assert.strictEqual(missing.message, "cannot run aio-no-such-program 'a b': command not found")
      assert.deepInclude(yield* fails(Command.make(path.join(at, "none"))), { _tag: "CommandNotFound" })
      for (const [command, detail] of [
        [file("plain", "#!/bin/sh\n", 0o644), "permission denied"],
        [file("orphan", "#!/no/such/sh\n", 0o755), "the interpreter in its first line does not exist"]
      ] as const) {
        const error = yield* fails(Command.make(command))
        assert.deepInclude(error, { _tag: "CommandNotExecutable", exitCode: 126, detail })
      }
      for (const [command, detail] of [
        [
          Command.make("true").pipe(Command.workingDirectory(path.join(at, "gone"))),
          `there is no folder ${at}/gone`
        ],
        [Command.make("echo", "x".repeat(4_000_000)), "arguments and environment are too long"],
        [Command.make("echo", "\0"), "must not contain null bytes"],
        [Command.make("echo").pipe(Command.env({ AIO_TEST: "\0" })), "null bytes"],
        [
          Command.pipeTo(Command.make("echo"), Command.make("cat")),
          "pipelines are for services/CommandExecutor"
        ]
      ] as const) {
        const error = yield* fails(command)
        assert.strictEqual(error._tag, "CommandNotStarted")
        assert.include(error.message, detail)
      }
    }).pipe(live)
  )

  it.live("fails for an exit code only when it is asked to", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(
        Processes.run(sh("echo first >&2; echo last >&2; exit 7"), { check: true })
      )
      assert.strictEqual(error._tag, "CommandFailed")
      assert.match(error.message, /^sh -c .* failed: exit code 7: last$/)
      const signalled = yield* Effect.flip(Processes.run(sh("kill -KILL $$"), { check: true }))
      assert.match(signalled.message, /ended by SIGKILL$/)
      assert.deepInclude(yield* Processes.run(Command.make("true"), { check: true }), { exitCode: 0 })
    }).pipe(live)
  )

  it.live("drains both pipes at once", () =>
    Effect.gen(function* () {
      const flood = "head -c 1000000 /dev/zero >&2; head -c 1000000 /dev/zero; head -c 1000000 /dev/zero >&2"
      const result = yield* Processes.run(sh(flood))
      assert.strictEqual(result.stdout.length, 1_000_000)
      assert.strictEqual(result.stderr.length, 2_000_000)
    }).pipe(live)
  )

  it.live("bounds what it captures, to the byte", () =>
    Effect.gen(function* () {
      const thousand = Command.make("head", "-c", "1000", "/dev/zero")
      assert.strictEqual((yield* Processes.run(thousand, { maxOutput: 1000 })).stdout.length, 1000)
      const over = yield* Effect.flip(Processes.run(thousand, { maxOutput: 999 }))
      assert.deepInclude(over, { _tag: "OutputTooLarge", stream: "stdout", limit: 999 })
      const endless = yield* Effect.flip(Processes.run(sh("exec cat /dev/zero >&2")))
      assert.strictEqual(
        endless.message,
        "sh -c 'exec cat /dev/zero >&2' sh wrote more than 8.0 MiB to stderr; allow more or let it write to a file"
      )
    }).pipe(live)
  )

  it.scopedLive("ends the whole group when it is cancelled, and only then returns", () =>
    Effect.gen(function* () {
      const file = path.join(yield* folder, "pids")
      // A child in the background, one of its own in turn, and the leader.
      const script = 'sh -c "echo \\$\\$ >> $1; sleep 60 & echo \\$! >> $1; wait" & echo $$ >> "$1"; wait'
      const run = yield* Effect.fork(Processes.run(sh(script, file)))
      const group = yield* pids(file, 3)
      assert.isTrue(group.every(isAlive))
      const exit = yield* cancel(run)
      assert.deepStrictEqual(group.filter(isAlive), [])
      assert.deepStrictEqual(Cancellation.fromExit(exit), [{ reason: "not needed", origin: "test" }])
    }).pipe(live)
  )

  it.scopedLive("kills a process that does not end within the grace period", () =>
    Effect.gen(function* () {
      const file = path.join(yield* folder, "pids")
      const script = 'trap "" TERM; echo $$ >> "$1"; while :; do sleep 0.05; done'
      const run = yield* Effect.fork(Processes.run(sh(script, file), { grace: "100 millis" }))
      const group = yield* pids(file, 1)
      const [spent] = yield* Effect.timed(cancel(run))
      assert.deepStrictEqual(group.filter(isAlive), [])
      assert.isAtLeast(Duration.toMillis(spent), 99)
    }).pipe(live)
  )

  it.scopedLive("lets a process end in its own way within the grace period, a stopped one too", () =>
    Effect.gen(function* () {
      const at = yield* folder
      const file = path.join(at, "pids")
      const script = 'trap "echo tidy > $2; exit" TERM; echo $$ >> "$1"; kill -STOP $$; sleep 60 & wait'
      const run = yield* Effect.fork(Processes.run(sh(script, file, path.join(at, "said"))))
      const group = yield* pids(file, 1)
      yield* cancel(run)
      assert.deepStrictEqual(group.filter(isAlive), [])
      assert.strictEqual(fs.readFileSync(path.join(at, "said"), "utf8"), "tidy\n")
    }).pipe(live)
  )

  it.live("asks to end with the given stop signal", () =>
    Effect.gen(function* () {
      const words: Array<string> = []
      const ready = yield* Deferred.make<void>()
      const script =
        "trap 'echo term; exit' TERM; trap 'echo int; exit' INT; echo up; while :; do sleep 0.01; done"
      const run = yield* Effect.fork(
        Processes.run(Command.make("sh", "-c", script), {
          stopSignal: "SIGINT",
          onOutput: (_, bytes) => {
            words.push(new TextDecoder().decode(bytes))
            return Effect.asVoid(Deferred.succeed(ready, undefined))
          }
        })
      )
      yield* Deferred.await(ready)
      yield* Fiber.interrupt(run)
      assert.strictEqual(words.join(""), "up\nint\n")
    }).pipe(live)
  )

  it.live("passes output on to the last byte, and waits until it is taken", () =>
    Effect.gen(function* () {
      const started = yield* Deferred.make<void>()
      let seen = ""
      const take = (bytes: Uint8Array) =>
        Effect.delay(
          Effect.sync(() => {
            seen += text(bytes)
          }),
          "20 millis"
        )
      const command = sh("trap 'echo bye; echo bye; exit' TERM; echo on; while :; do sleep 0.05; done")
      const onOutput = (stream: string, bytes: Uint8Array) =>
        Effect.zipRight(Deferred.succeed(started, undefined), stream === "stdout" ? take(bytes) : Effect.void)
      const fiber = yield* Effect.fork(
        Effect.scoped(Effect.flatMap(Processes.start(command, { onOutput }), (child) => child.exit))
      )
      yield* Deferred.await(started)
      yield* cancel(fiber)
      assert.strictEqual(seen, "on\nbye\nbye\n")
    }).pipe(live)
  )

  it.live("gives up an onOutput that never ends, after the grace period", () =>
    Effect.gen(function* () {
      const started = yield* Deferred.make<void>()
      let gaveUp = false
      const never = Effect.onInterrupt(Effect.never, () =>
        Effect.sync(() => {
          gaveUp = true
        })
      )
      const onOutput = () => Effect.zipRight(Deferred.succeed(started, undefined), never)
      const fiber = yield* Effect.fork(
        Effect.scoped(
          Effect.flatMap(
            Processes.start(sh("echo on; sleep 30"), { onOutput, grace: "50 millis" }),
            (child) => child.exit
          )
        )
      )
      yield* Deferred.await(started)
      yield* cancel(fiber)
      assert.isTrue(gaveUp)
    }).pipe(live)
  )

  it.scopedLive("leaves nothing behind when the leader has ended first", () =>
    Effect.gen(function* () {
      const file = path.join(yield* folder, "pids")
      const script = 'sleep 60 > /dev/null 2>&1 & echo $! >> "$1"; echo done'
      const result = yield* Processes.run(sh(script, file))
      assert.strictEqual(text(result.stdout), "done\n")
      const left = yield* pids(file, 1)
      assert.deepStrictEqual(left.filter(isAlive), [])
    }).pipe(live)
  )

  it.scopedLive("leaves no process when its scope's fiber is cancelled at any moment", () =>
    Effect.gen(function* () {
      const file = path.join(yield* folder, "pids")
      fs.writeFileSync(file, "")
      for (let turns = 0; turns < 12; turns++) {
        const run = yield* Effect.fork(Processes.run(sh('echo $$ >> "$1"; exec sleep 60', file)))
        yield* Effect.repeatN(EventLoop.nextTurn, turns)
        yield* cancel(run)
      }
      const all = yield* pids(file, 0)
      assert.deepStrictEqual(all.filter(isAlive), [])
    }).pipe(live)
  )

  it.scopedLive("finds processes that have left the group, by the marker in the environment", () =>
    Effect.gen(function* () {
      const file = path.join(yield* folder, "pids")
      // One that has left, one whose parent has ended too, one that ignores TERM.
      const script = [
        'setsid sh -c "echo \\$\\$ >> $1; exec sleep 60" >/dev/null 2>&1 &',
        'setsid sh -c "setsid sleep 60 & echo \\$! >> $1" >/dev/null 2>&1',
        `setsid sh -c "trap '' TERM; echo \\$\\$ >> $1; while :; do sleep 0.05; done" >/dev/null 2>&1 &`,
        "while [ $(wc -l < $1) -lt 3 ]; do sleep 0.01; done; echo over"
      ].join("\n")
      fs.writeFileSync(file, "")
      const result = yield* Processes.run(sh(script, file), { grace: "100 millis" })
      assert.strictEqual(text(result.stdout), "over\n")
      const left = yield* pids(file, 3)
      assert.deepStrictEqual(left.filter(isAlive), [])
    }).pipe(live)
  )

  it.scopedLive("finds processes in the moment in which they leave the group and have no environment", () =>
    Effect.gen(function* () {
      const file = path.join(yield* folder, "pids")
      const left = sh('setsid sleep 60 > /dev/null 2>&1 & echo $! >> "$1"; exit 1', file)
      yield* Effect.all(
        Array.from({ length: 60 }, () => Processes.run(left)),
        { concurrency: 4, discard: true }
      )
      assert.deepStrictEqual((yield* pids(file, 60)).filter(isAlive), [])
    }).pipe(live)
  )

  it.scopedLive("ends commands that take too long, and truncates output on request", () =>
    Effect.gen(function* () {
      const file = path.join(yield* folder, "pids")
      const slow = yield* Effect.flip(
        Processes.run(sh('echo $$ >> "$1"; sleep 60', file), { timeout: "300 millis" })
      )
      assert.deepInclude(slow, { _tag: "CommandTimedOut", exitCode: 124 })
      assert.match(slow.message, / was not done in 300ms$/)
      assert.deepStrictEqual((yield* pids(file, 1)).filter(isAlive), [])
      const options = { maxOutput: 5, onTooLarge: "truncate" } as const
      const cut = yield* Processes.run(sh("echo 1234567; echo ab >&2; exit 2"), options)
      assert.deepInclude(cut, { exitCode: 2, truncated: true })
      assert.deepStrictEqual([text(cut.stdout), text(cut.stderr)], ["12345", "ab\n"])
      assert.isFalse((yield* Processes.run(sh("echo 1234"), options)).truncated)
    }).pipe(live)
  )

  it.scopedLive("start gives a process that can be watched, signalled and stopped", () =>
    Effect.gen(function* () {
      const seen: Array<string> = []
      const reached = yield* Deferred.make<void>()
      const go = yield* Deferred.make<void>()
      const child = yield* Processes.start(
        sh("trap 'exit 5' USR1; echo ready; while :; do sleep 0.02; done"),
        {
          grace: "1 second",
          onOutput: (stream, bytes) => {
            seen.push(`${stream} ${text(bytes)}`)
            return Effect.zipRight(Deferred.succeed(reached, undefined), Deferred.await(go))
          }
        }
      )
      yield* Deferred.await(reached)
      assert.deepStrictEqual(seen, ["stdout ready\n"])
      assert.isTrue(isAlive(child.pid))
      const usage = Option.getOrThrow(yield* child.usage)
      assert.isAbove(usage.memory, 0)
      assert.isTrue(yield* child.signal("SIGUSR1"))
      yield* Deferred.succeed(go, undefined)
      assert.deepInclude(yield* child.exit, { exitCode: 5, signal: undefined })
      yield* child.stop()
      assert.isFalse(yield* child.signal("SIGTERM"))
      const other = yield* Processes.start(Command.make("sleep", "60"))
      yield* other.stop()
      assert.deepInclude(yield* other.exit, { signal: "SIGTERM", exitCode: 143 })
    }).pipe(live)
  )

  it.scopedLive("holds a process whose output is not taken yet, and only then", () =>
    Effect.gen(function* () {
      const go = yield* Deferred.make<void>()
      let size = 0
      const child = yield* Processes.start(Command.make("head", "-c", "3000000", "/dev/zero"), {
        onOutput: (_, bytes) => {
          size += bytes.length
          return Deferred.await(go)
        }
      })
      while (size === 0) yield* EventLoop.nextTurn
      yield* Effect.promise(() => idle(child.pid)) // asleep in a write, and nothing reads
      assert.isBelow(size, 1_000_000)
      yield* Deferred.succeed(go, undefined)
      assert.deepInclude(yield* child.exit, { exitCode: 0 })
      assert.strictEqual(size, 3_000_000)
    }).pipe(live)
  )

  it.live("gives children the environment of the moment, and the descriptors 0, 1 and 2", () =>
    Effect.gen(function* () {
      const said = Effect.map(
        Processes.run(sh("printenv AIO_TEST_LATER || echo none; ls /proc/$$/fd")),
        ({ stdout }) =>
          text(stdout)
            .split("\n")
            .filter((line) => !(Number(line) > 15))
      )
      const set = Effect.sync(() => {
        process.env["AIO_TEST_LATER"] = "later"
      })
      const unset = Effect.sync(() => {
        delete process.env["AIO_TEST_LATER"]
      })
      const before = yield* said
      const during = yield* Effect.acquireUseRelease(
        set,
        () => said,
        () => unset
      )
      assert.deepStrictEqual(
        [before, during, yield* said],
        ["none", "later", "none"].map((value) => [value, "0", "1", "2", ""])
      )
    }).pipe(live)
  )

  it.scopedLive(
    "with until: leader, ends when the first process has, and then ends the rest of its tree",
    () =>
      Effect.gen(function* () {
        const file = path.join(yield* folder, "pids")
        const script = '(sleep 0.02; echo last; exec sleep 60) & echo $! >> "$1"; exit 3'
        let seen = ""
        const child = yield* Processes.start(sh(script, file), {
          until: "leader",
          onOutput: (_, bytes) => {
            seen += text(bytes)
            return undefined
          }
        })
        assert.deepInclude(yield* child.exit, { exitCode: 3, signal: undefined })
        assert.deepStrictEqual((yield* pids(file, 1)).filter(isAlive), [])
        assert.strictEqual(seen, "last\n")
        const quick = yield* Processes.start(sh("exit 4"), { until: "leader" })
        assert.deepInclude(yield* quick.exit, { exitCode: 4 })
      }).pipe(live)
  )

  it.scopedLive("finds a process without the marker and outside of the group by its parents", () =>
    Effect.gen(function* () {
      const file = path.join(yield* folder, "pids")
      const run = yield* Effect.fork(Processes.run(sh(`${unmarked}; sleep 60`, file)))
      const [stray] = yield* pids(file, 1)
      assert.isTrue(isAlive(stray!))
      yield* cancel(run)
      assert.isFalse(isAlive(stray!))
    }).pipe(live)
  )

  it.live("replaces a guardian that was killed, and ends the guardian with the layer", () =>
    Effect.gen(function* () {
      const seen: Array<number> = []
      yield* Effect.gen(function* () {
        const before = guardians()
        yield* Processes.run(sh("exit 0"))
        const fresh = () => guardians().filter((pid) => !before.includes(pid) && !seen.includes(pid))
        seen.push(...fresh())
        assert.lengthOf(seen, 1)
        const child = yield* Processes.start(sh("exec sleep 60"))
        process.kill(seen[0]!, "SIGKILL")
        seen.push(
          ...(yield* Effect.repeat(Effect.zipRight(EventLoop.nextTurn, Effect.sync(fresh)), {
            until: (found) => found.length > 0
          }))
        )
        assert.isTrue(isAlive(child.pid))
      }).pipe(Effect.scoped, live)
      assert.lengthOf(seen, 2)
      assert.deepStrictEqual(seen.filter(isAlive), [])
    })
  )

  it.scopedLive("ends the group and does not hang without /proc", () =>
    Effect.gen(function* () {
      const file = path.join(yield* folder, "pids")
      const hidden = new URL("../../fixtures/no-proc.mjs", import.meta.url).pathname
      const tool = `
        import { readdirSync } from "node:fs"
        import * as Command from "@effect/platform/Command"
        import * as Effect from "effect/Effect"
        import * as Processes from ${JSON.stringify(new URL("../../../dist/services/process/Processes.js", import.meta.url).href)}
        const command = (script) => Command.make("sh", "-c", script, "sh", ${JSON.stringify(file)})
        const behind = command('sleep 60 > /dev/null 2>&1 & echo $! >> "$1"; exit 3')
        const stubborn = command('trap "" TERM; sleep 60 & echo $! >> "$1"; echo $$ >> "$1"; echo up; while :; do sleep 0.05; done')
        const all = Effect.gen(function* () {
          const { exitCode } = yield* Processes.run(behind, { grace: "50 millis" })
          const exit = yield* Effect.flip(Processes.run(stubborn, { grace: "50 millis", maxOutput: 0 }))
          const child = yield* Processes.start(command("sleep 60"))
          const usage = yield* child.usage
          yield* child.stop()
          let there = true
          try { readdirSync("/proc") } catch { there = false }
          return [there, exitCode, exit._tag, usage._tag].join(" ")
        }).pipe(Effect.scoped)
        const layers = [{ backend: "${backend}" }, { backend: "${backend}", adoptOrphans: true }]
        Effect.runPromise(Effect.forEach(layers, (options) => Effect.provide(all, Processes.layerWith(options)))).then(
          (results) => console.log(results.join())
        )
      `
      const said = yield* Effect.promise(
        () =>
          new Promise<string>((resolve, reject) =>
            childProcess.execFile(
              process.execPath,
              ["--import", hidden, "--input-type=module", "-e", tool],
              { cwd: path.dirname(new URL("../../../package.json", import.meta.url).pathname) },
              (error, stdout) => (error === null ? resolve(stdout) : reject(error))
            )
          )
      )
      assert.strictEqual(said, "false 3 OutputTooLarge None,false 3 OutputTooLarge None\n")
      const group = yield* pids(file, 6)
      assert.deepStrictEqual(group.filter(isAlive), [])
    })
  )

  it.scopedLive("leaves no process when this process is killed with KILL", () =>
    Effect.gen(function* () {
      const file = path.join(yield* folder, "pids")
      const tool = `
        import * as Command from "@effect/platform/Command"
        import * as Effect from "effect/Effect"
        import * as Processes from ${JSON.stringify(new URL("../../../dist/services/process/Processes.js", import.meta.url).href)}
        const script = 'exec 2> /dev/null; trap "" TERM; trap "echo asked > $1.asked; exit" USR1; setsid sleep 60 & echo $! >> "$1"; ${unmarked}; echo $$ >> "$1"; while :; do sleep 0.05; done'
        const run = (options) => Processes.run(Command.make("sh", "-c", script, "sh", ${JSON.stringify(file)}), options)
        const layer = Processes.layerWith({ backend: "${backend}" })
        Effect.runFork(Effect.provide(run({ stopSignal: "SIGUSR1", grace: "20 seconds" }), layer))
      `
      const child = childProcess.spawn(process.execPath, ["--input-type=module", "-e", tool], {
        cwd: path.dirname(new URL("../../../package.json", import.meta.url).pathname),
        stdio: ["ignore", "ignore", "inherit"]
      })
      const group = yield* pids(file, 3)
      assert.isTrue(group.every(isAlive))
      // The guardian is told of what was found by its parents, within a few walks.
      yield* Effect.promise(() => idle(child.pid!))
      child.kill("SIGKILL")
      yield* Effect.repeat(
        Effect.zipRight(
          EventLoop.nextTurn,
          Effect.sync(() => group.some(isAlive))
        ),
        {
          while: (alive) => alive
        }
      )
      assert.strictEqual(fs.readFileSync(`${file}.asked`, "utf8"), "asked\n")
    })
  )
})

describe("Processes", () => {
  it.live("reports the usage of a process", () =>
    Effect.gen(function* () {
      const burn = sh("i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done")
      const { usage } = yield* Processes.run(burn)
      const { peakMemory, user } = Option.getOrThrow(usage)
      assert.isAbove(Duration.toMillis(user), 0)
      assert.isAbove(peakMemory, 100_000)
    }).pipe(Effect.provide(Processes.layer))
  )

  it.scopedLive(
    "has one listener for each event of the host, however many layers there are, and none in the end",
    () =>
      Effect.gen(function* () {
        const events = ["exit", "SIGCHLD"] as const
        const counts = () => events.map((event) => process.listenerCount(event))
        const before = counts()
        const during = yield* Effect.all(
          Array.from({ length: 12 }, () =>
            Effect.zipRight(Processes.start(Command.make("sleep", "60")), Effect.sync(counts)).pipe(
              Effect.scoped,
              Effect.provide(Processes.layer)
            )
          ),
          { concurrency: "unbounded" }
        )
        assert.deepStrictEqual(
          during.map((count) => count.map((n, i) => n - before[i]! <= 1)),
          during.map(() => [true, true])
        )
        assert.deepStrictEqual(counts(), before)
      })
  )

  it.live("refuses Windows in one line", () =>
    Effect.gen(function* () {
      const { platform } = process
      const stub = (value: string) => Effect.sync(() => Object.defineProperty(process, "platform", { value }))
      const error = yield* Effect.acquireUseRelease(
        stub("win32"),
        () => Effect.flip(Processes.run(Command.make("true"))),
        () => stub(platform)
      )
      assert.deepInclude(error, { _tag: "CommandNotStarted", exitCode: 126 })
      assert.strictEqual(
        error.message,
        "cannot start true: Windows has no process groups; run it on Linux or macOS, or in WSL"
      )
    }).pipe(Effect.provide(Processes.layer))
  )

  const owning = Effect.provide(Processes.layerWith({ adoptOrphans: true }))
  const children = () =>
    fs
      .readFileSync(`/proc/self/task/${process.pid}/children`, "latin1")
      .split(" ")
      .filter(Boolean)
      .map(Number)

  it.scopedLive(
    "that adopts orphans finds a process without a marker, a group or a parent, and reaps it",
    () =>
      Effect.gen(function* () {
        const at = yield* folder
        const before = children()
        // Its parent is gone before its job is; then the job itself ends, or is cancelled.
        const orphan = `(${unmarked})`
        yield* Effect.gen(function* () {
          yield* Processes.run(sh(orphan, path.join(at, "ended")))
          assert.deepStrictEqual((yield* pids(path.join(at, "ended"), 1)).filter(isAlive), [])
          const files = ["a", "b"].map((name) => path.join(at, name))
          const runs = yield* Effect.forEach(files, (file) =>
            Effect.fork(Processes.run(sh(`${orphan}; exec sleep 60`, file)))
          )
          const [a, b] = yield* Effect.forEach(files, (file) => pids(file, 1))
          assert.isTrue(isAlive(a![0]!) && isAlive(b![0]!))
          yield* cancel(runs[0]!)
          yield* cancel(runs[1]!)
          assert.deepStrictEqual([...a!, ...b!].filter(isAlive), [])
        }).pipe(owning)
        assert.deepStrictEqual(
          children().filter((pid) => !before.includes(pid)),
          []
        )
      })
  )

  it.live("that adopts orphans takes none of a child that is just being started", () =>
    Effect.gen(function* () {
      const run = Processes.run(sh("(sleep 0.1; echo orphan) & exit 0"))
      const results = yield* Effect.all(
        Array.from({ length: 24 }, () => run),
        { concurrency: 12 }
      )
      assert.deepStrictEqual(new Set(results.map(({ stdout }) => text(stdout))), new Set(["orphan\n"]))
    }).pipe(Effect.provide(Processes.layerWith({ adoptOrphans: true })))
  )

  it.scopedLive(
    "that adopts orphans ends those of each job with it, while other jobs start and orphans fork",
    () =>
      Effect.gen(function* () {
        const at = yield* folder
        let count = 0
        // One that forks and ends as it is asked to, in a session of its own.
        const forks =
          "trap '(setsid sleep 60 & echo \\$! >> $1) > /dev/null 2>&1; exit' TERM; echo up >> $1.up; while :; do sleep 0.01; done"
        const script = `setsid sh -c "${forks}" > /dev/null 2>&1 & while [ ! -e "$1.up" ]; do sleep 0.01; done; exit 1`
        const run = Effect.suspend(() => {
          const file = path.join(at, String(count++))
          return Effect.zipRight(
            Processes.run(sh(script, file)),
            Effect.map(pids(file, 0), (found) => found.filter(isAlive))
          )
        })
        const left = yield* Effect.all(
          Array.from({ length: 16 }, () => run),
          { concurrency: 6 }
        )
        assert.deepStrictEqual(left.flat(), [])
      }).pipe(owning)
  )

  it.scopedLive("that adopts orphans reaps those that end while the job runs", () =>
    Effect.gen(function* () {
      const file = path.join(yield* folder, "pids")
      const child = yield* Processes.start(sh('(setsid true & echo $! >> "$1"); exec sleep 60', file))
      const [orphan] = yield* pids(file, 1)
      yield* Effect.repeat(EventLoop.nextTurn, { until: () => !fs.existsSync(`/proc/${orphan}`) })
      assert.isTrue(isAlive(child.pid))
    }).pipe(owning)
  )
})
