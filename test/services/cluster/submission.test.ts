import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { deserialize, serialize } from "node:v8"
import { afterAll, describe, expect, it } from "@effect/vitest"
import { Deferred, Effect, Either } from "effect"
import type * as Queue from "../../../src/services/cluster/internal/queue.js"
import * as Submission from "../../../src/services/cluster/internal/submission.js"
import * as Wire from "../../../src/services/cluster/internal/wire.js"

const folder = mkdtempSync(join(tmpdir(), "aio-submission-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** A submission to this queue, of a run that is continued or a new one. */
const submissionTo = (queue: Partial<Queue.Queue>, continued: boolean) =>
  Submission.make({
    ...{ job: "j", group: "g", owner: "o", resumable: continued, taken: continued, maxSize: 1000 },
    queue: {
      prospects: () => Effect.succeed({ refusals: [], runners: 1 }),
      beatRun: () => Effect.succeed(true),
      ...queue
    } as Queue.Queue,
    location: { _tag: "Sqlite", file: join(folder, "none.sqlite") },
    objects: { isThere: false, remove: () => Effect.void } as never,
    run: { id: "r", module: "m", name: "n", version: "v", settings: {}, tries: 1 },
    ask: (ask) => ask,
    onRun: () => Effect.void
  })

/** A value of which V8 writes another text than of its twin, which is equal. */
const twins = (): ReadonlyArray<readonly [how: string, one: unknown, other: unknown]> => {
  const sparse = new Array<unknown>(1)
  sparse[0] = 1
  const point = (n: number) => ({ file: "a", n })
  const whole = deserialize(serialize(point(3)))
  point(1.5) // from now on V8 holds this field as a double
  return [
    ["an array that was made with holes", [1], sparse],
    ["a whole number held as a double", 3, new Float64Array([3])[0]],
    ["a field that held a fraction elsewhere", whole, point(3)],
    ["a string of another width", "a".repeat(20), `\u20ac${"a".repeat(20)}`.slice(1)]
  ]
}

describe("a submission that continues a run", () => {
  const room = { limit: 1000, isStored: false }
  const textOf = (value: unknown) =>
    Either.getOrThrow(
      Wire.encodeRequest("j", { inputs: [[value]], context: undefined, timeout: undefined }, room)
    ).args
  // Inputs of a row, or of an object in the storage.
  const stored = new Map<string, Uint8Array>()
  const inStorage = (text: string) => {
    const name = `@${stored.size}`
    stored.set(name, Buffer.from(text.split(" ")[0]!, "base64"))
    return `${name} ${text.split(" ")[1]}`
  }
  const get = (text: string) =>
    Effect.fromNullable(stored.get(text.split(" ")[0]!)).pipe(Effect.mapError(() => "it is gone"))
  const same = (one: string, other: string) => Effect.runSync(Wire.areSame(one, other, get))

  it.each(twins())("takes %s for the same input", (_, one, other) => {
    const [first, second] = [textOf(one), textOf(other)]
    expect(first).not.toBe(second)
    expect(same(first, second)).toBe(true)
    expect(same(inStorage(first), inStorage(second))).toBe(true)
    expect(same(first, inStorage(second))).toBe(true)
  })

  it.each<[one: unknown, other: unknown]>([
    [1, 2],
    [1, "1"],
    [0, -0],
    [[1], [1, undefined]],
    [{ a: 1 }, { a: 1, b: undefined }],
    [new Map([[1, 2]]), new Map([[1, 3]])]
  ])("takes %j and %j for others", (one, other) => {
    expect(same(textOf(one), textOf(other))).toBe(false)
  })

  it("takes what cannot be read for another input", () => {
    expect(same(textOf(1), "@9 ")).toBe(false)
    expect(same(textOf(1), "!! ")).toBe(false)
  })

  it.scopedLive.each([
    ["goes on with the same input", 1, undefined],
    ["refuses another one", 2, "input 1 is not that of the run r; a run continues with the same inputs"]
  ] as const)("%s", ([, input, refused]) =>
    Effect.gen(function* () {
      const [, , sparse] = twins()[0]!
      const settled = yield* Deferred.make<string>()
      const queue = {
        add: () => Effect.succeed(0),
        inputs: () => Effect.succeed([{ idx: 0, args: textOf(sparse) }]),
        results: () => Effect.zipRight(Deferred.succeed(settled, "asked"), Effect.succeed([]))
      } satisfies Partial<Queue.Queue>
      const submission = submissionTo(queue, true)
      yield* Effect.forkScoped(submission.work)
      submission.submit({ inputs: [[[input]]], context: undefined, timeout: undefined }, ([one]) =>
        Deferred.unsafeDone(
          settled,
          Effect.succeed(Either.isLeft(one!.result) ? one!.result.left.message : "")
        )
      )
      const said = yield* Deferred.await(settled)
      if (refused === undefined) expect(said).toBe("asked")
      else expect(said).toContain(refused)
    })
  )
})

describe("a submission", () => {
  it.scopedLive(
    "removes a row that is cancelled on its way into the store once it is there, and not before",
    () =>
      Effect.gen(function* () {
        const asked: Array<string> = []
        const adding = yield* Deferred.make<void>()
        const stored = yield* Deferred.make<number>()
        const queue = {
          createRun: () => Effect.succeed([]),
          add: () => {
            asked.push("add")
            return Effect.zipRight(Deferred.succeed(adding, undefined), Deferred.await(stored))
          },
          cancel: (_: string, __: string, idx: ReadonlyArray<number>) => {
            asked.push(`cancel ${idx}`)
            return Effect.succeed([])
          },
          results: () => Effect.succeed([])
        } satisfies Partial<Queue.Queue>
        const submission = submissionTo(queue, false)
        yield* Effect.forkScoped(submission.work)
        const cancel = submission.submit(
          { inputs: [[1]], context: undefined, timeout: undefined },
          () => undefined
        )
        yield* Deferred.await(adding)
        const gone = yield* Deferred.make<void>()
        cancel(() => Deferred.unsafeDone(gone, Effect.void))
        yield* Effect.sleep(50)
        expect(asked).toEqual(["add"])
        yield* Deferred.succeed(stored, 1)
        yield* Deferred.await(gone)
        expect(asked).toEqual(["add", "cancel 0"])
      })
  )
})
