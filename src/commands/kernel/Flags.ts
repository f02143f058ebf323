import type * as Records from "../../services/record/Records.js"
import * as Flag from "./Flag.js"
import * as Values from "./Values.js"

// The catalogue: every option that more than one command has, once, with its letter, unit, default and text. docs/cli.md
// is its page.

// options by the kind of their value

export const file = Flag.kind("FILE", Values.text("a file"))
export const folder = Flag.kind("DIR", Values.text("a folder"))
/** A duration that may be 0. */
export const pause = Flag.kind("DURATION", Values.duration)
/** A duration above 0. */
export const span = Flag.kind("DURATION", Values.span)
export const size = (least: number) => Flag.kind("SIZE", Values.size(least))
export const count = (least: number, most?: number) => Flag.kind("N", Values.integer(least, most))

// work and input

export const argFile = file("arg-file", "read items from FILE too, one a line; - is standard input", {
  alias: "a"
})

const formats: Readonly<Record<Records.Format, string>> = {
  lines: "a line of text",
  null: "text that ends with NUL",
  ndjson: "a line of JSON",
  csv: "a row of CSV with a header",
  tsv: "a row of TSV with a header",
  json: "a JSON value, or an element of an array of them"
}

/** The format of items; a command passes those that it reads. `Command.formatOf` has the value. */
export const format = <const F extends ReadonlyArray<Records.Format>>(read: F) => ({
  ...Flag.choice("format", read, {
    text: `what an item is: ${read.map((one) => formats[one]).join(", ")}`,
    default: "lines"
  }),
  insteadOf: "null"
})

export const nul = {
  ...Flag.toggle("null", "items end with NUL, as find -print0 writes them: --format null", "0"),
  insteadOf: "format"
}

export const maxLine = Flag.withDefault(
  size(256)("max-line", "longest item; a longer one is an error and is not kept in memory"),
  16 * 1024 * 1024,
  "16M"
)

/** The file that names what runs: a Procfile or a crontab. */
export const named = file("file", "read the commands of FILE; - is standard input", { alias: "f" })

export const directory = folder("directory", "save files in DIR", { alias: "d" })

export const envFile = Flag.values("env-file", {
  value: "FILE",
  text: "set the variables of FILE, NAME=VALUE lines; those that are set already win",
  parse: Values.text("a file")
})

export const shell = Flag.toggle("shell", "the command is one string for /bin/sh")

// how much at once, in which order

export const jobs = Flag.kind("N|N%|+N", Values.jobs)(
  "jobs",
  "how many run at once: a number, a share of the processors, or so many more than these",
  { alias: "j" }
)

export const keepOrder = Flag.toggle("keep-order", "results in the order of the input", "k")

export const unordered = Flag.toggle("unordered", "results as they come instead of in the order of the input")

// failure

type Policies = ReadonlyArray<"cancel" | "continue" | "collect">

/** For a command whose other options decide what holds without this one. */
export const failurePolicy = <const Words extends Policies>(words: Words) =>
  Flag.choice("on-failure", words, {
    text: `when one fails: cancel the others, ${words.length > 2 ? "continue, or continue and print failures as results" : "or continue"}`
  })

export const onFailure = <const Words extends Policies>(words: Words, otherwise: Words[number]) =>
  Flag.withDefault(failurePolicy(words), otherwise)

const attempts = Flag.kind("N[,FIRST[,MAX]]", Values.retries)

export const retries = (otherwise: number) =>
  Flag.withDefault(
    attempts(
      "retries",
      "further attempts after a failure; the pause before them is FIRST (500ms) and doubles up to MAX (30s)"
    ),
    { retries: otherwise, backoff: {} } as Values.Retries,
    String(otherwise)
  )

// time

export const timeout = span("timeout", "time limit of each, like 90s or 1h30m; a bare number is seconds")

export const grace = (otherwise: string) =>
  pause("grace", "time from the stop signal to KILL", { default: otherwise })

export const port = Flag.value("port", {
  value: "N",
  text: "port to listen on; 0 is a free port",
  parse: Values.port(0),
  default: "0"
})

export const waitTime = span("wait-time", "time that a request may wait for a busy thread; then it gets 503")

export const stopSignal = Flag.value("stop-signal", {
  value: "SIGNAL",
  text: "the signal that asks a process to end",
  words: Values.signals,
  parse: Values.signal,
  default: "TERM"
})

export const seed = count(0)("seed", "the same seed gives the same random pauses")

export const virtual = Flag.toggle(
  "virtual",
  "run in virtual time: ends at once, with the same lines in the same order"
)

export const timestamps = Flag.toggle("timestamps", "put the time before each line of output")

// more than one machine

export const store = Flag.value("store", {
  value: "STORE",
  text: "where what outlives a process is: FILE, sqlite:FILE or postgres://user@host/database",
  parse: Values.text("a store")
})

export const group = Flag.value("group", {
  value: "NAME",
  text: "jobs go to the runners of this group; default 'default'",
  parse: Values.text("a group")
})

export const cluster = Flag.value("cluster", {
  value: "STORE",
  text: "run on the runners of this store (aio runner --store STORE), not on this machine",
  parse: Values.text("a store")
})

export const run = Flag.value("run", {
  value: "ID",
  text: "with --cluster: continue this run, with the same items in the same order",
  parse: Values.text("a run")
})

export const tries = count(1)(
  "tries",
  "with --cluster: a job that so many runners had when they died fails; default 3"
)

export const code = folder(
  "code",
  "the folder of the code that runners share: jobs name files in it; default the working directory"
)

export const storage = Flag.value("storage", {
  value: "DIR|s3://BUCKET",
  text: "where values are that are too large for the store: a folder, or a bucket with the settings S3_…",
  parse: Values.text("a storage")
})

// the event loop

export const watchLoop = Flag.value("watch-loop", {
  value: "DURATION",
  bare: "100ms",
  text: "report on stderr what blocks the event loop for longer than this, 100ms without a value",
  parse: Values.span
})

export const failOnBlock = Flag.toggle(
  "fail-on-block",
  "exit with 1 if the event loop was blocked; implies --watch-loop"
)

// output

export const json = Flag.toggle("json", "events as NDJSON on stdout, one schema for all commands: aio schema")

export const quiet = Flag.level("quiet", "no notes and no summary on stderr; -qq drops failures too", "q")

export const progress = Flag.negatable("progress", "progress on the terminal")

/** For a picture, whose ending says its kind. */
export const out = file("out", "write the picture to FILE.svg or FILE.html")

export const dryRun = Flag.toggle("dry-run", "print what would run; run nothing")

/** What every command that reports has. */
export const reporting = { json, quiet }

const jobsNow = "--jobs N (-j)"
const argsNow = "--max-args N (-n)"
const retriesNow = "--retries N[,FIRST[,MAX]]"

/** Spellings of earlier versions and of other tools, and what they are here. Shown when the command has no such option. */
export const elsewhere: Readonly<Record<string, string>> = {
  "--concurrency": jobsNow,
  "--max-workers": jobsNow,
  "--max-procs": jobsNow,
  "--parallel-max": jobsNow,
  "-P": jobsNow,
  "-N": argsNow,
  "-L": argsNow,
  "--max-replace-args": argsNow,
  "--max-lines": argsNow,
  "-m": "--xargs (-X)",
  "--input": "--arg-file FILE (-a) for a file, --format FORMAT for a format",
  "--input-file": "--arg-file FILE (-a)",
  "-i": "--arg-file FILE (-a) for a file, --format FORMAT for a format",
  "--output": "--output-format FORMAT",
  "--on-error": "--on-failure cancel|continue, or --dead-letter FILE",
  "--procfile": "--file FILE (-f)",
  "--overwrite": "--clobber",
  "--retry": retriesNow,
  "--tries": retriesNow,
  "--max-restarts": retriesNow,
  "--backoff": retriesNow,
  "--backoff-max": retriesNow,
  "--version": "aio --version",
  "--bar": "--progress",
  "--port": "--port-base N",
  "-p": "--port-base N",
  "--env": "--env-file FILE",
  "-e": "--env-file FILE",
  "--formation": "--scale NAME=N[,NAME=N]",
  "--cwd": "--workdir [NAME:]DIR",
  "--directory": "--workdir [NAME:]DIR",
  "-d": "--workdir [NAME:]DIR",
  "--eta": "--progress",
  "--demo": "--compare for all models under load, --explain for five lines"
}

/** Logs of the output of commands. */
export const logs = {
  logDir: folder("log-dir", "write one log per command to DIR, NAME.log"),
  logSize: size(4096)("log-size", "rotate a log at this size", { default: "10M" }),
  logKeep: count(0)("log-keep", "how many rotated logs to keep, NAME.log.1 the newest", {
    default: "5"
  })
}
