import { Schema } from "effect"

// The events of `aio --json`, version 2. Every event has the fields of these schemas, and `schema: 2` (EventLine adds it).
// All events use the same words: `index` counts from 1 in the order of the input; `name` is the URL, command, task or
// item; durations are milliseconds; `reason` is the sentence that a person reads.

/**
 * How one piece of work has ended. `skipped`: never started, because nothing had to be done or the run ended first.
 *
 * @since 0.1.0
 * @category models
 */
export const Status = Schema.Literal("succeeded", "failed", "cancelled", "skipped", "timed_out")

/**
 * The type of {@link Status}.
 *
 * @since 0.1.0
 * @category models
 */
export type Status = typeof Status.Type

const optional = <A, I>(schema: Schema.Schema<A, I>) => Schema.optionalWith(schema, { exact: true })

const text = Schema.String
const number = Schema.Finite
const count = Schema.NonNegativeInt
// Not Positive with int: its JSON Schema is one of any number.
const index = Schema.Int.pipe(Schema.greaterThanOrEqualTo(1)).annotations({
  description: "the number in the order of the input, from 1"
})
const milliseconds = Schema.NonNegative.pipe(Schema.finite()).annotations({ description: "milliseconds" })
const time = text.annotations({ description: "a time of day with its offset, as ISO 8601" })
const stream = Schema.Literal("stdout", "stderr")

const event = <Name extends string, Fields extends Schema.Struct.Fields>(name: Name, fields: Fields) =>
  Schema.Struct({ event: Schema.Literal(name), ...fields })

/** What every piece of work has. */
const item = { index, name: text }

const finished = <Fields extends Schema.Struct.Fields>(fields: Fields) =>
  event("finished", {
    ...item,
    status: Status,
    /** Milliseconds of the last attempt. */
    duration: milliseconds,
    reason: optional(text),
    ...fields
  })

const exit = { exitCode: optional(count), signal: optional(text) }

const summary = <Fields extends Schema.Struct.Fields>(fields: Fields) =>
  event("summary", {
    succeeded: count,
    failed: count,
    cancelled: count,
    skipped: count,
    timed_out: count,
    duration: milliseconds,
    exitCode: count,
    ...fields
  })

const retrying = event("retrying", { ...item, attempt: count, delay: milliseconds, reason: text })
const output = event("output", { ...item, stream, text })
/** The process was asked to end and still runs; it is killed after `left` milliseconds. */
const lingering = event("lingering", { ...item, pid: count, left: milliseconds })

/** With `--cluster`: the run is in the store, and `--run` continues it by this id. */
const submitted = event("submitted", { run: text })

const cause = Schema.Literal(
  ...(["dns", "connect", "tls", "stalled", "timeout", "dropped", "protocol"] as const),
  ...(["status", "redirect", "private-address", "too-large", "decode", "range", "checksum"] as const),
  ...(["name-taken", "disk-full", "descriptors", "file"] as const)
).annotations({ description: "why a download failed, for a program; reason is for a person" })

/**
 * The events of `aio gather`: `name` is the URL, without user and password. Every URL that was read has one
 * `finished`; a file that exists, a URL that is listed twice, and one that is never begun because the run ends is `skipped`.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Gather = Schema.Union(
  event("planned", { ...item, path: optional(text) }),
  event("started", item),
  /** `bytes` of the file so far, and of the whole file, if the server sends that. */
  event("progress", { ...item, bytes: count, total: optional(count) }),
  retrying.pipe(Schema.extend(Schema.Struct({ cause }))),
  /** An oddity that is not a failure. */
  event("note", { ...item, reason: text }),
  finished({
    /** Of the decoded body, or of the file that exists. */
    bytes: optional(count),
    path: optional(text),
    /** The machine that has the file, with `--cluster`. */
    host: optional(text),
    /** The checksum that the file was found to have, if one was expected. */
    md5: optional(text),
    sha1: optional(text),
    sha256: optional(text),
    sha512: optional(text),
    /** Bytes of an earlier attempt that were not downloaded again. */
    resumedFrom: optional(count),
    attempts: optional(count),
    cause: optional(cause),
    httpStatus: optional(count),
    /** Bytes on the disk from which the next run continues. */
    kept: optional(count)
  }),
  summary({
    /** Downloaded in this run. */
    bytes: count,
    retries: count,
    /** The number of failures for each cause. */
    causes: Schema.Record({ key: text, value: count }),
    kept: optional(Schema.Struct({ files: count, bytes: count }))
  })
)

/**
 * The events of `aio subprocess`: `name` is the command line.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Subprocess = Schema.Union(
  submitted,
  event("planned", item),
  event("started", { ...item, attempt: count, pid: count, slot: count }),
  output,
  retrying,
  lingering,
  event("waiting", { for: Schema.Literal("load", "memory"), value: number }),
  finished({
    ...exit,
    /** Where it ran, with `--cluster`. */
    host: optional(text),
    /** 0: it was not run. */
    attempts: count,
    usage: optional(Schema.Struct({ user: milliseconds, system: milliseconds, peakMemory: count }))
  }),
  summary({
    slowest: optional(Schema.Struct({ ...item, duration: milliseconds })),
    halted: optional(text)
  })
)

const record = { index, line: index }

/**
 * The events of `aio loop`: a `result` for each result, `finished` for a record that has failed or was cancelled. `line`
 * is where the record begins.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Loop = Schema.Union(
  event("result", { ...record, value: Schema.Unknown }),
  /** What a command wrote to stderr. */
  event("output", { ...record, stream: Schema.Literal("stderr"), text }),
  event("retrying", { ...record, attempt: count, delay: milliseconds, reason: text }),
  event("finished", { ...record, status: Status, reason: text }),
  /** Records of a followed file may have been lost. */
  event("gap", { path: text, reason: text }),
  /** There is nothing to read in a followed file. */
  event("waiting", { path: text, reason: text }),
  summary({ results: count })
)

const quantiles = Schema.Struct({ p50: milliseconds, p95: milliseconds, p99: milliseconds })

/**
 * The events of `aio executor`: `name` is the item's text, `place` where it is from (`line 3 of items.txt`), `value` the
 * result, if there is one.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Executor = Schema.Union(
  submitted,
  event("output", { stream, text }),
  finished({
    /** Milliseconds in the queue. */
    wait: milliseconds,
    attempts: count,
    place: optional(text),
    value: optional(Schema.Unknown),
    /** The name of the error's class. */
    error: optional(text),
    stack: optional(text)
  }),
  summary({ run: quantiles, wait: quantiles })
)

/**
 * The events of `aio tasks`: `name` is the task's.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Tasks = Schema.Union(
  event("started", { ...item, command: text, pid: count }),
  output,
  retrying,
  lingering,
  finished(exit),
  summary({})
)

/**
 * The events of `aio long-running`: `name` is the service's, `run` counts its runs from 1.
 *
 * @since 0.1.0
 * @category schemas
 */
export const LongRunning = Schema.Union(
  event("waiting", { ...item, others: Schema.Array(text) }),
  event("started", { ...item, run: count, command: text, pid: count }),
  output,
  event("ready", { ...item, run: count, duration: milliseconds }),
  event("unhealthy", { ...item, run: count, failures: count, reason: text }),
  event("exited", { ...item, run: count, duration: milliseconds, reason: text, ...exit }),
  event("restarting", { ...item, run: count, delay: milliseconds }),
  event("sampled", { ...item, pid: count, cpu: number, memory: count }),
  event("stopping", { ...item, reason: text }),
  /** A service, as `aio long-running status` lists it; `duration` is the age of its run, `reason` how the last one ended. */
  event("status", {
    ...item,
    state: text,
    pid: optional(count),
    duration: optional(milliseconds),
    restarts: count,
    reason: optional(text)
  }),
  lingering,
  finished({ restarts: count }),
  summary({})
)

const scheduled = { at: time, movedFrom: optional(time) }
/** Of a durable schedule: its id, and that of the run, which the command receives as `AIO_RUN_ID`. */
const durable = { schedule: optional(text), run: optional(text) }
const withIds = Schema.extend(Schema.Struct(durable))
const ran = {
  id: text,
  name: text,
  attempt: count,
  at: time,
  status: Schema.Literal(...Status.literals, "waiting", "queued", "claimed", "running"),
  started: optional(time),
  ended: optional(time),
  exitCode: optional(count),
  reason: optional(text)
}

/**
 * The events of `aio schedule`: `name` is the command line, or the name of a durable schedule, `index` the number of the run.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Schedule = Schema.Union(
  event("planned", { ...item, ...scheduled }),
  event("next", { index, ...scheduled }),
  event("scheduled", { name: text, ...scheduled, ...durable }),
  event("started", { ...item, ...scheduled, ...durable }),
  output.pipe(withIds),
  lingering.pipe(withIds),
  retrying.pipe(withIds),
  finished({ ...exit, ...durable }),
  /** Runs that do not take place: `count` of them, the first due at `at`, the last at `until`. */
  event("skipped", { name: text, at: time, until: time, count, reason: text, ...durable }),
  /** A durable schedule has been recorded. */
  event("recorded", { id: text, name: text, at: time }),
  /** `aio schedule list` and `show`: a durable schedule; `at` is its next run. */
  event("schedule", {
    id: text,
    name: text,
    state: Schema.Literal("active", "paused", "done", "cancelled"),
    created: time,
    at: optional(time),
    missed: count,
    last: optional(Schema.Struct(ran))
  }),
  /** `aio schedule show`: a run on record, with the end of its output; `count` runs that did not take place. */
  event("ran", { ...ran, count, text: optional(text) }),
  /** `aio schedule cancel`, `pause` and `resume`: whether that changed anything. */
  event("changed", { id: text, state: text, changed: Schema.Boolean }),
  event("triggered", { id: text, run: text }),
  /** `aio schedule serve` has been asked to end, and waits for this many runs. */
  event("closing", { running: count, grace: milliseconds }),
  event("note", { reason: text }),
  summary({})
)

/**
 * The events of `aio await`.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Await = Schema.Union(
  event("finding", {
    file: text,
    line: index,
    column: index,
    rule: text,
    code: text,
    reason: text,
    mend: text
  }),
  /** Imports that are not found, `specifier` in `file` first: what depends on them is not checked. */
  event("unresolved", { count, file: text, specifier: text }),
  /** Expressions without a type, the first at `line` of `file`: they are not checked. */
  event("unjudged", { count, file: text, line: index }),
  event("summary", { files: count, findings: count, unresolved: count, unjudged: count, exitCode: count })
)

/**
 * The events of `aio network`: `name` is the part of the page.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Network = Schema.Union(finished({ text: optional(text) }), summary({}))

const amount = Schema.NonNegative.pipe(Schema.finite())
const atLeast = Schema.Struct({ ms: amount, atLeast: Schema.Boolean }).annotations({
  description: "a quantile; with atLeast, more requests than that still waited"
})

const comparison = <const Models extends ReadonlyArray<string>, Labels extends Schema.Struct.Fields>(
  models: Models,
  labels: Labels
) =>
  Schema.Union(
    event("note", { reason: text }),
    event("started", item),
    event("measured", {
      ...item,
      model: Schema.Literal(...models),
      ...labels,
      connections: count,
      connected: count,
      webSockets: count,
      requests: count,
      refused: count,
      throughput: amount,
      p50: optional(atLeast),
      p99: optional(atLeast),
      errors: count,
      failures: Schema.Array(text),
      timeWait: optional(count),
      cpu: optional(amount),
      cpuPerRequest: optional(milliseconds),
      switches: optional(amount),
      memory: optional(count),
      memoryPerConnection: optional(amount)
    }),
    event("finished", { ...item, status: Schema.Literal("failed"), duration: milliseconds, reason: text }),
    event("predicted", { claim: text, measured: text, holds: optional(Schema.Boolean) }),
    event("summary", {
      measured: count,
      failed: count,
      predictions: count,
      held: count,
      duration: milliseconds,
      exitCode: count
    })
  )

/**
 * The events of `aio server --compare`: `name` is model and load. `measured` is a load on a fresh server, with answers a
 * second, processors used, and bytes of memory; `predicted` is a sentence of the guide beside what was measured, without
 * `holds` if that was not measured.
 *
 * @since 0.1.0
 * @category schemas
 */
export const ServerCompare = comparison(["event-loop", "threads", "blocking"], {
  load: Schema.Literal("hello", "wait", "sockets")
})

/**
 * The events of `aio network load`, as those of {@link ServerCompare}.
 *
 * @since 0.1.0
 * @category schemas
 */
export const NetworkLoad = comparison(["one-at-a-time", "at-once", "blocking"], {})

const stall = {
  /** Milliseconds in which the event loop did not turn. */
  duration: milliseconds,
  /** When that began. */
  at: time,
  function: optional(text),
  file: optional(text),
  line: optional(index),
  column: optional(index),
  /** The function of Node or V8 that the function called. */
  call: optional(text),
  /** The function went on there after a native call that blocked. */
  native: Schema.Boolean,
  fiber: optional(count),
  span: optional(text),
  /** An HTTP request: `GET /users`. */
  request: optional(text),
  /** The number of the worker thread; 0 is the main thread. */
  thread: count,
  /** How often this place has been reported. */
  count: index,
  suggestion: text
}

/** The reports of `--watch-loop`: `starved`: code that yields held back timers and I/O; `hanging`: still blocked. */
const stalls = [event("blocked", stall), event("starved", stall), event("hanging", stall)] as const

/**
 * The events of `aio server`. `request` only with `--access-log`, when the last of the answer was produced; `exited` and
 * `restarting` are of a process of `--processes`. `blocked`, `starved` and `hanging` are the reports of `--watch-loop`.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Server = Schema.Union(
  event("listening", {
    url: text,
    processes: index.annotations({ description: "how many processes serve" })
  }),
  event("request", {
    time,
    remote: optional(text),
    method: text,
    url: text,
    /** 499: the client has gone. */
    status: count,
    bytes: count,
    duration: milliseconds,
    referer: optional(text),
    userAgent: optional(text),
    cancelled: optional(text)
  }),
  /** A handler has failed; its client got 500. */
  event("failed", { method: text, url: text, reason: text }),
  /** The server closes, and waits for this many requests. */
  event("closing", { running: count, grace: milliseconds }),
  event("exited", { pid: count, reason: text }),
  event("restarting", { delay: milliseconds }),
  ...stalls
)

/**
 * The type of {@link Server}.
 *
 * @since 0.1.0
 * @category models
 */
export type ServerEvent = typeof Server.Type

/**
 * The events of `aio run --json`, which go to stderr, because stdout is the program's: `name` is the file as it was given.
 * `blocked`, `starved` and `hanging` are the reports of `--watch-loop`: `starved`: code that yields held back timers and
 * I/O; `hanging`: the loop is still blocked.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Run = Schema.Union(
  event("started", { ...item, pid: count }),
  ...stalls,
  finished({ exitCode: count })
)

/**
 * The events of `aio guide --json`: the concepts, or one and its page.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Guide = Schema.Union(
  event("concept", { ...item, section: text, asyncio: text, effect: text, summary: text }),
  /** `python` and `effect` are code. */
  event("page", { ...item, intro: text, python: text, effect: text, differences: Schema.Array(text) })
)

/**
 * The events of all commands, by the name of the subcommand.
 *
 * @since 0.1.0
 * @category schemas
 */
export const byCommand = {
  run: Run,
  gather: Gather,
  subprocess: Subprocess,
  loop: Loop,
  executor: Executor,
  tasks: Tasks,
  "long-running": LongRunning,
  schedule: Schedule,
  await: Await,
  network: Schema.Union(...Network.members, ...NetworkLoad.members),
  guide: Guide,
  server: Schema.Union(...Server.members, ...ServerCompare.members)
}
