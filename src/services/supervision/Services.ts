import type * as Command from "@effect/platform/Command"
import { Cause, Clock, Data, Deferred, Duration, Effect, Exit, Option } from "effect"
import * as EventLine from "../host/EventLine.js"
import type * as Events from "../host/Events.js"
import { ofMany } from "../host/ExitCodes.js"
import * as CommandText from "../process/CommandText.js"
import * as Processes from "../process/Processes.js"
import * as Cancellation from "../task/Cancellation.js"
import * as Causes from "../task/Causes.js"
import * as Sleep from "../task/Sleep.js"
import * as TaskGroup from "../task/TaskGroup.js"
import { formatDuration } from "../text/Durations.js"
import { checkOptions, time } from "../text/Numbers.js"
import * as probing from "./internal/probing.js"
import * as readiness from "./internal/readiness.js"
import * as requesting from "./internal/requests.js"
import * as serviceRun from "./internal/serviceRun.js"
import * as LogFiles from "./LogFiles.js"
import * as Probes from "./Probes.js"
import * as Supervisor from "./Supervisor.js"

/**
 * A check whether a running service works.
 *
 * @since 0.1.0
 * @category models
 */
export type Probe =
  | { readonly http: string }
  | { readonly port: number; readonly host?: string | undefined }
  /** Works when this command ends with exit code 0. */
  | { readonly exec: Command.Command }

/**
 * A command that is kept running.
 *
 * @since 0.1.0
 * @category models
 */
export interface ServiceRequest {
  /** Identifies the service and names its log; unique. */
  readonly name: string
  readonly command: Command.Command
  /**
   * The names of the services that must be ready, all in the moment in which this one starts, at each restart too. A
   * service is ready until its run ends; one that has ended well for good keeps the state that it had. Services that wait
   * for each other in a ring never start (see `StartOrder`).
   */
  readonly after?: Iterable<string> | undefined
  /**
   * Readiness of the service: a probe that is answered, or a matching line of its output, the last one before its end included.
   * Default: its start. A pattern that takes longer than a second for a line fails the run. A port without a host must
   * belong to a process of the service (on Linux; see `Processes.Process.listens`).
   */
  readonly ready?: Probe | { readonly log: RegExp } | undefined
  readonly health?: Probe | undefined
  /** Default: that of {@link ServicesOptions}. */
  readonly restart?: Supervisor.Restart | undefined
  /** As in `Processes.StopOptions`; default: that of {@link ServicesOptions}. */
  readonly stopSignal?: NodeJS.Signals | undefined
  /** Whether it waits for {@link Controls.restart} after its last run, instead of ending for good; default false. */
  readonly stays?: boolean | undefined
}

/**
 * What a service was asked is not possible; `message` names the reason.
 *
 * @since 0.1.0
 * @category errors
 */
export class NotControlled extends Data.TaggedError("NotControlled")<{ readonly message: string }> {}

/**
 * What running services can be asked. Each returns when no process of the run before it is left, and fails with
 * `NotControlled` for a service that is not known or has ended for good.
 *
 * @since 0.1.0
 * @category models
 */
export interface Controls {
  /** Ends the run of the service, and starts it again without a pause; it is no restart within `maxRestarts`. */
  readonly restart: (name: string, reason: string) => Effect.Effect<void, NotControlled>
  /** Ends the run of the service, which stays stopped until a start or restart. */
  readonly stop: (name: string, reason: string) => Effect.Effect<void, NotControlled>
  /** Starts a service that is stopped; no effect on one that runs. */
  readonly start: (name: string, reason: string) => Effect.Effect<void, NotControlled>
}

/**
 * Settings of {@link run}.
 *
 * @since 0.1.0
 * @category options
 */
export interface ServicesOptions
  extends Processes.StopOptions,
    Pick<
      Supervisor.Policy,
      "backoff" | "maxRestarts" | "readyTimeout" | "resetAfter" | "restart" | "window"
    > {
  /** As in `Supervisor.Health`. */
  readonly health?: Omit<Supervisor.Health, "check"> | undefined
  /** The effect on the others of a service that has failed for good; default `"cancel"`. */
  readonly onFailure?: "cancel" | "continue" | undefined
  /** How long the services are kept running; default for ever. */
  readonly duration?: Duration.DurationInput | undefined
  /** How often the use of processor and memory is reported; default never. */
  readonly sample?: Duration.DurationInput | undefined
  /** A folder for one log per service. */
  readonly logs?: ({ readonly directory: string } & LogFiles.Options) | undefined
  /** Runs beside the services, and is interrupted at their end. */
  readonly control?: ((controls: Controls) => Effect.Effect<unknown>) | undefined
  /** Receives every event, shutdown included. A command's pipe is held until its output has been handled. */
  readonly onEvent?: ((event: ServiceEvent) => Effect.Effect<void>) | undefined
}

/**
 * An event of {@link run}: those of `aio long-running --json`, with the output as bytes. Runs count from 1.
 *
 * @since 0.1.0
 * @category events
 */
export type ServiceEvent =
  | Exclude<typeof Events.LongRunning.Type, { readonly event: "output" | "status" }>
  /** Whole lines, except parts of a line longer than 1 MiB and the rest at the end. */
  | {
      readonly event: "output"
      readonly index: number
      readonly name: string
      readonly stream: "stdout" | "stderr"
      readonly bytes: Uint8Array
    }

/**
 * How a service has ended for good; its duration counts from its first start. `cancelled`: stopped. `skipped`: never
 * started.
 *
 * @since 0.1.0
 * @category models
 */
export type ServiceOutcome = Extract<ServiceEvent, { readonly event: "finished" }>

/**
 * Keeps named commands running, each as a task (as foreman, supervisord and process-compose do). Returns when all have
 * ended for good, when one has failed for good and `onFailure` is `"cancel"`, or when the time is up. Services that still
 * run are then stopped in reverse order of their first start, one after the other, until no process of any is left;
 * interruption does the same.
 *
 * Returns the outcome of each service, in input order. Fails with `LogFilesError` when a log cannot be written. The last
 * event is the summary, even of an interrupted run; its exit code is that of the failures (see `ExitCodes.ofMany`), or 128
 * plus the number of the signal that interrupted it.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import * as Probes from "effect-asyncio/services/Probes"
 * import * as CommandText from "effect-asyncio/services/CommandText"
 * import * as Processes from "effect-asyncio/services/Processes"
 * import * as Services from "effect-asyncio/services/Services"
 *
 * export const program = Services.run(
 *   [
 *     { name: "db", command: CommandText.shell("redis-server --port 7001"), ready: { port: 7001 } },
 *     { name: "web", command: CommandText.shell("node server.js"), after: ["db"], health: { http: "http://localhost:8080" } }
 *   ],
 *   { restart: "always", duration: "8 hours", onEvent: (event) => Effect.logDebug(event.event) }
 * ).pipe(Effect.provide([Processes.layer, Probes.layer]))
 * ```
 *
 * @since 0.1.0
 * @category effects
 */
export const run = Effect.fn("Services.run")(function* (
  requests: ReadonlyArray<ServiceRequest>,
  options: ServicesOptions = {}
) {
  const {
    duration,
    grace = "5 seconds",
    health,
    logs,
    onEvent = () => Effect.void,
    onFailure = "cancel"
  } = options
  checkOptions(options, { grace: time, duration: time, sample: time })
  if (logs !== undefined) yield* LogFiles.check(logs.directory)
  const processes = yield* Processes.Processes
  const probes = yield* Probes.Probes
  const group = yield* TaskGroup.make({
    name: "long-running",
    onFailure: "collect",
    report: () => Effect.void
  })
  const names = new Set(requests.map(({ name }) => name))
  const asked = new Map(requests.map(({ name }) => [name, requesting.make()]))
  const ready = readiness.make()
  const outcomes = new Map<string, ServiceOutcome>()
  const failures: Array<number> = []
  const begun = yield* Clock.currentTimeNanos
  const since = (nanos: bigint) =>
    Effect.map(Clock.currentTimeNanos, (now) => EventLine.ms(Number(now - nanos) / 1e6))
  /** In order of their first start. */
  const started: Array<string> = []
  const over = yield* Deferred.make<string, LogFiles.LogFilesError>()

  const checks = probing.make(processes, probes, grace)

  // During shutdown no service is restarted, and the end of one is not a failure: each waits for its turn.
  let stopping = false
  const turn = Effect.suspend(() => (stopping ? Effect.never : Effect.void))
  const unlessStopping = <A, E, R>(run: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.zipRight(
      turn,
      Effect.flatMap(Effect.exit(run), (exit) => Effect.zipRight(turn, exit))
    )

  const keep = (index: number, request: ServiceRequest, log: LogFiles.LogFile | undefined) => {
    const { command, name, stopSignal = options.stopSignal } = request
    const which = { index, name }
    let first: bigint | undefined
    const { restart = options.restart ?? "on-failure" } = request
    const others = [...(request.after ?? [])].filter((other) => names.has(other))
    const pattern = request.ready !== undefined && "log" in request.ready ? request.ready.log : undefined
    let restarts = 0
    /** The number of the run, 0 before the first, and of the last one before a request. */
    let current = 0
    let before = 0
    let begunAt: bigint | undefined
    let state = serviceRun.makeState()
    let reportedReady = false

    const finish = (status: ServiceOutcome["status"], reason?: string, wasReady = false) =>
      Effect.gen(function* () {
        const outcome: ServiceOutcome = {
          event: "finished",
          ...which,
          status,
          duration: first === undefined ? 0 : yield* since(first),
          ...(reason === undefined ? {} : { reason }),
          restarts
        }
        outcomes.set(name, outcome)
        ready.settle(name, wasReady)
        yield* onEvent(outcome)
        yield* ready.changed
      })
    const runOnce = Effect.suspend(() =>
      serviceRun.run({
        command,
        grace,
        log,
        pattern,
        sample: options.sample,
        state,
        stopSignal,
        onStarted: (pid) =>
          onEvent({
            event: "started",
            ...which,
            run: current,
            pid,
            command: CommandText.commandText(command)
          }),
        onOutput: (stream, bytes) => onEvent({ event: "output", ...which, stream, bytes }),
        onLingering: (left, pid) => onEvent({ event: "lingering", ...which, pid, left: EventLine.ms(left) }),
        onSample: (pid, cpu, memory) =>
          onEvent({ event: "sampled", ...which, pid, cpu: EventLine.ms(cpu), memory }),
        onDown: () => ready.down(name),
        // Ends everything: without its log a service would fail unseen.
        onLogFailed: (error) => Deferred.fail(over, error)
      })
    )
    const waitFor = Effect.gen(function* () {
      const missing = current === 0 ? others : ready.missing(others)
      if (missing.length > 0) yield* onEvent({ event: "waiting", ...which, others: missing })
      yield* ready.await(others)
      yield* turn
    })
    const { health: check, isReady, wasReady } = checks.of(request, restart, () => state)
    const reportReady = (run: number, duration: number) =>
      Effect.suspend(() => {
        reportedReady = true
        ready.reached(name)
        return Effect.flatMap(
          onEvent({ event: "ready", ...which, run, duration: EventLine.ms(duration) }),
          () => (state.over ? Effect.void : ready.up(name))
        )
      })
    const handle = (told: Supervisor.Event): Effect.Effect<unknown> => {
      const event = { ...told, run: told.run + before }
      switch (event.event) {
        case "started":
          if (current === 0) started.push(name)
          current = event.run
          reportedReady = false
          state = serviceRun.makeState()
          return Effect.map(Clock.currentTimeNanos, (now) => {
            begunAt = now
            first ??= now
          })
        case "ready":
          return reportReady(event.run, event.duration)
        case "exited": {
          const { exit, run } = event
          state.over = true
          begunAt = undefined
          ready.down(name)
          const exited = {
            event: "exited",
            ...which,
            run,
            duration: EventLine.ms(event.duration),
            ...serviceRun.howEnded(exit)
          } as const
          const late = reportedReady ? Effect.succeed(false) : wasReady(exit)
          return Effect.zipRight(
            Effect.if(late, { onTrue: () => reportReady(run, event.duration), onFalse: () => Effect.void }),
            Effect.suspend(() => onEvent(exited))
          )
        }
        case "restarting":
          restarts = event.run - 1
          return onEvent({ ...which, ...event, delay: EventLine.ms(event.delay) })
        default:
          return onEvent({ ...which, ...event })
      }
    }
    const runs = Effect.exit(
      Supervisor.supervise(unlessStopping(runOnce), {
        ...options,
        restart,
        waitFor,
        ready: isReady,
        health: check && { ...health, check },
        onEvent: (event) => (stopping ? Effect.void : Effect.asVoid(handle(event)))
      })
    )
    const onAsked = (reason: string) =>
      begunAt === undefined ? Effect.void : onEvent({ event: "stopping", ...which, reason })
    const onEnded = (reason: string) =>
      Effect.gen(function* () {
        if (begunAt === undefined) return
        ready.down(name)
        yield* onEvent({ event: "exited", ...which, run: current, duration: yield* since(begunAt), reason })
        begunAt = undefined
      })
    const onAgain = Effect.suspend(() => {
      before = current
      if (current === 0) return Effect.void
      restarts = current
      return onEvent({ event: "restarting", ...which, run: current + 1, delay: 0 })
    })
    const stays = (exit: Exit.Exit<unknown, unknown>) =>
      Effect.as(
        Exit.isSuccess(exit) && reportedReady ? ready.up(name) : Effect.void,
        request.stays === true && !stopping
      )
    return Effect.gen(function* () {
      const exit = yield* asked.get(name)!.live({ runs, onAgain, onAsked, onEnded, stays })
      yield* turn // a failed health check, too, is not a failure during shutdown
      if (Exit.isSuccess(exit)) return yield* finish("succeeded", undefined, reportedReady)
      const error = Option.getOrUndefined(Cause.failureOption(exit.cause))
      // Never started, because another service failed: cancelled rather than failed.
      if (
        error instanceof readiness.NeverReady &&
        current === 0 &&
        outcomes.get(error.other)?.status !== "succeeded"
      ) {
        return yield* finish("skipped", error.message)
      }
      failures.push(serviceRun.failureCode(error))
      yield* finish("failed", Causes.headline(exit.cause))
      if (onFailure === "cancel") yield* Deferred.succeed(over, `sibling ${name} failed`)
    }).pipe(
      Effect.onInterrupt((interruptors) =>
        finish(
          current === 0 ? "skipped" : "cancelled",
          Cancellation.fromInterruptors(interruptors)[0]?.reason ?? "cancelled"
        )
      )
    )
  }

  // All logs are opened before the first start: when one cannot be opened nothing has run.
  const opened = yield* Effect.forEach(requests, ({ name }) =>
    logs === undefined ? Effect.succeed(undefined) : LogFiles.open(logs.directory, name, logs)
  )
  const tasks = new Map<string, TaskGroup.Task<unknown>>()
  for (const [i, request] of requests.entries()) {
    tasks.set(request.name, yield* group.start(request.name, keep(i + 1, request, opened[i])))
  }

  const stop = (reason: string) =>
    Effect.gen(function* () {
      stopping = true
      const waiting = requests.map(({ name }) => name).filter((name) => !started.includes(name))
      for (const name of [...waiting, ...[...started].reverse()]) {
        if (outcomes.has(name)) continue
        const index = requests.findIndex((request) => request.name === name) + 1
        yield* onEvent({ event: "stopping", index, name, reason })
        yield* tasks.get(name)!.cancel(reason, { origin: "long-running" })
      }
    })

  const control = (verb: requesting.Verb) => (name: string, reason: string) =>
    Effect.suspend(() => {
      const message = requesting.problem(name, asked, stopping, outcomes.get(name))
      return message === undefined ? asked.get(name)!.ask(verb, reason) : new NotControlled({ message })
    })
  const { control: beside = () => Effect.void } = options
  const controls = { restart: control("restart"), stop: control("stop"), start: control("start") }
  yield* Effect.forkScoped(Effect.catchAllCause(beside(controls), (cause) => Deferred.failCause(over, cause)))

  // The failure of a service is an outcome; a defect of a callback ends everything.
  const allEnded = Effect.asVoid(
    Effect.forEach(
      tasks.values(),
      (task) => Effect.flatMap(task.await, (exit) => Causes.raise(Causes.failuresOf(exit))),
      { concurrency: "unbounded" }
    )
  )
  const timeUp =
    duration === undefined
      ? Effect.never
      : Effect.as(
          Sleep.sleep(duration),
          `the run time of ${formatDuration(Duration.toMillis(duration))} is over`
        )
  const summary = (stopped?: string) =>
    Effect.flatMap(since(begun), (duration) =>
      onEvent({
        event: "summary",
        ...EventLine.tally([...outcomes.values()].map(({ status }) => status)),
        duration,
        exitCode: ofMany(failures, stopped)
      })
    )
  yield* Effect.raceFirst(Deferred.await(over), Effect.raceFirst(timeUp, allEnded)).pipe(
    Effect.catchAll((error) => Effect.zipRight(stop("a log cannot be written"), error)),
    Effect.flatMap((reason) => (reason === undefined ? Effect.void : stop(reason))),
    Effect.onInterrupt((interruptors) =>
      stop(Cancellation.fromInterruptors(interruptors)[0]?.reason ?? "cancelled")
    ),
    Effect.onExit((exit) => {
      if (Exit.isSuccess(exit)) return summary()
      return summary(Cancellation.fromCause(exit.cause)[0]?.reason ?? "failed")
    })
  )
  return requests.map(({ name }) => outcomes.get(name)!)
}, Effect.scoped)
