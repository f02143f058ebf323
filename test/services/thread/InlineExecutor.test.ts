import { threadId } from "node:worker_threads"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Executor from "../../../src/services/thread/Executor.js"
import * as InlineExecutor from "../../../src/services/thread/InlineExecutor.js"

describe("InlineExecutor", () => {
  it.effect("ships and copies as threads do", () =>
    Effect.gen(function* () {
      assert.strictEqual(
        yield* Executor.blocking(async () => (await import("node:worker_threads")).threadId),
        threadId
      )
      const outside = 1
      assert.strictEqual((yield* Effect.flip(Executor.blocking(() => outside)))._tag, "JobFailed")
      const argument = yield* Effect.flip(
        Executor.blocking(
          (f: () => void) => f(),
          () => undefined
        )
      )
      assert.deepInclude(argument, { _tag: "NotSerializable", part: "arguments" })
      const result = yield* Effect.flip(Executor.blocking(() => () => 1))
      assert.deepInclude(result, { _tag: "NotSerializable", part: "result" })
    }).pipe(Effect.provide(InlineExecutor.layer))
  )
})
