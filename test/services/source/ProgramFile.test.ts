import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Layer } from "effect"
import * as Modules from "../../../src/services/source/Modules.js"
import * as ProgramFile from "../../../src/services/source/ProgramFile.js"

describe("ProgramFile", () => {
  const files = Modules.layerTest({
    "job.ts": {
      default: Effect.succeed("an effect"),
      lazily: () => Effect.succeed("a function"),
      promise: () => Promise.resolve("a promise"),
      resolves: () => Promise.resolve(Effect.fail("not run")),
      five: 5,
      layer: Layer.empty,
      generator: function* () {
        yield 1
      },
      four: { "~effect/Effect": {} }
    }
  })
  const load = (name?: string) => Effect.flatten(ProgramFile.load("job.ts", name)).pipe(Effect.provide(files))

  it.effect("takes an effect, or a function that returns one or a promise", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* load(), "an effect")
      assert.strictEqual(yield* load("lazily"), "a function")
      assert.isTrue(Exit.isSuccess(yield* Effect.exit(load("promise"))))
    })
  )

  it.effect("runs the effect that a promise brings rather than forget it", () =>
    Effect.map(Effect.flip(load("resolves")), (error) => assert.strictEqual(error, "not run"))
  )

  it.effect("closes the scope that a program needs", () =>
    Effect.gen(function* () {
      const closed = yield* Deferred.make<void>()
      const value = Effect.addFinalizer(() => Deferred.succeed(closed, undefined))
      yield* ProgramFile.fromExport({ file: "f.ts", path: "/f.ts", name: "default", value })
      assert.isTrue(yield* Deferred.isDone(closed))
    })
  )

  it.effect("describes an export that is not a program", () =>
    Effect.gen(function* () {
      for (const [name, what] of [
        ["five", "is a number"],
        ["layer", "is a Layer (export Layer.launch of it)"],
        ["generator", "returned a generator (export Effect.gen of its function)"],
        ["four", "is an Effect of another major version (expected effect 3.17 or a later 3.x)"]
      ]) {
        const error = yield* Effect.flip(load(name))
        assert.instanceOf(error, Modules.ModuleError)
        assert.include(
          (error as Modules.ModuleError).message,
          `job.ts: export '${name}' ${what}; a program is`
        )
      }
    })
  )
})
