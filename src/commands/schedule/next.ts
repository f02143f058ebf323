import { Clock, Effect, Either } from "effect"
import * as EventLine from "../../services/host/EventLine.js"
import * as Output from "../../services/host/Output.js"
import * as CivilTime from "../../services/time/CivilTime.js"
import * as Cron from "../../services/time/Cron.js"
import * as Command from "../kernel/Command.js"
import * as Flags from "../kernel/Flags.js"
import * as Values from "../kernel/Values.js"
import { align, count, from, tz } from "./flags.js"
import { zoneOf } from "./run.js"
import * as view from "./view.js"

export const next = Command.make(
  "next",
  {
    summary:
      "print the next times of a cron expression or an interval; marks times that a clock change moves",
    usage: ["[OPTIONS] EXPR|INTERVAL"],
    operands: "mixed",
    flags: { count, from, align, tz, json: Flags.json },
    examples: [["schedule next -n 3 --tz Europe/Berlin '30 2 * * *'", "three nights in Berlin"]]
  },
  (config, { operands, rest = [] }) =>
    Effect.gen(function* () {
      const given = [...operands, ...rest].join(" ")
      if (given.trim() === "") {
        return yield* Command.usage(
          "no expression or interval is given; expected one, like '0 9 * * 1-5' or 15m"
        )
      }
      const zone = zoneOf(config.tz)
      const now = yield* Clock.currentTimeMillis
      const after =
        config.from === undefined
          ? now
          : (yield* Either.mapLeft(CivilTime.read(config.from, { zone, now }), (problem) =>
              Command.usage(`option --from: ${problem}`)
            )).at
      // Only a cron expression contains *, @ or ?, or has five words.
      const isCron = /[*@?]/.test(given) || given.trim().split(/\s+/).length > 4
      const step = isCron ? undefined : yield* Either.mapLeft(Values.span(given), Command.usage)
      const rule =
        step === undefined
          ? yield* Either.mapLeft(Cron.parse(given), Command.usage)
          : config.align
            ? Cron.aligned(step)
            : undefined
      const times: Iterable<CivilTime.Time> =
        rule === undefined
          ? Array.from({ length: config.count }, (_, i) => ({
              at: after + (i + 1) * step!,
              skipped: undefined
            }))
          : Cron.upcoming(rule, { zone, after })
      const output = yield* Output.Output
      let index = 0
      let left = config.count
      for (const { at, skipped } of times) {
        yield* output.print(
          config.json
            ? EventLine.encode({
                event: "next",
                ...{ index: ++index, ...view.timeFields(at, skipped, zone) }
              })
            : `${CivilTime.format(at, zone)}${view.moved(skipped)}`
        )
        yield* output.drained
        if (--left === 0) break
      }
    })
)
