import * as Args from "@effect/cli/Args"
import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import { describe, expect, it } from "@effect/vitest"
import { Effect, FastCheck as fc } from "effect"
import * as Argv from "../../../src/commands/kernel/Argv.js"
import * as Help from "../../../src/commands/kernel/Help.js"
import * as Spec from "../../../src/commands/kernel/Spec.js"

const options = {
  count: Options.integer("count").pipe(
    Options.withAlias("c"),
    Options.withDefault(1),
    Options.withDescription("how many")
  ),
  dir: Options.text("dir").pipe(Options.withAlias("d"), Options.optional),
  quiet: Options.boolean("quiet").pipe(Options.withAlias("q")),
  header: Options.text("header").pipe(Options.repeated),
  last: Options.text("last").pipe(Options.withPseudoName("stop|keep FILE"), Options.optional)
}
const plain = Command.make(
  "plain",
  { ...options, names: Args.text({ name: "NAME" }).pipe(Args.repeated) },
  () => Effect.void
)
const bare = Command.make("bare", options, () => Effect.void)
const nested = Command.make("outer", { loud: Options.boolean("loud") }, () => Effect.void).pipe(
  Command.withSubcommands([Command.make("inner", options, () => Effect.void)])
)

const check = (
  command: Spec.AnyCommand<never>,
  words: ReadonlyArray<string>,
  env: Record<string, string> = {}
) => Argv.check({ path: ["aio", "x"], spec: Spec.make(command), words, env })

describe("Argv", () => {
  it("puts options first and arguments after --", () => {
    expect(check(plain, ["a", "-c", "2", "b", "--quiet"]).argv).toEqual([
      "--count",
      "2",
      "--quiet",
      "--",
      "a",
      "b"
    ])
  })

  it("gives a choice its second word", () => {
    expect(check(plain, ["--last", "keep", "a", "b"]).argv).toEqual(["--last", "keep a", "--", "b"])
    expect(check(plain, ["--last", "stop", "a"]).argv).toEqual(["--last", "stop", "--", "a"])
    for (const words of [
      ["--last", "keep"],
      ["--last", "keep", "-q"]
    ]) {
      expect(() => check(plain, words)).toThrow("option --last keep needs a value (--last stop|keep FILE)")
    }
  })

  it("reads -c5, -c=5, --count=5 and bundled switches", () => {
    for (const words of [["-c5"], ["-c=5"], ["--count=5"], ["--count", "5"]]) {
      expect(check(plain, words).argv).toEqual(["--count", "5"])
    }
    expect(check(plain, ["-qc5"]).argv).toEqual(["--quiet", "--count", "5"])
    expect(check(plain, ["-d", "-"]).argv).toEqual(["--dir", "-"])
    expect(check(plain, ["-c", "-5"]).argv).toEqual(["--count", "-5"])
  })

  it.each([
    [
      ["--cuont", "5"],
      "aio x: unknown option --cuont; did you mean --count? (see aio x --help; words that start with - go after --)"
    ],
    [["-z"], "aio x: unknown option -z (see aio x --help; words that start with - go after --)"],
    [["-qz"], "aio x: unknown option -z (see aio x --help; words that start with - go after --)"],
    [["--count"], "aio x: option --count needs a value (--count INTEGER)"],
    [["--dir", "--quiet"], "aio x: option --dir needs a value (--dir TEXT)"],
    [["-c1", "--count=2"], "aio x: option --count is given twice; give it once"],
    [["--quiet=no"], "aio x: option --quiet takes no value, but 'no' was given"]
  ])("refuses %j in one line", (words, message) => {
    expect(() => check(plain, words)).toThrow(expect.objectContaining({ message, exitCode: 2 }))
  })

  it("refuses an argument when none is expected, and an unknown subcommand", () => {
    expect(() => check(bare, ["a"])).toThrow("unexpected argument 'a'")
    expect(() => check(nested, ["iner"])).toThrow(
      "unknown subcommand 'iner'; did you mean inner? (one of inner)"
    )
  })

  it("accepts a repeated option only when it is repeatable", () => {
    expect(check(plain, ["--header", "a", "--header", "b"]).argv).toEqual(["--header", "a", "--header", "b"])
  })

  it("reads the options of a subcommand after its name", () => {
    const { argv, path } = check(nested, ["--loud", "inner", "-c3"])
    expect(argv).toEqual(["--loud", "inner", "--count", "3"])
    expect(path).toEqual(["aio", "x", "inner"])
    expect(() => check(nested, ["inner", "--loud"])).toThrow("aio x inner: unknown option --loud")
  })

  it("reads AIO_NAME from the environment; the command line wins", () => {
    const env = { AIO_COUNT: "7", AIO_QUIET: "1", AIO_DIR: "" }
    expect(check(plain, [], env).argv).toEqual(["--count", "7", "--quiet"])
    expect(check(plain, ["-c1"], env).argv).toEqual(["--count", "1", "--quiet"])
    expect(check(plain, [], { AIO_QUIET: "0" }).argv).toEqual([])
  })

  it("never treats a word that starts with - as an argument", () => {
    fc.assert(
      fc.property(fc.array(fc.string()), (words) => {
        try {
          const { argv, help } = check(plain, words)
          const args = help || !argv.includes("--") ? [] : argv.slice(argv.indexOf("--") + 1)
          return args.every((arg) => !arg.startsWith("-") || arg === "-")
        } catch (error) {
          return (error as { exitCode?: number }).exitCode === 2
        }
      })
    )
  })
})

describe("Help", () => {
  it("shows every option with its aliases, value and description, within 100 columns", () => {
    const text = Help.command(["aio", "plain"], Spec.make(plain), false)
    expect(text).toContain("aio plain [OPTIONS] [NAME...]")
    expect(text).toMatch(/-c, --count INTEGER +how many/)
    expect(text).toMatch(/-q, --quiet\b/)
    expect(Math.max(...text.split("\n").map((line) => line.length))).toBeLessThanOrEqual(100)
    expect(text).not.toContain("\x1b")
  })

  it("lists subcommands", () => {
    expect(Help.command(["aio", "outer"], Spec.make(nested), true)).toContain("inner")
  })
})
