import * as Args from "@effect/cli/Args"
import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import * as Platform from "@effect/platform/Command"
import { Clock, type DateTime, Effect, Either, Option } from "effect"
import * as Scheduling from "../programs/Scheduling.js"
import { ExitError, UsageError } from "../services/host/ExitCodes.js"
import * as Output from "../services/host/Output.js"
import * as CommandText from "../services/process/CommandText.js"
import * as Executables from "../services/process/Executables.js"
import * as ScheduledRuns from "../services/supervision/ScheduledRuns.js"
import * as Durations from "../services/text/Durations.js"
import * as CivilTime from "../services/time/CivilTime.js"
import * as Cron from "../services/time/Cron.js"
import * as Timers from "../services/time/Timers.js"
import * as VirtualClock from "../services/time/VirtualClock.js"
import { Rest, withRest } from "./kernel/Cli.js"
import * as Values from "./kernel/Values.js"
import {
  align,
  json,
  positiveDuration,
  type Repeating,
  type Running,
  repeating,
  running,
  tz
} from "./schedule/options.js"
import * as report from "./schedule/report.js"

// options

const virtual = Options.boolean("virtual").pipe(
  Options.withDescription(
    "run the example in virtual time; ends at once, with the same lines in the same order"
  )
)

/** One variadic argument: `2 days` and `0 9 1 * 1` need no quotes, and the help shows where the -- goes. */
const words = (what: string) => Args.text({ name: `${what} -- cmd` }).pipe(Args.repeated)

// what the subcommands share

const usage = (sub: string) => (problem: string) =>
  new UsageError({ message: `aio schedule ${sub}: ${problem}` })

/** Parses the words before the --, and the command after it. */
const read = (sub: string, what: string, example: string, config: Running) =>
  Effect.gen(function* () {
    const { words: rest } = yield* Rest
    const fail = usage(sub)
    const given = config.words.join(" ")
    const call = `aio schedule ${sub} ${example} -- echo tea`
    if (given.trim() === "") return yield* fail(`no ${what} is given; write one, like ${call}`)
    const [file, ...args] = rest
    if (file === undefined) return yield* fail(`no command is given; write it after --, like ${call}`)
    if (file.trim() === "") return yield* fail(`the command is empty; write one, like ${call}`)
    if (config.shell && args.length > 0) {
      return yield* fail(`--shell takes one string, but ${rest.length} words are given; quote them as one`)
    }
    const command = (
      config.shell ? CommandText.shell(file) : Platform.make(file, ...args)
    ) as Platform.StandardCommand
    // Reported now, not when the command is due.
    if (!config.dryRun) yield* Executables.check(command)
    return { given, command, line: config.shell ? file : CommandText.commandLine(command), fail }
  })

/** How many runs `--dry-run` shows of a series without an end. */
const previewed = 10

/** Prints the times of the runs, by running the schedule in virtual time with a body that only prints. */
const preview = (
  line: string,
  when: ScheduledRuns.When,
  options: ScheduledRuns.StartOptions,
  zone: DateTime.TimeZone,
  config: Running
) =>
  Effect.gen(function* () {
    const output = yield* Output.Output
    const endless = options.times === undefined && options.until === undefined
    const note = endless && (when._tag === "Every" || when._tag === "Cron")
    const body = ({ run, skipped }: Timers.Tick) =>
      Effect.flatMap(Clock.currentTimeMillis, (at) =>
        output.print(
          config.json
            ? Output.eventLine("planned", { run, ...report.timeFields(at, skipped, zone), command: line })
            : `${CivilTime.format(at, zone)}  ${line}${report.moved(skipped)}`
        )
      )
    const start = yield* Clock.currentTimeMillis
    yield* ScheduledRuns.start(when, body, { ...options, ...(note ? { times: previewed } : {}) }).pipe(
      Effect.flatMap((handle) => handle.await),
      // The virtual wall clock is never set, so it need not be checked every minute.
      Effect.provide(Timers.layerWith({ recheck: "20 days" })),
      VirtualClock.run({ start, patience: 0 })
    )
    if (note && !config.quiet) yield* output.note("and so on; limit the runs with --times or --until")
  })

/** Runs the command as scheduled, or previews the schedule. */
const run = (
  read: { readonly command: Platform.StandardCommand; readonly line: string },
  when: ScheduledRuns.When,
  options: ScheduledRuns.StartOptions,
  config: Running
) =>
  Effect.gen(function* () {
    const { command, line } = read
    const zone = config.tz
    const repeated = when._tag === "Every" || when._tag === "Cron"
    const settings = { name: line, zone, ...options }
    if (config.dryRun) return yield* preview(line, when, settings, zone, config)
    const output = yield* Output.Output
    // A terminal is inherited, so that the command keeps its colours. Anything else is a pipe to this process, which
    // notices when stdout is closed and stops.
    const child = command.pipe(
      Platform.stdout(config.json || !output.stdout.interactive ? "pipe" : "inherit"),
      Platform.stderr(config.json || !output.stderr.interactive ? "pipe" : "inherit")
    )
    const { exitCode } = yield* ScheduledRuns.run(child, when, {
      ...settings,
      grace: Option.getOrUndefined(config.grace),
      timeout: Option.getOrUndefined(config.timeout),
      handle: yield* report.make(line, { zone, repeated, json: config.json, quiet: config.quiet })
    })
    if (exitCode !== 0) return yield* new ExitError({ exitCode, message: "" })
  })

const seriesOf = (sub: string, config: Running & Repeating) =>
  Effect.gen(function* () {
    const now = yield* Clock.currentTimeMillis
    const until = Option.isNone(config.until)
      ? undefined
      : yield* Either.mapLeft(CivilTime.read(config.until.value, { zone: config.tz, now }), (problem) =>
          usage(sub)(`option --until: ${problem}`)
        )
    if (until !== undefined && until.at <= now) {
      return yield* usage(sub)(
        `option --until: '${Option.getOrElse(config.until, () => "")}' is past (${CivilTime.format(until.at, config.tz)}); expected a future time`
      )
    }
    const settings: ScheduledRuns.StartOptions = {
      overlap: config.overlap,
      catchUp: config.catchUp,
      times: Option.getOrUndefined(config.times),
      until: until?.at,
      jitter: Option.getOrUndefined(config.jitter),
      seed: Option.getOrUndefined(config.seed),
      window: Option.getOrUndefined(config.window)
    }
    return settings
  })

// subcommands

const later = Command.make("later", { words: words("delay"), ...running }, (config) =>
  Effect.gen(function* () {
    const call = yield* read("later", "delay", "10m", config)
    const delay = yield* Either.mapLeft(Durations.duration(call.given), call.fail)
    yield* run(call, { _tag: "Later", delay }, {}, config)
  })
).pipe(Command.withDescription("run a command after a delay: 90s, 1h30m, 250ms, 2 days"))

const at = Command.make(
  "at",
  {
    words: words("when"),
    ifPast: Values.choice("if-past", ["refuse", "run"]).pipe(
      Options.withDescription("what to do with a time in the past; default refuse"),
      Options.withDefault("refuse" as const)
    ),
    ...running
  },
  (config) =>
    Effect.gen(function* () {
      const call = yield* read("at", "time", "18:30", config)
      const now = yield* Clock.currentTimeMillis
      const time = yield* Either.mapLeft(CivilTime.read(call.given, { zone: config.tz, now }), call.fail)
      if (time.at < now && config.ifPast === "refuse") {
        return yield* call.fail(
          `'${call.given}' is past (${CivilTime.format(time.at, config.tz)}); expected a future time, or --if-past run to run it at once`
        )
      }
      yield* run(call, { _tag: "At", time }, {}, config)
    })
).pipe(
  Command.withDescription(
    "run a command at a time: 2027-01-31T09:00, with an offset or in --tz, or the next 09:00"
  )
)

const every = Command.make("every", { words: words("interval"), align, ...repeating, ...running }, (config) =>
  Effect.gen(function* () {
    const call = yield* read("every", "interval", "15m", config)
    const interval = yield* Either.mapLeft(positiveDuration(call.given), call.fail)
    const options = yield* seriesOf("every", config)
    yield* run(call, { _tag: "Every", interval, align: config.align }, options, config)
  })
).pipe(
  Command.withDescription(
    "run a command every interval, first after one interval; the duration of a run does not shift later ones"
  )
)

const cron = Command.make("cron", { words: words("expr"), ...repeating, ...running }, (config) =>
  Effect.gen(function* () {
    const call = yield* read("cron", "cron expression", "'30 2 * * *'", config)
    const cron = yield* Either.mapLeft(Cron.parse(call.given), call.fail)
    const options = yield* seriesOf("cron", config)
    yield* run(call, { _tag: "Cron", cron }, options, config)
  })
).pipe(
  Command.withDescription(
    "run a command by a cron expression (5 or 6 fields, names, L, W, #, @daily); clock changes as in Debian's cron"
  )
)

const next = Command.make(
  "next",
  {
    words: Args.text({ name: "expr|interval" }).pipe(Args.repeated),
    count: Values.integer("count", 1).pipe(
      Options.withAlias("n"),
      Options.withDescription("how many times to print; default 5"),
      Options.withDefault(5)
    ),
    from: Options.text("from").pipe(
      Options.withPseudoName("when"),
      Options.withDescription("print the times after this one, like 2027-03-27T12:00; default: now"),
      Options.optional
    ),
    align,
    tz,
    json
  },
  (config) =>
    Effect.gen(function* () {
      const fail = usage("next")
      const given = (yield* withRest(config.words)).join(" ")
      if (given.trim() === "") {
        return yield* fail(
          "the expression or interval is missing; write one, like aio schedule next '0 9 * * 1-5'"
        )
      }
      const zone = config.tz
      const now = yield* Clock.currentTimeMillis
      const after = Option.isNone(config.from)
        ? now
        : (yield* Either.mapLeft(CivilTime.read(config.from.value, { zone, now }), (problem) =>
            fail(`option --from: ${problem}`)
          )).at
      // Only a cron expression contains *, @ or ?, or has five words.
      const isCron = /[*@?]/.test(given) || given.trim().split(/\s+/).length > 4
      const interval = isCron ? undefined : yield* Either.mapLeft(positiveDuration(given), fail)
      const rule =
        interval === undefined
          ? yield* Either.mapLeft(Cron.parse(given), fail)
          : config.align
            ? Cron.aligned(interval)
            : undefined
      const times: Iterable<CivilTime.Time> =
        rule === undefined
          ? Array.from({ length: config.count }, (_, i) => ({
              at: after + (i + 1) * interval!,
              skipped: undefined
            }))
          : Cron.upcoming(rule, { zone, after })
      const output = yield* Output.Output
      let left = config.count
      for (const { at, skipped } of times) {
        yield* output.print(
          config.json
            ? Output.eventLine("next", report.timeFields(at, skipped, zone))
            : `${CivilTime.format(at, zone)}${report.moved(skipped)}`
        )
        yield* output.drained
        if (--left === 0) break
      }
    })
).pipe(
  Command.withDescription(
    "print the next times of a cron expression or an interval; marks times that a clock change moves"
  )
)

export const command = Command.make("schedule", { virtual }, ({ virtual }) =>
  // Timers use the clock that they are built on, and the ones provided to commands are built on the live clock.
  virtual ? VirtualClock.run(Effect.provide(Scheduling.example, Timers.layer)) : Scheduling.example
).pipe(
  Command.withDescription(
    "run a command later, at a time, every interval or by cron, or print the times. Without a subcommand: the guide's three callbacks."
  ),
  Command.withSubcommands([later, at, every, cron, next])
)
