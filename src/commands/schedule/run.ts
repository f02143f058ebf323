import * as Platform from "@effect/platform/Command"
import { Clock, type DateTime, Effect, Either } from "effect"
import * as EventLine from "../../services/host/EventLine.js"
import { ExitError } from "../../services/host/ExitCodes.js"
import * as Output from "../../services/host/Output.js"
import * as CommandText from "../../services/process/CommandText.js"
import * as Executables from "../../services/process/Executables.js"
import * as ScheduledRuns from "../../services/supervision/ScheduledRuns.js"
import * as CivilTime from "../../services/time/CivilTime.js"
import * as Timers from "../../services/time/Timers.js"
import * as VirtualClock from "../../services/time/VirtualClock.js"
import * as Command from "../kernel/Command.js"
import * as Reporter from "../kernel/Reporter.js"
import type { Recording, Repeating, Running } from "./flags.js"
import * as view from "./view.js"

// What the subcommands of `aio schedule` share: their words, a preview, a run.

export const zoneOf = (given: DateTime.TimeZone | undefined) => given ?? CivilTime.local()

/** The words before the --, and the command after it. */
export const read = (what: string, { operands, rest = [] }: Command.Words, config: Running) =>
  Effect.gen(function* () {
    const given = operands.join(" ")
    if (given.trim() === "")
      return yield* Command.usage(`no ${what} is given; expected ${what.toUpperCase()} -- CMD`)
    const [file, ...args] = rest
    if (file === undefined)
      return yield* Command.usage("no command is given; expected it after --, like -- echo tea")
    if (file.trim() === "")
      return yield* Command.usage("the command is empty; expected one, like -- echo tea")
    if (config.shell && args.length > 0) {
      return yield* Command.usage(
        `--shell takes one string, but ${rest.length} words are given; quote them as one`
      )
    }
    const command = (
      config.shell ? CommandText.shell(file) : Platform.make(file, ...args)
    ) as Platform.StandardCommand
    // Reported now, not when the command is due.
    if (!config.dryRun) yield* Executables.check(command)
    return { given, command, name: config.shell ? file : CommandText.commandLine(command) }
  })

/** How many runs `--dry-run` shows of a series without an end. */
const previewed = 10

const isRepeated = ({ when }: ScheduledRuns.ScheduledCommand): boolean =>
  when._tag === "Every" || when._tag === "Cron"

/** Prints the times of the runs, by running the schedules in virtual time with a body that only prints. */
const preview = (
  jobs: ReadonlyArray<ScheduledRuns.ScheduledCommand>,
  options: ScheduledRuns.StartOptions,
  zone: DateTime.TimeZone,
  config: Running
) =>
  Effect.gen(function* () {
    const output = yield* Output.Output
    const isEndless = (job: ScheduledRuns.ScheduledCommand) =>
      options.times === undefined && options.until === undefined && isRepeated(job)
    const start = yield* Clock.currentTimeMillis
    yield* Effect.forEach(jobs, (job) => {
      const own = job.zone ?? zone
      const body = ({ run: index, skipped }: Timers.Tick) =>
        Effect.flatMap(Clock.currentTimeMillis, (at) =>
          output.print(
            config.json
              ? EventLine.encode({
                  event: "planned",
                  ...{ index, name: job.name, ...view.timeFields(at, skipped, own) }
                })
              : `${CivilTime.format(at, own)}  ${job.name}${view.moved(skipped)}`
          )
        )
      const times = isEndless(job) ? { times: previewed } : {}
      return ScheduledRuns.start(job.when, body, { ...options, zone: own, ...times })
    }).pipe(
      Effect.flatMap((handles) => Effect.forEach(handles, (handle) => handle.await)),
      // The virtual wall clock is never set, so it need not be checked every minute.
      Effect.provide(Timers.layerWith({ recheck: "20 days" })),
      VirtualClock.run({ start, patience: 0 })
    )
    if (jobs.some(isEndless) && config.quiet === 0)
      yield* output.note("and so on; limit the runs with --times or --until")
  })

/** Runs the commands as scheduled, or previews the schedules. */
const runAll = (
  jobs: ReadonlyArray<ScheduledRuns.ScheduledCommand>,
  options: ScheduledRuns.StartOptions,
  config: Running
) =>
  Effect.gen(function* () {
    const zone = zoneOf(config.tz)
    if (config.dryRun) return yield* preview(jobs, options, zone, config)
    const output = yield* Output.Output
    const clock = yield* Effect.clock
    const {
      grace,
      json,
      logDir: directory,
      logKeep: keep,
      logSize: maxSize,
      stopSignal,
      timeout,
      timestamps
    } = config
    // A terminal is inherited, so that the command keeps its colours. Anything else is a pipe to this process, which
    // notices when stdout is closed and stops.
    const piped = json || timestamps || directory !== undefined
    const child = (command: Platform.Command) =>
      command.pipe(
        Platform.stdout(piped || !output.stdout.interactive ? "pipe" : "inherit"),
        Platform.stderr(piped || !output.stderr.interactive ? "pipe" : "inherit")
      )
    const repeated = jobs.length > 1 || jobs.some(isRepeated)
    const { report } = yield* Reporter.make(
      view.make({ zone, repeated, timestamps, now: () => clock.unsafeCurrentTimeMillis() }),
      config
    )
    const { exitCode } = yield* ScheduledRuns.runAll(
      jobs.map((job) => ({ ...job, command: child(job.command) })),
      {
        ...options,
        ...config.retries,
        ...{ grace, stopSignal, timeout, zone },
        logs: directory === undefined ? undefined : { directory, keep, maxSize },
        handle: (event) =>
          event.event === "output" ? Effect.zipRight(report([event]), output.drained) : report([event])
      }
    ).pipe(
      Effect.catchTag("LogFilesError", ({ exitCode, message }) =>
        Effect.fail(new ExitError({ exitCode, message: `aio schedule: ${message}` }))
      )
    )
    yield* Command.exit(exitCode)
  }).pipe(Effect.scoped)

/** Runs the commands as scheduled, previews the schedules, or records them. */
export const run = (
  jobs: ReadonlyArray<ScheduledRuns.ScheduledCommand>,
  options: ScheduledRuns.StartOptions,
  config: Running & Recording
) =>
  config.durable && !config.dryRun
    ? Effect.flatMap(
        Effect.promise(() => import("./durable.js")),
        ({ record }) => record(jobs, { ...options, zone: zoneOf(config.tz) }, config)
      )
    : runAll(jobs, options, config)

export const seriesOf = ({ until: text, ...config }: Running & Repeating) =>
  Effect.gen(function* () {
    const now = yield* Clock.currentTimeMillis
    const zone = zoneOf(config.tz)
    const until =
      text === undefined
        ? undefined
        : yield* Either.mapLeft(CivilTime.read(text, { zone, now }), (problem) =>
            Command.usage(`option --until: ${problem}`)
          )
    if (until !== undefined && until.at <= now) {
      return yield* Command.usage(
        `option --until: '${text}' is past (${CivilTime.format(until.at, zone)}); expected a future time`
      )
    }
    const { catchUp, jitter, now: first, overlap, seed, times, window } = config
    return {
      catchUp,
      jitter,
      now: first,
      overlap,
      seed,
      times,
      window,
      until: until?.at
    } as ScheduledRuns.StartOptions
  })
