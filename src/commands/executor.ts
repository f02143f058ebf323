import { pathToFileURL } from "node:url"
import * as Args from "@effect/cli/Args"
import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import { Console, Effect, Either, Option, Stream } from "effect"
import * as Executors from "../programs/Executors.js"
import { ExitError, UsageError } from "../services/host/ExitCodes.js"
import * as Failures from "../services/host/Failures.js"
import * as Input from "../services/host/Input.js"
import * as Output from "../services/host/Output.js"
import * as SystemLoad from "../services/host/SystemLoad.js"
import * as Items from "../services/record/Items.js"
import * as LosslessJson from "../services/record/LosslessJson.js"
import * as Modules from "../services/source/Modules.js"
import * as Durations from "../services/text/Durations.js"
import * as Sizes from "../services/text/Sizes.js"
import * as Executor from "../services/thread/Executor.js"
import * as Job from "../services/thread/Job.js"
import * as MapJobs from "../services/thread/MapJobs.js"
import { alone, withRest } from "./kernel/Cli.js"
import * as Screen from "./kernel/Screen.js"
import * as Values from "./kernel/Values.js"

const usage = (message: string) => new UsageError({ message: `aio executor: ${message}` })

const formats = ["lines", "ndjson", "null"] as const

const options = {
  maxWorkers: Values.integer("max-workers", 1).pipe(
    Options.withAlias("j"),
    Options.withDescription("threads at most; default: the cores"),
    Options.optional
  ),
  input: Options.text("input-file").pipe(
    Options.withAlias("i"),
    Options.withPseudoName("file"),
    Options.withDescription("items from this file; - is standard input, which is the default"),
    Options.optional
  ),
  format: Values.choice("input", formats).pipe(
    Options.withDescription("what an item is: a line of text (default), a line of JSON, or text up to a NUL"),
    Options.withDefault("lines" as const)
  ),
  unordered: Options.boolean("unordered").pipe(
    Options.withDescription("results as they come instead of in input order")
  ),
  timeout: Values.duration("timeout").pipe(
    Options.withDescription("fails a job that runs for longer; time in the queue does not count"),
    Options.optional
  ),
  retries: Values.integer("retries", 0).pipe(
    Options.withDescription("further attempts of an item that failed; default 0"),
    Options.withDefault(0)
  ),
  chunk: Values.integer("chunk", 1).pipe(
    Options.withDescription("items that go to a thread at a time, for jobs of some microseconds; default 1"),
    Options.withDefault(1)
  ),
  maxMemory: Values.size("max-memory").pipe(
    Options.withDescription("heap of each thread; an item that needs more fails"),
    Options.optional
  ),
  grace: Values.duration("grace").pipe(
    Options.withDescription("time between asking a job to end and ending its thread; default 1s"),
    Options.optional
  ),
  onFailure: Values.choice("on-failure", ["cancel", "continue"]).pipe(
    Options.withDescription("on a failing item: cancel the others (default), or continue with them"),
    Options.withDefault("cancel" as const)
  ),
  processes: Options.boolean("processes").pipe(
    Options.withDescription("child processes instead of threads, for code that may crash")
  ),
  progress: Options.boolean("progress").pipe(
    Options.withDescription("a line on the terminal: items done, failed, and done per second")
  ),
  json: Options.boolean("json").pipe(Options.withDescription("events as NDJSON on stdout")),
  quiet: Options.boolean("quiet").pipe(
    Options.withAlias("q"),
    Options.withDescription("no failures and no summary on stderr")
  )
}

const words = Args.text({ name: "MODULE#EXPORT ITEM" }).pipe(
  Args.withDescription(
    "a function of a .ts or .js file (without #EXPORT: default or main), then its items, unless they come from -i or standard input"
  ),
  Args.repeated
)

/** Most characters of an item in a failure. */
const longestLabel = 200

/** Most bytes of an item. */
const longestItem = 1024 * 1024

const inputOf = ({ place, problem, text, value }: Items.Item): MapJobs.ItemInput => ({
  text: text || place,
  value: problem === undefined ? Either.right(value) : Either.left(Items.describe(place, problem))
})

const arrayOf = (value: object): object =>
  value instanceof Map || value instanceof Set
    ? [...value]
    : ArrayBuffer.isView(value) && !(value instanceof DataView)
      ? Array.from(value as Uint8Array)
      : value

/** Maps, sets and typed arrays as arrays, in place: a result is the command's own copy. */
const withArrays = (root: unknown): unknown => {
  const holder = [root]
  const arrays = new Map<object, object>()
  const open: Array<object> = [holder]
  for (let each = open.pop(); each !== undefined; each = open.pop()) {
    const fields = each as Record<string, unknown>
    for (const key of Object.keys(each)) {
      const part = fields[key]
      if (typeof part !== "object" || part === null) continue
      let array = arrays.get(part)
      if (array === undefined) {
        array = arrayOf(part)
        arrays.set(part, array)
        if (!ArrayBuffer.isView(part)) open.push(array)
      }
      if (array !== part) fields[key] = array
    }
  }
  return holder[0]
}

/** Most characters of a result: a slightly longer line exceeds the longest string. */
const longestText = 511 * 1024 * 1024

const bounded = (text: string): string => {
  if (text.length <= longestText) return text
  throw new RangeError(
    `it has ${Sizes.formatSize(text.length)}; at most ${Sizes.formatSize(longestText)} is a line`
  )
}

/** A result as JSON; throws if it has none. */
const jsonOf = (value: unknown): string =>
  value === undefined ? "null" : bounded(LosslessJson.encode(withArrays(value)))

/** A result as a line: text as it is, everything else as JSON. */
const lineOf = (value: unknown): string => (typeof value === "string" ? bounded(value) : jsonOf(value))

const short = (ms: number): string =>
  ms < 10 ? `${Number(ms.toPrecision(2))} ms` : Durations.formatDuration(ms)

const table = ({ cancelled, elapsed, failed, ok, run, wait }: MapJobs.ItemsSummary): string => {
  const times = ({ p50, p95, p99 }: MapJobs.Quantiles) =>
    `p50 ${short(p50)}, p95 ${short(p95)}, p99 ${short(p99)}`
  const lines = [
    `items  ${ok} ok, ${failed} failed${cancelled ? ", the others cancelled" : ""}`,
    `time   ${Durations.formatDuration(elapsed)}`
  ]
  if (run.p99 > 0) lines.push(`run    ${times(run)}`, `wait   ${times(wait)}`)
  return lines.join("\n")
}

/** An event of `--json`. The value of a result is encoded as JSON before: its integers keep all their digits. */
const jsonLine = (event: MapJobs.ItemEvent): string => {
  const { event: name, ...fields } = event
  if (!("value" in fields)) return Output.eventLine(name, fields)
  const { value, ...others } = fields
  return `${Output.eventLine(name, others).slice(0, -1)},"value":${value}}`
}

/** The console of jobs: stdout is for results. */
const consoleTo = (note: (stream: "stdout" | "stderr", line: string) => Effect.Effect<void>) =>
  Console.consoleWith((console) =>
    Effect.succeed<Console.Console>({
      ...console,
      log: (line: string) => note("stdout", line),
      error: (line: string) => note("stderr", line)
    })
  )

const map = (
  file: string,
  name: string | undefined,
  given: ReadonlyArray<string>,
  config: Command.Command.ParseConfig<typeof options>
) =>
  Effect.gen(function* () {
    const machine = yield* SystemLoad.SystemLoad
    const output = yield* Output.Output
    const { load } = yield* Modules.Modules
    // Report wrong usage before any job runs.
    const found = yield* load(file, name === undefined ? undefined : [name]).pipe(
      Effect.mapError((error) => (error._tag === "ModuleError" ? usage(error.message) : error))
    )
    if (typeof found.value !== "function") {
      const kind = found.value === null ? "null" : `a ${typeof found.value}`
      return yield* usage(
        `${file}: the export '${found.name}' is ${kind}; name a function that takes an item`
      )
    }
    const job = Job.fromModule<(item: unknown) => unknown>(pathToFileURL(found.path), found.name)
    const path = Option.getOrElse(config.input, () => "-")
    const items = Items.words(given, config).map(inputOf)
    const wrong = items.find(({ value }) => Either.isLeft(value))?.value
    if (config.onFailure === "cancel" && wrong !== undefined && Either.isLeft(wrong)) {
      return yield* usage(`${wrong.left}; --on-failure continue runs the others`)
    }
    const inputs =
      given.length > 0
        ? Stream.fromIterable(items)
        : Items.read(path, { format: config.format, maxLine: longestItem }).pipe(
            Stream.mapBoth({ onSuccess: inputOf, onFailure: ({ message }) => usage(message) })
          )

    const screen =
      config.progress && output.stderr.interactive && !config.json ? yield* Screen.make : undefined
    const begun = performance.now()
    const total = given.length > 0 ? given.length : undefined
    let done = 0
    let failed = 0
    const show = () => {
      const rate = (done * 1000) / Math.max(1, performance.now() - begun)
      screen?.show([
        `${done}${total === undefined ? "" : ` of ${total}`} done, ${failed} failed, ${rate.toFixed(rate < 10 ? 1 : 0)} a second`
      ])
    }
    const note = (line: string) =>
      screen === undefined ? output.note(line) : Effect.sync(() => screen.log(line))
    const print = (line: string) =>
      screen !== undefined && output.stdout.interactive
        ? Effect.sync(() => screen.log(line))
        : output.print(line)
    const cwd = process.cwd()
    const failure = ({ item, message, stack }: MapJobs.ItemEvent & { readonly event: "failed" }) => {
      if (config.quiet) return Effect.void
      const place = stack === undefined ? undefined : Failures.place(stack, cwd)
      const label = item.length > longestLabel ? `${item.slice(0, longestLabel)}…` : item
      return note(`Failed (${label}): ${message}${place === undefined ? "" : ` (${place})`}`)
    }
    let bad: string | undefined // the problem of the input, if it ends the run
    let summary: MapJobs.ItemsSummary | undefined
    const handle = (event: MapJobs.ItemEvent): Effect.Effect<void> => {
      if (event.event === "summary") summary = event
      else {
        done++
        if (event.event === "failed") failed++
        if (event.event === "failed" && event.error === "BadInput" && config.onFailure === "cancel") {
          bad = event.message
        }
      }
      if (config.json) {
        return output.print(jsonLine(event))
      }
      show()
      switch (event.event) {
        case "result":
          return print(event.value as string)
        case "failed":
          if (bad !== undefined) return Effect.void
          return failure(event)
        case "summary":
          return Effect.void
      }
    }

    const workers: Executor.WorkersOptions = {
      maxWorkers: Option.getOrElse(config.maxWorkers, () => machine.cpus),
      maxMemory: Option.getOrUndefined(config.maxMemory),
      grace: Option.getOrUndefined(config.grace)
    }
    const console = yield* consoleTo((stream, text) =>
      config.json ? output.print(Output.eventLine("output", { stream, text })) : note(text)
    )
    yield* MapJobs.items(job, inputs, {
      unordered: config.unordered,
      retries: config.retries,
      chunk: config.chunk,
      onFailure: config.onFailure,
      encode: config.json ? jsonOf : lineOf,
      timeout: Option.getOrUndefined(config.timeout)
    }).pipe(
      Stream.runForEachChunk((events) =>
        Effect.zipRight(Effect.forEach(events, handle, { discard: true }), output.drained)
      ),
      Effect.provide(config.processes ? Executor.layerProcesses(workers) : Executor.layerThreads(workers)),
      Effect.withConsole(console)
    )
    if (summary === undefined) return
    if (!config.quiet && !config.json) yield* note(table(summary))
    if (bad !== undefined) {
      return yield* usage(`${bad}; --on-failure continue runs the others`)
    }
    if (summary.failed > 0) {
      return yield* new ExitError({ exitCode: summary.exitCode, message: "" })
    }
  }).pipe(Effect.scoped, Effect.provide(Modules.layer))

export const command = Command.make("executor", { words, ...options }, (config) =>
  Effect.gen(function* () {
    const input = yield* Input.Input
    const [target, ...given] = yield* withRest(config.words)
    if (target === undefined) {
      if (Option.isSome(config.input)) return yield* usage("items need a function; write MODULE#EXPORT first")
      return yield* Effect.zipRight(alone("aio executor", "write MODULE#EXPORT ITEM…"), Executors.example)
    }
    const hash = target.lastIndexOf("#")
    const file = hash < 0 ? target : target.slice(0, hash)
    const name = hash < 0 ? undefined : target.slice(hash + 1)
    if (file === "" || name === "") {
      return yield* usage(`'${target}' is not a function; expected MODULE#EXPORT, like ./images.ts#thumbnail`)
    }
    if (config.chunk > 1024) return yield* usage(`option --chunk: ${config.chunk} is too many; 1024 at most`)
    if (given.length > 0 && Option.isSome(config.input)) {
      return yield* usage("items come as words or from --input-file, not from both")
    }
    if (given.length === 0 && Option.isNone(config.input) && input.isTerminal) {
      return yield* usage("no items are given; write them after the function, or pipe them in, one a line")
    }
    return yield* map(file, name, given, config)
  })
).pipe(
  Command.withDescription(
    "run a blocking or CPU-bound function for each item, on threads beside the event loop. Alone: the guide's four downloads."
  )
)
