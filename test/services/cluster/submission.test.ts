import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, describe, expect, it } from "@effect/vitest"
import { Deferred, Effect } from "effect"
import type * as Queue from "../../../src/services/cluster/internal/queue.js"
import * as Submission from "../../../src/services/cluster/internal/submission.js"

const folder = mkdtempSync(join(tmpdir(), "aio-submission-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

describe("a submission", () => {
  it.scopedLive(
    "removes a row that is cancelled on its way into the store once it is there, and not before",
    () =>
      Effect.gen(function* () {
        const asked: Array<string> = []
        const adding = yield* Deferred.make<void>()
        const stored = yield* Deferred.make<number>()
        const queue = {
          createRun: () => Effect.void,
          add: () => {
            asked.push("add")
            return Effect.zipRight(Deferred.succeed(adding, undefined), Deferred.await(stored))
          },
          cancel: (_: string, __: string, idx: ReadonlyArray<number>) => {
            asked.push(`cancel ${idx}`)
            return Effect.succeed([])
          },
          results: () => Effect.succeed([]),
          prospects: () => Effect.succeed({ refusals: [], runners: 1 }),
          beatRun: () => Effect.succeed(true)
        } as unknown as Queue.Queue
        const submission = Submission.make({
          ...{ queue, job: "j", group: "g", owner: "o", resumable: false, taken: false, maxSize: 1000 },
          location: { _tag: "Sqlite", file: join(folder, "none.sqlite") },
          objects: { isThere: false, remove: () => Effect.void } as never,
          run: { id: "r", module: "m", name: "n", version: "v", settings: {}, tries: 1 },
          ask: (ask) => ask,
          onRun: () => Effect.void
        })
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
