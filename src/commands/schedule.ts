import { Clock, Effect, Either, Layer } from "effect"
import * as Scheduling from "../programs/Scheduling.js"
import * as Crontab from "../services/supervision/Crontab.js"
import * as Durations from "../services/text/Durations.js"
import * as CivilTime from "../services/time/CivilTime.js"
import * as Cron from "../services/time/Cron.js"
import * as Timers from "../services/time/Timers.js"
import * as VirtualClock from "../services/time/VirtualClock.js"
import * as Command from "./kernel/Command.js"
import * as Flags from "./kernel/Flags.js"
import * as ProcessServices from "./kernel/ProcessServices.js"
import * as Values from "./kernel/Values.js"
import { align, crontab, ifPast, recording, repeating, running } from "./schedule/flags.js"
import { next } from "./schedule/next.js"
import { children as records } from "./schedule/records.js"
import { read, run, seriesOf, zoneOf } from "./schedule/run.js"

const description = <F extends Parameters<typeof Command.make>[1]["flags"]>(
  summary: string,
  what: string,
  flags: F,
  ...examples: ReadonlyArray<readonly [line: string, text: string]>
) => ({
  summary,
  usage: [`[OPTIONS] ${what} -- CMD [ARG...]`],
  operands: "mixed" as const,
  arguments: [["CMD", "the command, run without a shell"]] as const,
  flags,
  examples
})

const later = Command.make(
  "later",
  description(
    "run a command after a delay: 90s, 1h30m, 250ms, 2 days",
    "DELAY",
    { ...recording, ...running },
    ["schedule later 100ms -- echo tea", "a line after a tenth of a second"]
  ),
  (config, words) =>
    Effect.gen(function* () {
      const call = yield* read("delay", words, config)
      const delay = yield* Either.mapLeft(Durations.duration(call.given), Command.usage)
      yield* run([{ ...call, when: { _tag: "Later", delay } }], {}, config)
    })
)

const at = Command.make(
  "at",
  description(
    "run a command at a time: 2027-01-31T09:00, with an offset or in --tz, or the next 09:00",
    "WHEN",
    { ifPast, ...recording, ...running },
    ["schedule at --dry-run 18:30 -- echo tea", "when that will be"]
  ),
  (config, words) =>
    Effect.gen(function* () {
      const call = yield* read("time", words, config)
      const zone = zoneOf(config.tz)
      const now = yield* Clock.currentTimeMillis
      const time = yield* Either.mapLeft(CivilTime.read(call.given, { zone, now }), Command.usage)
      if (time.at < now && config.ifPast === "refuse") {
        return yield* Command.usage(
          `'${call.given}' is past (${CivilTime.format(time.at, zone)}); expected a future time, or --if-past run to run it at once`
        )
      }
      yield* run([{ ...call, when: { _tag: "At", time } }], {}, config)
    })
)

const every = Command.make(
  "every",
  description(
    "run a command every interval, first after one interval; the duration of a run does not shift later ones",
    "INTERVAL",
    { align, ...recording, ...repeating, ...running },
    ["schedule every 50ms --times 3 -- echo tick", "three runs"],
    ["schedule every 15m --align --dry-run -- echo tick", "the times of the first ten"]
  ),
  (config, words) =>
    Effect.gen(function* () {
      const call = yield* read("interval", words, config)
      const every = yield* Either.mapLeft(Values.span(call.given), Command.usage)
      const options = yield* seriesOf(config)
      yield* run(
        [{ ...call, when: { _tag: "Every", interval: every, align: config.align } }],
        options,
        config
      )
    })
)

const cron = Command.make(
  "cron",
  description(
    "run a command by a cron expression (5 or 6 fields, names, L, W, #, @daily); clock changes as in Debian's cron",
    "EXPR",
    { ...recording, ...repeating, ...running },
    ["schedule cron --dry-run '30 2 * * *' -- echo backup", "the next ten nights"]
  ),
  (config, words) =>
    Effect.gen(function* () {
      const call = yield* read("cron expression", words, config)
      const cron = yield* Either.mapLeft(Cron.parse(call.given), Command.usage)
      const options = yield* seriesOf(config)
      yield* run([{ ...call, when: { _tag: "Cron", cron } }], options, config)
    })
)

export const command = Command.provide(
  Command.make(
    "schedule",
    {
      summary:
        "run a command later, at a time, every interval or by cron, or the jobs of a crontab, or print the times",
      usage: ["[--virtual]", "[OPTIONS] -f CRONTAB"],
      flags: { crontab, virtual: Flags.virtual, ...recording, ...repeating, ...running },
      examples: [["schedule -f crontab --dry-run", "the next runs of the jobs of a crontab"]]
    },
    ({ crontab, virtual, ...config }) =>
      Effect.gen(function* () {
        if (crontab === undefined) {
          return yield* Command.usage(
            "no subcommand is given; expected later, at, every, cron, next, list, serve or -f CRONTAB"
          )
        }
        if (virtual) return yield* Command.usage("--virtual applies to the guide's example only")
        if (config.shell)
          return yield* Command.usage("--shell does not apply to a crontab: a shell reads its commands")
        const jobs = yield* Effect.mapError(Crontab.load(crontab), ({ message }) => Command.usage(message))
        if (config.durable && jobs.some(({ when }) => when._tag === "Later"))
          return yield* Command.usage("@reboot does not apply with --durable: a recorded job has times")
        const options = yield* seriesOf(config)
        yield* run(jobs, options, config)
      }),
    {
      example: {
        // Timers use the clock that they are built on, and the ones provided to commands are built on the live clock.
        run: ({ virtual }) =>
          virtual ? VirtualClock.run(Effect.provide(Scheduling.example, Timers.layer)) : Scheduling.example,
        flags: ["virtual"],
        instead: "write a subcommand: later, at, every, cron, next, list or serve"
      },
      children: [later, at, every, cron, next, ...records]
    }
  ),
  Layer.merge(ProcessServices.layer, Timers.layer)
)
