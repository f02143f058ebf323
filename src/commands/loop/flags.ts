import * as Columns from "../../services/record/Columns.js"
import * as RecordKey from "../../services/record/RecordKey.js"
import * as Records from "../../services/record/Records.js"
import * as Flag from "../kernel/Flag.js"
import * as Flags from "../kernel/Flags.js"
import * as Values from "../kernel/Values.js"

const one: Values.Jobs = { of: "number", n: 1 }

/** The options of `aio loop`. */
export const flags = {
  eval: Flag.value("eval", {
    alias: "e",
    value: "'r => …'",
    text: "the function, as a JavaScript expression; every word is then a FILE",
    parse: Values.text("a function like r => r.n * 2")
  }),
  pipe: Flag.toggle("pipe", "the command reads the record on its standard input"),
  argFile: Flag.withText(
    Flags.argFile,
    "read the records of FILE; - is standard input, which is the default"
  ),
  format: Flags.format(Records.formats),
  nul: Flags.nul,
  outputFormat: Flag.choice("output-format", ["lines", "ndjson", "csv", "tsv"], {
    text: "results are strings as they are, everything as JSON, or objects as rows of a table",
    default: "as the records are, a line of JSON for csv, tsv and json"
  }),
  fields: Flag.value("fields", {
    value: "NAME,…",
    text: "the columns of CSV and TSV output, in order; a field without a column fails its record",
    parse: Columns.names,
    default: "those of the first result"
  }),
  header: Flag.negatable("header", "the names of the columns, above CSV and TSV output"),
  jobs: Flag.withDefault(Flags.jobs, one, "1"),
  unordered: Flags.unordered,
  key: Flag.kind("EXPR", RecordKey.parse)(
    "key",
    "records of one key one after the other: a path (user.id), a field of a line (1), JavaScript (record.id % 10)"
  ),
  batch: Flags.count(1)("batch", "give the function arrays of N records"),
  within: Flags.span("within", "with --batch: give it fewer, this long after the first of them"),
  rate: Flag.kind("N/s", Values.rate)(
    "rate",
    "most records (or batches) begun in an interval, evenly: 10/s, 100/m, 5/10s"
  ),
  timeout: Flags.timeout,
  retries: Flags.retries(0),
  onFailure: Flag.withText(
    Flags.failurePolicy(["cancel", "continue"]),
    "when a record fails: end the run, or continue after it",
    "cancel"
  ),
  deadLetters: Flags.file("dead-letter", "append failed records to FILE, byte for byte, and continue"),
  skip: Flag.withDefault(Flags.count(0)("skip", "skip the first N records"), 0),
  take: Flags.count(0)("take", "end after N records"),
  maxLine: Flags.maxLine,
  follow: Flags.file(
    "follow",
    "records of FILE and those appended to it, through rotation and truncation, like tail -F",
    { alias: "F" }
  ),
  rotateWait: Flags.pause(
    "rotate-wait",
    "with --follow: how long a rotated file must be quiet before the next one is read",
    { default: "5s" }
  ),
  onGap: Flag.choice("on-gap", ["warn", "fail"], {
    text: "with --follow, when records may have been lost: warn, or end with exit code 3",
    default: "warn"
  }),
  checkpoint: Flags.file(
    "checkpoint",
    "keep the position in FILE and resume from it: each record at least once"
  ),
  progress: Flags.progress,
  ...Flags.reporting
}

type Config = Flag.Values<typeof flags>

/** The format of the output, if it is a table. */
export const tableOf = ({ outputFormat }: Config): Columns.Format | undefined =>
  outputFormat === "csv" || outputFormat === "tsv" ? outputFormat : undefined

/** What is wrong with options that exclude each other. */
export const conflict = (
  config: Config,
  files: ReadonlyArray<string>,
  isTerminal: boolean
): string | undefined => {
  const { argFile, batch, deadLetters, follow, format, key, onFailure, onGap, rotateWait, within } = config
  const table = tableOf(config)
  if (table === undefined && (config.fields !== undefined || config.header !== undefined))
    return `--${config.fields === undefined ? "header" : "fields"} applies to --output-format csv and tsv only`
  if (table !== undefined && config.json)
    return `--json writes events and --output-format ${table} rows; give one of them`
  if (table !== undefined && config.checkpoint !== undefined && config.fields === undefined)
    return `--checkpoint with --output-format ${table} needs --fields NAME,…: the columns are the same in each run`
  if (within !== undefined && batch === undefined) return "--within applies to --batch N only; give that too"
  if (key !== undefined && batch !== undefined)
    return "--key and --batch exclude each other: a batch has no one key"
  if (deadLetters !== undefined && onFailure === "cancel")
    return "--dead-letter continues after a failure; omit --on-failure cancel"
  if (files.length > 0 && (argFile ?? follow) !== undefined)
    return "records come from FILEs or from --arg-file or --follow; give one of them"
  if (files.length > 1 && (format === "csv" || format === "tsv"))
    return `several files of ${format.toUpperCase()} would have several headers; give one, or run once for each`
  if (follow === undefined) {
    if (rotateWait !== undefined) return "--rotate-wait applies to --follow FILE only; give that too"
    if (onGap !== undefined) return "--on-gap applies to --follow FILE only; give that too"
    return argFile === undefined && files.length === 0 && isTerminal
      ? "no records are given; pipe them in, or name a FILE, or --follow FILE"
      : undefined
  }
  if (argFile !== undefined) return "--arg-file and --follow exclude each other; give one of them"
  if (format === "json") return "--follow takes lines, ndjson or null; a rotation would cut an array of JSON"
  return format === "csv" || format === "tsv"
    ? "--follow takes lines, ndjson or null; a CSV's header would be lost with a rotation"
    : undefined
}
