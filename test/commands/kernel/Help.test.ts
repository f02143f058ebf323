import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import * as App from "../../../src/commands/App.js"
import type * as Command from "../../../src/commands/kernel/Command.js"
import * as Flag from "../../../src/commands/kernel/Flag.js"
import * as Flags from "../../../src/commands/kernel/Flags.js"
import * as Help from "../../../src/commands/kernel/Help.js"
import * as Kernel from "../../support/Kernel.js"

type AnyCommand = Command.Command<never>

const names = App.app.entries.map(({ name }) => name)

/** The command and its subcommands, with the words that call them. */
const tree = (
  path: ReadonlyArray<string>,
  command: AnyCommand
): ReadonlyArray<readonly [ReadonlyArray<string>, AnyCommand]> => [
  [path, command],
  ...command.children.flatMap((child) => tree([...path, child.name], child))
]

const load = async (name: string) => {
  const command = await App.app.entries.find((entry) => entry.name === name)!.load()
  return tree(["aio", name], command as AnyCommand)
}

/** The lines of a section. */
const section = (text: string, title: string): ReadonlyArray<string> => {
  const lines = text.split("\n")
  const at = lines.indexOf(title)
  if (at < 0) return []
  const end = lines.indexOf("", at)
  return lines.slice(at + 1, end < 0 ? undefined : end)
}

const plain = { colors: false }

describe("the help of each command", () => {
  it.each(names)("aio %s: how it is called, what each option means, examples", async (name) => {
    for (const [path, command] of await load(name)) {
      const { description, flags } = command
      const called = path.join(" ")
      const text = Help.command(path, command, plain)
      expect(description.summary, called).toMatch(/^[a-z].*[^.]$/)
      expect(section(text, "USAGE")[0], called).toMatch(new RegExp(`^ {2}${called}\\b`))
      for (const flag of Object.values(flags))
        expect(flag.text, `${called} --${flag.name}`).toMatch(/^\S.{3,}[^.]$/)
      for (const [argument, meaning] of description.arguments ?? []) {
        expect(meaning, `${called} ${argument}`).toMatch(/^\S.{3,}[^.]$/)
      }
      const examples = tree(path, command).flatMap(([, one]) => one.description.examples ?? [])
      const least = path.length > 2 || (command.operands === "none" && command.children.length === 0) ? 1 : 2
      expect(examples.length, called).toBeGreaterThanOrEqual(least)
      for (const [line] of description.examples ?? []) expect(line).toMatch(new RegExp(`^${path[1]}\\b`))
    }
  })

  it.each(names)("aio %s: exactly its options, each once", async (name) => {
    for (const [path, command] of await load(name)) {
      const text = Help.command(path, command, plain)
      const listed = section(text, "OPTIONS").flatMap(
        (line) => /^ {2}(?:-\w, )?--(?:\[no-\])?([\w-]+)/.exec(line)?.[1] ?? []
      )
      const expected = [...Object.values(command.flags).map((flag) => flag.name), "help"]
      expect(listed, path.join(" ")).toEqual(expected)
      const letters = Object.values(command.flags).flatMap(({ alias }) => alias ?? [])
      expect([...new Set(letters)], path.join(" ")).toEqual(letters)
      expect(new Set(expected).size, path.join(" ")).toBe(expected.length)
    }
  })

  it.each(names)("aio %s: an option of the catalogue has its letter and no other has it", async (name) => {
    const catalogue = Object.values(Flags).filter(
      (flag): flag is Flag.Flag<never> => "name" in flag && "parse" in flag
    )
    const shared = new Map(catalogue.map((flag) => [flag.name, flag.alias]))
    const letters = new Map(
      catalogue.flatMap(({ alias, name }) => (alias === undefined ? [] : [[alias, name]]))
    )
    for (const [path, command] of await load(name)) {
      for (const flag of Object.values(command.flags)) {
        const where = `${path.join(" ")} --${flag.name}`
        if (shared.has(flag.name)) expect(flag.alias, where).toBe(shared.get(flag.name))
        if (flag.alias !== undefined && letters.has(flag.alias)) {
          expect(flag.name, where).toBe(letters.get(flag.alias))
        }
      }
    }
  })

  it.each(names.flatMap((name) => [40, 80, 100].map((columns) => [name, columns] as const)))(
    "aio %s fits in %i columns",
    async (name, columns) => {
      for (const [path, command] of await load(name)) {
        const text = Help.command(path, command, { colors: false, columns })
        // Command lines are there to be copied, and a word is not cut.
        const long = text
          .split("\n")
          .filter(
            (line) => line.length > columns && !/^ {2}(aio|-)/.test(line) && /\S\s+\S/.test(line.trim())
          )
        expect(long, path.join(" ")).toEqual([])
      }
    }
  )
})

describe("Help", () => {
  it.each([40, 80, 100, 120])("aio and aio --help fit in %i columns", (columns) => {
    const style = { colors: false, columns }
    for (const text of [Help.start(App.app, style), Help.root(App.app, style)]) {
      const long = text.split("\n").filter((line) => line.length > Math.min(columns, 100))
      expect(long.filter((line) => !line.startsWith("  aio "))).toEqual([])
      for (const name of names) if (text.includes("\nCOMMANDS\n")) expect(text).toContain(`\n  ${name}`)
    }
  })

  it("shows a first command of each concept", () => {
    const text = Help.start(App.app, plain)
    for (const { first, name } of App.app.entries) {
      if (first !== undefined) expect(text, name).toContain(`  aio ${first}`)
    }
    expect(text).not.toContain("\x1b")
  })

  it("prints titles in bold where colours are wanted, and no escape elsewhere", () => {
    expect(Help.root(App.app, { colors: true })).toContain("\x1b[1mCOMMANDS\x1b[0m")
    expect(Help.root(App.app, plain)).not.toContain("\x1b")
  })

  it("shows an option with its letter, value, default and that it is repeatable", async () => {
    const header = Flag.values("header", {
      alias: "H",
      value: "TEXT",
      text: "a header",
      parse: Flags.json.parse as never
    })
    const command = Kernel.probe(
      "x",
      { header, jobs: Flag.withDefault(Flags.jobs, 8), progress: Flags.progress },
      "none",
      {
        example: { run: () => Effect.void, instead: "" }
      }
    )(() => undefined)
    const text = Help.command(["aio", "x"], command, plain)
    expect(text).toMatch(/^ {2}-H, --header TEXT +a header; repeatable$/m)
    expect(text).toMatch(/^ {2}-j, --jobs N\|N%\|\+N +how many/m)
    expect(text).toMatch(/; default 8$/m)
    expect(text).toMatch(/^ {2}--\[no-\]progress +progress on the terminal$/m)
    expect(text).toContain("\nWithout arguments: the guide's example.\n")
    expect(text).toContain("\nENVIRONMENT\n  AIO_X_NAME or AIO_NAME sets the option --name")
  })

  it("names what the version runs on", () => {
    expect(Help.details("1.2.3", "posix_spawn").split("\n")).toEqual([
      "1.2.3",
      `node       ${process.versions.node}`,
      `platform   ${process.platform} ${process.arch}`,
      "processes  posix_spawn"
    ])
  })
})
