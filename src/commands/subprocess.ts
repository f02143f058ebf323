import * as Platform from "@effect/platform/Command"
import { Effect, Layer, Stream } from "effect"
import * as Subprocess from "../programs/Subprocess.js"
import { leanHeap, steadyYoungGeneration } from "../services/host/HeapTuning.js"
import * as Input from "../services/host/Input.js"
import * as Output from "../services/host/Output.js"
import * as SystemLoad from "../services/host/SystemLoad.js"
import * as JobLog from "../services/job/JobLog.js"
import * as Jobs from "../services/job/Jobs.js"
import * as Template from "../services/job/Template.js"
import * as Executables from "../services/process/Executables.js"
import * as Command from "./kernel/Command.js"
import * as ProcessServices from "./kernel/ProcessServices.js"
import * as Reporter from "./kernel/Reporter.js"
import { rawWords } from "./kernel/rawWords.js"
import * as stdout from "./kernel/stdout.js"
import { stopOnSignal } from "./kernel/stopOnSignal.js"
import { type Config, flags, modes, problem } from "./subprocess/flags.js"
import * as JobView from "./subprocess/view.js"
import * as Work from "./subprocess/work.js"

const run = (config: Config, { operands }: Command.Words) =>
  Effect.gen(function* () {
    const input = yield* Input.Input
    const output = yield* Output.Output
    const { cpus } = yield* SystemLoad.SystemLoad
    const { command, sources } = yield* Effect.mapError(Template.split(rawWords(operands)), Command.usage)
    const wrong = problem(config, command, sources, input)
    if (wrong !== undefined) return yield* Command.usage(wrong)

    const { program, requests, total } = yield* Work.make(config, command, sources)
    const { cluster } = config
    // A missing program is reported before any job runs.
    if (program !== undefined && cluster === undefined) yield* Executables.check(Platform.make(program))

    const { expect, view } = JobView.make({
      tag: config.tag,
      interactive: output.stdout.interactive,
      remote: cluster !== undefined,
      now: () => performance.now()
    })
    const reporter = yield* Reporter.make<JobView.Event>(view, config)
    if (reporter.isLive) expect(yield* total)
    const resume: JobLog.Resume = config.resumeFailed ? "successful" : config.resume ? "all" : undefined
    const log = config.joblog === undefined ? undefined : { path: config.joblog, resume }

    if (config.dryRun) {
      const isDone =
        log === undefined || resume === undefined ? () => false : yield* JobLog.done(log.path, resume)
      const all = Stream.StreamTypeId in requests ? requests : Stream.fromIterable(requests)
      let index = 0
      return yield* Stream.runForEachChunk(all, (chunk) => {
        const planned = Array.from(chunk, (request) => {
          return { event: "planned", index: ++index, name: Jobs.keyOf(request) } as const
        })
        return Effect.zipRight(reporter.report(planned.filter(({ name }) => !isDone(name))), output.drained)
      })
    }

    yield* leanHeap
    yield* steadyYoungGeneration
    // A job in the log must have had its output written; without a log, output need only be accepted.
    const taken = log === undefined ? output.drained : output.written
    const remote =
      cluster === undefined
        ? undefined
        : (yield* Effect.promise(() => import("./subprocess/cluster.js"))).make(
            { ...config, cluster },
            (run) => reporter.report([{ event: "submitted", run }])
          )
    const { exitCode } = yield* stopOnSignal((stop) => {
      const all = Jobs.run(requests, {
        concurrency: Work.concurrency(config, cpus),
        output: modes(config)[0],
        ...config.retries,
        timeout: remote === undefined ? config.timeout : undefined,
        delay: config.delay,
        grace: config.grace,
        stopSignal: config.stopSignal,
        halt: config.onFailure === "cancel" ? Jobs.firstFailure : config.halt,
        load: config.load,
        spoolMax: config.spoolMax,
        memfree: config.memfree,
        results: config.results,
        log,
        onSpooled: stdout.endWithoutReader,
        stop,
        deliver: (events) => {
          const delivered = Effect.zipRight(reporter.report(events), taken)
          return remote === undefined ? delivered : Effect.zipRight(remote.check, delivered)
        }
      })
      return remote === undefined ? all : Effect.provide(all, remote.layer)
    })
    yield* Command.exit(exitCode)
  }).pipe(Effect.scoped)

export const command = Command.provide(
  Command.make(
    "subprocess",
    {
      summary:
        "run a command for each item, many at once: no process is left behind, and an interrupted run resumes where it stopped",
      usage: [
        "[OPTIONS] CMD [ARG...] ::: ITEM... [:::[+] ITEM...]",
        "[OPTIONS] CMD [ARG...] < ITEMS",
        "[OPTIONS] --pipe CMD [ARG...] < INPUT",
        "[OPTIONS] < COMMANDS"
      ],
      operands: "list",
      arguments: [
        ["CMD [ARG...]", "the command; a shell reads it if it is one word with blanks"],
        ["::: ITEM...", "the items, whatever they begin with; several lists give all combinations"],
        [":::+ ITEM...", "items that advance with those of the list before"],
        [
          "{}",
          "in the command: the item, with -n and -X all items as separate words; without any of these it is the last word"
        ],
        [
          "{.} {/} {/.} {//}",
          "its path without extension, its base name, that without extension, its folder"
        ],
        [
          "{1} {2} {2.} ...",
          "the item of the first list, of the second, that without extension; with -n the first and second item, with --colsep column"
        ],
        ["{#} {%}", "the number of the job, from 1; the slot where it runs, from 1 to --jobs"]
      ],
      flags,
      examples: [
        ["subprocess gzip -k ::: lines.txt records.ndjson", "compress files, as many at once as processors"],
        [
          "subprocess -k 'echo {.} | wc -c' ::: a.txt b.txt",
          "a shell command for each item, output in order"
        ],
        ["subprocess -X -a lines.txt echo", "as many items as fit in each command, as xargs runs it"],
        [
          "subprocess --pipe --block 1M -k wc -l < lines.txt",
          "blocks of whole lines, each the stdin of a job"
        ],
        ["subprocess -j 4 < commands.txt", "each line is a command for a shell"],
        ["subprocess -a urls.txt --joblog log --resume echo {}", "items of a file; skip jobs done before"],
        [
          "subprocess --cluster jobs.sqlite --dry-run echo {} ::: a b",
          "without --dry-run: on the runners of a store"
        ]
      ]
    },
    run,
    {
      example: {
        run: () => Subprocess.example,
        instead: "write CMD ARG... ::: ITEM..., or a command for the items on standard input",
        reads: true
      }
    }
  ),
  Layer.merge(SystemLoad.layer, ProcessServices.layerWith({ ahead: true }))
)
