import * as Args from "@effect/cli/Args"
import * as Options from "@effect/cli/Options"
import { Either, Option } from "effect"
import * as RecordKey from "../services/record/RecordKey.js"
import * as Records from "../services/record/Records.js"
import type * as Pacing from "../services/stream/Pacing.js"
import * as Durations from "../services/text/Durations.js"
import * as Values from "./kernel/Values.js"

const rate = Values.parsed("rate", (text): Either.Either<Pacing.RateOptions, string> => {
  const match = /^(\d+(?:\.\d+)?)(?:\/(\d*)(ms|s|m|h|d))?$/.exec(text.trim())
  const limit = Number(match?.[1] ?? 0)
  if (match === null || !(limit > 0)) {
    return Either.left(`'${text}' is not a rate; expected one like 10/s, 100/m or 5/10s`)
  }
  return Either.map(Durations.duration(`${match[2] || 1}${match[3] ?? "s"}`), (interval) => ({
    limit,
    interval
  }))
})

/** The policy for failed records. */
type OnError =
  | { readonly policy: "stop" | "skip" }
  | { readonly policy: "dead-letter"; readonly path: string }

const onError = Values.parsed("on-error", (text): Either.Either<OnError, string> => {
  if (text === "stop" || text === "skip") return Either.right({ policy: text })
  const path = /^dead-letter[ =:](.+)$/s.exec(text)?.[1]
  return path === undefined
    ? Either.left(`'${text}' is not a policy; expected stop, skip or dead-letter FILE`)
    : Either.right({ policy: "dead-letter", path })
})

const key = Values.parsed("key", RecordKey.parse)

/** The options of `aio loop`. */
export const optionSet = {
  input: Values.choice("input", Records.formats).pipe(
    Options.withAlias("i"),
    Options.withDescription(
      "format of the records: lines (default), one JSON value per line, texts that end with NUL, rows of a CSV (commas, doubled quotes, UTF-8) with a header of distinct names"
    ),
    Options.withDefault("lines" as const)
  ),
  output: Values.choice("output", ["lines", "ndjson"]).pipe(
    Options.withAlias("o"),
    Options.withDescription("strings as they are, or everything as JSON; default: as the input"),
    Options.optional
  ),
  concurrency: Values.integer("concurrency", 1).pipe(
    Options.withAlias("j"),
    Options.withDescription("records in progress at once; default 1"),
    Options.withDefault(1)
  ),
  unordered: Options.boolean("unordered").pipe(
    Options.withDescription("emit results as they complete; by default in the order of the records")
  ),
  key: key.pipe(
    Options.withPseudoName("expr"),
    Options.withDescription(
      "process records of one key in sequence, different keys concurrently: a path (user.id), a field of a line (1), or JavaScript (record.id % 10)"
    ),
    Options.optional
  ),
  batch: Values.integer("batch", 1).pipe(
    Options.withDescription("give the function arrays of N records"),
    Options.optional
  ),
  within: Values.duration("within").pipe(
    Options.withDescription("with --batch: emit a batch this long after its first record at the latest"),
    Options.optional
  ),
  rate: rate.pipe(
    Options.withPseudoName("n/s"),
    Options.withDescription("most records (or batches) begun in an interval, evenly: 10/s, 100/m, 5/10s"),
    Options.optional
  ),
  retries: Values.integer("retries", 0).pipe(
    Options.withDescription("further attempts of a failed record, after 100 ms, 200 ms, … 10 s; default 0"),
    Options.withDefault(0)
  ),
  timeout: Values.duration("timeout").pipe(
    Options.withDescription("time limit of an attempt"),
    Options.optional
  ),
  onError: onError.pipe(
    Options.withPseudoName("stop|skip|dead-letter FILE"),
    Options.withDescription(
      "on a failing record: stop (default), skip and report it on stderr, or also append its bytes to FILE"
    ),
    Options.withDefault({ policy: "stop" } as OnError)
  ),
  skip: Values.integer("skip", 0).pipe(
    Options.withDescription("skip the first N records"),
    Options.withDefault(0)
  ),
  take: Values.integer("take", 0).pipe(Options.withDescription("stop after N records"), Options.optional),
  maxLine: Values.size("max-line").pipe(
    Options.withDescription("most bytes of a record; default 16M"),
    Options.optional
  ),
  follow: Options.text("follow").pipe(
    Options.withAlias("f"),
    Options.withPseudoName("file"),
    Options.withDescription(
      "records of this file and those appended to it, through rotation and truncation; waits for a file that does not exist yet"
    ),
    Options.optional
  ),
  rotateWait: Values.duration("rotate-wait").pipe(
    Options.withDescription(
      "with --follow: how long a rotated file must have been quiet before the next one is read; default 5s"
    ),
    Options.optional
  ),
  onGap: Values.choice("on-gap", ["warn", "fail"]).pipe(
    Options.withDescription(
      "with --follow: when records may have been lost, warn on stderr (default), or end with exit code 3"
    ),
    Options.optional
  ),
  checkpoint: Options.text("checkpoint").pipe(
    Options.withPseudoName("file"),
    Options.withDescription("keep the position in this file and resume from it: each record at least once"),
    Options.optional
  ),
  progress: Options.boolean("progress").pipe(
    Options.withDescription("a line on the terminal: records done and failed, and records per second")
  ),
  json: Options.boolean("json").pipe(
    Options.withDescription("results, failures, gaps and the summary as NDJSON events on stdout")
  ),
  quiet: Options.boolean("quiet").pipe(
    Options.withAlias("q"),
    Options.withDescription("no summary on stderr")
  )
}

/** The function, or the words of a command. */
export const words = Args.text({ name: "MODULE#EXPORT" }).pipe(
  Args.withDescription(
    "a function of a .ts or .js file, or after -- a command with {} for the record; without it, the guide's example"
  ),
  Args.repeated
)

/** The field with the value of an option, if that was given. */
export const optional = <K extends string, A>(name: K, value: Option.Option<A>): { readonly [P in K]?: A } =>
  (Option.isSome(value) ? { [name]: value.value } : {}) as { readonly [P in K]?: A }

/** The parsed options that {@link problemOf} checks. */
interface Given {
  readonly words: ReadonlyArray<string>
  readonly input: Records.Format
  readonly batch: Option.Option<unknown>
  readonly follow: Option.Option<unknown>
  readonly key: Option.Option<unknown>
  readonly onGap: Option.Option<unknown>
  readonly rotateWait: Option.Option<unknown>
  readonly within: Option.Option<unknown>
}

/** The problem of words and options that exclude each other; `rest` are the words after `--`. */
export const problemOf = (
  { batch, follow, input, key, onGap, rotateWait, within, words: own }: Given,
  rest: ReadonlyArray<string>,
  isTerminal: boolean
): string | undefined => {
  const [isBatch, isFollow] = [Option.isSome(batch), Option.isSome(follow)]
  if (own.length === 0 && rest.length === 0) {
    return "no function is given; write aio loop MODULE#EXPORT, or aio loop -- CMD ARG… {}"
  }
  if (own.length > 1 || (own.length > 0 && rest.length > 0)) {
    return `unexpected '${own.length > 1 ? own[1] : rest[0]}'; one function or one command takes the records`
  }
  if (Option.isSome(within) && !isBatch) return "--within applies to --batch N only; give that too"
  if (Option.isSome(key) && isBatch) return "--key and --batch exclude each other: a batch has no one key"
  if (Option.isSome(rotateWait) && !isFollow)
    return "--rotate-wait applies to --follow FILE only; give that too"
  if (Option.isSome(onGap) && !isFollow) return "--on-gap applies to --follow FILE only; give that too"
  if (!isFollow && isTerminal) {
    return "no records are given; pipe them in, or name a file with --follow FILE"
  }
  if (isFollow && input === "csv") {
    return "--follow takes lines, ndjson or null; a CSV's header would be lost with a rotation"
  }
  return rest[0]?.trim() === "" ? "the command is empty; write one like 'gzip -k {}'" : undefined
}
