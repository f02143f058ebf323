import * as Command from "@effect/platform/Command"
import { assert, describe, it } from "@effect/vitest"
import { Chunk, Duration, Effect, Layer, Option, Sink, Stream } from "effect"
import * as CommandExecutor from "../../../src/services/process/CommandExecutor.js"
import * as Processes from "../../../src/services/process/Processes.js"

const live = Effect.provide(Layer.provide(CommandExecutor.layer, Processes.layer))
const sh = (script: string) => Command.make("sh", "-c", script)
const sizeOf = <E, R>(stream: Stream.Stream<Uint8Array, E, R>) =>
  Stream.runFold(stream, 0, (size, bytes) => size + bytes.length)

describe("CommandExecutor", () => {
  it.live("returns exit codes of processes whose output has no reader", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* Command.exitCode(sh("head -c 1000000 /dev/zero; exit 3")), 3)
      assert.strictEqual(yield* Command.string(sh("head -c 300000 /dev/zero >&2; echo out")), "out\n")
      assert.strictEqual(yield* Command.exitCode(Command.make("cat")), 0) // an open stdin would keep it for ever
    }).pipe(live)
  )

  it.scopedLive(
    "keeps output for a reader that comes after the end, and reports when that was too much",
    () =>
      Effect.gen(function* () {
        const child = yield* Command.start(sh("head -c 200000 /dev/zero; echo err >&2"))
        assert.strictEqual(yield* child.exitCode, 0)
        assert.isFalse(yield* child.isRunning)
        assert.strictEqual(yield* sizeOf(child.stdout), 200_000)
        const flood = yield* Command.start(sh("head -c 9000000 /dev/zero"))
        yield* flood.exitCode
        const error = yield* Effect.flip(Stream.runDrain(flood.stdout))
        assert.include(error.message, "it wrote more than 8.0 MiB to stdout before that was read")
      }).pipe(live)
  )

  it.live("streams bytes and lines as they come, with backpressure from a slow reader", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* Command.lines(sh("printf 'a\\nb\\nc'")), ["a", "b", "c"])
      const first = Command.stream(Command.make("cat", "/dev/zero")).pipe(Stream.take(1), Stream.runCollect)
      assert.isAbove(Chunk.unsafeHead(yield* first).length, 0)
      const whole = Command.stream(sh("head -c 5000000 /dev/zero")).pipe(
        Stream.mapEffect((bytes) => Effect.as(Effect.yieldNow(), bytes)),
        sizeOf
      )
      assert.strictEqual(yield* whole, 5_000_000)
    }).pipe(live)
  )

  it.scopedLive("feeds a process through its sink, and pipes one into the next", () =>
    Effect.gen(function* () {
      const cat = yield* Command.start(Command.make("cat"))
      yield* Stream.run(Stream.make("to ", "you").pipe(Stream.encodeText), cat.stdin)
      assert.strictEqual(yield* cat.stdout.pipe(Stream.decodeText(), Stream.mkString), "to you")
      const piped = sh("printf 'b\\na\\n'").pipe(
        Command.pipeTo(Command.make("sort")),
        Command.pipeTo(Command.make("head", "-n", "1"))
      )
      assert.strictEqual(yield* Command.string(piped), "a\n")
      const counted: Array<number> = []
      const count = (bytes: Uint8Array) => Effect.sync(() => counted.push(bytes.length))
      const sink = Sink.as(Sink.forEach(count), new Uint8Array())
      yield* Command.exitCode(sh("echo four").pipe(Command.stdout(sink)))
      const into = yield* Command.start(sh("echo four").pipe(Command.stdout(sink)))
      yield* Stream.runDrain(into.stdout)
      assert.deepStrictEqual(counted, [5])
    }).pipe(live)
  )

  it.scopedLive("signals, returns a signal's exit code as shells do, and passes uid and gid on", () =>
    Effect.gen(function* () {
      const child = yield* Command.start(Command.make("sleep", "60"))
      assert.isTrue(yield* child.isRunning)
      yield* child.kill("SIGINT")
      assert.strictEqual(yield* child.exitCode, 130)
      const nobody: Command.Command = Object.assign(
        Object.create(Object.getPrototypeOf(Command.make("id"))),
        {
          ...Command.make("id", "-u"),
          uid: Option.some(65534),
          gid: Option.some(65534)
        }
      )
      if (process.getuid?.() === 0) assert.strictEqual(yield* Command.string(nobody), "65534\n")
      else assert.deepInclude(yield* Effect.flip(Command.string(nobody)), { reason: "Unknown" })
    }).pipe(live)
  )

  it.live("ends a process that ignores TERM, for which the stock executor waits for ever", () =>
    Effect.gen(function* () {
      const stubborn = Command.start(sh('trap "" TERM; echo on; while :; do sleep 0.05; done')).pipe(
        Effect.tap(({ stdout }) => Stream.runHead(stdout)),
        Effect.scoped,
        Effect.provide(Layer.provide(CommandExecutor.layerWith({ grace: "200 millis" }), Processes.layer))
      )
      const [spent] = yield* Effect.timed(stubborn)
      assert.isAtLeast(Duration.toMillis(spent), 199)
    })
  )

  it.live("fails in the platform's own words", () =>
    Effect.gen(function* () {
      const missing = yield* Effect.flip(Command.string(Command.make("aio-no-such-program")))
      assert.deepInclude(missing, { _tag: "SystemError", reason: "NotFound", module: "Command" })
      assert.include(missing.message, "cannot run aio-no-such-program: command not found")
      const denied = yield* Effect.flip(Command.exitCode(Command.make("/etc/passwd")))
      assert.deepInclude(denied, { reason: "PermissionDenied" })
    }).pipe(live)
  )
})
