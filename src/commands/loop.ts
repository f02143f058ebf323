import { resolve } from "node:path"
import * as Args from "@effect/cli/Args"
import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import * as Platform from "@effect/platform/Command"
import { Chunk, Deferred, Effect, Either, Fiber, Option, Stream } from "effect"
import * as Loops from "../programs/Loops.js"
import { codes, ExitError, UsageError } from "../services/host/ExitCodes.js"
import { leanHeap } from "../services/host/HeapTuning.js"
import * as Input from "../services/host/Input.js"
import * as Output from "../services/host/Output.js"
import * as Signals from "../services/host/Signals.js"
import * as Template from "../services/job/Template.js"
import * as Executables from "../services/process/Executables.js"
import * as Processes from "../services/process/Processes.js"
import * as DeadLetters from "../services/record/DeadLetters.js"
import * as FollowRecords from "../services/record/FollowRecords.js"
import * as LosslessJson from "../services/record/LosslessJson.js"
import * as MapRecords from "../services/record/MapRecords.js"
import * as Records from "../services/record/Records.js"
import * as ResumePoint from "../services/record/ResumePoint.js"
import type * as Tail from "../services/record/Tail.js"
import * as Modules from "../services/source/Modules.js"
import * as Checkpoints from "../services/stream/Checkpoints.js"
import type * as Pacing from "../services/stream/Pacing.js"
import * as Cancellation from "../services/task/Cancellation.js"
import * as ShellWords from "../services/text/ShellWords.js"
import * as Units from "../services/text/Units.js"
import { Rest } from "./kernel/Cli.js"
import * as Screen from "./kernel/Screen.js"
import * as Values from "./kernel/Values.js"

const usage = (message: string) => new UsageError({ message: `aio loop: ${message}` })

const rate = Values.parsed("rate", (text): Either.Either<Pacing.RateOptions, string> => {
  const match = /^(\d+(?:\.\d+)?)(?:\/(\d*)(ms|s|m|h|d))?$/.exec(text.trim())
  const limit = Number(match?.[1] ?? 0)
  if (match === null || !(limit > 0)) {
    return Either.left(`'${text}' is no rate; write one like 10/s, 100/m or 5/10s`)
  }
  return Either.map(Units.duration(`${match[2] || 1}${match[3] ?? "s"}`), (interval) => ({ limit, interval }))
})

type OnError =
  | { readonly policy: "stop" | "skip" }
  | { readonly policy: "dead-letter"; readonly path: string }

const onError = Values.parsed("on-error", (text): Either.Either<OnError, string> => {
  if (text === "stop" || text === "skip") return Either.right({ policy: text })
  const path = /^dead-letter[ =:](.+)$/s.exec(text)?.[1]
  return path === undefined
    ? Either.left(`'${text}' is none of stop, skip, dead-letter FILE`)
    : Either.right({ policy: "dead-letter", path })
})

/** A path like `user.id`, the number of a field of a line, or a JavaScript expression of `record`. */
const compileKey = (text: string): Either.Either<(value: unknown) => unknown, string> => {
  if (/^\d+$/.test(text)) {
    const place = Number(text)
    if (place === 0) return Either.left("fields are numbered from 1")
    return Either.right((value) =>
      typeof value === "string"
        ? value.trim().split(/\s+/)[place - 1]
        : (value as ReadonlyArray<unknown>)?.[place - 1]
    )
  }
  if (/^(?!record\b)[A-Za-z_$][\w$]*(?:\.[\w$]+|\[\d+\])*$/.test(text)) {
    const steps = text.split(/[.[\]]+/).filter((step) => step !== "")
    return Either.right((value) => {
      let found = value
      for (const step of steps)
        found = (found as Readonly<Record<string, unknown>> | null | undefined)?.[step]
      return found
    })
  }
  try {
    return Either.right(
      new Function("record", `"use strict"; return (${text}\n)`) as (value: unknown) => unknown
    )
  } catch (error) {
    return Either.left(
      `'${text}' is no expression (${(error as Error).message}); write a path like user.id, or one of record like record.id % 10`
    )
  }
}

const key = Values.parsed("key", (text) =>
  Either.map(compileKey(text), (read) => (value: unknown) => {
    const found = read(value)
    return typeof found === "object" && found !== null ? LosslessJson.encode(found) : found
  })
)

const optionSet = {
  input: Values.choice("input", Records.formats).pipe(
    Options.withAlias("i"),
    Options.withDescription(
      "what the records are: lines (default), a JSON value a line, what ends with NUL, rows of a CSV (commas, quotes doubled, UTF-8) under a header of distinct names"
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
    Options.withDescription("records under way at once; default 1"),
    Options.withDefault(1)
  ),
  unordered: Options.boolean("unordered").pipe(
    Options.withDescription("results as they come; by default in the order of the records")
  ),
  key: key.pipe(
    Options.withPseudoName("expr"),
    Options.withDescription(
      "records of one key one after the other, keys at once: a path (user.id), a field of a line (1), or JavaScript (record.id % 10)"
    ),
    Options.optional
  ),
  batch: Values.integer("batch", 1).pipe(
    Options.withDescription("the function gets arrays of so many records"),
    Options.optional
  ),
  within: Values.duration("within").pipe(
    Options.withDescription("with --batch: the first of a batch waits no longer than this for others"),
    Options.optional
  ),
  rate: rate.pipe(
    Options.withPseudoName("n/s"),
    Options.withDescription("records (or batches) begun in a time, evenly: 10/s, 100/m, 5/10s"),
    Options.optional
  ),
  retries: Values.integer("retries", 0).pipe(
    Options.withDescription(
      "further attempts of a record that failed, after 100 ms, 200 ms, … 10 s; default 0"
    ),
    Options.withDefault(0)
  ),
  timeout: Values.duration("timeout").pipe(
    Options.withDescription("longest an attempt may take"),
    Options.optional
  ),
  onError: onError.pipe(
    Options.withPseudoName("stop|skip|dead-letter FILE"),
    Options.withDescription(
      "what a record that failed does: end all (default), be reported on stderr, or be appended to the file as it came too; one bad record costs itself"
    ),
    Options.withDefault({ policy: "stop" } as OnError)
  ),
  skip: Values.integer("skip", 0).pipe(
    Options.withDescription("pass over so many records at the beginning"),
    Options.withDefault(0)
  ),
  take: Values.integer("take", 0).pipe(
    Options.withDescription("end after so many records"),
    Options.optional
  ),
  maxLine: Values.size("max-line").pipe(
    Options.withDescription("most bytes of a record; default 16M"),
    Options.optional
  ),
  follow: Options.text("follow").pipe(
    Options.withAlias("f"),
    Options.withPseudoName("file"),
    Options.withDescription(
      "records of this file and what is appended to it, through rotation and truncation; waits for one that is not there yet"
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
      "with --follow: when it cannot be proved that no record was lost, say so on stderr and go on (default), or end with exit code 3"
    ),
    Options.optional
  ),
  checkpoint: Options.text("checkpoint").pipe(
    Options.withPseudoName("file"),
    Options.withDescription(
      "keep in this file how far the input is done, and go on from there: each record at least once"
    ),
    Options.optional
  ),
  progress: Options.boolean("progress").pipe(
    Options.withDescription("a line on the terminal: records done, failed, and how fast")
  ),
  json: Options.boolean("json").pipe(
    Options.withDescription("results, failures, gaps and the summary as NDJSON events on stdout")
  ),
  quiet: Options.boolean("quiet").pipe(
    Options.withAlias("q"),
    Options.withDescription("no summary on stderr")
  )
}

const words = Args.text({ name: "MODULE#EXPORT" }).pipe(
  Args.withDescription(
    "a function of a .ts or .js file, or behind -- CMD ARG… with {} for the record; without it, the guide's example"
  ),
  Args.repeated
)

const optional = <K extends string, A>(name: K, value: Option.Option<A>): { readonly [P in K]?: A } =>
  (Option.isSome(value) ? { [name]: value.value } : {}) as { readonly [P in K]?: A }

type Mapper = (value: unknown, context: MapRecords.RecordContext) => unknown

const loadFunction = (text: string) =>
  Effect.gen(function* () {
    const modules = yield* Modules.Modules
    const hash = text.lastIndexOf("#")
    const [file, name] = hash > 0 ? [text.slice(0, hash), text.slice(hash + 1)] : [text, ""]
    const found = yield* modules.load(file, name === "" ? undefined : [name])
    if (typeof found.value === "function") return found.value as Mapper
    return yield* usage(
      `${file}: export '${found.name}' is no function; give one that takes a record, like (record) => record`
    )
  }).pipe(Effect.mapError((error) => (error instanceof Modules.ModuleError ? usage(error.message) : error)))

const commandFunction = (given: ReadonlyArray<string>, json: boolean) =>
  Effect.gen(function* () {
    const processes = yield* Processes.Processes
    const output = yield* Output.Output
    if (given[0]!.trim() === "") return yield* usage("the command is empty; write one like 'gzip -k {}'")
    const inShell = given.length === 1 && /\s/.test(given[0]!)
    const template = inShell ? Template.make([...given], ShellWords.quote) : Template.make(given)
    const misread = inShell ? Template.misread(given[0]!) : undefined
    if (!inShell && !given[0]!.includes("{")) {
      yield* Executables.check(Platform.make(given[0]!) as Platform.StandardCommand)
    }
    const free: Array<number> = []
    let slots = 0
    const wordsOf = (record: Records.Record): ReadonlyArray<string> => {
      if (record instanceof Records.Row) return record.fields ?? []
      return [typeof record.value === "string" ? record.value : record.text.trim()]
    }
    return (_: unknown, { index, records }: MapRecords.RecordContext) =>
      Effect.acquireUseRelease(
        Effect.sync(() => free.sort((a, b) => a - b).shift() ?? ++slots),
        (slot) =>
          Effect.gen(function* () {
            const values = records.flatMap(wordsOf)
            const problem = misread?.({ values })
            if (problem !== undefined) {
              return yield* new ExitError({ exitCode: codes.failed, message: problem })
            }
            const [first = "", ...rest] = template({ values, seq: index, slot })
            if (![first, ...rest].every((word) => word.isWellFormed())) {
              return yield* new ExitError({
                exitCode: codes.failed,
                message: "half of a surrogate pair has no UTF-8"
              })
            }
            const command = inShell
              ? Processes.shell([first, ...rest].join(" "))
              : Platform.make(first, ...rest)
            const { exitCode, signal, stderr, stdout } = yield* processes.run(command)
            if (stderr.length > 0) yield* output.writeError(stderr)
            if (exitCode === 0)
              return json ? new TextDecoder().decode(stdout) : new MapRecords.RawResult(stdout)
            return yield* new ExitError({
              exitCode: codes.failed,
              message: signal === undefined ? `exit code ${exitCode}` : `ended by ${signal}`
            })
          }),
        (slot) => Effect.sync(() => free.push(slot))
      )
  })

type Piece = string | Uint8Array

/** The same in few pieces, none of which grows out of what a string can hold. */
const fewer = (parts: ReadonlyArray<Piece>): ReadonlyArray<Piece> => {
  let size = 0
  let isText = true
  for (const part of parts) {
    size += part.length
    isText &&= typeof part === "string"
  }
  if (parts.length <= 1 || size > 1 << 24) return parts
  if (isText) return [parts.join("")]
  return [Buffer.concat(parts.map((part) => (typeof part === "string" ? Buffer.from(part) : part)))]
}

/** What is written for outcomes; `end` is what ends a record. */
const makeWriter = (end: string) => {
  let open = false // the last record was written as it came, without an end
  return (outcomes: Iterable<MapRecords.Outcome>): ReadonlyArray<Piece> => {
    const parts: Array<Piece> = []
    // Records that stand one behind the other in a chunk go out in one piece.
    let chunk: Buffer | undefined
    let from = 0
    let to = 0
    const flush = () => {
      if (chunk !== undefined) parts.push(chunk.subarray(from, to))
      chunk = undefined
    }
    const close = () => {
      if (!open) return
      flush()
      parts.push(end)
      open = false
    }
    const asItCame = (record: Records.Record) => {
      close()
      if (record.chunk !== chunk || record.from !== to) {
        flush()
        chunk = record.chunk
        from = record.from
      }
      to = record.next
      open = record.next === record.to
    }
    for (const outcome of outcomes) {
      if (outcome instanceof Records.Record) asItCame(outcome)
      else if (outcome instanceof MapRecords.Mapped) {
        for (const result of outcome.results) {
          if (result instanceof Records.Record) {
            asItCame(result)
            continue
          }
          close()
          flush()
          if (typeof result === "string") parts.push(result, end)
          else parts.push(result)
        }
      }
    }
    flush()
    return fewer(parts)
  }
}

const resultEvents = (outcome: MapRecords.Outcome): ReadonlyArray<string> => {
  if (outcome instanceof MapRecords.Failed) {
    return outcome.records.map(
      ({ index, line }) => `${Output.eventLine("failed", { index, line, detail: outcome.detail })}\n`
    )
  }
  const [first, results] =
    outcome instanceof MapRecords.Mapped ? [outcome.records[0]!, outcome.results] : [outcome, [outcome]]
  const head = `${Output.eventLine("result", { index: first.index, line: first.line }).slice(0, -1)},"value":`
  // The value is put in as text: its integers keep all their digits. Bytes come of commands, which give text for events.
  return results.flatMap((result) => [
    head,
    result instanceof Records.Record ? result.text.trim() : (result as string),
    "}\n"
  ])
}

const isReal = Option.isSome

type Failure = Input.InputError | ResumePoint.OtherInput | Records.RecordFailed | Tail.Gap

type Place = ResumePoint.InputPlace | ResumePoint.FollowPlace

const recordsOf = (outcome: MapRecords.Outcome): ReadonlyArray<Records.Record> =>
  outcome instanceof Records.Record ? [outcome] : outcome.records

/** What would be right. */
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
    const { words: own } = config
    const { batch, checkpoint, follow, key, onGap, output: asked, rotateWait, take } = config
    const given = [batch, checkpoint, follow, key, onGap, asked, rotateWait, take].some(
      (option: Option.Option<unknown>) => isReal(option)
    )
    if (own.length === 0 && rest.length === 0) {
      if (!given && config.input === "lines") return yield* Loops.example
      return yield* usage("there is no function; write aio loop MODULE#EXPORT, or aio loop -- CMD ARG… {}")
    }
    if (own.length > 1 || (own.length > 0 && rest.length > 0)) {
      return yield* usage(
        `unexpected '${own.length > 1 ? own[1] : rest[0]}'; one function or one command takes the records`
      )
    }
    if (isReal(config.within) && !isReal(config.batch)) {
      return yield* usage("--within is for --batch N; give that too")
    }
    if (isReal(config.key) && isReal(config.batch)) {
      return yield* usage("--key and --batch exclude each other: a batch has no one key")
    }
    if (isReal(rotateWait) && !isReal(follow)) {
      return yield* usage("--rotate-wait is for --follow FILE; give that too")
    }
    if (isReal(onGap) && !isReal(follow)) {
      return yield* usage("--on-gap is for --follow FILE; give that too")
    }
    const input = yield* Input.Input
    if (!isReal(config.follow) && input.isTerminal) {
      return yield* usage("there are no records; pipe them in, or name a file with --follow FILE")
    }
    if (isReal(config.follow) && config.input === "csv") {
      return yield* usage(
        "--follow takes lines, ndjson or null; a CSV's header would be lost with a rotation"
      )
    }
    yield* leanHeap
    const output = yield* Output.Output
    const signals = yield* Signals.Signals
    const format = config.input
    const written = Option.getOrElse(config.output, () =>
      format === "ndjson" || format === "csv" ? "ndjson" : "lines"
    )
    const f: Mapper =
      rest.length > 0 ? yield* commandFunction(rest, config.json) : yield* loadFunction(own[0]!)
    const dead =
      config.onError.policy === "dead-letter"
        ? yield* Effect.mapError(DeadLetters.open(config.onError.path), (error) => usage(error.message))
        : undefined

    // Records, from a place on.
    const name = Option.getOrElse(config.follow, () => "standard input")
    const limits = { format, ...optional("maxLine", config.maxLine) }
    const files = new WeakMap<Records.Record, Tail.File>()
    let place = (record: Records.Record): Place =>
      new ResumePoint.BehindRecord(record, files.get(record)!, format)
    const last = Option.map(config.take, (n) => n + config.skip)
    const source = (from: Place | undefined) => {
      if (Option.exists(last, (n) => n <= Math.max(from?.index ?? 0, config.skip))) return Stream.empty
      let all: Stream.Stream<Records.Record, Failure, Tail.Follow>
      if (isReal(config.follow)) {
        all = FollowRecords.followed(
          config.follow.value,
          {
            ...limits,
            from: from as ResumePoint.FollowPlace | undefined,
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
          },
          isReal(checkpoint) ? (record, file) => files.set(record, file) : undefined
        )
      } else {
        const located = ResumePoint.recordsFrom(
          input.stdin,
          limits,
          from as ResumePoint.InputPlace | undefined
        )
        place = located.place
        all = located.records
      }
      const wanted = config.skip === 0 ? all : Stream.filter(all, ({ index }) => index > config.skip)
      return isReal(last) ? Stream.takeUntil(wanted, ({ index }) => index >= last.value) : wanted
    }
    const drain = yield* Deferred.make<void>()
    const mapped = (from: Place | undefined) =>
      MapRecords.mapRecords(source(from), f, {
        concurrency: config.concurrency,
        ordered: !config.unordered,
        ...optional("key", config.key),
        ...(isReal(config.batch)
          ? { batch: { size: config.batch.value, ...optional("within", config.within) } }
          : {}),
        ...optional("rate", config.rate),
        ...optional("timeout", config.timeout),
        retries: config.retries,
        onError: config.onError.policy === "stop" ? "stop" : "skip",
        output: config.json ? "ndjson" : written,
        untouched: config.json
          ? format === "ndjson"
          : format === (format === "null" && !isReal(config.output) ? "null" : written),
        drain: Deferred.await(drain)
      })

    // All records up to this one are done: what comes out of order waits for what it has overtaken.
    let next = 1
    let done: Records.Record | undefined
    const ahead = new Map<number, Records.Record>()
    const finish = (records: ReadonlyArray<Records.Record>) => {
      for (const record of records) ahead.set(record.index, record)
      for (let found = ahead.get(next); found !== undefined; found = ahead.get(next)) {
        done = found
        ahead.delete(next++)
      }
    }
    const keeping = config.checkpoint
    const outcomes = isReal(keeping)
      ? Checkpoints.checkpointed<MapRecords.Outcome, Failure, Tail.Follow, Place>(
          {
            decode: isReal(config.follow) ? ResumePoint.followPlace(format) : ResumePoint.inputPlace,
            path: keeping.value,
            input: isReal(config.follow) ? resolve(name) : name,
            position: (outcome) => {
              finish(recordsOf(outcome))
              return done && place(done)
            }
          },
          (from) => {
            next = Math.max(from?.index ?? 0, config.skip) + 1
            return mapped(from)
          }
        )
      : mapped(undefined)

    const begun = performance.now()
    const counts = { records: 0, results: 0, failed: 0 }
    const screen =
      config.progress && output.stderr.interactive && !config.json ? yield* Screen.make : undefined
    const note = (line: string) =>
      screen === undefined ? output.note(line) : Effect.sync(() => screen.log(line))
    const put = (bytes: Piece) =>
      screen !== undefined && output.stdout.interactive
        ? Effect.sync(() =>
            screen.log(
              (typeof bytes === "string" ? bytes : new TextDecoder().decode(bytes)).replace(/\n$/, "")
            )
          )
        : output.write(bytes)
    const end = format === "null" ? "\0" : "\n" // of a record
    const write = makeWriter(isReal(config.output) ? "\n" : end)
    const tell = (failures: ReadonlyArray<MapRecords.Failed>) =>
      Effect.gen(function* () {
        for (const { detail, records } of failures) {
          for (const record of records) {
            if (!config.json) yield* note(`${name}, line ${record.line}: ${detail}`)
            if (dead === undefined || record.next === record.from) continue
            const { bytes, next, to } = record
            const isEnded = next > to || bytes.at(-1) === end.charCodeAt(0)
            yield* dead(isEnded ? bytes : Buffer.concat([bytes, Buffer.from(end)]))
          }
        }
      })
    const settled = isReal(keeping) ? output.written : output.drained
    // At once, rather than in an effect that has hold of the outcomes: what a suspended effect holds outlives it by
    // some collections of the young generation, each of which copies it (a fifth of the time of a whole run).
    const handle = (chunk: Chunk.Chunk<MapRecords.Outcome>) => {
      const all = Chunk.toReadonlyArray(chunk)
      let failures: Array<MapRecords.Failed> | undefined
      for (const outcome of all) {
        if (outcome instanceof Records.Record) {
          counts.records++
          counts.results++
          continue
        }
        counts.records += outcome.records.length
        if (outcome instanceof MapRecords.Mapped) counts.results += outcome.results.length
        else {
          counts.failed += outcome.records.length
          failures ??= []
          failures.push(outcome)
        }
      }
      if (screen !== undefined) {
        const seconds = (performance.now() - begun) / 1000
        screen.show([
          `${Units.plural(counts.records, "record")}, ${counts.failed} failed, ${Math.round(counts.records / seconds)}/s`
        ])
      }
      const [first, ...rest] = config.json ? fewer(all.flatMap(resultEvents)) : write(all)
      let written = first === undefined ? settled : Effect.zipRight(put(first), settled)
      if (rest.length > 0) {
        const others = Effect.forEach(rest, (each) => Effect.zipRight(put(each), output.drained))
        written = Effect.zipRight(written, Effect.zipRight(others, settled))
      }
      return failures === undefined ? written : Effect.zipLeft(written, tell(failures))
    }
    const told = (error: Failure | Checkpoints.CheckpointError | DeadLetters.DeadLetterError) => {
      if (error._tag === "OtherInput")
        return usage(`cannot use the checkpoint ${Option.getOrElse(keeping, () => "")}: ${error.message}`)
      if (error._tag === "Gap") {
        const { exitCode, message } = error
        return new ExitError({ exitCode, message: `aio loop: ${message}; --on-gap warn goes on` })
      }
      if (error._tag !== "RecordFailed") return usage(error.message)
      const { detail, exitCode, record } = error
      const message = `aio loop: ${name}, line ${record.line}: ${detail}`
      if (record.index === 0) return new UsageError({ message }) // a header, which nothing can do without
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
        `${Units.plural(records, "record")}, ${Units.plural(results, "result")}, ${failed} failed in ${Units.formatDuration(elapsed)}`
      )
    })
    const failedEvent = (error: Failure | Checkpoints.CheckpointError | DeadLetters.DeadLetterError) => {
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
      Effect.mapError(told),
      Effect.zipRight(summary)
    )
    // The first SIGINT ends the input, not what is under way; every other signal cancels that too.
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
    "map a function, or a command, over a stream of records: bounded, in order, and what it does not change passes untouched. Alone: the guide's five yields."
  )
)
