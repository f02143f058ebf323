import * as Command from "@effect/cli/Command"
import { Chunk, Deferred, Effect, Fiber, Option, Stream } from "effect"
import * as Loops from "../programs/Loops.js"
import { codes, ExitError, UsageError } from "../services/host/ExitCodes.js"
import { leanHeap } from "../services/host/HeapTuning.js"
import * as Input from "../services/host/Input.js"
import * as Output from "../services/host/Output.js"
import * as Signals from "../services/host/Signals.js"
import * as CommandMapper from "../services/job/CommandMapper.js"
import * as DeadLetters from "../services/record/DeadLetters.js"
import * as MapRecords from "../services/record/MapRecords.js"
import * as RecordRun from "../services/record/RecordRun.js"
import * as Records from "../services/record/Records.js"
import * as RecordWriter from "../services/record/RecordWriter.js"
import type * as Tail from "../services/record/Tail.js"
import * as Modules from "../services/source/Modules.js"
import * as Cancellation from "../services/task/Cancellation.js"
import * as Durations from "../services/text/Durations.js"
import * as Plural from "../services/text/Plural.js"
import { alone, Rest } from "./kernel/Cli.js"
import * as Screen from "./kernel/Screen.js"
import { optional, optionSet, problemOf, words } from "./loop/options.js"

const usage = (message: string) => new UsageError({ message: `aio loop: ${message}` })

type Mapper = (value: unknown, context: MapRecords.RecordContext) => unknown

const loadFunction = (text: string) =>
  Effect.gen(function* () {
    const modules = yield* Modules.Modules
    const hash = text.lastIndexOf("#")
    const [file, name] = hash > 0 ? [text.slice(0, hash), text.slice(hash + 1)] : [text, ""]
    const found = yield* modules.load(file, name === "" ? undefined : [name])
    if (typeof found.value === "function") return found.value as Mapper
    return yield* usage(
      `${file}: export '${found.name}' is not a function; expected one that takes a record, like (record) => record`
    )
  }).pipe(Effect.mapError((error) => (error instanceof Modules.ModuleError ? usage(error.message) : error)))

const isReal = Option.isSome

type Failure = DeadLetters.DeadLetterError | RecordRun.RunError | Tail.Gap

/** The accepted input, for messages. */
const right = (problem: string): string =>
  problem.startsWith("longer than")
    ? "allow more with --max-line"
    : problem.startsWith("not JSON")
      ? "give a JSON value a line"
      : problem.startsWith("not CSV")
        ? "give rows like the header, quotes doubled within quotes"
        : "give text in UTF-8"

export const command = Command.make("loop", { words, ...optionSet }, (config) =>
  Effect.gen(function* () {
    const { words: rest } = yield* Rest
    const { batch, checkpoint, follow, key, onGap, output: asked, rotateWait, take, words: own } = config
    const input = yield* Input.Input
    const given = [batch, checkpoint, follow, key, onGap, asked, rotateWait, take].some(
      (option: Option.Option<unknown>) => isReal(option)
    )
    if (own.length === 0 && rest.length === 0 && !given && config.input === "lines") {
      return yield* Effect.zipRight(
        alone("aio loop", "write MODULE#EXPORT, or -- CMD ARG… {}"),
        Loops.example
      )
    }
    const problem = problemOf(config, rest, input.isTerminal)
    if (problem !== undefined) return yield* usage(problem)
    yield* leanHeap
    const output = yield* Output.Output
    const signals = yield* Signals.Signals
    const format = config.input
    const written = Option.getOrElse(config.output, () =>
      format === "ndjson" || format === "csv" ? "ndjson" : "lines"
    )
    const f: Mapper =
      rest.length > 0
        ? yield* CommandMapper.make(rest, { asText: config.json })
        : yield* loadFunction(own[0]!)
    const dead =
      config.onError.policy === "dead-letter"
        ? yield* Effect.mapError(DeadLetters.open(config.onError.path), (error) => usage(error.message))
        : undefined

    const name = Option.getOrElse(follow, () => "standard input")
    const source: RecordRun.Source<Input.InputError | Tail.Gap> = isReal(follow)
      ? {
          _tag: "File",
          path: follow.value,
          ...optional("rotateWait", rotateWait),
          onGap: (gap) =>
            Option.contains(onGap, "fail")
              ? Effect.fail(gap)
              : Effect.zipRight(
                  note(`aio loop: ${gap.message}`),
                  config.json
                    ? output.print(Output.eventLine("gap", { file: gap.path, detail: gap.detail }))
                    : Effect.void
                ),
          onWaiting: (detail) => note(`aio loop: waiting for ${name}: ${detail}`)
        }
      : { _tag: "Input", name, bytes: input.stdin }
    const drain = yield* Deferred.make<void>()
    const outcomes = RecordRun.run(source, f, {
      format,
      ...optional("maxLine", config.maxLine),
      skip: config.skip,
      ...optional("take", take),
      ...optional("checkpoint", checkpoint),
      concurrency: config.concurrency,
      ordered: !config.unordered,
      ...optional("key", key),
      ...(isReal(batch) ? { batch: { size: batch.value, ...optional("within", config.within) } } : {}),
      ...optional("rate", config.rate),
      ...optional("timeout", config.timeout),
      retries: config.retries,
      onError: config.onError.policy === "stop" ? "stop" : "skip",
      output: config.json ? "ndjson" : written,
      untouched: config.json
        ? format === "ndjson"
        : format === (format === "null" && !isReal(asked) ? "null" : written),
      drain: Deferred.await(drain)
    })

    const begun = performance.now()
    const counts = { records: 0, results: 0, failed: 0 }
    const screen =
      config.progress && output.stderr.interactive && !config.json ? yield* Screen.make : undefined
    const note = (line: string) =>
      screen === undefined ? output.note(line) : Effect.sync(() => screen.log(line))
    const put = (bytes: RecordWriter.Piece) =>
      screen !== undefined && output.stdout.interactive
        ? Effect.sync(() =>
            screen.log(
              (typeof bytes === "string" ? bytes : new TextDecoder().decode(bytes)).replace(/\n$/, "")
            )
          )
        : output.write(bytes)
    const end = format === "null" ? "\0" : "\n" // of a record
    const write = RecordWriter.make(isReal(config.output) ? "\n" : end)
    const report = (failures: ReadonlyArray<MapRecords.FailedRecord>) =>
      Effect.gen(function* () {
        for (const { detail, records } of failures) {
          for (const record of records) {
            if (!config.json) yield* note(`${name}, line ${record.line}: ${detail}`)
            if (dead === undefined || record.next === record.from) continue
            yield* dead(RecordWriter.ended(record, end))
          }
        }
      })
    const settled = isReal(checkpoint) ? output.written : output.drained
    // Plain code rather than an effect that captures the outcomes: those would outlive it by some collections of the
    // young generation, each of which copies them (a fifth of the time of a whole run).
    const handle = (chunk: Chunk.Chunk<MapRecords.RecordOutcome>) => {
      const all = Chunk.toReadonlyArray(chunk)
      let failures: Array<MapRecords.FailedRecord> | undefined
      for (const outcome of all) {
        if (outcome instanceof Records.Record) {
          counts.records++
          counts.results++
          continue
        }
        counts.records += outcome.records.length
        if (outcome instanceof MapRecords.MappedRecord) counts.results += outcome.results.length
        else {
          counts.failed += outcome.records.length
          failures ??= []
          failures.push(outcome)
        }
      }
      if (screen !== undefined) {
        const seconds = (performance.now() - begun) / 1000
        screen.show([
          `${Plural.plural(counts.records, "record")}, ${counts.failed} failed, ${Math.round(counts.records / seconds)}/s`
        ])
      }
      const [first, ...rest] = config.json ? RecordWriter.events(all) : write(all)
      let written = first === undefined ? settled : Effect.zipRight(put(first), settled)
      if (rest.length > 0) {
        const others = Effect.forEach(rest, (each) => Effect.zipRight(put(each), output.drained))
        written = Effect.zipRight(written, Effect.zipRight(others, settled))
      }
      return failures === undefined ? written : Effect.zipLeft(written, report(failures))
    }
    const shown = (error: Failure) => {
      if (error._tag === "OtherInput")
        return usage(`cannot use the checkpoint ${Option.getOrElse(checkpoint, () => "")}: ${error.message}`)
      if (error._tag === "Gap") {
        const { exitCode, message } = error
        return new ExitError({ exitCode, message: `aio loop: ${message}; --on-gap warn continues` })
      }
      if (error._tag !== "RecordFailed") return usage(error.message)
      const { detail, exitCode, record } = error
      const message = `aio loop: ${name}, line ${record.line}: ${detail}`
      if (record.index === 0) return new UsageError({ message }) // a CSV's header, which --on-error does not cover
      return record.problem === undefined
        ? new ExitError({ exitCode, message })
        : new UsageError({
            message: `${message}; ${right(record.problem)}, or pass it over with --on-error skip`
          })
    }
    const summary = Effect.suspend(() => {
      const elapsed = performance.now() - begun
      if (config.json) return output.print(Output.eventLine("summary", { ...counts, elapsed }))
      if (config.quiet) return Effect.void
      const { failed, records, results } = counts
      return note(
        `${Plural.plural(records, "record")}, ${Plural.plural(results, "result")}, ${failed} failed in ${Durations.formatDuration(elapsed)}`
      )
    })
    const failedEvent = (error: Failure) => {
      if (!config.json || error._tag !== "RecordFailed") return Effect.void
      const { detail, record } = error
      if (record.index > 0) {
        counts.records++
        counts.failed++
      }
      return Effect.zipRight(
        output.print(Output.eventLine("failed", { index: record.index, line: record.line, detail })),
        summary
      )
    }
    const run = Stream.runForEachChunk(outcomes, handle).pipe(
      Effect.tapError(failedEvent),
      Effect.mapError(shown),
      Effect.zipRight(summary)
    )
    // The first SIGINT ends the input and drains what is in progress; every other signal cancels that too.
    const fiber = yield* Effect.acquireRelease(Effect.forkDaemon(Effect.interruptible(run)), (fiber) =>
      Effect.flatMap(signals.first, (signal) =>
        signal === "SIGINT"
          ? Effect.zipRight(Deferred.succeed(drain, undefined), Fiber.await(fiber))
          : Cancellation.cancel(fiber, { reason: signal ?? "the command has ended", origin: "loop" })
      )
    )
    yield* Fiber.join(fiber)
    if (counts.failed > 0) return yield* new ExitError({ exitCode: codes.failed, message: "" })
  }).pipe(Effect.scoped, Effect.provide(Modules.layer))
).pipe(
  Command.withDescription(
    "map a function or a command over a stream of records, in order and in bounded memory; unchanged records keep their bytes. Without arguments: the guide's five yields."
  )
)
