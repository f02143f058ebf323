import { spawnSync } from "node:child_process"
import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import * as App from "../../../src/commands/App.js"
import * as Command from "../../../src/commands/kernel/Command.js"
import * as Completions from "../../../src/commands/kernel/Completions.js"
import * as Flag from "../../../src/commands/kernel/Flag.js"
import * as Flags from "../../../src/commands/kernel/Flags.js"
import * as Aio from "../../support/Aio.js"

// In real shells; scripts/shells.mjs installs those that are missing. In CI a missing shell is a failure.

const isThere = (shell: string) =>
  process.env["AIO_TEST_SHELLS"] !== undefined || spawnSync(shell, ["--version"]).error === undefined

const flags = {
  argFile: Flags.argFile,
  directory: Flags.directory,
  jobs: Flags.jobs,
  format: Flags.format(["lines", "null"]),
  stopSignal: Flags.stopSignal,
  quoted: Flag.toggle("quoted", "a text with 'quotes', [brackets]: and a colon"),
  progress: Flags.progress,
  quiet: Flags.quiet
}

const made = (
  name: string,
  operands: "none" | "list" | "mixed",
  args: NonNullable<Command.Description<Flag.Flags>["arguments"]>,
  children: ReadonlyArray<Command.Command<never>> = []
) =>
  Command.make(
    name,
    { summary: `${name}: it's made up`, usage: [], operands, flags, arguments: args },
    () => Effect.void,
    { children }
  )

const commands = [
  made("get", "list", [["URL", "what to get"]]),
  made("list-files", "list", [["FILE...", "files"]]),
  made("show", "mixed", [["WHAT", "a word", ["one", "two"]]]),
  made("plan", "none", [], [made("at", "mixed", [["TIME", ""]]), made("at-once", "mixed", [])])
]

let folder: string
beforeAll(() => {
  folder = Aio.folder()
  mkdirSync(join(folder, "folder"))
  writeFileSync(join(folder, "file one.txt"), "")
  for (const shell of Completions.shells) {
    writeFileSync(join(folder, `.${shell}`), `${Completions.make(shell, "aio", commands)}\n`)
  }
})
afterAll(Aio.removeFolders)

const run = (shell: string, ...words: ReadonlyArray<string>) => {
  const { error, status, stderr, stdout } = spawnSync(shell, words, {
    cwd: folder,
    encoding: "utf8",
    timeout: 30_000,
    env: { PATH: process.env["PATH"], HOME: folder, TERM: "dumb" }
  })
  expect([error, status, stderr], `${shell} ${words.join(" ")}`).toEqual([undefined, 0, ""])
  return stdout.split("\n").filter((line) => line !== "")
}

// Readline splits at = and : too.
const bash = (words: ReadonlyArray<string>) => {
  const split = words.flatMap((word) => (word.includes("=") ? word.split(/(=)/) : [word]))
  const typed = split.at(-1) === "" && split.at(-2) === "=" ? split.slice(0, -1) : split
  const script = `source .bash; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _aio; printf '%s\\n' "\${COMPREPLY[@]}"`
  return run("bash", "--norc", "-c", script, "bash", ...typed)
}

const fish = (words: ReadonlyArray<string>) => {
  const line = words.map((word, i) => (i === words.length - 1 ? word : `'${word}'`)).join(" ")
  return run("fish", "--no-config", "-c", "source .fish; complete -C $argv[1]", line).map(
    (row) => row.split("\t")[0]!
  )
}

type Row = readonly [words: ReadonlyArray<string>, has: ReadonlyArray<string>, hasNot: ReadonlyArray<string>]

const rows: ReadonlyArray<Row> = [
  [[""], ["get", "list-files", "show", "plan", "help"], ["--jobs", "at"]],
  [["g"], ["get"], ["show"]],
  [["--v"], ["--version"], ["get"]],
  [["help", ""], ["get", "plan"], []],
  [["help", "plan", ""], ["at", "at-once"], ["get"]],
  [["get", "--"], ["--jobs", "--directory", "--progress", "--no-progress", "--help"], ["get"]],
  [["get", "--no"], ["--no-progress"], ["--jobs"]],
  [["get", "--jobs", "4", "--dir"], ["--directory"], []],
  [
    ["get", "--format", ""],
    ["lines", "null"],
    ["--jobs", "get"]
  ],
  [["get", "--format", "n"], ["null"], ["lines"]],
  [["get", "--stop-signal", "T"], ["TERM"], ["INT"]],
  [["get", "-d", "f"], ["folder/"], ["file one.txt"]],
  [["get", "--arg-file", "f"], ["file one.txt"], []],
  [["get", "-a", "f"], ["file one.txt"], []],
  // Behind the first operand of a list no word is an option.
  [["get", "a", "--"], [], ["--jobs"]],
  [["get", "--", "--"], [], ["--jobs"]],
  [["get", "-j", "get", "--"], ["--jobs"], []],
  [["list-files", "f"], ["file one.txt"], ["get"]],
  [["list-files", "a", "f"], ["file one.txt"], []],
  [["show", "t"], ["two"], ["one"]],
  [["show", "one", "--q"], ["--quiet", "--quoted"], []],
  [["plan", ""], ["at", "at-once"], ["get"]],
  [["plan", "at", "--j"], ["--jobs"], []],
  [["plan", "at", "at-once", "--j"], ["--jobs"], []]
]

// Where a folder is completed, shells differ in the slash.
const bare = (words: ReadonlyArray<string>) =>
  words.map((word) => word.replace(/\/$/, "").replaceAll("\\ ", " "))

const real = (
  [
    ["bash", bash],
    ["fish", fish]
  ] as const
).filter(([shell]) => isThere(shell))

describe.each(real)("completions of %s", (_, complete) => {
  it.each(rows)("%j has %j, and not %j", (words, has, hasNot) => {
    const replies = bare(complete(["aio", ...words]))
    expect(replies).toEqual(expect.arrayContaining(bare(has)))
    expect(replies.filter((reply) => bare(hasNot).includes(reply))).toEqual([])
  })

  it("a value behind = is completed like one in a word of its own", () => {
    const replies = complete(["aio", "get", "--format=n"]).map((reply) => reply.replace(/^--format=/, ""))
    expect(replies).toEqual(["null"])
  })
})

describe.runIf(isThere("zsh"))("completions of zsh", () => {
  it("load, and define a function for each command", () => {
    const script = `autoload -Uz compinit; compinit -u -D; source .zsh
print -l $_comps[aio]; print -lo \${(k)functions[(I)_aio*]}`
    expect(run("zsh", "-f", "-c", script)).toEqual([
      "_aio",
      "_aio",
      "_aio_get",
      "_aio_list-files",
      "_aio_plan",
      "_aio_plan_at",
      "_aio_plan_at-once",
      "_aio_show"
    ])
  })
})

describe("completions of aio", () => {
  it.each(Completions.shells.filter(isThere))(
    "are a script that %s accepts, with each command",
    async (shell) => {
      const all = await Promise.all(App.app.entries.map(({ load }) => load()))
      const script = Completions.make(shell, "aio", all as unknown as ReadonlyArray<Command.Command<never>>)
      writeFileSync(join(folder, "script"), script)
      run(shell, "-n", "script")
      for (const { name } of App.app.entries) expect(script).toContain(name)
    }
  )
})
