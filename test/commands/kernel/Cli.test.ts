import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Cli from "../../../src/commands/kernel/Cli.js"
import * as Command from "../../../src/commands/kernel/Command.js"
import * as Flag from "../../../src/commands/kernel/Flag.js"
import * as Kernel from "../../support/Kernel.js"

const flags = {
  seed: Flag.toggle("seed", "applies to the example"),
  force: Flag.toggle("force", "does not")
}

const commands = (called: (what: unknown) => void) => [
  Kernel.probe("work", flags, "list", {
    example: {
      run: ({ seed }) => Effect.sync(() => called(seed ? "seeded example" : "example")),
      flags: ["seed"],
      instead: "write a WORD"
    }
  })(called),
  Kernel.probe("outer", {}, "none", { children: [Kernel.probe("inner", flags, "mixed")(called)] })(called),
  Command.make("wrong", { summary: "is always wrong", usage: [], flags: {} }, () =>
    Command.usage("'x' is not a word; expected one like 'a'")
  ),
  Command.make(
    "guide",
    { summary: "runs the example", usage: [], operands: "mixed", flags: {} },
    (_, words) => Effect.flatMap(Cli.Self, ({ run }) => run(Command.everyWord(words)))
  )
]

const run = (words: ReadonlyArray<string>, options: Parameters<typeof Kernel.run>[2] = {}) =>
  Kernel.run(commands, words, options)

const noWork = "aio work: no work is given; write a WORD (the guide's example: aio guide work)"

describe("a command with an example", () => {
  it.each([
    ["terminal", ["work"], "example"],
    ["none", ["work"], "example"],
    ["piped", ["work"], noWork],
    ["terminal", ["work", "--seed"], "seeded example"],
    ["none", ["work", "--seed"], "seeded example"],
    ["piped", ["work", "--seed"], noWork],
    ["terminal", ["work", "--force"], []],
    ["none", ["work", "--force"], []],
    ["none", ["work", "--seed", "--force"], []],
    ["piped", ["work", "--force"], []],
    ["terminal", ["work", ""], [""]],
    ["none", ["work", "--seed", ""], [""]],
    ["piped", ["work", ""], [""]],
    ["terminal", ["work", "--"], []],
    ["terminal", ["work", "a"], ["a"]],
    ["piped", ["guide", "work"], "example"],
    ["piped", ["guide", "--", "work", "--seed"], "seeded example"],
    ["terminal", ["guide", "--", "work", "--force"], []]
  ] as const)("with standard input %s, %j calls %j", async (source, words, expected) => {
    const { calls, error, exitCode } = await run(words, { source })
    if (expected === noWork) expect([error, exitCode, calls]).toEqual([noWork, 2, []])
    else if (typeof expected === "string") expect([error, calls]).toEqual([undefined, [expected]])
    else expect([error, calls]).toMatchObject([undefined, [{ operands: expected }]])
  })

  it("runs it with the options that the environment sets, too", async () => {
    expect((await run(["work"], { env: { AIO_SEED: "1" } })).calls).toEqual(["seeded example"])
  })
})

describe("help", () => {
  it.each([
    [["work", "--help"], "aio work [OPTIONS]"],
    [["work", "-h"], "aio work [OPTIONS]"],
    [["work", "--force", "-h", "a"], "aio work [OPTIONS]"],
    [["help", "work"], "aio work [OPTIONS]"],
    [["--help", "work"], "aio work [OPTIONS]"],
    [["help", "outer"], "aio outer SUBCOMMAND"],
    [["help", "outer", "inner"], "aio outer inner [OPTIONS]"],
    [["outer", "inner", "--help"], "aio outer inner [OPTIONS]"],
    [["help"], "aio COMMAND [OPTIONS] [ARGUMENTS]"],
    [["--help"], "aio COMMAND [OPTIONS] [ARGUMENTS]"],
    [["-h"], "aio COMMAND [OPTIONS] [ARGUMENTS]"],
    [[], "aio COMMAND --help has the options"],
    [["--version"], "1.2.3"],
    [["-V"], "1.2.3"],
    [["--version", "--verbose"], `node       ${process.versions.node}`]
  ])("%j prints %s, and runs nothing", async (words, text) => {
    const { calls, error, stdout } = await run(words)
    expect([error, calls]).toEqual([undefined, []])
    expect(stdout).toContain(text)
  })

  it.each([
    [
      ["help", "wrok"],
      "aio: unknown command 'wrok'; did you mean work? (commands: work, outer, wrong, guide)"
    ],
    [["help", "work", "a"], "aio work: unexpected argument 'a'; aio work takes none (see aio work --help)"],
    [["help", "outer", "x"], "aio outer: unknown subcommand 'x' (one of inner)"],
    [["--version", "--verbsoe"], "aio --version: unexpected '--verbsoe'"],
    [["--vrsion"], "aio: unknown option '--vrsion' (commands: work, outer, wrong, guide)"],
    [[""], "aio: unknown command '' (commands: work, outer, wrong, guide)"],
    [["wrong"], "aio wrong: 'x' is not a word; expected one like 'a'"],
    [
      ["outer", "inner", "--no"],
      "aio outer inner: unknown option --no (see aio outer inner --help; words that start with - go after --)"
    ]
  ])("%j is wrong usage, in one line", async (words, message) => {
    expect(await run(words)).toMatchObject({ error: message, exitCode: 2, stdout: "", calls: [] })
  })
})
