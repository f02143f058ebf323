import { readdirSync, readFileSync } from "node:fs"
import { basename } from "node:path"
import * as Command from "@effect/platform/Command"
import { describe, expect, it } from "@effect/vitest"
import { Cause, type Duration, Effect, Exit, Layer, Schema, Stream } from "effect"
import * as GatherFiles from "../../src/programs/Gather.js"
import * as LongRunning from "../../src/programs/LongRunning.js"
import * as Network from "../../src/programs/Network.js"
import * as NetworkLoad from "../../src/programs/NetworkLoad.js"
import * as Scheduling from "../../src/programs/Scheduling.js"
import * as ServerCompare from "../../src/programs/ServerCompare.js"
import * as Subprocess from "../../src/programs/Subprocess.js"
import * as ClusterDownloader from "../../src/services/cluster/ClusterDownloader.js"
import * as ClusterExecutor from "../../src/services/cluster/ClusterExecutor.js"
import * as ClusterProcesses from "../../src/services/cluster/ClusterProcesses.js"
import * as DurableTimers from "../../src/services/cluster/DurableTimers.js"
import * as DurableWorkflows from "../../src/services/cluster/DurableWorkflows.js"
import * as Runner from "../../src/services/cluster/Runner.js"
import * as ScheduleServer from "../../src/services/cluster/ScheduleServer.js"
import * as Store from "../../src/services/cluster/Store.js"
import * as Downloader from "../../src/services/download/Downloader.js"
import * as DownloaderTest from "../../src/services/download/DownloaderTest.js"
import * as Downloads from "../../src/services/download/Downloads.js"
import * as hostQueue from "../../src/services/download/internal/hostQueue.js"
import * as SafeHttpClient from "../../src/services/download/SafeHttpClient.js"
import * as Input from "../../src/services/host/Input.js"
import * as Output from "../../src/services/host/Output.js"
import * as SystemLoad from "../../src/services/host/SystemLoad.js"
import * as Blocking from "../../src/services/http/Blocking.js"
import * as Explanation from "../../src/services/http/Explanation.js"
import * as HttpServerTest from "../../src/services/http/HttpServerTest.js"
import * as LoadDriver from "../../src/services/http/LoadDriver.js"
import * as ServerProcess from "../../src/services/http/ServerProcess.js"
import * as ServerProcesses from "../../src/services/http/ServerProcesses.js"
import * as CommandGroup from "../../src/services/job/CommandGroup.js"
import * as spool from "../../src/services/job/internal/spool.js"
import * as Jobs from "../../src/services/job/Jobs.js"
import * as TemplateJobs from "../../src/services/job/TemplateJobs.js"
import * as Api from "../../src/services/network/Api.js"
import * as NetworkCache from "../../src/services/network/Cache.js"
import * as Neighbour from "../../src/services/network/Neighbour.js"
import * as NetworkDemo from "../../src/services/network/NetworkDemo.js"
import * as OAuth from "../../src/services/network/OAuth.js"
import * as CommandExecutor from "../../src/services/process/CommandExecutor.js"
import * as Processes from "../../src/services/process/Processes.js"
import * as ProcessesTest from "../../src/services/process/ProcessesTest.js"
import * as FollowRecords from "../../src/services/record/FollowRecords.js"
import * as Items from "../../src/services/record/Items.js"
import * as MapRecords from "../../src/services/record/MapRecords.js"
import * as ReadRecords from "../../src/services/record/ReadRecords.js"
import * as RecordRun from "../../src/services/record/RecordRun.js"
import * as Splitter from "../../src/services/record/Splitter.js"
import * as Tail from "../../src/services/record/Tail.js"
import * as Checkpoints from "../../src/services/stream/Checkpoints.js"
import * as EventBuffer from "../../src/services/stream/EventBuffer.js"
import * as Generators from "../../src/services/stream/Generators.js"
import * as MapConcurrent from "../../src/services/stream/MapConcurrent.js"
import * as Pacing from "../../src/services/stream/Pacing.js"
import * as CommandRun from "../../src/services/supervision/CommandRun.js"
import * as LogFiles from "../../src/services/supervision/LogFiles.js"
import * as Probes from "../../src/services/supervision/Probes.js"
import * as ScheduledRuns from "../../src/services/supervision/ScheduledRuns.js"
import * as Services from "../../src/services/supervision/Services.js"
import * as Supervisor from "../../src/services/supervision/Supervisor.js"
import * as Bulkhead from "../../src/services/task/Bulkhead.js"
import * as CircuitBreaker from "../../src/services/task/CircuitBreaker.js"
import * as Deadline from "../../src/services/task/Deadline.js"
import * as Gather from "../../src/services/task/Gather.js"
import * as LoopWatch from "../../src/services/task/LoopWatch.js"
import * as Sleep from "../../src/services/task/Sleep.js"
import * as TaskGroup from "../../src/services/task/TaskGroup.js"
import * as WaitTasks from "../../src/services/task/WaitTasks.js"
import * as WorkerFibers from "../../src/services/task/WorkerFibers.js"
import * as Lines from "../../src/services/text/Lines.js"
import * as Executor from "../../src/services/thread/Executor.js"
import * as ExecutorTest from "../../src/services/thread/ExecutorTest.js"
import * as InlineExecutor from "../../src/services/thread/InlineExecutor.js"
import * as Job from "../../src/services/thread/Job.js"
import * as MapJobs from "../../src/services/thread/MapJobs.js"
import * as Timers from "../../src/services/time/Timers.js"
import * as VirtualClock from "../../src/services/time/VirtualClock.js"
import { Interleave } from "../../src/testing/index.js"
import * as NeighbourhoodOfTests from "../support/Neighbourhood.js"

// What is refused, beside NaN, a negative number and text that is no number (or no duration).
const whole = [0, 1.5, Number.POSITIVE_INFINITY]
const kinds = {
  count: whole,
  countOrInfinity: [0, 1.5],
  countOrNone: [1.5, Number.POSITIVE_INFINITY],
  anyCount: [1.5],
  share: [1.5, Number.POSITIVE_INFINITY],
  positive: [0],
  finite: [Number.POSITIVE_INFINITY],
  /** Negative ones too: what is refused is NaN. */
  any: [Number.POSITIVE_INFINITY],
  port: [1.5, 65_536, Number.POSITIVE_INFINITY],
  byte: [1.5, 256],
  time: [],
  someTime: [0],
  anyTime: []
} satisfies Record<string, ReadonlyArray<number>>

type Use = (value: any) => Effect.Effect<unknown, unknown, any>
const table: Record<string, readonly [kind: keyof typeof kinds, use: Use]> = {}
const option = (name: string, kind: keyof typeof kinds, use: Use) => {
  table[name] = [kind, use]
}
const options = (
  of: string,
  given: Record<string, keyof typeof kinds>,
  use: (options: any) => ReturnType<Use>
) => {
  for (const [name, kind] of Object.entries(given))
    option(`${of}.${name}`, kind, (value) => use({ [name]: value }))
}

const one = Stream.make(1)
const bytes = Stream.make(new TextEncoder().encode("1\n"))
const command = Command.make("true")
const job = Job.fromFunction((n: number) => n)

options("Tail.Options", { interval: "someTime" }, (given) =>
  Effect.provide(Effect.void, Tail.layerWith(given))
)
options("Tail.OpenOptions", { rotateWait: "time" }, (given) =>
  Stream.runDrain(Stream.unwrap(Effect.map(Tail.Follow, ({ open }) => open("/nowhere", given)))).pipe(
    Effect.provide(Tail.layer)
  )
)
options("FollowRecords.FollowOptions", { rotateWait: "time" }, (given) =>
  Stream.runDrain(FollowRecords.follow("/nowhere", given)).pipe(Effect.provide(Tail.layer))
)
options("Spool.Options", { memory: "anyCount", most: "countOrInfinity" }, (given) =>
  Effect.scoped(spool.make(given))
)
options("Gather.GatherOptions", { concurrency: "countOrInfinity" }, (given) =>
  Gather.gather([Effect.void], given)
)
options(
  "Downloads.DownloadsOptions",
  {
    concurrency: "countOrInfinity",
    perHost: "countOrInfinity",
    retries: "anyCount",
    split: "count",
    timeout: "time",
    maxSize: "anyCount"
  },
  (given) => Stream.runDrain(Downloads.downloads([], given))
)
options(
  "Download.SessionOptions",
  {
    connectTimeout: "time",
    stallTimeout: "time",
    limitRate: "positive",
    maxRedirects: "anyCount"
  },
  (given) => Effect.scoped(Effect.flatMap(Downloader.Downloader, ({ open }) => open(given)))
)
options("SafeHttpClient.Options", { retries: "anyCount", timeout: "time", maxSize: "anyCount" }, (given) =>
  Effect.scoped(SafeHttpClient.make(given))
)
option("Download.Request.maxSize", "anyCount", (maxSize) =>
  Effect.gen(function* () {
    const session = yield* (yield* Downloader.Downloader).open()
    return yield* Downloader.fetch(session, { url: new URL("http://127.0.0.1:1/"), maxSize })
  }).pipe(Effect.scoped, Effect.provide(Downloader.layer))
)
options("EventBuffer.Options", { capacity: "countOrInfinity" }, (given) =>
  Effect.sync(() => EventBuffer.make(given))
)
options("EventBuffer.Options", { pause: "time" }, (given) =>
  Effect.sync(() => EventBuffer.make({ capacity: 1, ...given }))
)
options("HostQueue.Options", { perHost: "countOrInfinity", lowWater: "countOrInfinity" }, (given) =>
  Effect.sync(() => hostQueue.make({ perHost: 1, lowWater: 1, host: String, ...given }))
)
options(
  "MapJobs.EachOptions",
  { chunk: "count", concurrency: "countOrInfinity", timeout: "time", retries: "anyCount" },
  (given) => Stream.runDrain(MapJobs.each(job, [1], given))
)
option("Executor.withTimeout timeout", "time", (timeout) => Executor.withTimeout(Effect.void, timeout))
options(
  "Executor.WorkersOptions",
  {
    maxWorkers: "count",
    minWorkers: "anyCount",
    idleTimeout: "time",
    maxQueue: "anyCount",
    maxMemory: "count",
    recycleAfter: "countOrInfinity",
    grace: "time"
  },
  (given) => Effect.provide(Effect.void, Executor.layerThreads(given))
)
options("ExecutorTest.layer", { maxWorkers: "count" }, (given) =>
  Effect.provide(
    Effect.void,
    ExecutorTest.layer(() => Effect.void, given)
  )
)
options(
  "HttpServer.Options",
  {
    port: "port",
    grace: "time",
    connections: "countOrInfinity",
    connectionsPerAddress: "countOrInfinity",
    headerTime: "someTime",
    headerSize: "count",
    bodyTime: "someTime",
    bodySize: "anyCount",
    idleTime: "someTime",
    pipelined: "count",
    messageSize: "count",
    messagesWaiting: "count",
    backlog: "countOrInfinity",
    writeTime: "someTime",
    pingInterval: "someTime",
    waitTime: "someTime",
    deadline: "someTime"
  },
  (given) => Effect.provide(Effect.void, HttpServerTest.layer(given))
)
options("Blocking.Options", { threads: "count" }, (given) =>
  Blocking.make({ file: "/nowhere/app.ts" }, given)
)
options(
  "Explanation.Options",
  { requests: "countOrNone", wait: "time", block: "time", others: "countOrNone" },
  (given) => Effect.provide(Explanation.measure(given), HttpServerTest.layer())
)
options("ServerProcesses.Options", { processes: "count", grace: "time" }, (given) =>
  ServerProcesses.run({ processes: 1, report: () => Effect.void, ...given })
)
options("Lines.Options", { maxLine: "countOrInfinity", delimiter: "byte" }, (given) =>
  Effect.sync(() => Lines.make({ onLine: () => undefined, ...given }))
)
options("Splitter.Options", { maxLine: "countOrInfinity" }, (given) =>
  Effect.sync(() => Splitter.make({ format: "csv", ...given }))
)
options("LogFiles.Options", { maxSize: "countOrInfinity", keep: "countOrNone" }, (given) =>
  Effect.scoped(LogFiles.open("/nowhere", "name", given))
)
options("Processes.StopOptions", { grace: "time" }, (given) =>
  Effect.scoped(Effect.flatMap(Processes.Processes, ({ start }) => start(command, given)))
)
option("Processes.Child.stop grace", "time", (grace) =>
  Effect.scoped(
    Effect.flatMap(Processes.Processes, ({ start }) =>
      Effect.flatMap(start(command), (child) => child.stop(grace))
    )
  )
)
options("CommandExecutor.layerWith", { grace: "time" }, (given) =>
  Effect.provide(Command.exitCode(command), CommandExecutor.layerWith(given))
)
options("Processes.RunOptions", { maxOutput: "anyCount", timeout: "time" }, (given) =>
  Processes.run(command, given)
)
options("Processes.Options", { grace: "time" }, (given) =>
  Effect.provide(Effect.void, Processes.layerWith(given))
)
options("ProcessesTest.Script", { times: "anyCount", after: "time" }, (given) =>
  Effect.provide(Effect.void, ProcessesTest.layerTest([{ match: "true", ...given }]))
)
options("Backoff.Backoff", { first: "time", factor: "positive", max: "time", jitter: "share" }, (backoff) =>
  Supervisor.supervise(Effect.void, { backoff })
)
options("Supervisor.Health", { every: "time", timeout: "time", failures: "countOrInfinity" }, (health) =>
  Supervisor.supervise(Effect.void, { health: { check: Effect.void, ...health } })
)
options(
  "Supervisor.Policy",
  { maxRestarts: "anyCount", window: "time", resetAfter: "time", readyTimeout: "time" },
  (given) => Supervisor.supervise(Effect.void, given)
)
options("TaskGroup.Options", { concurrency: "countOrInfinity" }, (given) =>
  TaskGroup.scoped(Effect.void, given)
)
options("WaitTasks.WaitOptions", { timeout: "time" }, (given) => WaitTasks.wait([], given))
options("TaskGroup.StartOptions", { priority: "any" }, (given) =>
  TaskGroup.scoped(TaskGroup.start("task", Effect.void, given))
)
options("Timers.SeriesOptions", { times: "anyCount", jitter: "time", seed: "any", window: "time" }, (given) =>
  Scheduling.every("1 second", Effect.void, given)
)
option("Timers.until", "anyTime", (until) => Scheduling.every("1 second", Effect.void, { until }))
option("Timers.every interval", "someTime", (interval) => Scheduling.every(interval, Effect.void))
option("Timers.callLater delay", "anyTime", (delay) => Scheduling.callLater(delay, Effect.void))
option("Timers.callAt time", "anyTime", (time) => Scheduling.callAt(time, Effect.void))
options("Deadline.Options", { limit: "time" }, ({ limit = 1 }) =>
  Deadline.timeout(Effect.void, { limit, late: { reason: "late", origin: "test" }, onTimeout: () => "late" })
)
options("LoopWatch.Options", { threshold: "someTime", hanging: "someTime" }, (given) =>
  Effect.scoped(LoopWatch.make(given))
)
option("Sleep.sleep duration", "anyTime", (duration) => Sleep.sleep(duration))
options("Timers.Options", { recheck: "time" }, (given) =>
  Effect.provide(Effect.void, Timers.layerWith(given))
)
options("VirtualClock.Options", { start: "any", patience: "time" }, (given) =>
  VirtualClock.run(Effect.void, given)
)
options("WorkerFibers.Options", { concurrency: "countOrInfinity" }, (given) =>
  WorkerFibers.run({ pull: () => undefined, settle: () => undefined, ...given })
)
option("LongRunning.forever pause", "anyTime", (pause) => LongRunning.forever(Effect.fail("once"), pause))
option("LongRunning.cancelAfter duration", "anyTime", (duration) =>
  LongRunning.cancelAfter(Effect.never, duration)
)
options("Services.ServicesOptions", { duration: "time", sample: "time", grace: "time" }, (given) =>
  Services.run([], given)
)
options("Generators.FromGeneratorOptions", { grace: "time" }, (given) =>
  Stream.runDrain(Generators.fromGenerator(() => [1], given))
)
options(
  "MapConcurrent.MapConcurrentOptions",
  { concurrency: "countOrInfinity", backpressure: "countOrInfinity" },
  (given) => Stream.runDrain(MapConcurrent.mapConcurrent(one, Effect.succeed, given))
)
options("Pacing.BatchOptions", { size: "countOrInfinity" }, (given) =>
  Stream.runDrain(Pacing.batchWithin(one, given))
)
options("Pacing.BatchOptions", { within: "time" }, (given) =>
  Stream.runDrain(Pacing.batchWithin(one, { size: 1, ...given }))
)
options("Pacing.RateOptions", { limit: "positive" }, (given) =>
  Stream.runDrain(Pacing.rateLimited(one, given))
)
options("Pacing.RateOptions", { interval: "someTime" }, (given) =>
  Stream.runDrain(Pacing.rateLimited(one, { limit: 1, ...given }))
)
options("Pacing.MergeOptions", { backpressure: "countOrInfinity" }, (given) =>
  Stream.runDrain(Pacing.mergeFair([one], given))
)
options("ReadRecords.LinesOptions", { maxLine: "countOrInfinity" }, (given) =>
  Stream.runDrain(ReadRecords.lines(bytes, given))
)
options("Items.Options", { maxLine: "countOrInfinity" }, (given) =>
  Effect.provide(Stream.runDrain(Items.read("-", given)), Input.layerTest(""))
)
options("Gather.ListOptions", { maxLine: "countOrInfinity" }, (given) =>
  Effect.provide(Stream.runDrain(GatherFiles.readList("-", given)), Input.layerTest(""))
)
options("Checkpoints.CheckpointOptions", { every: "time" }, (given) =>
  Stream.runDrain(Checkpoints.checkpointed({ path: "p", input: "i", position: () => 1, ...given }, () => one))
)
options("MapRecords.MapRecordsOptions", { retries: "anyCount", timeout: "time" }, (given) =>
  Stream.runDrain(
    MapRecords.mapRecords(ReadRecords.records(bytes, { format: "ndjson" }), (value) => value, given)
  )
)
options("RecordRun.RunOptions", { skip: "countOrNone", take: "countOrNone" }, (given) =>
  Stream.runDrain(
    RecordRun.run({ _tag: "Input", name: "bytes", bytes }, (value) => value, { format: "ndjson", ...given })
  )
)
option("RecordRun.RunOptions.maxLine", "countOrInfinity", (maxLine) =>
  Stream.runDrain(
    RecordRun.run({ _tag: "Input", name: "bytes", bytes }, (value) => value, { format: "ndjson", maxLine })
  )
)
options(
  "LoadDriver.LoadOptions",
  {
    connections: "countOrNone",
    webSockets: "countOrNone",
    time: "someTime",
    warmUp: "time",
    connectTime: "time"
  },
  (given) => LoadDriver.run("http://127.0.0.1:1/", given)
)
options("ServerProcess.StartOptions", { timeout: "someTime" }, (given) => ServerProcess.start(command, given))
options(
  "ServerCompare.CompareOptions",
  { webSockets: "countOrNone", threads: "count", wait: "someTime", time: "someTime" },
  (given) => Stream.runDrain(ServerCompare.compare({ models: [], ...given }))
)
options("NetworkLoad.LoadOptions", { wait: "someTime", time: "someTime" }, (given) =>
  Stream.runDrain(NetworkLoad.compare({ models: [], ...given }))
)
option("NetworkLoad.LoadOptions.connections", "count", (one) =>
  Stream.runDrain(NetworkLoad.compare({ models: [], connections: [one] }))
)
options("Network.PageOptions", { concurrency: "countOrInfinity" }, (given) =>
  Effect.provide(Network.page("ada", given), NeighbourhoodOfTests.layer())
)
option("ServerCompare.CompareOptions.connections", "count", (one) =>
  Stream.runDrain(ServerCompare.compare({ models: [], connections: [one] }))
)
options(
  "CircuitBreaker.Options",
  { failures: "count", window: "someTime", reset: "someTime", probes: "count" },
  (given) => CircuitBreaker.make({ name: "service", ...given })
)
options("Bulkhead.Options", { concurrency: "count", queue: "countOrNone" }, (given) =>
  Bulkhead.make({ name: "service", ...given })
)
options(
  "Neighbour.Policy",
  { deadline: "someTime", retries: "anyCount", hedge: "time", remember: "anyCount" },
  (given) => Neighbour.make("service", given)
)
options("Neighbour.Fault", { slow: "time", block: "time" }, (fault) => Neighbour.make("service", { fault }))
options("Cache.MemoryOptions", { capacity: "count" }, (given) => NetworkCache.makeMemory(given))
options("NetworkDemo.PrepareOptions", { timeout: "time" }, (given) =>
  Effect.provide(NetworkDemo.prepare(given), NeighbourhoodOfTests.layer())
)
options("OAuth.IssuerOptions", { lifetime: "count" }, (given) => OAuth.makeIssuer(given))
options("Api.Options", { maxSize: "count", redirects: "countOrNone" }, (given) =>
  Api.make(
    Api.inProcess(() => ({})),
    { url: new URL("http://localhost"), ...given }
  )
)

options("ScheduledRuns.RunsOptions", { grace: "time", timeout: "time", retries: "anyCount" }, (given) =>
  ScheduledRuns.run(command, { _tag: "Later", delay: 0 }, { handle: () => Effect.void, ...given })
)
options("CommandRun.Options", { timeout: "time" }, (given) =>
  Effect.flatMap(Effect.void, () => CommandRun.attempt(command, given))
)
options(
  "ScheduleServer.Options",
  { poll: "someTime", drain: "time", concurrency: "count", keep: "count" },
  (given) =>
    Effect.scoped(ScheduleServer.serve({ runners: new Map(), handle: () => Effect.void, ...given })).pipe(
      Effect.provideService(Store.Store, {} as never)
    )
)
options("DurableTimers.CallOptions", { retries: "anyCount" }, (given) =>
  Effect.flatMap(DurableTimers.DurableTimers, ({ callLater }) =>
    callLater(
      DurableTimers.make({ name: "t", payload: Schema.Void, run: () => Effect.void }),
      0,
      undefined,
      given
    )
  ).pipe(Effect.provide(DurableTimers.layerClient), Effect.provideService(Store.Store, {} as never))
)
options(
  "DurableWorkflows.Options",
  { poll: "someTime", concurrency: "count", keep: "time", drain: "time" },
  (given) =>
    Effect.provideService(Effect.scoped(Layer.build(DurableWorkflows.layer(given))), Store.Store, {} as never)
)
option("DurableWorkflows.list.limit", "count", (limit) =>
  Effect.provideService(DurableWorkflows.list({ limit }), Store.Store, {} as never)
)
options(
  "ClusterExecutor.Options",
  {
    maxWorkers: "count",
    capacity: "count",
    retries: "anyCount",
    tries: "count",
    maxSize: "count",
    patience: "time"
  },
  (given) => Layer.launch(ClusterExecutor.layer({ store: "/dev/null/none", ...given }))
)
options("ClusterDownloader.Options", { tries: "count", patience: "time" }, (given) =>
  Layer.launch(ClusterDownloader.layer({ store: "/dev/null/none", ...given }))
)
options(
  "ClusterProcesses.Options",
  { timeout: "time", tries: "count", maxSize: "count", patience: "time" },
  (given) => Layer.launch(ClusterProcesses.layer({ store: "/dev/null/none", ...given }))
)
options(
  "Runner.Options",
  { maxResult: "count", grace: "time", heartbeat: "someTime", patience: "someTime" },
  (given) =>
    Layer.launch(Layer.provide(Runner.layer({ store: "/dev/null/none", ...given }), InlineExecutor.layer))
)
option("ScheduledRuns.When delay", "anyTime", (delay) =>
  ScheduledRuns.start({ _tag: "Later", delay }, () => Effect.void)
)
options("Subprocess.RunAllOptions", { concurrency: "countOrInfinity" }, (given) =>
  Subprocess.runAll([command], given)
)
option("Jobs.Halt.count", "count", (count) =>
  jobs({ halt: { when: "soon", on: "fail", percent: false, count } })
)
option("Jobs.Halt percent", "positive", (count) =>
  jobs({ halt: { when: "soon", on: "fail", percent: true, count } })
)
const jobs = (given: Jobs.JobsOptions) => Stream.runDrain(Jobs.stream([], given))
options(
  "Jobs.JobsOptions",
  {
    concurrency: "count",
    timeout: "time",
    retries: "anyCount",
    delay: "time",
    load: "positive",
    memfree: "finite",
    spoolMax: "count"
  },
  jobs
)
options("TemplateJobs.BatchOptions", { maxArgs: "count", maxChars: "count" }, (given) =>
  Stream.runDrain(TemplateJobs.batches({ length: () => 0 }, given)(Stream.empty))
)
options("TemplateJobs.BlockOptions", { block: "count", items: "count", maxLine: "count" }, (given) =>
  Stream.runDrain(TemplateJobs.cut(Stream.empty, given))
)
option("Jobs.JobsOptions median", "positive", (median) => jobs({ timeout: { median } }))
options(
  "CommandGroup.CommandsOptions",
  { concurrency: "countOrInfinity", timeout: "time", retries: "anyCount", grace: "time" },
  (given: CommandGroup.CommandsOptions) => CommandGroup.run([], given)
)
options(
  "Interleave.Options",
  { runs: "count", seed: "any", depth: "count", maxSteps: "countOrInfinity", patience: "time" },
  (given) => Interleave.explore(Effect.void, given)
)

/** Fields of such records that are no settings a caller could get wrong, or are read by code that is checked above. */
const exempt = new Set([
  "Cron.Options.after",
  "CivilTime.Options.now",
  "ProcessesTest.Script.exitCode",
  "Splitter.Options.from",
  "TemplateJobs.BlockOptions.end",
  "LongRunning.ExampleOptions.seed"
])

/** `Module.Interface.name` of each option in the sources that is a number or a duration. */
const declared = (): ReadonlyArray<string> =>
  ["services", "programs", "testing"].flatMap((room) => {
    const folder = new URL(`../../src/${room}/`, import.meta.url)
    return readdirSync(folder, { recursive: true, encoding: "utf8" })
      .filter((file) => file.endsWith(".ts") && !file.includes("internal/"))
      .flatMap((file) => {
        const source = readFileSync(new URL(file, folder), "utf8")
        const records = source.matchAll(
          /^export interface (\w*(?:Options|Policy|Backoff|Health|Halt|Script))\b[\s\S]*?^\}/gm
        )
        return [...records].flatMap(([text, name]) =>
          [...text.matchAll(/^ {2}readonly (\w+)\??: ([^(\n]*\b(?:number|DurationInput)\b)/gm)].map(
            ([, field]) => `${basename(file, ".ts")}.${name}.${field}`
          )
        )
      })
  })

const layers = Layer.mergeAll(
  ProcessesTest.layerTest([{ match: "true" }]),
  DownloaderTest.layer({}),
  InlineExecutor.layer,
  LoadDriver.layerTest(() => ({})),
  Output.layerTest,
  Probes.layerTest({}),
  Timers.layer,
  SystemLoad.layer,
  Checkpoints.layerTest(),
  Tail.layerTest({})
)

describe("options that are numbers", () => {
  it("are all in this table", () => {
    const unknown = declared().filter((name) => table[name] === undefined && !exempt.has(name))
    // Check it with `checkOptions` of text/Numbers, and add it above.
    expect(unknown).toEqual([])
  })

  it.live.each(Object.keys(table))("%s", (name) =>
    Effect.gen(function* () {
      const [kind, use] = table[name]!
      const isTime = /time$/i.test(kind)
      const negative = kind === "any" || kind === "anyTime" ? [] : [-1]
      const text = name === "Timers.until" || name === "Timers.callAt time" ? [] : [isTime ? "soon" : "3"]
      for (const bad of [
        Number.NaN,
        ...negative,
        ...text,
        ...kinds[kind]
      ] as ReadonlyArray<Duration.DurationInput>) {
        const exit = yield* Effect.exit(Effect.suspend(() => Effect.scoped(use(bad)))).pipe(
          Effect.provide(layers),
          (effect) => effect as Effect.Effect<Exit.Exit<unknown, unknown>>
        )
        const [defect] = Exit.isFailure(exit) ? [...Cause.defects(exit.cause)] : []
        const field = name.split(/[. ]/).at(-1)!
        expect([bad, String(defect)]).toEqual([
          bad,
          expect.stringContaining(["percent"].includes(field) ? "halt.count" : field)
        ])
      }
    })
  )
})
