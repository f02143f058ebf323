import { pathToFileURL } from "node:url"
import { Console, Effect, Either, Layer, Stream } from "effect"
import * as Executors from "../programs/Executors.js"
import { codes } from "../services/host/ExitCodes.js"
import * as Input from "../services/host/Input.js"
import * as Output from "../services/host/Output.js"
import * as SystemLoad from "../services/host/SystemLoad.js"
import * as GuideServer from "../services/http/GuideServer.js"
import * as Items from "../services/record/Items.js"
import * as ResultText from "../services/record/ResultText.js"
import * as Modules from "../services/source/Modules.js"
import * as Executor from "../services/thread/Executor.js"
import * as Job from "../services/thread/Job.js"
import * as MapJobs from "../services/thread/MapJobs.js"
import { type Config, clusterProblem, flags } from "./executor/flags.js"
import * as ExecutorView from "./executor/view.js"
import * as Command from "./kernel/Command.js"
import * as OwnProcess from "./kernel/OwnProcess.js"
import * as Reporter from "./kernel/Reporter.js"
import * as UserFunction from "./kernel/UserFunction.js"
import * as Values from "./kernel/Values.js"

const inputOf = ({ place, problem, text, value }: Items.Item): MapJobs.ItemInput => ({
  text: text || place,
  value: problem === undefined ? Either.right(value) : Either.left(Items.describe(place, problem))
})

const goOn = "--on-failure continue runs the others"

/** The items of the words, or of the file. */
const inputsOf = (given: ReadonlyArray<string>, config: Config) =>
  Effect.gen(function* () {
    const format = yield* Command.formatOf(config)
    if (given.length === 0) {
      const items = Items.read(config.argFile ?? "-", { format, maxLine: config.maxLine })
      return Stream.map(items, (item) => ({ ...inputOf(item), place: item.place }))
    }
    const items = Items.words(given, { format })
    const wrong = items.find(({ problem }) => problem !== undefined)
    if (config.onFailure === "cancel" && wrong !== undefined) {
      return yield* Command.usage(`${Items.describe(wrong.place, wrong.problem!)}; ${goOn}`)
    }
    return items.map(inputOf)
  })

/** The console of jobs, whose stdout is for results: lines go to stderr, or are events. */
const consoleTo = (report: (events: ReadonlyArray<ExecutorView.JobOutput>) => Effect.Effect<void>) =>
  Console.consoleWith((console) => {
    const to = (stream: "stdout" | "stderr") => (text: string) => report([{ event: "output", stream, text }])
    return Effect.succeed<Console.Console>({ ...console, log: to("stdout"), error: to("stderr") })
  })

const map = (target: string, given: ReadonlyArray<string>, config: Config) =>
  Effect.gen(function* () {
    const { name, path } = yield* Effect.provide(UserFunction.load(target, "an item"), Modules.layer)
    const job = Job.fromModule<(item: unknown) => unknown>(pathToFileURL(path), name)
    const inputs = yield* inputsOf(given, config)
    const { cpus } = yield* SystemLoad.SystemLoad
    const output = yield* Output.Output
    const view = ExecutorView.make({
      cwd: process.cwd(),
      total: given.length > 0 ? given.length : undefined,
      now: () => performance.now()
    })
    const { report } = yield* Reporter.make(view, config)
    let bad: string | undefined // the problem of an item that ends the run
    let exitCode: number = codes.ok
    const workers: Executor.WorkersOptions = {
      maxWorkers: config.jobs === undefined ? cpus : Values.jobCount(config.jobs, cpus),
      maxMemory: config.maxMemory,
      grace: config.grace
    }
    const { chunk, cluster, onFailure, timeout, unordered } = config
    const executor =
      cluster !== undefined
        ? yield* Effect.map(
            Effect.promise(() => import("./executor/cluster.js")),
            ({ layer }) => layer({ ...config, cluster }, job, (run) => report([{ event: "submitted", run }]))
          )
        : config.processes
          ? Executor.layerProcesses(workers)
          : Executor.layerThreads(workers)
    const encode = config.json ? ResultText.json : ResultText.line
    yield* MapJobs.items(job, inputs, {
      chunk,
      encode,
      onFailure,
      timeout,
      unordered,
      ...(cluster === undefined ? config.retries : {})
    }).pipe(
      Stream.runForEachChunk((events) => {
        const all = [...events]
        for (const event of all) {
          if (event.event === "summary") exitCode = event.exitCode
          else if (event.error === "BadInput" && onFailure === "cancel") bad = event.reason
        }
        // A bad item that ends the run is the message of the command.
        const shown =
          bad === undefined || config.json
            ? all
            : all.filter((event) => !("error" in event) || event.error !== "BadInput")
        return Effect.zipRight(report(shown), output.drained)
      }),
      Effect.mapError((error) => Command.usage(error.message)),
      Effect.provide(executor),
      Effect.withConsole(yield* consoleTo(report))
    )
    if (bad !== undefined) return yield* Command.usage(`${bad}; ${goOn}`)
    yield* Command.exit(exitCode)
  }).pipe(Effect.scoped)

export const command = Command.provide(
  Command.make(
    "executor",
    {
      summary: "run a blocking or CPU-bound function for each item, on threads beside the event loop",
      usage: ["[OPTIONS] MODULE#EXPORT [ITEM...]", "[OPTIONS] -a FILE MODULE#EXPORT"],
      operands: "list",
      arguments: [
        ["MODULE#EXPORT", "a function of a .ts or .js file; without #EXPORT: default or main"],
        ["ITEM", "its items, whatever they begin with; without any, lines of standard input"]
      ],
      flags,
      examples: [
        ["executor square.ts#square 1 2 3", "three results, in the order of the items"],
        ["executor --json -a lines.txt upper.ts", "an event for each line of a file"]
      ]
    },
    (config, { operands: [target, ...words] }) =>
      Effect.gen(function* () {
        const { isTerminal } = yield* Input.Input
        if (target === undefined)
          return yield* Command.usage("no function is given; expected MODULE#EXPORT ITEM...")
        // As GNU parallel writes it; an item that is ::: goes behind another one.
        const given = words[0] === ":::" ? words.slice(1) : words
        if (given.length > 0 && config.argFile !== undefined) {
          return yield* Command.usage("items come as words or from --arg-file, not from both")
        }
        if (given.length === 0 && config.argFile === undefined && isTerminal) {
          return yield* Command.usage(
            "no items are given; write them after the function, or pipe them in, one a line"
          )
        }
        const problem = clusterProblem(config)
        if (problem !== undefined) return yield* Command.usage(problem)
        yield* map(target, given, config)
      }),
    {
      example: {
        run: () => Effect.provide(Executors.example, GuideServer.layer),
        instead: "write MODULE#EXPORT ITEM..."
      }
    }
  ),
  Layer.mergeAll(OwnProcess.guarded, Executor.layerThreads({ maxWorkers: 5 }), SystemLoad.layer)
)
