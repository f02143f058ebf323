import { pages } from "virtual:guide"
import { Effect } from "effect"
import { type Concept, concepts } from "../manifest.js"
import * as Output from "../services/host/Output.js"
import { didYouMean } from "../services/text/Spelling.js"
import * as Cli from "./kernel/Cli.js"
import * as Command from "./kernel/Command.js"
import * as Flag from "./kernel/Flag.js"

const all: ReadonlyArray<Concept> = concepts

const plain = (markdown: string) => markdown.replace(/\[([^\]]*)\]\([^)]*\)/g, "$1").replace(/[`*]/g, "")

const wrap = (text: string, first = "", next = first): string => {
  const lines: Array<string> = []
  let line = first
  let empty = true
  for (const word of text.split(/\s+/)) {
    if (!empty && line.length + 1 + word.length > 90) {
      lines.push(line)
      line = next
      empty = true
    }
    line += empty ? word : ` ${word}`
    empty = false
  }
  return [...lines, line].join("\n")
}

const render = ({ asyncio, effect, name, section }: Concept, colors: boolean): string => {
  const bold = (text: string) => (colors ? `\x1b[1m${text}\x1b[0m` : text)
  const code = (text: string) =>
    text
      .split("\n")
      .map((line) => (line === "" ? "" : colors ? `  \x1b[36m${line}\x1b[0m` : `  ${line}`))
      .join("\n")
  const page = pages[name]!
  return [
    bold(`${section}: ${asyncio} -> ${effect}`),
    "",
    wrap(plain(page.intro)),
    "",
    bold("asyncio"),
    code(page.python),
    "",
    bold("Effect"),
    code(page.effect),
    "",
    bold("Differences that matter"),
    ...page.differences.map((difference) => wrap(plain(difference), "  - ", "    "))
  ].join("\n")
}

const list = (): string => {
  const width = Math.max(...all.map(({ name }) => name.length))
  const section = Math.max(...all.map(({ section }) => section.length))
  return [
    ...all.map(
      (concept) => `${concept.name.padEnd(width)}  ${concept.section.padEnd(section)}  ${concept.summary}`
    ),
    "",
    "aio guide CONCEPT shows a concept and runs its example; aio guide --run runs all examples"
  ].join("\n")
}

const runExample = ({ exampleArgs = [], name }: Concept) =>
  Effect.gen(function* () {
    const self = yield* Cli.Self
    const { colors } = (yield* Output.Output).stdout
    const line = ["$ aio", name, ...exampleArgs].join(" ")
    yield* Output.print(`\n${colors ? `\x1b[1m${line}\x1b[0m` : line}`)
    yield* self.run([name, ...exampleArgs])
  })

export const command = Command.make(
  "guide",
  {
    summary: "read the guide by concept, asyncio beside Effect, and run its examples",
    usage: ["[OPTIONS] [CONCEPT]"],
    operands: "mixed",
    arguments: [
      ["CONCEPT", "the name of a subcommand; without one, the list of all", all.map(({ name }) => name)]
    ],
    flags: {
      run: Flag.toggle("run", "run the examples of all concepts, one after the other"),
      noRun: Flag.toggle("no-run", "show the concept without running its example")
    },
    examples: [
      ["guide", "all concepts"],
      ["guide gather", "the guide's gather beside Effect's, and its output"]
    ]
  },
  ({ noRun, run }, words) =>
    Effect.gen(function* () {
      const [name, extra] = Command.everyWord(words)
      if (extra !== undefined) return yield* Command.usage(`unexpected '${extra}'; one concept at a time`)
      if (run && (noRun || name !== undefined)) {
        return yield* Command.usage("--run runs all concepts; omit the concept and --no-run")
      }
      if (run) return yield* Effect.forEach(all, runExample, { discard: true })
      if (name === undefined) return yield* Output.print(list())
      const concept = all.find((concept) => concept.name === name)
      if (concept === undefined) {
        const names = all.map(({ name }) => name)
        return yield* Command.usage(
          `unknown concept '${name}'${didYouMean(name, names)} (concepts: ${names.join(", ")})`
        )
      }
      const { colors } = (yield* Output.Output).stdout
      yield* Output.print(render(concept, colors))
      if (!noRun) yield* runExample(concept)
    })
)
