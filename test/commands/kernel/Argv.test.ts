import { describe, expect, it } from "@effect/vitest"
import { FastCheck as fc } from "effect"
import * as Argv from "../../../src/commands/kernel/Argv.js"
import * as Flag from "../../../src/commands/kernel/Flag.js"
import * as Flags from "../../../src/commands/kernel/Flags.js"
import * as Values from "../../../src/commands/kernel/Values.js"
import * as Kernel from "../../support/Kernel.js"

const anything = Values.text("anything")
const flags = {
  jobs: Flag.value("jobs", { alias: "j", value: "N", text: "at once", parse: Values.integer(1) }),
  dir: Flag.value("dir", { alias: "d", value: "DIR", text: "where", parse: anything }),
  free: Flag.value("free", { value: "TEXT", text: "anything", parse: (text) => Values.text("")(`x${text}`) }),
  header: Flag.values("header", {
    alias: "H",
    value: "TEXT",
    text: "again",
    parse: (text) => Values.text("")(`x${text}`)
  }),
  keep: Flag.toggle("keep", "keep", "k"),
  quiet: Flags.quiet,
  progress: Flags.progress,
  policy: Flag.choice("policy", ["stop", "go"], { text: "what then" })
}

type Kind = "none" | "list" | "mixed"

interface Call {
  readonly config: Flag.Values<typeof flags>
  readonly operands: ReadonlyArray<string>
  readonly rest: ReadonlyArray<string> | undefined
}

const read = async (words: ReadonlyArray<string>, kind: Kind = "list", env: Record<string, string> = {}) => {
  const ran = await Kernel.run((called) => [Kernel.probe("x", flags, kind)(called)], ["x", ...words], { env })
  return ran.error ?? (ran.calls[0] as Call)
}

const values = async (words: ReadonlyArray<string>, kind?: Kind, env?: Record<string, string>) => {
  const call = await read(words, kind, env)
  if (typeof call === "string") return call
  return Object.fromEntries(
    Object.entries(call.config).filter(
      ([, value]) => value !== undefined && value !== false && value !== 0 && String(value) !== ""
    )
  )
}

describe("options", () => {
  it.each([
    [["-j8"], { jobs: 8 }],
    [["-j=8"], { jobs: 8 }],
    [["-j", "8"], { jobs: 8 }],
    [["--jobs", "8"], { jobs: 8 }],
    [["--jobs=8"], { jobs: 8 }],
    [["-kj8"], { keep: true, jobs: 8 }],
    [["-qd", "out"], { quiet: 1, dir: "out" }],
    [["-qqk"], { quiet: 2, keep: true }],
    [["-q", "--quiet", "-q"], { quiet: 3 }],
    [["-j1", "--jobs=2", "-j", "3"], { jobs: 3 }],
    [["--policy", "stop", "--policy", "go"], { policy: "go" }],
    [["-H", "a", "-Hb", "--header=c"], { header: ["xa", "xb", "xc"] }],
    [["--no-progress"], { progress: undefined }],
    [["--progress", "--no-progress", "--progress"], { progress: true }],
    [["-d", "-"], { dir: "-" }],
    [["-d", "-5"], { dir: "-5" }],
    [["--dir=--keep"], { dir: "--keep" }],
    [["--dir==a=b"], { dir: "=a=b" }]
  ])("%j is %j", async (words, expected) => {
    const { progress, ...others } = expected as Record<string, unknown>
    expect(await values(words)).toEqual(progress === undefined ? others : expected)
    if ("progress" in expected && progress === undefined) {
      expect(((await read(words)) as Call).config.progress).toBe(false)
    }
  })

  it.each([
    [
      ["--jbos", "5"],
      "unknown option --jbos; did you mean --jobs? (see aio x --help; words that start with - go after --)"
    ],
    [["-keep"], "unknown option -e (see aio x --help; words that start with - go after --)"],
    [["-z"], "unknown option -z (see aio x --help; words that start with - go after --)"],
    [["-qz"], "unknown option -z (see aio x --help; words that start with - go after --)"],
    [["-q-"], "unknown option -- (see aio x --help; words that start with - go after --)"],
    [["--=a"], "unknown option -- (see aio x --help; words that start with - go after --)"],
    [
      ["--concurrency", "4"],
      "unknown option --concurrency; here it is --jobs N (-j) (see aio x --help; words that start with - go after --)"
    ],
    [
      ["-P4"],
      "unknown option -P4; here it is --jobs N (-j) (see aio x --help; words that start with - go after --)"
    ],
    [
      ["--version"],
      "unknown option --version; here it is aio --version (see aio x --help; words that start with - go after --)"
    ],
    [["--dir"], "option --dir needs a value (--dir DIR)"],
    [
      ["--dir", "--keep"],
      "option --dir needs a value (--dir DIR; one that begins with - is written --dir=--keep)"
    ],
    [["-d", "--", "a"], "option -d needs a value (-d DIR; one that begins with - is written --dir=--)"],
    [["--keep=no"], "option --keep takes no value, but 'no' was given"],
    [["-k=no"], "option -k takes no value, but 'no' was given"],
    [
      ["--no-keep"],
      "unknown option --no-keep; did you mean --keep? (see aio x --help; words that start with - go after --)"
    ],
    [["--no-progress=1"], "option --no-progress takes no value, but '1' was given"],
    [["-j0"], "option --jobs: '0': expected a whole number, 1 or more (see aio x --help)"],
    [
      ["--policy", "maybe"],
      "option --policy: 'maybe' is not accepted; expected stop or go (see aio x --help)"
    ],
    [["-d", ""], "option --dir: '' is empty; expected anything (see aio x --help)"]
  ])("%j is refused in one line", async (words, problem) => {
    expect(await read(words)).toBe(`aio x: ${problem}`)
  })

  it("an old spelling is named only where the command has the new one", async () => {
    expect(await read(["--input", "f"])).toMatch(/^aio x: unknown option --input \(see/)
  })

  it("values arrive as they were typed, whatever they are", async () => {
    const hostile = fc.oneof(
      fc.constantFrom(
        "--",
        "--keep",
        "--header",
        "-j",
        "--help",
        "--log-level",
        "true",
        "",
        " a ",
        "=",
        "\\",
        '"',
        "\ud800"
      ),
      fc.string({ unit: "binary" }),
      fc.string()
    )
    await fc.assert(
      fc.asyncProperty(hostile, fc.array(hostile, { maxLength: 4 }), async (free, headers) => {
        const words = [`--free=${free}`, ...headers.map((one) => `--header=${one}`), "-k"]
        expect(((await read(words)) as Call).config).toMatchObject({
          free: `x${free}`,
          header: headers.map((one) => `x${one}`),
          keep: true
        })
      }),
      { numRuns: 50 }
    )
  })
})

describe("operands", () => {
  const word = fc.oneof(
    fc.constantFrom(
      "-",
      "--",
      "--help",
      "-h",
      "--keep",
      "-j8",
      "--jobs=x",
      ":::",
      "",
      "--no-such",
      "--log-level"
    ),
    fc.string()
  )

  it("of a list are all words from the first one on, whatever they begin with", async () => {
    const first = word.filter((text) => !text.startsWith("-") || text === "-")
    await fc.assert(
      fc.asyncProperty(first, fc.array(word), async (one, more) => {
        expect(await read(["-k", "-j", "2", one, ...more])).toMatchObject({
          config: { keep: true, jobs: 2 },
          operands: [one, ...more],
          rest: undefined
        })
      }),
      { numRuns: 50 }
    )
  })

  it.each(["list", "mixed"] as const)("of a %s are all words behind --, exactly as typed", async (kind) => {
    await fc.assert(
      fc.asyncProperty(fc.array(word), async (words) => {
        expect(await read(["-k", "--", ...words], kind)).toMatchObject({
          config: { keep: true },
          operands: kind === "list" ? words : [],
          rest: words
        })
      }),
      { numRuns: 50 }
    )
  })

  it("of other commands may stand before options", async () => {
    expect(await read(["a", "-j2", "b", "--", "-c"], "mixed")).toMatchObject({
      config: { jobs: 2 },
      operands: ["a", "b"],
      rest: ["-c"]
    })
  })

  it.each([[["a"]], [["--", "a"]], [["-k", ""]]])("%j is refused where none is expected", async (words) => {
    expect(await read(words, "none")).toBe(
      `aio x: unexpected argument '${words.at(-1)}'; aio x takes none (see aio x --help)`
    )
  })

  it("no words cost more than time that grows with their number", () => {
    let reads = 0
    const count = (length: number, kind: Kind) => {
      const words = new Proxy(
        Array.from({ length }, (_, i) => `word${i}`),
        {
          get: (target, key) => {
            reads++
            return Reflect.get(target, key)
          }
        }
      )
      reads = 0
      const grammar = { name: "x", flags, operands: kind, children: [] }
      expect(Argv.sort(["aio", "x"], grammar, words, {}).operands).toHaveLength(length)
      return reads
    }
    for (const kind of ["list", "mixed"] as const) {
      expect(count(4000, kind)).toBeLessThan(2.5 * count(2000, kind))
    }
    expect(count(300_000, "list")).toBeGreaterThan(0) // more than fit in the arguments of a call
  })
})

describe("subcommands", () => {
  const outer = (called: (what: unknown) => void) =>
    Kernel.probe("x", { loud: Flag.toggle("loud", "loud") }, "none", {
      children: [Kernel.probe("inner", flags, "mixed")(called)]
    })(called)
  const run = async (...words: ReadonlyArray<string>) => {
    const { calls, error } = await Kernel.run((called) => [outer(called)], ["x", ...words])
    return error ?? calls[0]
  }

  it("have the options behind their name", async () => {
    expect(await run("inner", "-j3", "a")).toMatchObject({ config: { jobs: 3 }, operands: ["a"] })
    expect(await run("inner", "--loud")).toMatch(/^aio x inner: unknown option --loud/)
    expect(await run("--loud", "inner")).toBe(
      "aio x: option --loud stands before inner; options of aio x inner go behind it"
    )
    expect(await run("iner")).toBe("aio x: unknown subcommand 'iner'; did you mean inner? (one of inner)")
  })
})

describe("the environment", () => {
  it.each([
    [[], { AIO_JOBS: "7" }, { jobs: 7 }],
    [[], { AIO_JOBS: "7", AIO_X_JOBS: "8" }, { jobs: 8 }],
    [[], { AIO_JOBS: "7", AIO_X_JOBS: "" }, { jobs: 7 }],
    [["-j1"], { AIO_JOBS: "7", AIO_X_JOBS: "8" }, { jobs: 1 }],
    [["-j1"], { AIO_JOBS: "none" }, { jobs: 1 }],
    [[], { AIO_KEEP: "1", AIO_QUIET: "2" }, { keep: true, quiet: 2 }],
    [[], { AIO_KEEP: "yes", AIO_QUIET: "true" }, { keep: true, quiet: 1 }],
    [[], { AIO_KEEP: "0", AIO_QUIET: "0" }, {}],
    [[], { AIO_KEEP: "off", AIO_QUIET: "No", AIO_PROGRESS: "on" }, { progress: true }],
    [["--no-progress"], { AIO_PROGRESS: "1" }, {}],
    [[], { AIO_HEADER: "--keep" }, { header: ["x--keep"] }],
    [[], { AIO_JOBS: "", AIO_KEEP: "" }, {}]
  ])("%j with %j is %j", async (words, env, expected) => {
    expect(await values(words, "list", env)).toEqual(expected)
  })

  it.each([
    [{ AIO_JOBS: "none" }, "aio x: AIO_JOBS: 'none': expected a whole number, 1 or more"],
    [{ AIO_JOBS: "3", AIO_X_JOBS: "none" }, "aio x: AIO_X_JOBS: 'none': expected a whole number, 1 or more"],
    [{ AIO_KEEP: "maybe" }, "aio x: AIO_KEEP: 'maybe' is not accepted; expected 1 or 0"],
    [{ AIO_QUIET: "loud" }, "aio x: AIO_QUIET: 'loud' is not accepted; expected 1 or 0"],
    [{ AIO_POLICY: "maybe" }, "aio x: AIO_POLICY: 'maybe' is not accepted; expected stop or go"]
  ])("a wrong value is blamed on its variable: %j", async (env, message) => {
    expect(await read([], "list", env)).toBe(message)
  })

  it("sets an option of a command with a dash and of a subcommand by the first word", async () => {
    const both = (called: (what: unknown) => void) =>
      Kernel.probe("long-x", {}, "none", { children: [Kernel.probe("at", flags, "none")(called)] })(called)
    const { calls } = await Kernel.run((called) => [both(called)], ["long-x", "at"], {
      env: { AIO_LONG_X_JOBS: "3" }
    })
    expect(calls).toMatchObject([{ config: { jobs: 3 } }])
  })

  it("does not set an option that applies to another one only, which is refused if it is typed without it", async () => {
    const label = {
      ...Flag.value("label", { value: "TEXT", text: "of it", parse: anything }),
      onlyWith: "keep"
    }
    const call = async (words: ReadonlyArray<string>, env: Record<string, string>) => {
      const probe = (called: (what: unknown) => void) =>
        Kernel.probe("x", { keep: flags.keep, label }, "none")(called)
      const { calls, error } = await Kernel.run((called) => [probe(called)], ["x", ...words], { env })
      return error ?? (calls[0] as { readonly config: object }).config
    }
    expect(await call([], { AIO_LABEL: "a" })).toEqual({ keep: false })
    expect(await call(["--keep"], { AIO_LABEL: "a" })).toEqual({ keep: true, label: "a" })
    expect(await call(["--label=b"], { AIO_KEEP: "1" })).toEqual({ keep: true, label: "b" })
    expect(await call(["--label=b"], {})).toBe("aio x: --label applies to --keep only")
  })

  it("does not prevent help", async () => {
    const ran = await Kernel.run((called) => [Kernel.probe("x", flags, "list")(called)], ["x", "--help"], {
      env: { AIO_JOBS: "none" }
    })
    expect(ran.error).toBeUndefined()
    expect(ran.stdout).toContain("-j, --jobs N")
  })
})
