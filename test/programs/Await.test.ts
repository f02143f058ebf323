// What this file is about is making effects and not running them.
// @effect-diagnostics floatingEffect:off effectInEffect:off
import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { describe, expect, it } from "@effect/vitest"
import { Context, Deferred, Effect, FastCheck, Fiber, HashMap, Logger, Option } from "effect"
import * as Await from "../../src/programs/Await.js"
import * as Output from "../../src/services/host/Output.js"
import * as Diagnostics from "../../src/services/source/Diagnostics.js"

const here = fileURLToPath(import.meta.url)
const source = (path: string) =>
  readFileSync(fileURLToPath(new URL(path, import.meta.url)), "utf8").split("\n")

/** Collects the warnings instead of logging them. */
const collecting = () => {
  const warnings: Array<Await.NeverRunWarning> = []
  return {
    warnings,
    report: (warning: Await.NeverRunWarning) => Effect.sync(() => void warnings.push(warning))
  }
}
const names = (warnings: ReadonlyArray<Await.NeverRunWarning>) => warnings.map(({ name }) => name)

const hello = Await.tracked("hello", (to: string) => Effect.succeed(`hello ${to}`))

describe("Await.example", () => {
  it.effect("prints foobar1, and tells what was never run, with file and line", () =>
    Effect.gen(function* () {
      yield* Await.example
      const { stderr, stdout } = yield* Output.Captured
      expect(stdout).toEqual(["foobar1"])
      const lines = source("../../src/programs/Await.ts")
      const line = (call: string) => lines.findIndex((line) => line.startsWith(`  ${call}()`)) + 1
      expect(stderr).toEqual([
        `NeverRunWarning: effect 'print_foobar2' was made at src/programs/Await.ts:${line("printFoobar2")} and never run`,
        `NeverRunWarning: effect 'print_foobar1' was made at src/programs/Await.ts:${line("printFoobar1")} and never run`
      ])
      expect(stderr.join()).not.toContain(":0 ")
    }).pipe(Effect.provide(Output.layerTest))
  )
})

describe("Await.tracking", () => {
  it.effect("reports what was made and never run, in order, with the place of the call", () =>
    Effect.gen(function* () {
      const { report, warnings } = collecting()
      const result = yield* Effect.gen(function* () {
        const first = hello("a") // made first
        const second = yield* hello("b")
        const third = Await.tracked("plain", Effect.void) // made last
        return [first === undefined, second, third === undefined]
      }).pipe(Await.tracking({ report }))
      expect(result).toEqual([false, "hello b", false])
      expect(names(warnings)).toEqual(["hello", "plain"])
      const lines = source("./Await.test.ts")
      for (const [i, comment] of ["// made first", "// made last"].entries()) {
        const site = Option.getOrThrow(warnings[i]!.site)
        expect(site.file).toBe(here)
        expect(lines[site.line - 1]).toContain(`Await.${comment}`.slice(6))
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
        const name = Await.tracked("name", Name) // a Tag is a function and an effect
        expect(yield* name).toBe("me")
        expect(yield* name).toBe("me")
        return yield* Effect.flip(Await.tracked("failing", Effect.fail("no")))
      }).pipe(Await.tracking({ report }), Effect.provideService(Name, "me"))
      expect(tracked).toBe("no")
      expect(warnings).toEqual([])
    })
  )

  it.effect("counts an effect as run once it has started, in whatever fiber", () =>
    Effect.gen(function* () {
      const { report, warnings } = collecting()
      yield* Effect.gen(function* () {
        const never = Await.tracked("never ends", Effect.never)
        const fiber = yield* Effect.fork(never)
        yield* Effect.yieldNow()
        yield* Fiber.interrupt(fiber)
        yield* Effect.fork(Effect.sync(() => hello("made in a child"))).pipe(Effect.flatMap(Fiber.join))
        yield* Fiber.interrupt(
          yield* Effect.fork(Effect.zipRight(Effect.never, hello("made, its turn never came")))
        )
      }).pipe(Await.tracking({ report }))
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
      expect(yield* Effect.flip(Await.tracking(failing, { report }))).toBe("no")
      expect(names(warnings)).toEqual(["hello"])
      const waiting = yield* Deferred.make<void>()
      const hanging = Effect.sync(() => hello("b")).pipe(
        Effect.zipRight(Deferred.succeed(waiting, undefined)),
        Effect.zipRight(Effect.never)
      )
      const fiber = yield* Effect.fork(Await.tracking(hanging, { report }))
      yield* Deferred.await(waiting)
      expect(warnings.length).toBe(1)
      yield* Fiber.interrupt(fiber)
      expect(names(warnings)).toEqual(["hello", "hello"])
    })
  )

  it.effect("keeps to its own: what is made inside an inner one, or in none, is not reported", () =>
    Effect.gen(function* () {
      const outer = collecting()
      const inner = collecting()
      hello("in none")
      yield* Effect.gen(function* () {
        hello("outer")
        yield* Await.tracking(
          Effect.sync(() => hello("inner")),
          inner
        )
        expect(names(yield* Await.neverRun)).toEqual(["hello"])
      }).pipe(Await.tracking(outer))
      expect([names(outer.warnings), names(inner.warnings)]).toEqual([["hello"], ["hello"]])
      expect(yield* Await.neverRun).toEqual([])
    })
  )

  it.effect("logs a warning unless told otherwise", () =>
    Effect.gen(function* () {
      const logged: Array<string> = []
      const logger = Logger.make(({ annotations, logLevel, message }) => {
        logged.push(`${logLevel.label} ${message} ${HashMap.size(annotations)}`)
      })
      yield* Await.tracking(Effect.sync(() => hello("a"))).pipe(
        Effect.provide(Logger.replace(Logger.defaultLogger, logger))
      )
      expect(logged).toEqual([
        expect.stringMatching(
          /^WARN NeverRunWarning: effect 'hello' was made at .*Await\.test\.ts:\d+ and never run 0$/
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
          const made = runs.map((run, i) => [run, Await.tracked(`${i}`, Effect.void)] as const)
          yield* Effect.forEach(made, ([run, effect]) => (run ? effect : Effect.void), { concurrency: 3 })
        }).pipe(Await.tracking({ report }))
        expect(names(warnings)).toEqual(runs.flatMap((run, i) => (run ? [] : [`${i}`])))
      }),
    { fastCheck: { numRuns: 30 } }
  )
})

describe("Await.find", () => {
  it.effect("says what is dropped and how to mend it, for every rule", () =>
    Effect.gen(function* () {
      const { files, findings } = yield* Await.find({ files: [], project: "tsconfig.json" })
      expect(files).toEqual(["b.ts", "a.ts"])
      expect(findings.length).toBe(Diagnostics.rules.length)
      for (const { mend, what } of findings) {
        expect(what).toContain("$& x()") // as it stands, `$&` included
        expect(`${what}; ${mend}`).not.toMatch(/CODE|undefined|\.$/)
      }
      expect(findings[0]).toMatchObject({
        file: "a.ts",
        line: 1,
        what: "effect dropped: $& x() is built and never runs",
        mend: "put yield* before it, return it, or compose it into an effect that runs"
      })
    }).pipe(
      Effect.provide(
        Diagnostics.layerTest({
          "b.ts": [],
          "a.ts": Diagnostics.rules.map((rule, i) => ({ rule, line: i + 1, column: 1, code: "$& x()" }))
        })
      )
    )
  )

  it.effect("passes on why it could not", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(Await.find({ files: ["nope.ts"] }))
      expect(error).toBeInstanceOf(Diagnostics.InvalidTarget)
    }).pipe(Effect.provide(Diagnostics.layerTest({})))
  )
})
