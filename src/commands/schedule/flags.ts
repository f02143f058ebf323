import * as CivilTime from "../../services/time/CivilTime.js"
import * as Flag from "../kernel/Flag.js"
import * as Flags from "../kernel/Flags.js"
import * as Values from "../kernel/Values.js"

// The options that the subcommands of `aio schedule` share.

/** A time of day is read when the zone is known; here it only must not be empty. */
const when = Flag.kind("WHEN", Values.text("a time, like 18:00 or 2027-01-31T09:00"))

export const tz = Flag.kind("ZONE", CivilTime.zone)("tz", "time zone, like Europe/Berlin, UTC or +02:00", {
  default: "the machine's own"
})

export const from = when("from", "print the times after this one, like 2027-03-27T12:00; default now")

export const crontab = Flag.withText(
  Flags.named,
  "run the jobs of FILE, a user's crontab; - is standard input"
)

export const align = Flag.toggle(
  "align",
  "run at full intervals of the wall clock: 15m at :00, :15, :30 and :45"
)

export const count = Flag.withDefault(Flags.count(1)("count", "how many times to print", { alias: "n" }), 5)

export const ifPast = Flag.withDefault(
  Flag.choice("if-past", ["refuse", "run"], { text: "what to do with a time in the past" }),
  "refuse"
)

/** The options of every subcommand that runs a command. */
export const running = {
  tz,
  shell: Flags.shell,
  timeout: Flag.withText(Flags.timeout, "stop an attempt of a run after this time"),
  retries: Flags.retries(0),
  grace: Flags.grace("5s"),
  stopSignal: Flags.stopSignal,
  timestamps: Flag.withText(Flags.timestamps, "put the time before each line of output"),
  ...Flags.logs,
  dryRun: Flag.withText(Flags.dryRun, "print the times of the runs; run nothing"),
  ...Flags.reporting
}

/** The options of the subcommands that run a command repeatedly. */
export const repeating = {
  now: Flag.toggle("now", "the first run at once, before the times of the schedule"),
  times: Flags.count(1)("times", "stop after this many runs"),
  until: when("until", "no run is due after this time, like 18:00 or 2027-01-31T09:00"),
  jitter: Flags.span("jitter", "delay each run by a random part of this time"),
  seed: Flag.withText(Flags.seed, "for --jitter: the same seed gives the same delays"),
  overlap: Flag.withDefault(
    Flag.choice("overlap", ["skip", "queueOne", "queueAll", "cancelRunning", "parallel"], {
      text: "what happens to a run that is due while the previous one still runs"
    }),
    "skip"
  ),
  catchUp: Flag.withDefault(
    Flag.choice("catch-up", ["none", "last", "all"], {
      text: "which of the runs missed while the machine slept still run"
    }),
    "none"
  ),
  window: Flags.span("window", "for --catch-up: ignore runs missed longer ago than this", {
    default: "1 day"
  })
}

export const store = Flag.kind("STORE", Values.text("a file, or postgres://user@host/database"))(
  "store",
  "where durable schedules are: FILE, sqlite:FILE or postgres://user@host/database",
  { default: "a file in the user's state folder" }
)

/** The options of the subcommands that can record a schedule instead of running it. */
export const recording = {
  durable: Flag.toggle(
    "durable",
    "record it in the store and print its id, instead of waiting; aio schedule serve runs it"
  ),
  name: {
    ...Flag.kind("NAME", Values.text("a name"))("name", "for --durable: its name in lists", {
      default: "the command line"
    }),
    onlyWith: "durable"
  },
  store: {
    ...Flag.withText(store, "for --durable: FILE, sqlite:FILE or postgres://user@host/database"),
    onlyWith: "durable"
  }
}

export type Recording = Flag.Values<typeof recording>
export type Running = Flag.Values<typeof running>
export type Repeating = Flag.Values<typeof repeating>
