// What this file is about is making effects and not running them.
// @effect-diagnostics floatingEffect:off effectInEffect:off
import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { describe, expect, it } from "@effect/vitest"
import { Context, Deferred, Effect, FastCheck, Fiber, HashMap, Logger, Option } from "effect"
import * as Tracked from "../../../src/services/task/Tracked.js"

const here = fileURLToPath(import.meta.url)

/** Collects the warnings instead of logging them. */
const collecting = () => {
  const warnings: Array<Tracked.NeverRunWarning> = []
  return {
    warnings,
    report: (warning: Tracked.NeverRunWarning) => Effect.sync(() => void warnings.push(warning))
  }
}
const names = (warnings: ReadonlyArray<Tracked.NeverRunWarning>) => warnings.map(({ name }) => name)

const hello = Tracked.tracked("hello", (to: string) => Effect.succeed(`hello ${to}`))

describe("Tracked", () => {
  it.effect("reports effects that were made and never run, in order, with the place of the call", () =>
    Effect.gen(function* () {
      const { report, warnings } = collecting()
      const result = yield* Effect.gen(function* () {
        const first = hello("a") // made first
        const second = yield* hello("b")
        const third = Tracked.tracked("plain", Effect.void) // made last
        return [first === undefined, second, third === undefined]
      }).pipe(Tracked.tracking({ report }))
      expect(result).toEqual([false, "hello b", false])
      expect(names(warnings)).toEqual(["hello", "plain"])
      const lines = readFileSync(here, "utf8").split("\n")
      for (const [i, comment] of ["// made first", "// made last"].entries()) {
        const site = Option.getOrThrow(warnings[i]!.site)
        expect(site.file).toBe(here)
        expect(lines[site.line - 1]).toContain(comment)
        expect(warnings[i]!.message).toBe(
          `NeverRunWarning: effect '${warnings[i]!.name}' was made at ${here}:${site.line} and never run`
        )
      }
    })
  )

  it.effect("leaves the effect as it is: result, failure, environment, and any number of runs", () =>
    Effect.gen(function* () {
      class Name extends Context.Tag("Name")<Name, string>() {}
      const { report, warnings } = collecting()
      const tracked = yield* Effect.gen(function* () {
        const name = Tracked.tracked("name", Name) // a Tag is a function and an effect
        expect(yield* name).toBe("me")
        expect(yield* name).toBe("me")
        return yield* Effect.flip(Tracked.tracked("failing", Effect.fail("no")))
      }).pipe(Tracked.tracking({ report }), Effect.provideService(Name, "me"))
      expect(tracked).toBe("no")
      expect(warnings).toEqual([])
    })
  )

  it.effect("counts an effect as run once it has started, in whatever fiber", () =>
    Effect.gen(function* () {
      const { report, warnings } = collecting()
      yield* Effect.gen(function* () {
        const begun = yield* Deferred.make<void>()
        const never = Tracked.tracked(
          "never ends",
          Effect.zipRight(Deferred.succeed(begun, undefined), Effect.never)
        )
        const fiber = yield* Effect.fork(never)
        yield* Deferred.await(begun)
        yield* Fiber.interrupt(fiber)
        yield* Effect.fork(Effect.sync(() => hello("made in a child"))).pipe(Effect.flatMap(Fiber.join))
        yield* Fiber.interrupt(
          yield* Effect.fork(Effect.zipRight(Effect.never, hello("made, its turn never came")))
        )
      }).pipe(Tracked.tracking({ report }))
      expect(names(warnings)).toEqual(["hello", "hello"])
    })
  )

  it.effect("reports however the effect ends", () =>
    Effect.gen(function* () {
      const { report, warnings } = collecting()
      const failing = Effect.zipRight(
        Effect.sync(() => hello("a")),
        Effect.fail("no")
      )
      expect(yield* Effect.flip(Tracked.tracking(failing, { report }))).toBe("no")
      expect(names(warnings)).toEqual(["hello"])
      const waiting = yield* Deferred.make<void>()
      const hanging = Effect.sync(() => hello("b")).pipe(
        Effect.zipRight(Deferred.succeed(waiting, undefined)),
        Effect.zipRight(Effect.never)
      )
      const fiber = yield* Effect.fork(Tracked.tracking(hanging, { report }))
      yield* Deferred.await(waiting)
      expect(warnings.length).toBe(1)
      yield* Fiber.interrupt(fiber)
      expect(names(warnings)).toEqual(["hello", "hello"])
    })
  )

  it.effect("does not report effects of a nested tracking, or of none", () =>
    Effect.gen(function* () {
      const outer = collecting()
      const inner = collecting()
      hello("in none")
      yield* Effect.gen(function* () {
        hello("outer")
        yield* Tracked.tracking(
          Effect.sync(() => hello("inner")),
          inner
        )
        expect(names(yield* Tracked.neverRun)).toEqual(["hello"])
      }).pipe(Tracked.tracking(outer))
      expect([names(outer.warnings), names(inner.warnings)]).toEqual([["hello"], ["hello"]])
      expect(yield* Tracked.neverRun).toEqual([])
    })
  )

  it.effect("logs a warning by default", () =>
    Effect.gen(function* () {
      const logged: Array<string> = []
      const logger = Logger.make(({ annotations, logLevel, message }) => {
        logged.push(`${logLevel.label} ${message} ${HashMap.size(annotations)}`)
      })
      yield* Tracked.tracking(Effect.sync(() => hello("a"))).pipe(
        Effect.provide(Logger.replace(Logger.defaultLogger, logger))
      )
      expect(logged).toEqual([
        expect.stringMatching(
          /^WARN NeverRunWarning: effect 'hello' was made at .*Tracked\.test\.ts:\d+ and never run 0$/
        )
      ])
    })
  )

  it.effect.prop(
    "reports exactly the effects that were not run",
    [FastCheck.array(FastCheck.boolean())],
    ([runs]) =>
      Effect.gen(function* () {
        const { report, warnings } = collecting()
        yield* Effect.gen(function* () {
          const made = runs.map((run, i) => [run, Tracked.tracked(`${i}`, Effect.void)] as const)
          yield* Effect.forEach(made, ([run, effect]) => (run ? effect : Effect.void), { concurrency: 3 })
        }).pipe(Tracked.tracking({ report }))
        expect(names(warnings)).toEqual(runs.flatMap((run, i) => (run ? [] : [`${i}`])))
      }),
    { fastCheck: { numRuns: 30 } }
  )
})
