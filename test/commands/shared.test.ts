import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, it } from "@effect/vitest"
import * as App from "../../src/commands/App.js"
import * as Argv from "../../src/commands/kernel/Argv.js"
import type * as Command from "../../src/commands/kernel/Command.js"
import * as Flag from "../../src/commands/kernel/Flag.js"
import * as Aio from "../support/Aio.js"
import * as InProcess from "../support/InProcess.js"

// What several commands take is read the same by each of them.

afterAll(Aio.removeFolders)

const folder = () => {
  const cwd = Aio.folder()
  const module = "export const shout = (line) => String(line).toUpperCase()\nexport const three = 3\n"
  for (const name of ["f.mjs", "odd#name.mjs"]) writeFileSync(join(cwd, name), module)
  return cwd
}

describe.each([
  ["run", []],
  ["loop", []],
  ["executor", ["a"]]
])("FILE#EXPORT in aio %s", (name, more) => {
  const run = (word: string) =>
    InProcess.run([name, ...(name === "run" ? [] : ["-q"]), word, ...more], { cwd: folder(), stdin: "a" })

  it.each([
    ["f.mjs#", "'f.mjs#' names no export; expected FILE or FILE#EXPORT, like ./images.ts#thumbnail"],
    ["#shout", "'#shout' names no file; expected FILE or FILE#EXPORT, like ./images.ts#thumbnail"],
    ["#", "'#' names no file; expected FILE or FILE#EXPORT, like ./images.ts#thumbnail"],
    ["f.mjs#none", "f.mjs: no export 'none'"],
    ["none.mjs#shout", "none.mjs: no such file"]
  ])("%s is refused", async (word, message) => {
    const { code, stderr, stdout } = await run(word)
    expect([code, stdout]).toEqual([2, ""])
    expect(stderr).toMatch(/^[^\n]+\n$/)
    expect(stderr).toContain(`aio ${name}: ${message}`)
  })

  it.each(["f.mjs#shout", "odd#name.mjs#shout"])("%s is found", async (word) => {
    const { code, stderr, stdout } = await run(word)
    if (name === "run") expect([code, stdout]).toEqual([2, ""])
    else expect([code, stdout.trim()]).toEqual([0, "A"])
    expect(stderr).not.toMatch(/no such file|no export/)
  })
})

describe.each([
  ["loop", ["-q", "f.mjs#shout"]],
  ["executor", ["-q", "f.mjs#shout"]],
  ["subprocess", ["--dry-run", "-q", "echo"]],
  ["gather", ["--dry-run", "-a", "-"]]
])("-0 and --format in aio %s", (name, words) => {
  const item = name === "gather" ? "http://a/\n" : "a"
  const run = (options: ReadonlyArray<string>, env = {}) =>
    InProcess.run([name, ...options, ...words], { cwd: folder(), stdin: `${item}\0`, env })

  it("are one option: equal they agree, different they are refused", async () => {
    expect((await run(["-0", "--format", "null"])).code).toBe(0)
    const { code, stderr } = await run(["-0", "--format", "lines"])
    expect([code, stderr]).toEqual([
      2,
      `aio ${name}: -0 is --format null, which excludes --format lines; omit one of them\n`
    ])
  })

  it("the typed one voids the variable of the other", async () => {
    expect(await run(["-0"], { AIO_FORMAT: "lines" })).toMatchObject({ code: 0, stderr: "" })
    expect((await run(["--format", "lines"], { AIO_NULL: "1" })).stderr).not.toContain("excludes")
    expect((await run([], { AIO_NULL: "1", AIO_FORMAT: "lines" })).code).toBe(2)
  })
})

describe("the environment", () => {
  interface Found {
    readonly path: ReadonlyArray<string>
    readonly command: Argv.Grammar
  }
  let all: ReadonlyArray<Found> = []
  beforeAll(async () => {
    const below = (path: ReadonlyArray<string>, command: Command.Command<never>): ReadonlyArray<Found> => [
      { path, command },
      ...command.children.flatMap((child) => below([...path, child.name], child))
    ]
    const loaded = await Promise.all(App.app.entries.map(({ load }) => load()))
    all = loaded.flatMap((command) => below(["aio", command.name], command as Command.Command<never>))
  })

  // A value for each placeholder; a new kind of value needs its line here.
  const samples: Readonly<Record<string, string>> = {
    FILE: "f",
    DIR: "d",
    DURATION: "90s",
    "DURATION|N%": "300%",
    SIZE: "64M",
    N: "7",
    "N|N%|+N": "50%",
    "N/s": "10/s",
    "N[,FIRST[,MAX]]": "5,1s,1m",
    SIGNAL: "INT",
    EXPR: "user.id",
    "WHEN,WHAT=N[%]": "now,fail=1",
    WHEN: "18:00",
    ZONE: "UTC",
    NAME: "ada",
    TEMPLATE: "{name}: ",
    ADDRESS: "127.0.0.1",
    "'NAME: VALUE'": "X-A: b",
    "NAME:PASSWORD": "ada:secret",
    "ALGORITHM:HEX": `sha256:${"a".repeat(64)}`,
    "[NAME:]SIGNAL": "web:INT",
    "[NAME:]always|on-failure|never": "web:never",
    "[NAME:]REGEX": "web:x",
    "[NAME:]DIR": "web:d",
    "NAME=N[,NAME=N]": "web=2,db=0",
    "[NAME:]URL": "web:http://a/",
    "[NAME:][HOST:]N": "web:80",
    "[NAME:]COMMAND": "web:true",
    STORE: "jobs.sqlite",
    ID: "7",
    "NAME:OTHER[,OTHER]": "web:db",
    "PART=DURATION": "database=300ms",
    "PART[=REASON]": "cache"
  }
  const textOf = ({ value, words }: Flag.Flag<unknown>) => samples[value ?? ""] ?? words?.at(-1) ?? "7"

  it("sets each option of each command as the command line does", () => {
    let checked = 0
    for (const { command, path } of all) {
      for (const flag of Object.values(command.flags)) {
        const own = `AIO_${path[1]}_${flag.name}`.replaceAll("-", "_").toUpperCase()
        const shared = `AIO_${flag.name}`.replaceAll("-", "_").toUpperCase()
        const text = flag.value === undefined ? "1" : textOf(flag)
        const typed = flag.value === undefined ? [`--${flag.name}`] : [`--${flag.name}=${text}`]
        const needed = flag.onlyWith === undefined ? [] : [`--${flag.onlyWith}`]
        const by = (words: ReadonlyArray<string>, env: Record<string, string>) =>
          Argv.sort(path, command, [...needed, ...words], env).options.filter(([name]) => name === flag.name)
        const expected = by(typed, {})
        expect(expected.length, `${path.join(" ")} --${flag.name}`).toBe(1)
        expect(by([], { [own]: text })).toEqual(expected)
        expect(by([], { [shared]: text })).toEqual(expected)
        expect(by([], { [own]: text, [shared]: "never read" })).toEqual(expected)
        expect(by(typed, { [own]: "never read" })).toEqual(expected)
        if (flag.value === undefined) expect(() => by([], { [own]: "perhaps" })).toThrow(`${own}: 'perhaps'`)
        // The text is one that the option takes.
        expect(Flag.readAll({ flag }, { [flag.name]: [text] })).toMatchObject({ _tag: "Right" })
        checked++
      }
    }
    expect(checked).toBeGreaterThan(100)
  })

  it("is blamed for a wrong value, whatever the option", () => {
    let checked = 0
    for (const { command, path } of all) {
      for (const flag of Object.values(command.flags)) {
        if (flag.value === undefined || flag.parse("\u0000")._tag === "Right") continue
        const own = `AIO_${path[1]}_${flag.name}`.replaceAll("-", "_").toUpperCase()
        expect(() => Argv.sort(path, command, [], { [own]: "\u0000" })).toThrow(`${path.join(" ")}: ${own}: `)
        checked++
      }
    }
    expect(checked).toBeGreaterThan(30)
  })
})

const events = (text: string) =>
  text
    .split("\n")
    .filter((line) => line.startsWith("{"))
    .map((line) => JSON.parse(line) as Record<string, unknown>)

describe("--json of the commands that print a program's or the guide's text", () => {
  it.each([
    ["console.log('hi')", { status: "succeeded", exitCode: 0 }, []],
    ["throw new Error('no')", { status: "failed", reason: "no", exitCode: 1 }, []],
    [
      "await new Promise((done) => setTimeout(done, 60_000))",
      { status: "timed_out", reason: "not done in 50ms", exitCode: 124 },
      ["--timeout", "50ms"]
    ]
  ])("aio run prints the start and the end on stderr: %s", async (body, end, options) => {
    const cwd = Aio.folder()
    writeFileSync(join(cwd, "p.mjs"), `export default async () => { ${body} }\n`)
    const { code, stderr, stdout } = await Aio.run(["run", "--json", ...options, "p.mjs"], { cwd })
    expect(code).toBe(end.exitCode)
    expect(stdout).toBe(body.includes("console") ? "hi\n" : "")
    expect(events(stderr)).toMatchObject([
      { schema: 2, event: "started", index: 1, name: "p.mjs" },
      { schema: 2, event: "finished", index: 1, name: "p.mjs", ...end }
    ])
  })

  it("aio guide lists the concepts, and shows the page of one without running it", async () => {
    const list = await InProcess.run(["guide", "--json"])
    expect(events(list.stdout).map(({ event }) => event)).toEqual(Array(11).fill("concept"))
    const one = await InProcess.run(["guide", "--json", "gather"])
    expect(events(one.stdout)).toMatchObject([
      { event: "concept", name: "gather", asyncio: expect.stringContaining("gather") },
      { event: "page", name: "gather", python: expect.stringContaining("gather") }
    ])
    expect(one.stdout.trimEnd().split("\n").length).toBe(2)
    expect((await InProcess.run(["guide", "--json", "--run"])).code).toBe(2)
  })
})
