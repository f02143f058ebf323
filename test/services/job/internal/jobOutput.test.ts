import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as emitter from "../../../../src/services/job/internal/emitter.js"
import * as jobOutput from "../../../../src/services/job/internal/jobOutput.js"
import type { JobEvent } from "../../../../src/services/job/JobEvents.js"

const put = (sink: jobOutput.Sink, stream: "stdout" | "stderr", text: string) =>
  sink.write(stream, new TextEncoder().encode(text)) ?? Effect.void

describe("jobOutput", () => {
  const job = (index: number, label: string) => ({ index, name: label, label })
  const make = (mode: jobOutput.Mode) =>
    Effect.gen(function* () {
      const seen: Array<string> = []
      const events = emitter.make<JobEvent, never>({
        emit: (event) => {
          if (event.event !== "output") return
          seen.push(`${event.label} ${event.stream} ${new TextDecoder().decode(event.bytes)}`)
        },
        full: () => false,
        whenRoom: () => undefined
      })
      const output = yield* jobOutput.make(mode, events)
      const finish = (index: number, sink: jobOutput.Sink) =>
        output.finish(index, sink, () => void seen.push(`${index} done`)) ?? Effect.void
      return { finish, output, seen }
    })

  it.scoped("groups output until its job ends, stdout first", () =>
    Effect.gen(function* () {
      const { finish, output, seen } = yield* make("group")
      const [a, b] = [output.sink(job(1, "a")), output.sink(job(2, "b"))]
      yield* put(a, "stderr", "oops\n")
      yield* put(a, "stdout", "x")
      yield* put(b, "stdout", "y")
      assert.deepStrictEqual(seen, [])
      yield* finish(2, b)
      yield* finish(1, a)
      assert.deepStrictEqual(seen, ["b stdout y", "2 done", "a stdout x", "a stderr oops\n", "1 done"])
      assert.deepStrictEqual([a.received(), b.received()], [1, 1])
    })
  )

  it.scoped("keeps the order of the input, past jobs that are skipped", () =>
    Effect.gen(function* () {
      const { finish, output, seen } = yield* make("keepOrder")
      const sinks = [1, 2, 3, 4].map((seq) => output.sink(job(seq, `job${seq}`)))
      for (const sink of sinks) yield* put(sink, "stdout", "x")
      yield* finish(3, sinks[2]!)
      yield* output.skip(2)
      assert.deepStrictEqual(seen, [])
      yield* finish(1, sinks[0]!)
      assert.deepStrictEqual(seen, ["job1 stdout x", "1 done", "job3 stdout x", "3 done"])
    })
  )

  it.scoped("emits in order the output that waits for jobs that will not end", () =>
    Effect.gen(function* () {
      const { finish, output, seen } = yield* make("keepOrder")
      const [c, b] = [output.sink(job(3, "c")), output.sink(job(2, "b"))]
      yield* put(c, "stdout", "3")
      yield* put(b, "stdout", "2")
      yield* finish(3, c)
      yield* finish(2, b)
      yield* output.leftovers
      assert.deepStrictEqual(seen, ["b stdout 2", "2 done", "c stdout 3", "3 done"])
    })
  )

  it.scoped("emits whole lines at once, and drops the output of an attempt that is retried", () =>
    Effect.gen(function* () {
      const { finish, output, seen } = yield* make("line")
      const sink = output.sink(job(1, "a"))
      yield* put(sink, "stdout", "one\ntw")
      assert.deepStrictEqual(seen, ["a stdout one\n"])
      yield* put(sink, "stdout", "o")
      yield* finish(1, sink)
      assert.deepStrictEqual(seen, ["a stdout one\n", "a stdout two", "1 done"])
      const grouped = yield* make("group")
      const dropped = grouped.output.sink(job(1, "a"))
      yield* put(dropped, "stdout", "lost")
      dropped.drop()
      yield* grouped.finish(1, grouped.output.sink(job(1, "a")))
      assert.deepStrictEqual(grouped.seen, ["1 done"])
    })
  )
})
