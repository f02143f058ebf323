import * as Args from "@effect/cli/Args"
import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import { afterEach, describe, expect, it, vi } from "@effect/vitest"
import { Effect, Option } from "effect"
import * as Parser from "../../../src/commands/kernel/Parser.js"

// What the kernel works around in @effect/cli. Each test states what @effect/cli does; it fails when a new version does
// better, and then that part of Argv, Flag or Cli can go.

const flags = {
  jobs: Options.integer("jobs").pipe(Options.withAlias("j"), Options.withDefault(1)),
  keep: Options.boolean("keep").pipe(Options.withAlias("k")),
  progress: Options.boolean("progress", { negationNames: ["no-progress"] }).pipe(Options.optional),
  headers: Options.text("header").pipe(Options.repeated),
  words: Args.text({ name: "word" }).pipe(Args.repeated)
}

/** What a run of the whole program prints, what its handler gets, and how it ends. */
const run = async (...words: ReadonlyArray<string>) => {
  const printed: Array<string> = []
  const log = (...texts: ReadonlyArray<unknown>) => Effect.sync(() => void printed.push(texts.join(" ")))
  let config: unknown
  const command = Command.make("x", flags, (given) =>
    Effect.sync(() => {
      config = given
    })
  )
  const exit = await Effect.runPromise(
    Effect.flatMap(Effect.console, (console) =>
      Command.run(command, { name: "x", version: "1" })(["node", "x", ...words]).pipe(
        Effect.withConsole({ ...console, log, error: log }),
        Effect.exit,
        Effect.provide(Parser.services)
      )
    )
  )
  return { config, exit, printed: printed.join("\n") }
}

afterEach(() => {
  vi.restoreAllMocks()
  vi.unstubAllEnvs()
})

describe("@effect/cli", () => {
  it("takes an unknown option for an argument", async () => {
    expect((await run("--no-such")).config).toMatchObject({ words: ["--no-such"] })
  })

  it("takes -j8 for an argument", async () => {
    expect((await run("-j8")).config).toMatchObject({ jobs: 1, words: ["-j8"] })
  })

  it("takes a repeated option for arguments", async () => {
    expect((await run("--jobs", "2", "--jobs", "3")).config).toMatchObject({
      jobs: 2,
      words: ["--jobs", "3"]
    })
  })

  it("trims values, drops empty ones, and takes values for options", async () => {
    expect((await run("--header", " a ", "--header", "")).config).toMatchObject({ headers: ["a"] })
    expect((await run("--header", "--")).config).toMatchObject({ headers: [] })
  })

  it("reads --log-level among the arguments behind --", async () => {
    const { config } = await run("a", "--", "--log-level", "debug")
    expect(config).toMatchObject({ words: ["a"] })
  })

  it("copies all further arguments for each one", async () => {
    const copied = async (length: number) => {
      let elements = 0
      const { slice } = Array.prototype
      vi.spyOn(Array.prototype, "slice").mockImplementation(function (this: Array<unknown>, ...range) {
        const part = slice.apply(this, range)
        elements += part.length
        return part
      })
      await run(...Array.from({ length }, () => "word"))
      vi.restoreAllMocks()
      return elements
    }
    const few = await copied(200)
    expect(await copied(800)).toBeGreaterThan(8 * few)
  })

  it("prints colours under NO_COLOR and without a terminal", async () => {
    vi.stubEnv("NO_COLOR", "1")
    expect((await run("--help")).printed).toContain("\x1b[")
  })

  it("gives wrong usage no exit code", async () => {
    const { exit } = await run("--jobs", "many")
    expect(exit).toMatchObject({ _tag: "Failure", cause: { error: { _tag: "InvalidValue" } } })
    expect(JSON.stringify(exit)).not.toContain("exitCode")
  })

  it("gives false for a switch that was neither set nor unset", async () => {
    const { config } = await run("a")
    expect(config).toMatchObject({ progress: Option.some(false) })
  })

  it("has no options of an empty record", () => {
    expect(() => Options.all({})).toThrow(/./)
  })
})
