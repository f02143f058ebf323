import type * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import { Either, Option } from "effect"
import * as Durations from "../../services/text/Durations.js"
import * as CivilTime from "../../services/time/CivilTime.js"
import * as Values from "../kernel/Values.js"

// The options that the subcommands of `aio schedule` share.

/** A duration above zero. */
export const positiveDuration: Values.Parse<number> = (text) =>
  Either.filterOrLeft(
    Durations.duration(text),
    (ms) => ms > 0,
    () => `'${text}' is out of range; expected a duration above 0, like 90s or 1h30m`
  )

const span = (name: string) => Values.parsed(name, positiveDuration).pipe(Options.withPseudoName("duration"))

export const tz = Values.parsed("tz", CivilTime.zone).pipe(
  Options.withPseudoName("zone"),
  Options.withDescription("time zone, like Europe/Berlin, UTC or +02:00; default: the machine's own"),
  Options.optional,
  Options.map(Option.getOrElse(CivilTime.local))
)

export const json = Options.boolean("json").pipe(Options.withDescription("events as NDJSON on stdout"))

/** The options of every subcommand that runs a command. */
export const running = {
  tz,
  shell: Options.boolean("shell").pipe(
    Options.withDescription("CMD is one string for /bin/sh; default: no shell")
  ),
  timeout: span("timeout").pipe(
    Options.withDescription("stop a run after this time; default: no limit"),
    Options.optional
  ),
  grace: Values.duration("grace").pipe(
    Options.withDescription("grace period from TERM to KILL when a run is stopped; default 5s"),
    Options.optional
  ),
  dryRun: Options.boolean("dry-run").pipe(
    Options.withDescription("print the times of the runs; run nothing")
  ),
  json,
  quiet: Options.boolean("quiet").pipe(
    Options.withAlias("q"),
    Options.withDescription("no notes, failures or summary on stderr")
  )
}

export type Running = Command.Command.ParseConfig<typeof running> & { readonly words: ReadonlyArray<string> }

const overlaps = ["skip", "queueOne", "queueAll", "cancelRunning", "parallel"] as const

/** The options of the subcommands that run a command repeatedly. */
export const repeating = {
  times: Values.integer("times", 1).pipe(
    Options.withDescription("stop after this many runs; default: never"),
    Options.optional
  ),
  until: Options.text("until").pipe(
    Options.withPseudoName("when"),
    Options.withDescription("no run is due after this time, like 18:00 or 2027-01-31T09:00; default: never"),
    Options.optional
  ),
  jitter: span("jitter").pipe(
    Options.withDescription("delay each run by a random part of this time; default: none"),
    Options.optional
  ),
  seed: Values.integer("seed", 0).pipe(
    Options.withDescription("for --jitter: the same seed gives the same delays"),
    Options.optional
  ),
  overlap: Values.choice("overlap", overlaps).pipe(
    Options.withDescription(
      "what happens to a run that is due while the previous one still runs; default skip"
    ),
    Options.withDefault("skip" as const)
  ),
  catchUp: Values.choice("catch-up", ["none", "last", "all"]).pipe(
    Options.withDescription("which of the runs missed while the machine slept still run; default none"),
    Options.withDefault("none" as const)
  ),
  window: span("window").pipe(
    Options.withDescription("for --catch-up: ignore runs missed longer ago than this; default 1 day"),
    Options.optional
  )
}

export type Repeating = Command.Command.ParseConfig<typeof repeating>

export const align = Options.boolean("align").pipe(
  Options.withDescription("run at full intervals of the wall clock: 15m at :00, :15, :30 and :45")
)
