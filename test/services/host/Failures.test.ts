import { Cause, Data, Effect, Exit, Runtime } from "effect"
import { assert, describe, it } from "vitest"
import * as Failures from "../../../src/services/host/Failures.js"

const style = { colors: false, cwd: "/home/me/app" }
const render = (error: unknown, more: Partial<Failures.Style> = {}) =>
  Failures.render(Cause.fail(error), { ...style, ...more })

const withStack = (error: Error, ...frames: ReadonlyArray<string>): Error =>
  Object.assign(error, {
    stack: [`${error.name}: ${error.message}`, ...frames.map((at) => `    at ${at}`)].join("\n")
  })

describe("Failures.render", () => {
  it("shows the fields of a typed error first, of one in a cause that another error carries too", () => {
    class BadRecord extends Data.TaggedError("BadRecord")<{ readonly detail: string }> {}
    const inner = Cause.parallel(Cause.fail(new BadRecord({ detail: "no date" })), Cause.die("bug"))
    const lines = render({ _tag: "TaskFailed", message: "task reader failed", cause: inner })
    assert.deepStrictEqual(
      lines.filter((line) => !/^\s+at /.test(line)),
      [
        "error: TaskFailed: task reader failed",
        "  caused by: BadRecord: { detail: 'no date' }",
        "  caused by: bug"
      ]
    )
  })

  it("shows the person's own frames, relative to the working directory, and no others", () => {
    const error = withStack(
      new Error("no"),
      "save (file:///home/me/app/src/my%20file.ts?namespace=1:3:7)",
      "JSON.parse (<anonymous>)",
      "async Promise.all (index 0)",
      "/home/me/app/src/b.ts:4:1",
      "<anonymous> (/home/me/other/c.js:5:2)",
      "run (/home/me/app/node_modules/pkg/index.js:1:1)",
      "listOnTimeout (node:internal/timers:581:17)"
    )
    assert.deepStrictEqual(render(error), [
      "error: no",
      "    at save (src/my file.ts:3:7)",
      "    at src/b.ts:4:1",
      "    at /home/me/other/c.js:5:2"
    ])
  })

  it("names the spans, those without a place in the person's files too", () => {
    const exit = Effect.runSyncExit(
      Effect.die(withStack(new Error("no"))).pipe(
        Effect.withSpan("inner", { captureStackTrace: false }),
        Effect.withSpan("outer", { captureStackTrace: false })
      )
    )
    assert.deepStrictEqual(Failures.render(Exit.isFailure(exit) ? exit.cause : Cause.empty, style), [
      "error: no",
      "    at inner",
      "    at outer"
    ])
  })

  it("describes any value", () => {
    class Tagged extends Data.TaggedError("Tagged")<{ readonly path: string }> {}
    class Bare extends Data.TaggedError("Bare") {}
    const first = (error: unknown) => render(error)[0]
    assert.strictEqual(first(new Tagged({ path: "/x" })), "error: Tagged: { path: '/x' }")
    assert.strictEqual(first(new Bare()), "error: Bare")
    assert.strictEqual(first(new Error("")), "error: Error")
    assert.strictEqual(first({ a: 1 }), "error: { a: 1 }")
    assert.strictEqual(first(undefined), "error: undefined")
    assert.strictEqual(first(null), "error: null")
    assert.strictEqual(first({ _tag: "T", message: "m" }), "error: T: m")
  })

  it("reports every error of an AggregateError, and one that causes itself once", () => {
    const one = withStack(new Error("one"))
    const two = withStack(new Error("two"))
    one.cause = one
    const both = Object.assign(withStack(new Error("both")), { errors: [one, two] })
    assert.deepStrictEqual(render(both), ["error: both", "  caused by: one", "  caused by: two"])
  })

  it("unwraps the rejection of Effect.runPromise", async () => {
    const failure = await Effect.runPromise(Effect.fail("inside")).then(
      () => undefined,
      (error) => error
    )
    assert.isTrue(Runtime.isFiberFailure(failure))
    assert.deepStrictEqual(render(failure), ["error: inside"])
  })

  it("uses colours only if wanted, and does not report interruptions", () => {
    assert.deepStrictEqual(render("x", { colors: true }), ["\x1b[31merror:\x1b[0m x"])
    assert.deepStrictEqual(Failures.render(Cause.empty, style), [])
  })
})
