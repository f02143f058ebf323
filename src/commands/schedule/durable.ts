import { mkdirSync } from "node:fs"
import { homedir } from "node:os"
import { isAbsolute, join } from "node:path"
import type * as Platform from "@effect/platform/Command"
import { DateTime, Duration, Effect, HashMap, Option, Random, Stream } from "effect"
import * as CommandRunner from "../../services/cluster/CommandRunner.js"
import * as ScheduleServer from "../../services/cluster/ScheduleServer.js"
import * as Schedules from "../../services/cluster/Schedules.js"
import * as Store from "../../services/cluster/Store.js"
import * as EventLine from "../../services/host/EventLine.js"
import * as Output from "../../services/host/Output.js"
import * as SystemLoad from "../../services/host/SystemLoad.js"
import type * as ScheduledRuns from "../../services/supervision/ScheduledRuns.js"
import { formatDuration } from "../../services/text/Durations.js"
import { plural } from "../../services/text/Plural.js"
import * as Printable from "../../services/text/Printable.js"
import * as Table from "../../services/text/Table.js"
import * as CivilTime from "../../services/time/CivilTime.js"
import type * as Cron from "../../services/time/Cron.js"
import * as Command from "../kernel/Command.js"
import * as Reporter from "../kernel/Reporter.js"
import * as Values from "../kernel/Values.js"
import type { Recording, Running } from "./flags.js"
import * as view from "./view.js"

// Durable schedules: what the subcommands of records.ts do.

/** Without --store: a file of the user, whose folder is made. */
const ownFile = () => {
  const given = process.env["XDG_STATE_HOME"] ?? ""
  const folder = join(isAbsolute(given) ? given : join(homedir(), ".local", "state"), "effect-asyncio")
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  return join(folder, "schedules.sqlite")
}

const opened = <A, E, R>(
  { store }: { readonly store: string | undefined },
  effect: Effect.Effect<A, E, R | Store.Store>
) =>
  Effect.gen(function* () {
    const given = yield* Effect.try({
      try: () => store ?? ownFile(),
      catch: (error) =>
        Command.usage(`the state folder cannot be made: ${(error as Error).message}; give --store`)
    })
    const location = yield* Effect.mapError(Store.parse(given), (problem) =>
      Command.usage(`option --store: ${problem}`)
    )
    return yield* Effect.provide(effect, Store.layer(location, [Schedules.tables]))
  })

const local = CivilTime.local()
const shown = (at: number) => CivilTime.format(at, local)
const given = <A extends object>(fields: A) =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as {
    [K in keyof A]: Exclude<A[K], undefined>
  }

const whenOf = (when: ScheduledRuns.When): Schedules.Spec["when"] => {
  switch (when._tag) {
    case "Later":
      return { _tag: "Later", delay: Duration.toMillis(when.delay) }
    case "At":
      return { _tag: "At", ...given(when.time) }
    case "Every":
      return { _tag: "Every", interval: Duration.toMillis(when.interval), align: when.align }
    case "Cron":
      return { _tag: "Cron", expression: (when.cron as Cron.Cron).text }
  }
}

/** Records schedules and prints their ids. */
export const record = (
  jobs: ReadonlyArray<ScheduledRuns.ScheduledCommand>,
  options: ScheduledRuns.StartOptions & { readonly zone: DateTime.TimeZone },
  config: Running & Recording
) =>
  Effect.gen(function* () {
    if (config.logDir !== undefined || config.timestamps)
      return yield* Command.usage(
        `--${config.timestamps ? "timestamps" : "log-dir"} does not apply with --durable: aio schedule show has the output`
      )
    if (config.name !== undefined && jobs.length > 1)
      return yield* Command.usage(
        "--name is for one schedule; those of a crontab have the names of their commands"
      )
    const { catchUp, jitter, now, overlap, times, until, window } = options
    const millis = (duration: Duration.DurationInput | undefined) =>
      duration === undefined ? undefined : Duration.toMillis(duration)
    const { retries } = config.retries
    const specOf = ({ command, when, zone = options.zone }: ScheduledRuns.ScheduledCommand) =>
      Effect.gen(function* () {
        const { args, command: file, env, stdin } = command as Platform.StandardCommand
        // Each job has a jitter of its own.
        const seed =
          options.seed ?? (jitter === undefined ? undefined : yield* Random.nextIntBetween(0, 2 ** 31))
        const fed =
          typeof stdin === "string"
            ? undefined
            : yield* Effect.orDie(Stream.mkString(Stream.decodeText(stdin)))
        const spec: Schedules.Spec = {
          when: whenOf(when),
          zone: DateTime.zoneToString(zone),
          rules: given({
            ...{ catchUp, now, overlap, retries, seed, times },
            until: until as number | undefined,
            jitter: millis(jitter),
            window: millis(window),
            backoff: given({
              first: millis(config.retries.backoff.first),
              max: millis(config.retries.backoff.max)
            })
          }) as Schedules.Spec["rules"],
          work: {
            _tag: "Command",
            ...given({
              ...{ file, args, cwd: process.cwd(), stdin: fed },
              env: HashMap.isEmpty(env) ? undefined : Object.fromEntries(env),
              timeout: config.timeout,
              grace: config.grace,
              stopSignal: config.stopSignal
            })
          } as Schedules.Spec["work"]
        }
        return spec
      })
    const output = yield* Output.Output
    yield* opened(
      config,
      Effect.forEach(
        jobs,
        (job) =>
          Effect.gen(function* () {
            const name = config.name ?? job.name
            const id = yield* Schedules.add(name, yield* specOf(job))
            const { next } = yield* Schedules.show(id)
            const at = CivilTime.format(next!, job.zone ?? options.zone)
            if (config.json)
              return yield* output.print(EventLine.encode({ event: "recorded", ...{ id, name, at } }))
            yield* output.print(id)
            if (config.quiet === 0)
              yield* output.note(`${Printable.line(name)}: at ${at}; aio schedule serve runs it`)
          }),
        { discard: true }
      )
    )
  })

const runFields = (
  { attempt, due, ended, exitCode, id, reason, started, status }: Schedules.Run,
  name: string
) =>
  given({
    ...{ id, name, attempt },
    at: shown(due),
    status,
    started: started === undefined ? undefined : shown(started),
    ended: ended === undefined ? undefined : shown(ended),
    exitCode,
    reason
  })

const scheduleEvent = ({ created, id, last, missed, name, next, state }: Schedules.Schedule) => ({
  event: "schedule",
  ...given({
    ...{ id, name, state },
    created: shown(created),
    at: next === undefined ? undefined : shown(next),
    missed,
    last: last && runFields(last, name)
  })
})

const outcome = (run: Schedules.Run | undefined) =>
  run === undefined
    ? "-"
    : run.reason === undefined
      ? run.status
      : `${run.status}: ${Printable.line(run.reason)}`

const row = (one: Schedules.Schedule) => [
  one.id,
  one.next === undefined ? one.state : shown(one.next),
  outcome(one.last),
  String(one.missed),
  Printable.line(one.name)
]

interface Given {
  readonly store: string | undefined
  readonly json: boolean
}

const printAll = (lines: ReadonlyArray<string>) => Effect.forEach(lines, Output.print, { discard: true })

export const list = (config: Given & { readonly all: boolean }) =>
  opened(
    config,
    Effect.flatMap(Schedules.list(config), (found) =>
      printAll(
        config.json
          ? found.map((one) => EventLine.encode(scheduleEvent(one)))
          : found.length === 0
            ? []
            : Table.aligned([["ID", "NEXT", "LAST", "MISSED", "NAME"], ...found.map(row)])
      )
    )
  )

export const show = (id: string, config: Given) =>
  opened(
    config,
    Effect.flatMap(Schedules.show(id), (one) => {
      if (config.json)
        return printAll([
          EventLine.encode(scheduleEvent(one)),
          ...one.runs.map((run) =>
            EventLine.encode({
              event: "ran",
              ...{ ...runFields(run, one.name), count: run.count, ...given({ text: run.output }) }
            })
          )
        ])
      const output = (text: string | undefined) =>
        (text ?? "") === ""
          ? []
          : text!
              .trimEnd()
              .split("\n")
              .map((line) => `    ${Printable.line(line)}`)
      return printAll([
        ...Table.aligned([["ID", "NEXT", "LAST", "MISSED", "NAME"], row(one)]),
        ...one.runs.flatMap((run) => [
          `${shown(run.due)}  ${run.id}  ${outcome(run)}${run.count > 1 ? `, ${plural(run.count, "run")}` : ""}`,
          ...output(run.output)
        ])
      ])
    })
  )

const changes =
  (state: string, already: string, change: typeof Schedules.cancel) => (id: string, config: Given) =>
    opened(
      config,
      Effect.gen(function* () {
        const changed = yield* change(id)
        const line = `${id}: ${changed ? state : already}`
        yield* Output.print(
          config.json ? EventLine.encode({ event: "changed", ...{ id, state, changed } }) : line
        )
      })
    )

export const cancel = changes("cancelled", "over already", Schedules.cancel)
export const pause = changes("paused", "paused already", Schedules.pause)
export const resume = changes("active", "active already", Schedules.resume)

export const trigger = (id: string, config: Given) =>
  opened(
    config,
    Effect.flatMap(Schedules.trigger(id), (run) =>
      Output.print(config.json ? EventLine.encode({ event: "triggered", ...{ id, run } }) : run)
    )
  )

export const serve = (config: {
  readonly store: string | undefined
  readonly poll: number
  readonly drain: number
  readonly keep: number
  readonly jobs: Values.Jobs | undefined
  readonly untilDone: boolean
  readonly json: boolean
  readonly quiet: number
}) =>
  opened(
    config,
    Effect.gen(function* () {
      const clock = yield* Effect.clock
      const runner = yield* CommandRunner.make
      const runs = view.make({
        zone: local,
        repeated: true,
        timestamps: false,
        now: () => clock.unsafeCurrentTimeMillis()
      })
      const { report } = yield* Reporter.make<ScheduleServer.ServerEvent>(
        {
          json: (event) => (event.event === "closing" || event.event === "note" ? event : runs.json!(event)),
          show: (event) => {
            if (event.event === "note") return { note: event.reason }
            if (event.event !== "closing") return runs.show(event)
            return {
              note: `waiting up to ${formatDuration(event.grace)} for ${plural(event.running, "run")}`
            }
          }
        },
        config
      )
      const cpus = Option.map(yield* Effect.serviceOption(SystemLoad.SystemLoad), ({ cpus }) => cpus)
      const summary = yield* ScheduleServer.serve({
        ...config,
        concurrency:
          config.jobs === undefined
            ? undefined
            : Values.jobCount(
                config.jobs,
                Option.getOrElse(cpus, () => 1)
              ),
        runners: new Map([["command", runner]]),
        handle: (event) => report([event])
      })
      yield* Command.exit(summary.exitCode)
    }).pipe(Effect.scoped)
  )
