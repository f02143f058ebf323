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
import * as Units from "../services/text/Units.js"
import * as CivilTime from "../services/time/CivilTime.js"
import * as Cron from "../services/time/Cron.js"
import * as Timers from "../services/time/Timers.js"
import * as VirtualClock from "../services/time/VirtualClock.js"
import { Rest, withRest } from "./kernel/Cli.js"
import * as Values from "./kernel/Values.js"

// options

const virtual = Options.boolean("virtual").pipe(
  Options.withDescription("in virtual time: it ends at once, with the same lines in the same order")
)

const some = (text: string): Either.Either<number, string> =>
  Either.filterOrLeft(
    Units.duration(text),
    (ms) => ms > 0,
    () => `'${text}' is no time at all; write one like 90s or 1h30m`
  )

const span = (name: string) => Values.parsed(name, some).pipe(Options.withPseudoName("duration"))

const tz = Values.parsed("tz", CivilTime.zone).pipe(
  Options.withPseudoName("zone"),
  Options.withDescription("time zone, like Europe/Berlin, UTC or +02:00; default: the machine's own"),
  Options.optional,
  Options.map(Option.getOrElse(CivilTime.local))
)

const json = Options.boolean("json").pipe(Options.withDescription("events as NDJSON on stdout"))

/** What every subcommand has that runs a command. */
const running = {
  tz,
  shell: Options.boolean("shell").pipe(
    Options.withDescription("CMD is one string for /bin/sh; without this there is no shell")
  ),
  timeout: span("timeout").pipe(
    Options.withDescription("longest a run may take; then it is ended. Default: no limit"),
    Options.optional
  ),
  grace: Values.duration("grace").pipe(
    Options.withDescription("from TERM to KILL when a run is to end; default 5s"),
    Options.optional
  ),
  dryRun: Options.boolean("dry-run").pipe(
    Options.withDescription("print what would run when, and run nothing")
  ),
  json,
  quiet: Options.boolean("quiet").pipe(
    Options.withAlias("q"),
    Options.withDescription("no notes, failures and summary on stderr")
  )
}

const overlaps = ["skip", "queueOne", "queueAll", "cancelRunning", "parallel"] as const

/** What those have that run it again and again. */
const repeating = {
  times: Values.integer("times", 1).pipe(
    Options.withDescription("end after so many runs; default: go on for ever"),
    Options.optional
  ),
  until: Options.text("until").pipe(
    Options.withPseudoName("when"),
    Options.withDescription(
      "nothing is due after this, like 18:00 or 2027-01-31T09:00; default: go on for ever"
    ),
    Options.optional
  ),
  jitter: span("jitter").pipe(
    Options.withDescription("each run comes later by a random part of this; default: none"),
    Options.optional
  ),
  seed: Values.integer("seed", 0).pipe(
    Options.withDescription("for --jitter: the same delays every time"),
    Options.optional
  ),
  overlap: Values.choice("overlap", overlaps).pipe(
    Options.withDescription("what becomes of a run that is due while the one before goes on; default skip"),
    Options.withDefault("skip" as const)
  ),
  catchUp: Values.choice("catch-up", ["none", "last", "all"]).pipe(
    Options.withDescription(
      "which of the runs take place that were missed while the machine slept; default none"
    ),
    Options.withDefault("none" as const)
  ),
  window: span("window").pipe(
    Options.withDescription("for --catch-up: how long ago they may have been due; default 1 day"),
    Options.optional
  )
}

const align = Options.boolean("align").pipe(
  Options.withDescription("at full intervals of the clock on the wall: 15m at :00, :15, :30 and :45")
)

/** In one variadic argument, so that `2 days` and `0 9 1 * 1` need no quotes, and the help shows where the -- goes. */
const words = (what: string) => Args.text({ name: `${what} -- cmd` }).pipe(Args.repeated)

// what the subcommands share

const optional = <K extends string, A>(key: K, value: Option.Option<A>): { readonly [P in K]?: A } =>
  (Option.isSome(value) ? { [key]: value.value } : {}) as { readonly [P in K]?: A }

type Running = Command.Command.ParseConfig<typeof running> & { readonly words: ReadonlyArray<string> }

const usage = (sub: string) => (problem: string) =>
  new UsageError({ message: `aio schedule ${sub}: ${problem}` })

/** What stands before the --, and the command behind it. */
const read = (sub: string, what: string, example: string, config: Running) =>
  Effect.gen(function* () {
    const { words: rest } = yield* Rest
    const fail = usage(sub)
    const given = config.words.join(" ")
    const call = `aio schedule ${sub} ${example} -- echo tea`
    if (given.trim() === "") return yield* fail(`no ${what} is given; write one, like ${call}`)
    const [file, ...args] = rest
    if (file === undefined) return yield* fail(`no command is given; write it behind --, like ${call}`)
    if (file.trim() === "") return yield* fail(`the command is empty; write one, like ${call}`)
    if (config.shell && args.length > 0) {
      return yield* fail(`--shell takes one string, but ${rest.length} words are given; quote them as one`)
    }
    const command = (
      config.shell ? CommandText.shell(file) : Platform.make(file, ...args)
    ) as Platform.StandardCommand
    // What can be known before anything runs is said before anything runs.
    if (!config.dryRun) yield* Executables.check(command)
    return { given, command, line: config.shell ? file : CommandText.commandLine(command), fail }
  })

/** Marks a time that a clock change has moved. */
const moved = (skipped: string | undefined): string =>
  skipped === undefined ? "" : `  moved from ${skipped}`

const time = (at: number, skipped: string | undefined, zone: DateTime.TimeZone) => ({
  at: CivilTime.format(at, zone),
  ...(skipped === undefined ? {} : { movedFrom: skipped })
})

const report = (line: string, zone: DateTime.TimeZone, repeated: boolean, config: Running) =>
  Effect.map(Output.Output, (output) => {
    const decoders = new Map<string, InstanceType<typeof TextDecoder>>()
    const note = (text: string) => (config.quiet ? Effect.void : output.note(text))
    const which = (run: number) => (repeated ? `run ${run}: ` : "")
    let first = true
    const asJson = (event: Scheduling.RunEvent): object => {
      const { event: _, ...fields } = event
      switch (event.event) {
        case "scheduled":
          return time(event.at, event.skipped, zone)
        case "started":
          return { run: event.run, ...time(event.at, event.skipped, zone), command: line }
        case "output": {
          const key = `${event.run} ${event.stream}`
          const decoder = decoders.get(key) ?? new TextDecoder()
          decoders.set(key, decoder)
          return { run: event.run, stream: event.stream, text: decoder.decode(event.bytes, { stream: true }) }
        }
        case "skipped":
          return {
            ...fields,
            at: CivilTime.format(event.at, zone),
            until: CivilTime.format(event.until, zone)
          }
        default:
          return fields
      }
    }
    return (event: Scheduling.RunEvent): Effect.Effect<void> => {
      if (config.json) {
        const print = output.print(Output.eventLine(event.event, asJson(event)))
        return event.event === "output" ? Effect.zipRight(print, output.drained) : print
      }
      switch (event.event) {
        case "scheduled": {
          const told = first || event.skipped !== undefined
          const begin = repeated && first ? "first at " : "at "
          first = false
          return told
            ? Effect.flatMap(Clock.currentTimeMillis, (now) =>
                note(
                  `${line}: ${begin}${CivilTime.format(event.at, zone)}, in ${Units.formatDuration(Math.max(0, event.at - now))}${moved(event.skipped)}`
                )
              )
            : Effect.void
        }
        case "started":
          return Effect.void
        case "output":
          return Effect.zipRight(
            event.stream === "stdout" ? output.write(event.bytes) : output.writeError(event.bytes),
            output.drained
          )
        case "finished":
          return event.detail === undefined
            ? Effect.void
            : note(
                `${event.outcome === "cancelled" ? "Cancelled" : "Failed"} (${which(event.run)}${event.detail}): ${line}`
              )
        case "skipped": {
          const until =
            event.count === 1 ? "" : ` to ${CivilTime.format(event.until, zone)}, ${event.count} runs`
          return note(`Skipped (${event.reason}): ${CivilTime.format(event.at, zone)}${until}`)
        }
        case "summary": {
          const { cancelled, elapsed, failed, runs, skipped } = event
          const parts = [
            Units.plural(runs, "run"),
            ...(failed > 0 ? [`${failed} failed`] : []),
            ...(cancelled > 0 ? [`${cancelled} cancelled`] : []),
            ...(skipped > 0 ? [`${skipped} skipped`] : [])
          ]
          return repeated ? note(`${parts.join(", ")} in ${Units.formatDuration(elapsed)}`) : Effect.void
        }
      }
    }
  })

/** How many runs `--dry-run` shows that would go on for ever. */
const shown = 10

/** The times at which it would run, by running nothing at them in virtual time. */
const preview = (
  line: string,
  when: Scheduling.When,
  options: Scheduling.StartOptions,
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
            ? Output.eventLine("planned", { run, ...time(at, skipped, zone), command: line })
            : `${CivilTime.format(at, zone)}  ${line}${moved(skipped)}`
        )
      )
    const start = yield* Clock.currentTimeMillis
    yield* Scheduling.start(when, body, { ...options, ...(note ? { times: shown } : {}) }).pipe(
      Effect.flatMap((handle) => handle.await),
      // Nobody sets this clock: so it needs not be looked at every minute.
      Effect.provide(Timers.layerWith({ recheck: "20 days" })),
      VirtualClock.run({ start, patience: 0 })
    )
    if (note && !config.quiet) yield* output.note("and so on; --times or --until say how many")
  })

/** Runs it, or says when it would. */
const run = (
  read: { readonly command: Platform.StandardCommand; readonly line: string },
  when: Scheduling.When,
  options: Scheduling.StartOptions,
  config: Running
) =>
  Effect.gen(function* () {
    const { command, line } = read
    const zone = config.tz
    const repeated = when._tag === "Every" || when._tag === "Cron"
    const settings = { name: line, zone, ...options }
    if (config.dryRun) return yield* preview(line, when, settings, zone, config)
    const output = yield* Output.Output
    // To a terminal it writes itself, so that it has its colours; else we do, and end when the reader goes away.
    const child = command.pipe(
      Platform.stdout(config.json || !output.stdout.interactive ? "pipe" : "inherit"),
      Platform.stderr(config.json || !output.stderr.interactive ? "pipe" : "inherit")
    )
    const { exitCode } = yield* Scheduling.runs(child, when, {
      ...settings,
      ...optional("grace", config.grace),
      ...optional("timeout", config.timeout),
      handle: yield* report(line, zone, repeated, config)
    })
    if (exitCode !== 0) return yield* new ExitError({ exitCode, message: "" })
  })

type Repeating = Command.Command.ParseConfig<typeof repeating>

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
        `option --until: '${Option.getOrElse(config.until, () => "")}' is past (${CivilTime.format(until.at, config.tz)}); give a time to come`
      )
    }
    const settings: Scheduling.StartOptions = {
      overlap: config.overlap,
      catchUp: config.catchUp,
      ...optional("times", config.times),
      ...(until === undefined ? {} : { until: until.at }),
      ...optional("jitter", config.jitter),
      ...optional("seed", config.seed),
      ...optional("window", config.window)
    }
    return settings
  })

// subcommands

const later = Command.make("later", { words: words("delay"), ...running }, (config) =>
  Effect.gen(function* () {
    const call = yield* read("later", "delay", "10m", config)
    const delay = yield* Either.mapLeft(Units.duration(call.given), call.fail)
    yield* run(call, { _tag: "Later", delay }, {}, config)
  })
).pipe(Command.withDescription("run a command after a delay: 90s, 1h30m, 250ms, 2 days"))

const at = Command.make(
  "at",
  {
    words: words("when"),
    ifPast: Values.choice("if-past", ["refuse", "run"]).pipe(
      Options.withDescription("what to do about a time that is past; default refuse"),
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
          `'${call.given}' is past (${CivilTime.format(time.at, config.tz)}); give a time to come, or --if-past run to run it at once`
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
    const interval = yield* Either.mapLeft(some(call.given), call.fail)
    const options = yield* seriesOf("every", config)
    yield* run(call, { _tag: "Every", interval, align: config.align }, options, config)
  })
).pipe(
  Command.withDescription(
    "run a command every interval, first after one has passed; however long it takes, the others keep their times"
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
    "run a command by a cron expression, where the clock changes as Debian's cron does: 5 or 6 fields, names, L, W, #, @daily"
  )
)

const next = Command.make(
  "next",
  {
    words: Args.text({ name: "expr|interval" }).pipe(Args.repeated),
    count: Values.integer("count", 1).pipe(
      Options.withAlias("n"),
      Options.withDescription("how many times; default 5"),
      Options.withDefault(5)
    ),
    from: Options.text("from").pipe(
      Options.withPseudoName("when"),
      Options.withDescription("the times after this, like 2027-03-27T12:00; default: now"),
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
          "nothing is given; write an expression or an interval, like aio schedule next '0 9 * * 1-5'"
        )
      }
      const zone = config.tz
      const now = yield* Clock.currentTimeMillis
      const after = Option.isNone(config.from)
        ? now
        : (yield* Either.mapLeft(CivilTime.read(config.from.value, { zone, now }), (problem) =>
            fail(`option --from: ${problem}`)
          )).at
      // Nothing but a cron expression has a *, an @ or as many words.
      const isCron = /[*@?]/.test(given) || given.trim().split(/\s+/).length > 4
      const interval = isCron ? undefined : yield* Either.mapLeft(some(given), fail)
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
            ? Output.eventLine("next", time(at, skipped, zone))
            : `${CivilTime.format(at, zone)}${moved(skipped)}`
        )
        yield* output.drained
        if (--left === 0) break
      }
    })
).pipe(
  Command.withDescription(
    "print the coming times of a cron expression or an interval, and mark those that a clock change moves"
  )
)

export const command = Command.make("schedule", { virtual }, ({ virtual }) =>
  // Timers go by the clock that they are built on: those at hand are on the live one.
  virtual ? VirtualClock.run(Effect.provide(Scheduling.example, Timers.layer)) : Scheduling.example
).pipe(
  Command.withDescription(
    "run a command later, at a time, every interval or by cron, or say when that would be. Alone: the guide's three callbacks."
  ),
  Command.withSubcommands([later, at, every, cron, next])
)
