import { fstatSync } from "node:fs"
import { resolve } from "node:path"
import { Effect, Layer, Option } from "effect"
import * as Loops from "../programs/Loops.js"
import { leanHeap } from "../services/host/HeapTuning.js"
import * as Input from "../services/host/Input.js"
import * as Output from "../services/host/Output.js"
import * as SystemLoad from "../services/host/SystemLoad.js"
import * as CommandMapper from "../services/job/CommandMapper.js"
import * as Columns from "../services/record/Columns.js"
import * as Items from "../services/record/Items.js"
import * as RecordRun from "../services/record/RecordRun.js"
import * as RecordWriter from "../services/record/RecordWriter.js"
import * as Tail from "../services/record/Tail.js"
import * as Modules from "../services/source/Modules.js"
import * as Checkpoints from "../services/stream/Checkpoints.js"
import * as ShellWords from "../services/text/ShellWords.js"
import * as Command from "./kernel/Command.js"
import * as ProcessServices from "./kernel/ProcessServices.js"
import * as Reporter from "./kernel/Reporter.js"
import * as UserFunction from "./kernel/UserFunction.js"
import * as Values from "./kernel/Values.js"
import { shown } from "./loop/failure.js"
import { conflict, flags, tableOf } from "./loop/flags.js"
import * as View from "./loop/view.js"

/** Where a command goes, for words that are one. */
const behind = (words: ReadonlyArray<string>) =>
  `a command goes after --: aio loop -- ${words.map(ShellWords.quote).join(" ")}`

const isFile = (word: string) => /\.[cm]?[jt]sx?(?:#|$)/.test(word)

/** Whether stdout is a file that has content: of an earlier run, where one is resumed. */
const isBegun = (): boolean => {
  try {
    const stat = fstatSync(1)
    return stat.isFile() && stat.size > 0
  } catch {
    return false
  }
}

export const command = Command.provide(
  Command.make(
    "loop",
    {
      summary:
        "map a function or a command over a stream of records, in order and in bounded memory; unchanged records keep their bytes",
      usage: [
        "[OPTIONS] MODULE#EXPORT [FILE...]",
        "[OPTIONS] -e 'r => ...' [FILE...]",
        "[OPTIONS] -- CMD [ARG...]"
      ],
      operands: "list",
      arguments: [
        ["MODULE#EXPORT", "a function of a .ts or .js file; without #EXPORT its default export, or main"],
        [
          "CMD [ARG...]",
          "a command for each record, with {} for the record and {user.id} for a field of JSON or CSV; its stdout is the result; one word with blanks is for /bin/sh"
        ],
        ["FILE", "read its records instead of standard input; several are read one after the other"]
      ],
      flags,
      examples: [
        ["loop upper.ts < lines.txt", "each line through a function"],
        ["loop -a records.ndjson --format ndjson -j 8 square.ts#square", "eight records of JSON at a time"],
        ["loop --format ndjson -e 'r => r * 2' records.ndjson", "an expression for each record of a file"],
        ["loop -a lines.txt --pipe -- tr a-z A-Z", "a command that reads each line"]
      ]
    },
    (config, { operands: all, rest }) =>
      Effect.gen(function* () {
        const { eval: expression, pipe } = config
        const [own] = expression === undefined || rest !== undefined ? all : [expression]
        const files = rest !== undefined ? [] : expression === undefined ? all.slice(1) : all
        const { argFile, checkpoint, follow, json, outputFormat, progress, quiet, rotateWait } = config
        const table = tableOf(config)
        const input = yield* Input.Input
        if (own === undefined) {
          return yield* Command.usage(
            "no function is given; write MODULE#EXPORT, -e 'r => ...', or -- CMD ARG... {}"
          )
        }
        if (rest === undefined && expression === undefined && files.length > 0 && !isFile(own)) {
          return yield* Command.usage(`unexpected '${files[0]}'; ${behind(all)}`)
        }
        if (rest !== undefined && expression !== undefined) {
          return yield* Command.usage("-e and a command exclude each other; give one")
        }
        if (rest === undefined && pipe) {
          return yield* Command.usage("--pipe is for a command: aio loop --pipe -- CMD ARG...")
        }
        if (rest !== undefined && table !== undefined) {
          return yield* Command.usage(
            `--output-format ${table} is for the objects of a function; the output of a command is written as it is`
          )
        }
        const option = files.find((file) => file.startsWith("-") && file !== "-")
        if (option !== undefined) {
          return yield* Command.usage(
            `unexpected '${option}' behind the function; options go before it, and a file is ./${option}`
          )
        }
        if (rest !== undefined && own.trim() === "") {
          return yield* Command.usage("the command is empty; write one like 'gzip -k {}'")
        }
        const problem = conflict(config, files, input.isTerminal)
        if (problem !== undefined) return yield* Command.usage(problem)
        yield* leanHeap
        const output = yield* Output.Output
        const format = yield* Command.formatOf(config)
        // A command takes bytes, a function takes text.
        const isRaw = rest !== undefined && (format === "lines" || format === "null")
        // A run that resumes continues a table.
        const resumes =
          checkpoint === undefined
            ? Effect.succeed(false)
            : Effect.flatMap(Checkpoints.Checkpoints, ({ read }) => read(checkpoint)).pipe(
                Effect.mapBoth({
                  onFailure: ({ message }) => Command.usage(message),
                  onSuccess: (found) => Option.isSome(found) || isBegun()
                })
              )
        const as =
          outputFormat === "csv" || outputFormat === "tsv"
            ? Columns.make(outputFormat, {
                fields: config.fields,
                header: (config.header ?? true) && !(yield* resumes)
              })
            : outputFormat
        const header = typeof as === "object" ? as.header : undefined
        const { end, ...form } = RecordWriter.formOf(format, { as, events: json })
        const given = files.length > 0 ? files : [argFile ?? "-"]
        const [file] = given[0] === "-" ? [] : given
        const name = follow ?? given.map((path) => (path === "-" ? "standard input" : path)).join(", ")
        const place = (line: number) => `${format === "null" ? "item" : "line"} ${line} of ${name}`
        const view = View.make({ place, end, header, onGap: config.onGap, now: () => performance.now() })
        const reporter = yield* Reporter.make(view, { json, quiet, progress })
        const settled = checkpoint === undefined ? output.drained : output.written
        const report = (events: ReadonlyArray<RecordRun.RunEvent>) =>
          Effect.zipRight(reporter.report(events), settled)

        const f =
          rest === undefined
            ? expression !== undefined
              ? yield* UserFunction.evaluate(expression)
              : (yield* UserFunction.load(own, "a record", isFile(own) ? "" : `; ${behind([own])}`)).value
            : yield* CommandMapper.make(rest, {
                asText: json,
                isRaw,
                pipe,
                fields: format !== "lines" && format !== "null",
                onStderr: (bytes, { index, line }) =>
                  report([{ event: "output", index, line, stream: "stderr", bytes }])
              })
        const exitCode = yield* RecordRun.reported(
          follow === undefined
            ? {
                _tag: "Input",
                name: given.length === 1 && file !== undefined ? resolve(file) : name,
                bytes: Items.joined(
                  given.map((path) => input.open(path)),
                  format === "null" ? 0 : 10
                )
              }
            : { _tag: "File", path: follow, rotateWait },
          f,
          {
            ...config.retries,
            ...form,
            format,
            encoding: isRaw ? "raw" : "utf8",
            concurrency: Values.jobCount(config.jobs, (yield* SystemLoad.SystemLoad).cpus),
            unordered: config.unordered,
            batch: config.batch === undefined ? undefined : { size: config.batch, within: config.within },
            key: config.key,
            rate: config.rate,
            timeout: config.timeout,
            onFailure: config.onFailure,
            deadLetters: config.deadLetters,
            skip: config.skip,
            take: config.take,
            maxLine: config.maxLine,
            checkpoint,
            onGap: config.onGap,
            report
          }
        ).pipe(Effect.mapError((error) => shown(place, error)))
        yield* Command.exit(exitCode)
      }).pipe(Effect.scoped),
    {
      example: {
        run: () => Loops.example,
        instead: "write MODULE#EXPORT, -e 'r => ...', or -- CMD ARG... {}"
      }
    }
  ),
  Layer.mergeAll(Checkpoints.layer, Modules.layer, ProcessServices.layer, SystemLoad.layer, Tail.layer)
)
