import { Effect } from "effect"
import * as Command from "../kernel/Command.js"
import * as Flag from "../kernel/Flag.js"
import * as Flags from "../kernel/Flags.js"
import { store } from "./flags.js"

// The subcommands of durable schedules. What they do is in durable.ts, which is loaded when one is called.

const durable = Effect.promise(() => import("./durable.js"))
const shared = { store, json: Flags.json }

const list = Command.make(
  "list",
  {
    summary: "print the durable schedules: the next run of each, its last result and how many runs it missed",
    usage: ["[OPTIONS]"],
    flags: { all: Flag.toggle("all", "those that are done or cancelled, too"), ...shared },
    examples: [["schedule list --store tea.sqlite", "the schedules of a file"]]
  },
  (config) => Effect.flatMap(durable, ({ list }) => list(config))
)

const serve = Command.make(
  "serve",
  {
    summary:
      "run the durable schedules of a store until it is stopped; the first signal waits for the runs that have started",
    usage: ["[OPTIONS]"],
    flags: {
      store,
      poll: Flag.withDefault(
        Flags.span("poll", "how long a change by another process may stay unseen"),
        1000,
        "1s"
      ),
      drain: Flag.withDefault(
        Flags.pause("drain", "how long runs may continue after the first signal; then they are cancelled"),
        30_000,
        "30s"
      ),
      keep: Flag.withDefault(
        Flags.count(1, 10_000)("keep", "ended runs of a schedule that stay on record"),
        20
      ),
      jobs: Flag.withText(Flags.jobs, "most runs at once", "100"),
      untilDone: Flag.toggle("until-done", "end when no schedule has a further run"),
      ...Flags.reporting
    },
    examples: [["schedule serve --until-done --store tea.sqlite", "what is due in a file, to the last run"]]
  },
  (config) => Effect.flatMap(durable, ({ serve }) => serve(config))
)

const one = (name: "cancel" | "pause" | "resume" | "show" | "trigger", summary: string, example: string) =>
  Command.make(
    name,
    {
      summary,
      usage: ["[OPTIONS] ID"],
      operands: "mixed",
      arguments: [["ID", "the id that --durable has printed; aio schedule list shows it"]],
      flags: shared,
      examples: [[`schedule ${name} --store tea.sqlite k3f9x2ab || true`, example]]
    },
    (config, words) =>
      Effect.gen(function* () {
        const [id, ...more] = Command.everyWord(words)
        if (id === undefined || more.length > 0)
          return yield* Command.usage(
            `${id === undefined ? "no id is given" : `${more.length + 1} ids are given`}; expected one, as aio schedule list shows it`
          )
        yield* Effect.flatMap(durable, (does) => does[name](id, config))
      })
  )

export const children = [
  list,
  one(
    "show",
    "print a durable schedule and its runs on record, with the end of their output",
    "one schedule"
  ),
  one("cancel", "cancel a durable schedule and its runs", "no further run"),
  one("pause", "pause a durable schedule; runs that have started continue", "until it is resumed"),
  one("resume", "continue a durable schedule; what was due meanwhile does not run", "from now on"),
  one("trigger", "make a run of a durable schedule due now, beside the others", "once more"),
  serve
]
