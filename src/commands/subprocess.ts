import { statSync } from "node:fs"
import * as Args from "@effect/cli/Args"
import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import * as Platform from "@effect/platform/Command"
import { Effect, Either, Iterable, identity, Option, Stream } from "effect"
import * as Subprocess from "../programs/Subprocess.js"
import { codes, ExitError, UsageError } from "../services/host/ExitCodes.js"
import { leanHeap, steadyYoungGeneration } from "../services/host/HeapTuning.js"
import * as Input from "../services/host/Input.js"
import * as Output from "../services/host/Output.js"
import * as SystemLoad from "../services/host/SystemLoad.js"
import * as JobLog from "../services/job/JobLog.js"
import * as Jobs from "../services/job/Jobs.js"
import * as Template from "../services/job/Template.js"
import * as TemplateJobs from "../services/job/TemplateJobs.js"
import * as Executables from "../services/process/Executables.js"
import * as Items from "../services/record/Items.js"
import * as Durations from "../services/text/Durations.js"
import * as RawText from "../services/text/RawText.js"
import { alone, withRest } from "./kernel/Cli.js"
import * as stdout from "./kernel/stdout.js"
import { stopOnSignal } from "./kernel/stopOnSignal.js"
import * as Values from "./kernel/Values.js"
import * as JobReport from "./subprocess/report.js"

const usage = (message: string) => new UsageError({ message: `aio subprocess: ${message}` })

type Count = { readonly of: "number" | "percent" | "more"; readonly n: number }

/** The most jobs at once. */
const most = 100_000

const concurrency = Values.parsed("concurrency", (text): Either.Either<Count, string> => {
  const match = /^(\+?)(\d+)(%?)$/.exec(text)
  if (match === null || (match[1] !== "" && match[3] !== "")) {
    return Either.left(
      `'${text}' is not a number of jobs; expected 8, 50% (of the processors) or +2 (more than these)`
    )
  }
  const n = Number(match[2])
  if (n === 0 && match[1] === "") return Either.left(`'${text}' is too few; expected 1 or more`)
  if (n > most) return Either.left(`'${text}' is too many; expected at most ${most}`)
  return Either.right({ of: match[1] !== "" ? "more" : match[3] !== "" ? "percent" : "number", n })
})

const timeout = Values.parsed(
  "timeout",
  (text): Either.Either<number | { readonly median: number }, string> => {
    const percent = /^(\d+(?:\.\d+)?)%$/.exec(text.trim())
    if (percent === null) return Durations.duration(text)
    return Number(percent[1]) > 0
      ? Either.right({ median: Number(percent[1]) / 100 })
      : Either.left(`'${text}' is too short; expected a duration like 90s, or 300% (of the median)`)
  }
)

const halt = Values.parsed("halt", (text): Either.Either<Jobs.Halt, string> => {
  const match = /^(now|soon),(fail|success)=(\d+)(%?)$/.exec(text)
  return match === null || Number(match[3]) === 0 || (match[4] === "%" && Number(match[3]) > 100)
    ? Either.left(`'${text}' is not a rule; expected one like now,fail=1 or soon,success=3 or now,fail=10%`)
    : Either.right({
        when: match[1] as "now" | "soon",
        on: match[2] as "fail" | "success",
        count: Number(match[3]),
        percent: match[4] !== ""
      })
})

const load = Values.parsed("load", (text) =>
  /^\d+(\.\d+)?$/.test(text) && Number(text) > 0
    ? Either.right(Number(text))
    : Either.left(`'${text}' is not a load; expected a number above 0, as uptime shows it`)
)

const switches = {
  group: "each job's output when it has ended (default)",
  "line-buffer": "whole lines as they come",
  "keep-order": "each job's output when it has ended, in the order of the input",
  ungroup: "jobs write to stdout and stderr themselves"
} as const

const options = {
  concurrency: concurrency.pipe(
    Options.withAlias("j"),
    Options.withPseudoName("n|n%|+n"),
    Options.withDescription(
      "jobs at once: a number, a share of the processors, or this many more; default: the processors"
    ),
    Options.optional
  ),
  argFile: Options.text("arg-file").pipe(
    Options.withAlias("a"),
    Options.withPseudoName("file"),
    Options.withDescription(
      "items from this file, one on each line; - is standard input, which is the default"
    ),
    Options.optional
  ),
  nul: Options.boolean("null").pipe(
    Options.withAlias("0"),
    Options.withDescription("items end with NUL instead of a line end, as find -print0 writes them")
  ),
  group: Options.boolean("group").pipe(Options.withDescription(switches.group)),
  lineBuffer: Options.boolean("line-buffer").pipe(Options.withDescription(switches["line-buffer"])),
  keepOrder: Options.boolean("keep-order").pipe(
    Options.withAlias("k"),
    Options.withDescription(switches["keep-order"])
  ),
  ungroup: Options.boolean("ungroup").pipe(Options.withAlias("u"), Options.withDescription(switches.ungroup)),
  tag: Options.boolean("tag").pipe(Options.withDescription("the item and a TAB before each line")),
  shell: Options.boolean("shell").pipe(
    Options.withDescription("a shell reads the command, as it does where that is one word with blanks in it")
  ),
  timeout: timeout.pipe(
    Options.withPseudoName("duration|n%"),
    Options.withDescription(
      "ends a job after this long, or after this share of the median of those that succeeded"
    ),
    Options.optional
  ),
  retries: Values.integer("retries", 0).pipe(
    Options.withDescription("further attempts of a job that failed; default 0"),
    Options.withDefault(0)
  ),
  delay: Values.duration("delay").pipe(
    Options.withDescription("least time between two starts"),
    Options.optional
  ),
  grace: Values.duration("grace").pipe(
    Options.withDescription("from the stop signal to KILL when a job must end; default 5s"),
    Options.optional
  ),
  stopSignal: Values.parsed("stop-signal", Values.parseSignal).pipe(
    Options.withPseudoName("signal"),
    Options.withDescription("the signal that asks a job to end, instead of TERM"),
    Options.optional
  ),
  halt: halt.pipe(
    Options.withPseudoName("when,what=n"),
    Options.withDescription(
      "now,fail=1 ends everything at the first failure; soon,fail=10% starts no further job; success too"
    ),
    Options.optional
  ),
  joblog: Options.text("joblog").pipe(
    Options.withPseudoName("file"),
    Options.withDescription(
      "one line for each job, in GNU parallel's columns; the file is emptied first unless --resume is given"
    ),
    Options.optional
  ),
  resume: Options.boolean("resume").pipe(
    Options.withDescription("with --joblog: skip jobs that are in it, by their command")
  ),
  resumeFailed: Options.boolean("resume-failed").pipe(
    Options.withDescription("with --joblog: skip only those that succeeded")
  ),
  results: Options.text("results").pipe(
    Options.withPseudoName("dir"),
    Options.withDescription("save stdout, stderr and exit of each job in a folder of its own"),
    Options.optional
  ),
  load: load.pipe(
    Options.withPseudoName("n"),
    Options.withDescription("start no job while the machine's load is this or more"),
    Options.optional
  ),
  memfree: Values.size("memfree").pipe(
    Options.withDescription("start no job while less memory is free"),
    Options.optional
  ),
  dryRun: Options.boolean("dry-run").pipe(Options.withDescription("print the commands, run nothing")),
  progress: Options.boolean("progress").pipe(
    Options.withDescription("a line on the terminal: jobs done, failed, running, and the time left")
  ),
  json: Options.boolean("json").pipe(Options.withDescription("events as NDJSON on stdout")),
  quiet: Options.boolean("quiet").pipe(
    Options.withAlias("q"),
    Options.withDescription("no failures and no summary on stderr")
  )
}

const words = Args.text({ name: "CMD... ::: ITEM" }).pipe(
  Args.withDescription(
    "the command, and its items unless they come from -a or standard input. In the command {} is the item, {.} {/} {//} {/.} its parts, {#} and {%} the job's number and slot, {1} that of the first list; without any of them the item is appended. Several ::: make all combinations, :::+ advances with the list before it"
  ),
  Args.repeated
)

export const command = Command.make("subprocess", { words, ...options }, (config) =>
  Effect.gen(function* () {
    const input = yield* Input.Input
    const machine = yield* SystemLoad.SystemLoad
    const words = yield* withRest(config.words)
    if (words.length === 0 && Option.isNone(config.argFile)) {
      return yield* Effect.zipRight(
        alone("aio subprocess", "write -- CMD ARG… ::: ITEM…"),
        Subprocess.example
      )
    }
    const { command: given, sources } = yield* Effect.mapError(Template.split(words), usage)
    if (given.length === 0) {
      return yield* usage("no command is given; write aio subprocess -- CMD ARG… ::: ITEM…")
    }
    if (given[0]!.trim() === "") return yield* usage("the command is empty; write one like 'gzip -k {}'")
    if (sources.length > 0 && Option.isSome(config.argFile)) {
      return yield* usage("items come from ::: or from --arg-file, not from both")
    }
    if (sources.length === 0 && Option.isNone(config.argFile) && input.isTerminal) {
      return yield* usage(
        "no items are given; write ::: ITEM… after the command, or pipe them in, one on each line"
      )
    }
    const modes = (
      [
        ["line", config.lineBuffer],
        ["keepOrder", config.keepOrder],
        ["inherit", config.ungroup],
        ["group", config.group]
      ] as const
    ).filter(([, on]) => on)
    if (modes.length > 1) {
      return yield* usage("--group, --line-buffer, --keep-order and --ungroup exclude each other; give one")
    }
    const mode = modes[0]?.[0] ?? "group"
    if (mode === "inherit" && (config.json || config.tag || Option.isSome(config.results))) {
      return yield* usage(
        "--ungroup lets jobs write to stdout themselves; it excludes --tag, --json and --results"
      )
    }
    if ((config.resume || config.resumeFailed) && Option.isNone(config.joblog)) {
      return yield* usage("--resume and --resume-failed need --joblog FILE")
    }
    if (Option.contains(config.results, ""))
      return yield* usage("option --results: '' is not a folder; expected its path")
    const width = sources.length === 0 ? 1 : sources.length
    if (Template.highest(given) > width) {
      return yield* usage(
        `{${Template.highest(given)}} refers to list ${Template.highest(given)} of items; lists given: ${width}`
      )
    }
    const jobs = TemplateJobs.make(given, { shell: config.shell })
    const readable = (values: ReadonlyArray<string>): Effect.Effect<ReadonlyArray<string>, UsageError> => {
      const problem = jobs.misread?.(values)
      return problem === undefined ? Effect.succeed(values) : usage(problem)
    }
    // A missing program is reported before any job runs.
    if (jobs.program !== undefined) yield* Executables.check(Platform.make(jobs.program))
    if (jobs.misread !== undefined) {
      for (const values of Template.product(sources)) yield* readable(values)
    }
    const items = (path: string) =>
      Items.read(path, { format: config.nul ? "null" : "lines", encoding: "raw", maxLine: 1024 * 1024 }).pipe(
        Items.proper,
        Stream.mapBoth({
          onSuccess: ({ text }) => [text] as ReadonlyArray<string>,
          onFailure: ({ message }) => usage(message)
        })
      )
    const requests =
      sources.length > 0
        ? Iterable.map(Template.product(sources), jobs.next)
        : items(Option.getOrElse(config.argFile, () => "-")).pipe(
            jobs.misread === undefined ? identity : Stream.mapEffect(readable),
            Stream.map(jobs.next)
          )
    // A file is counted by reading it once more; a pipe can be read only once.
    const file = Option.filter(
      config.argFile,
      (path) => path !== "-" && statSync(path, { throwIfNoEntry: false })?.isFile() === true
    )
    const total =
      sources.length > 0
        ? Effect.sync(() => Iterable.size(Template.product(sources)))
        : Option.match(file, {
            onNone: () => Effect.succeed(undefined),
            onSome: (path) => Stream.runCount(items(path))
          })
    const output = yield* Output.Output
    const log = Option.map(
      config.joblog,
      (path) =>
        ({
          path,
          resume: config.resumeFailed ? "successful" : config.resume ? "all" : undefined
        }) as const
    )
    if (config.dryRun) {
      const { path = "", resume } = Option.getOrElse(log, () => ({ path: undefined, resume: undefined }))
      const isDone = resume === undefined ? () => false : yield* JobLog.done(path, resume)
      const all = Stream.StreamTypeId in requests ? requests : Stream.fromIterable(requests)
      return yield* Stream.runForEach(Stream.zipWithIndex(all), ([request, index]) => {
        const command = Jobs.keyOf(request)
        if (isDone(command)) return Effect.void
        return config.json
          ? output.print(Output.eventLine("planned", { seq: index + 1, command }))
          : output.write(RawText.encode(`${command}\n`))
      })
    }
    const n = Option.match(config.concurrency, {
      onNone: () => machine.cpus,
      onSome: ({ n, of }) =>
        of === "number"
          ? n
          : of === "more"
            ? machine.cpus + n
            : Math.max(1, Math.round((machine.cpus * n) / 100))
    })
    yield* leanHeap
    yield* steadyYoungGeneration
    const draw = yield* JobReport.make({
      json: config.json,
      quiet: config.quiet,
      tag: config.tag,
      progress: config.progress,
      total: config.progress ? yield* total : undefined
    })
    const summary = yield* stopOnSignal((stop) =>
      Jobs.run(requests, {
        concurrency: n,
        output: mode,
        retries: config.retries,
        timeout: Option.getOrUndefined(config.timeout),
        delay: Option.getOrUndefined(config.delay),
        grace: Option.getOrUndefined(config.grace),
        stopSignal: Option.getOrUndefined(config.stopSignal),
        halt: Option.getOrUndefined(config.halt),
        load: Option.getOrUndefined(config.load),
        memfree: Option.getOrUndefined(config.memfree),
        results: Option.getOrUndefined(config.results),
        log: Option.getOrUndefined(log),
        onSpooled: stdout.endWithoutReader,
        stop,
        deliver: (events) => {
          const drawn = events.flatMap((event) => draw(event) ?? [])
          if (drawn.length === 0) return Effect.void
          // A job in the log must have had its output written; without a log, output need only be accepted.
          const taken = Option.isSome(log) ? output.written : output.drained
          return Effect.zipRight(Effect.all(drawn, { discard: true }), taken)
        }
      })
    )
    const wanted = Option.exists(config.halt, ({ on }) => on === "success") && summary.halted !== undefined
    if (summary.failed > 0 && !wanted) {
      return yield* new ExitError({ exitCode: summary.exitCode || codes.failed, message: "" })
    }
  }).pipe(Effect.scoped)
).pipe(
  Command.withDescription(
    "run a command for each item, many at once: no process is left behind, and an interrupted run resumes where it stopped. Alone: the guide's two commands."
  )
)
