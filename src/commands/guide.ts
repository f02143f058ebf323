import { pages } from "virtual:guide"
import { Effect } from "effect"
import { type Concept, concepts } from "../manifest.js"
import * as EventLine from "../services/host/EventLine.js"
import * as Output from "../services/host/Output.js"
import { didYouMean } from "../services/text/Spelling.js"
import * as Table from "../services/text/Table.js"
import * as Cli from "./kernel/Cli.js"
import * as Command from "./kernel/Command.js"
import * as Flag from "./kernel/Flag.js"
import * as Flags from "./kernel/Flags.js"
import * as Help from "./kernel/Help.js"

const all: ReadonlyArray<Concept> = concepts

const plain = (markdown: string) =>
  markdown
    .replace(/\[([^\]]*)\]\([^)]*\)/g, "$1")
    .replace(/[`*]/g, "")
    .replace(/\s+/g, " ")

const width = 90

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
    Help.wrap(plain(page.intro), 0, width),
    "",
    bold("asyncio"),
    code(page.python),
    "",
    bold("Effect"),
    code(page.effect),
    "",
    bold("Differences that matter"),
    ...page.differences.map((difference) => `  - ${Help.wrap(plain(difference), 4, width)}`)
  ].join("\n")
}

const list = (): string =>
  [
    ...Table.aligned(all.map(({ name, section, summary }) => [name, section, summary])),
    "",
    "aio guide CONCEPT shows a concept and runs its example; aio guide --run runs all examples"
  ].join("\n")

const printEvents = (concepts: ReadonlyArray<Concept>, withPage: boolean) => {
  const events = concepts.flatMap(({ asyncio, effect, name, section, summary }) => {
    const item = { index: 1 + all.findIndex((concept) => concept.name === name), name }
    const { differences, effect: code, intro, python } = pages[name]!
    return [
      { event: "concept", ...item, section, asyncio, effect, summary },
      { event: "page", ...item, intro, python, effect: code, differences }
    ].slice(0, withPage ? 2 : 1)
  })
  return Effect.forEach(events, (event) => Output.print(EventLine.encode(event)), { discard: true })
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
      noRun: Flag.toggle("no-run", "show the concept without running its example"),
      json: Flag.withText(Flags.json, "the concepts, or the page of one, as NDJSON; runs no example")
    },
    examples: [
      ["guide", "all concepts"],
      ["guide gather", "the guide's gather beside Effect's, and its output"]
    ]
  },
  ({ json, noRun, run }, words) =>
    Effect.gen(function* () {
      const [name, extra] = Command.everyWord(words)
      if (extra !== undefined) return yield* Command.usage(`unexpected '${extra}'; one concept at a time`)
      if (run && (json || noRun || name !== undefined)) {
        return yield* Command.usage("--run runs all concepts; omit the concept, --no-run and --json")
      }
      if (run) return yield* Effect.forEach(all, runExample, { discard: true })
      if (name === undefined) {
        return yield* json ? printEvents(all, false) : Output.print(list())
      }
      const concept = all.find((concept) => concept.name === name)
      if (concept === undefined) {
        const names = all.map(({ name }) => name)
        return yield* Command.usage(
          `unknown concept '${name}'${didYouMean(name, names)} (concepts: ${names.join(", ")})`
        )
      }
      if (json) return yield* printEvents([concept], true)
      const { colors } = (yield* Output.Output).stdout
      yield* Output.print(render(concept, colors))
      if (!noRun) yield* runExample(concept)
    })
)
