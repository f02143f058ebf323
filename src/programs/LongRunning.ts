import type * as Command from "@effect/platform/Command"
import { Cause, Clock, Data, Deferred, Duration, Effect, Exit, FiberId, Option, Random, Scope } from "effect"
import { codes } from "../services/host/ExitCodes.js"
import * as Output from "../services/host/Output.js"
import * as LineOutput from "../services/process/LineOutput.js"
import * as Processes from "../services/process/Processes.js"
import { someMatch } from "../services/supervision/internal/patterns.js"
import * as LogFiles from "../services/supervision/LogFiles.js"
import * as Probes from "../services/supervision/Probes.js"
import * as Supervisor from "../services/supervision/Supervisor.js"
import * as Cancellation from "../services/task/Cancellation.js"
import * as Causes from "../services/task/Causes.js"
import * as Sleep from "../services/task/Sleep.js"
import * as TaskGroup from "../services/task/TaskGroup.js"
import { anyTime, checkedDuration, checkOptions, time } from "../services/text/Numbers.js"
import { formatDuration, formatGiven } from "../services/text/Units.js"

/**
 * Pauses, runs the effect, and does so again until it is interrupted or something fails: a task that never ends by
 * itself (asyncio: `while True` around `sleep`).
 *
 * @param effect what each round does; a function is given the pause that went before.
 * @param pause how long to wait before each round, or an effect that says so anew each time. A pause of zero still
 * takes a turn, so others go on.
 *
 * @example
 * ```ts
 * import { Duration, Effect, Random } from "effect"
 * import * as LongRunning from "effect-asyncio/programs/LongRunning"
 *
 * const pause = Effect.map(Random.nextIntBetween(1, 10), Duration.seconds)
 *
 * export const heartbeat = LongRunning.forever(Effect.log("still here"), pause)
 * ```
 */
export const forever = <A, E, R, E2 = never, R2 = never>(
  effect: Effect.Effect<A, E, R> | ((pause: Duration.Duration) => Effect.Effect<A, E, R>),
  pause: Duration.DurationInput | Effect.Effect<Duration.DurationInput, E2, R2>
): Effect.Effect<never, E | E2, R | R2> => {
  const draw: Effect.Effect<Duration.DurationInput, E2, R2> = Effect.isEffect(pause)
    ? pause
    : Effect.succeed(pause)
  return Effect.forever(
    Effect.flatMap(draw, (drawn) => {
      const pause = checkedDuration("pause", drawn, anyTime)
      return Effect.zipRight(Sleep.sleep(pause), Effect.isEffect(effect) ? effect : effect(pause))
    })
  )
}

/** Settings of {@link cancelAfter}. */
export interface CancelAfterOptions<R = never> {
  /** Names the task; default `"task"`. */
  readonly name?: string | undefined
  /** Runs when the task has been started, before its first step. */
  readonly onStart?: Effect.Effect<void, never, R> | undefined
  /** Runs when the time is up, before the task is cancelled. */
  readonly onDue?: Effect.Effect<void, never, R> | undefined
}

/**
 * Runs the effect as a task for at most this long, then cancels it and waits for its clean-up (asyncio: `create_task`,
 * `sleep`, `Task.cancel`). Gives its result when it ends before, and nothing when it was cancelled. Fails as the task
 * fails. A task that ends in the very moment has made it if it asked for that moment first. What it acquires in the
 * scope of the caller stays open until that closes.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import * as LongRunning from "effect-asyncio/programs/LongRunning"
 *
 * const beat = LongRunning.forever(Effect.log("still here"), "1 second")
 *
 * export const program = LongRunning.cancelAfter(beat, "1 hour", { name: "heartbeat" })
 * ```
 */
export const cancelAfter: <A, E, R, R2 = never>(
  effect: Effect.Effect<A, E, R>,
  duration: Duration.DurationInput,
  options?: CancelAfterOptions<R2>
) => Effect.Effect<Option.Option<A>, E, R | R2> = Effect.fn("LongRunning.cancelAfter")(
  (effect, duration, options = {}) => {
    const { name = "task", onDue = Effect.void, onStart = Effect.void } = options
    // The scope is the group's alone: what the effect acquires in the scope of the caller outlives it.
    const use = (scope: Scope.Scope) =>
      Effect.gen(function* () {
        const group = yield* Scope.extend(
          TaskGroup.make({ name: "cancelAfter", onFailure: "collect" }),
          scope
        )
        const task = yield* group.start(name, effect)
        yield* onStart
        const due = yield* Effect.raceFirst(
          Effect.as(task.await, false),
          Effect.as(Sleep.sleep(duration), true)
        )
        if (due) {
          yield* onDue
          yield* task.cancel(`its run time of ${formatGiven(duration)} is over`)
        }
        const exit = yield* task.await
        if (Exit.isSuccess(exit)) return Option.some(exit.value)
        return Cause.isInterruptedOnly(exit.cause) ? Option.none() : yield* Effect.failCause(exit.cause)
      })
    return Effect.acquireUseRelease(Scope.make(), use, Scope.close)
  }
)

/**
 * Keeps any effect running: restarts it with growing pauses, waits until it is ready, asks after its health, and tells
 * of all that as typed events. See services/Supervisor.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import * as LongRunning from "effect-asyncio/programs/LongRunning"
 *
 * const listen = Effect.zipRight(Effect.sleep("1 minute"), Effect.fail("connection lost"))
 *
 * export const program = LongRunning.supervise(listen, { maxRestarts: 10, window: "1 hour" }).pipe(
 *   Effect.timeoutOption("1 day")
 * )
 * ```
 */
export const supervise: <A, E, R, R2 = never, E2 = never>(
  effect: Effect.Effect<A, E, R>,
  policy?: Supervisor.Policy<R2, E2>
) => Effect.Effect<
  A,
  E | E2 | Supervisor.NotReady | Supervisor.Unhealthy | Supervisor.TooManyRestarts,
  R | R2
> = Supervisor.supervise

/** Settings of {@link example}. */
export interface ExampleOptions {
  /** The same seed draws the same pauses. Default: others each time. */
  readonly seed?: number | undefined
}

// #region example
/**
 * The guide's Long running tasks: `Hello N` after a random pause of N seconds (0 to 3), again and again, until the task
 * is cancelled after ten seconds.
 */
export const example = ({ seed }: ExampleOptions = {}): Effect.Effect<void, never, Output.Output> => {
  const seconds = Effect.map(Random.nextIntBetween(0, 4), Duration.seconds)
  const helloMany = forever((pause) => Output.print(`Hello ${Duration.toSeconds(pause)}`), seconds)
  const program = cancelAfter(helloMany, "10 seconds", {
    name: "hello_many",
    onStart: Output.print("task running now..."),
    onDue: Output.print("we waited 10 seconds")
  }).pipe(Effect.zipRight(Output.print("task cancelled")))
  return seed === undefined ? program : Effect.withRandom(program, Random.make(seed))
}
// #endregion

// commands that are kept running

/** Asks whether a command does its work. */
export type Probe =
  | { readonly http: string }
  | { readonly port: number; readonly host?: string | undefined }
  /** Whether this command ends with 0. */
  | { readonly exec: Command.Command }

/** A command that is kept running. */
export interface ServiceRequest {
  /** Tells it from the others, and names its log; names differ. */
  readonly name: string
  readonly command: Command.Command
  /**
   * The names of those that must be ready, all in the moment in which it starts, at a restart too; a ring of them never
   * starts. One is ready until its run ends; one that has ended well for good stays what it was.
   */
  readonly after?: Iterable<string> | undefined
  /**
   * What makes it ready: an answer, or a line of its output that fits, its last one included. Default: that it has been
   * started. A line that takes the pattern longer than a second is a failure.
   */
  readonly ready?: Probe | { readonly log: RegExp } | undefined
  readonly health?: Probe | undefined
  /** Default that of all. */
  readonly restart?: Supervisor.Restart | undefined
  /** As in `Processes.StopOptions`; default that of all. */
  readonly stopSignal?: NodeJS.Signals | undefined
}

/** Settings of {@link services}. */
export interface ServicesOptions
  extends Processes.StopOptions,
    Pick<
      Supervisor.Policy,
      "backoff" | "maxRestarts" | "readyTimeout" | "resetAfter" | "restart" | "window"
    > {
  /** As in `Supervisor.Health`. */
  readonly health?: Omit<Supervisor.Health, "check"> | undefined
  /** What the end of one that failed for good does to the others; default `"cancel"`. */
  readonly onFailure?: "cancel" | "continue" | undefined
  /** How long they are kept running; default for ever. */
  readonly duration?: Duration.DurationInput | undefined
  /** How often it is told what they use; default never. */
  readonly sample?: Duration.DurationInput | undefined
  /** A folder for a log of each. */
  readonly logs?: ({ readonly directory: string } & LogFiles.Options) | undefined
  /** Is told what happens, the way to the end included. A command waits while its output is taken. */
  readonly onEvent?: ((event: ServiceEvent) => Effect.Effect<void>) | undefined
}

/** What happens in {@link services}. Runs count from 1; times are milliseconds. */
export type ServiceEvent = { readonly name: string } & (
  | { readonly event: "waiting"; readonly others: ReadonlyArray<string> }
  | { readonly event: "started"; readonly run: number; readonly pid: number; readonly command: string }
  /** Whole lines, unless one is longer than 1 MiB; in the end the rest. */
  | { readonly event: "output"; readonly stream: "stdout" | "stderr"; readonly bytes: Uint8Array }
  | { readonly event: "ready"; readonly run: number; readonly after: number }
  | { readonly event: "unhealthy"; readonly run: number; readonly failures: number; readonly detail: string }
  /** Without an exit code where it was ended, or there was no process. */
  | {
      readonly event: "ended"
      readonly run: number
      readonly runtime: number
      readonly detail: string
      readonly exitCode?: number | undefined
      readonly signal?: NodeJS.Signals | undefined
    }
  | { readonly event: "restarting"; readonly run: number; readonly pause: number }
  /** `cpu` in percent of one processor since the last sample, `memory` in bytes. */
  | { readonly event: "sampled"; readonly pid: number; readonly cpu: number; readonly memory: number }
  | { readonly event: "stopping"; readonly reason: string }
  /** It has been told to end and has not yet; it is killed after `left`. */
  | { readonly event: "lingering"; readonly pid: number; readonly left: number }
  | ({ readonly event: "finished" } & ServiceOutcome)
)

/** What has become of a command. */
export interface ServiceOutcome {
  readonly name: string
  /** `cancelled`: ended by us, or never begun. */
  readonly status: "succeeded" | "failed" | "cancelled"
  /** Why it failed or was cancelled. */
  readonly detail?: string | undefined
  readonly restarts: number
}

class ServiceEnded extends Data.TaggedError("ServiceEnded")<{
  readonly message: string
  readonly exitCode: number
  readonly signal?: NodeJS.Signals | undefined
}> {}

/** One of those that a service waits for will never be ready. */
class NeverReady extends Data.TaggedError("NeverReady")<{
  readonly other: string
  readonly message: string
}> {}

const probeEvery = "250 millis"
/** How long a command that has ended well is asked for, the last time, whether it was ready. */
const lastAnswer = "5 seconds"
/** How long a pattern may take for what comes at once, in milliseconds. */
const matchLimit = 1000
/** How many turns the end of a command may be behind its last failed health check: some 20 ms. */
const endTurns = 20

/** What is known of a service while it runs. */
interface Running {
  readonly spawned: Deferred.Deferred<void>
  readonly logged: Deferred.Deferred<void, ServiceEnded>
  /** Whether a line that fits has come. */
  said: boolean
  over: boolean
}

/**
 * Keeps named commands running, each as a task (the tools: foreman, supervisord, process-compose). It returns when all
 * have ended for good, when one has failed for good and `onFailure` is `"cancel"`, or when the time is up: those that
 * still run are then ended in reverse order of their first start, one after the other, and no process of any is left.
 * So it is when it is interrupted.
 *
 * Gives what has become of each, in input order. Fails only where a log cannot be written.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import * as LongRunning from "effect-asyncio/programs/LongRunning"
 * import * as Probes from "effect-asyncio/services/Probes"
 * import * as Processes from "effect-asyncio/services/Processes"
 *
 * export const program = LongRunning.services(
 *   [
 *     { name: "db", command: Processes.shell("redis-server --port 7001"), ready: { port: 7001 } },
 *     { name: "web", command: Processes.shell("node server.js"), after: ["db"], health: { http: "http://localhost:8080" } }
 *   ],
 *   { restart: "always", duration: "8 hours", onEvent: (event) => Effect.logDebug(event.name, event.event) }
 * ).pipe(Effect.provide([Processes.layer, Probes.layer]))
 * ```
 */
export const services = Effect.fn("LongRunning.services")(function* (
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
  const outcomes = new Map<string, ServiceOutcome>()
  /** Those whose run is ready and has not ended, and those that were ready and have ended well for good. */
  const readyNow = new Set<string>()
  const everReady = new Set<string>()
  /** Those that will never be ready any more, and why. */
  const gone = new Map<string, string>()
  let change = Deferred.unsafeMake<void>(FiberId.none)
  const changed = Effect.suspend(() => {
    const before = change
    change = Deferred.unsafeMake(FiberId.none)
    return Deferred.succeed(before, undefined)
  })
  /** Waits for the moment in which all are ready. */
  const untilReady = (others: ReadonlyArray<string>): Effect.Effect<void, NeverReady> =>
    Effect.suspend(() => {
      const other = others.find((name) => gone.has(name))
      if (other !== undefined) return new NeverReady({ other, message: gone.get(other)! })
      return others.every((name) => readyNow.has(name))
        ? Effect.void
        : Effect.zipRight(Deferred.await(change), untilReady(others))
    })
  const running = new Map<string, Running>()
  /** In order of their first start. */
  const started: Array<string> = []
  const restarts = new Map<string, number>()
  const over = yield* Deferred.make<string, LogFiles.LogFilesError>()

  const ask = (probe: Probe): Effect.Effect<void, unknown> => {
    if ("http" in probe) return probes.http(probe.http)
    if ("port" in probe) return probes.port(probe.port, probe.host)
    return Effect.flatMap(processes.run(probe.exec, { onTooLarge: "truncate", grace }), ({ exitCode }) =>
      exitCode === 0 ? Effect.void : new ServiceEnded({ message: `exit code ${exitCode}`, exitCode })
    )
  }
  const untilItAnswers = (probe: Probe): Effect.Effect<void> =>
    Effect.catchAll(ask(probe), () => Effect.zipRight(Sleep.sleep(probeEvery), untilItAnswers(probe)))

  const finish = (name: string, status: ServiceOutcome["status"], detail?: string, wasReady?: boolean) =>
    Effect.suspend(() => {
      const outcome: ServiceOutcome = {
        name,
        status,
        ...(detail === undefined ? {} : { detail }),
        restarts: restarts.get(name) ?? 0
      }
      outcomes.set(name, outcome)
      if (wasReady === true) readyNow.add(name)
      else gone.set(name, everReady.has(name) ? `${name} has ended for good` : `${name} was never ready`)
      return Effect.zipRight(onEvent({ event: "finished", ...outcome }), changed)
    })

  const sampling = (name: string, child: Processes.Process, every: Duration.DurationInput) =>
    Effect.gen(function* () {
      let used = 0
      let at = yield* Clock.currentTimeNanos
      while (true) {
        yield* Sleep.sleep(every)
        const usage = yield* child.usage
        const now = yield* Clock.currentTimeNanos
        if (Option.isNone(usage)) continue
        const { memory, system, user } = usage.value
        const total = Duration.toMillis(user) + Duration.toMillis(system)
        const cpu = (Math.max(0, total - used) / (Number(now - at) / 1e6)) * 100
        yield* onEvent({ event: "sampled", name, pid: child.pid, cpu, memory })
        used = total
        at = now
      }
    })

  const runOnce = (
    { command, name, ready, stopSignal = options.stopSignal }: ServiceRequest,
    run: () => number,
    log: LogFiles.LogFile | undefined
  ) =>
    Effect.gen(function* () {
      const here = running.get(name)!
      const pattern = ready !== undefined && "log" in ready ? ready.log : undefined
      let seen = pattern === undefined
      const look = (bytes: Uint8Array) => {
        const matched = someMatch(pattern!, new TextDecoder().decode(bytes).split(/\r?\n/), matchLimit)
        if (matched === false) return
        seen = true
        here.said = matched === true
        const message = `${pattern} took longer than ${formatDuration(matchLimit)} for a line`
        const slow = Effect.fail(new ServiceEnded({ message, exitCode: codes.failed }))
        Deferred.unsafeDone(here.logged, matched === true ? Effect.void : slow)
      }
      const tell = (pid: number) => {
        const event = {
          event: "started",
          name,
          run: run(),
          pid,
          command: Processes.commandText(command)
        } as const
        return Effect.zipRight(onEvent(event), Deferred.succeed(here.spawned, undefined))
      }
      const lines = LineOutput.make(tell, (stream, bytes) => {
        const event = onEvent({ event: "output", name, stream, bytes })
        if (!seen) look(bytes)
        // A log that cannot be written is the end of all: nobody would know what had happened.
        return log === undefined
          ? event
          : Effect.zipRight(
              Effect.catchAll(log.write(bytes), (error) => Deferred.fail(over, error)),
              event
            )
      })
      yield* Effect.addFinalizer(() => lines.end)
      const child = yield* processes.start(command, {
        grace,
        stopSignal,
        onStarted: lines.onStarted,
        onOutput: lines.onOutput,
        onLingering: (left, pid) => onEvent({ event: "lingering", name, pid, left })
      })
      yield* lines.begin
      if (options.sample !== undefined) yield* Effect.forkScoped(sampling(name, child, options.sample))
      // From here on it is not ready any more, be it that it has ended or that it is being ended.
      const down = Effect.sync(() => {
        here.over = true
        readyNow.delete(name)
      })
      const exited = yield* Effect.ensuring(child.exit, down)
      const { exitCode, signal } = exited
      if (exitCode !== 0)
        return yield* new ServiceEnded({ message: Processes.howEnded(exited), exitCode, signal })
    }).pipe(Effect.scoped)

  // While all are being ended nobody is started again, and nobody's own end is a failure: each waits for its turn.
  let stopping = false
  const turn = Effect.suspend(() => (stopping ? Effect.never : Effect.void))
  const unlessStopping = <A, E>(run: Effect.Effect<A, E>): Effect.Effect<A, E> =>
    Effect.zipRight(
      turn,
      Effect.flatMap(Effect.exit(run), (exit) => Effect.zipRight(turn, exit))
    )

  const names = new Set(requests.map(({ name }) => name))
  const keep = (request: ServiceRequest, log: LogFiles.LogFile | undefined) =>
    Effect.gen(function* () {
      const { health: well, name, ready } = request
      const { restart = options.restart ?? "on-failure" } = request
      const others = [...(request.after ?? [])].filter((other) => names.has(other))
      let current = 0
      let saidReady = false
      const waitFor = Effect.gen(function* () {
        const missing = current === 0 ? others : others.filter((other) => !readyNow.has(other))
        if (missing.length > 0) yield* onEvent({ event: "waiting", name, others: missing })
        yield* untilReady(others)
        yield* turn
      })
      const isReady = Effect.suspend(() => {
        const { logged, spawned } = running.get(name)!
        const asked =
          ready === undefined ? Effect.void : "log" in ready ? Deferred.await(logged) : untilItAnswers(ready)
        return Effect.zipRight(Deferred.await(spawned), asked)
      })
      const check =
        well &&
        Effect.catchAll(ask(well), (error) =>
          // What fails because the command has just ended says nothing that its end will not say.
          Effect.gen(function* () {
            const here = running.get(name)!
            for (let turns = 0; turns < endTurns && !here.over; turns++) yield* Sleep.sleep(0)
            if (!here.over) return yield* Effect.fail(error)
          })
        )
      /** Whether a run that has ended, and has not been called ready yet, was it nevertheless. */
      const wasReady = (
        { said, spawned }: Running,
        exit: Exit.Exit<unknown, unknown>
      ): Effect.Effect<boolean> => {
        if (ready === undefined) return Deferred.isDone(spawned)
        if ("log" in ready) return Effect.succeed(said)
        // It may have ended between two questions. To ask is of use only where it is over for good.
        if (restart === "always" || Exit.isFailure(exit)) return Effect.succeed(false)
        return Effect.raceFirst(Effect.isSuccess(ask(ready)), Effect.as(Sleep.sleep(lastAnswer), false))
      }
      const tellReady = (run: number, after: number) =>
        Effect.suspend(() => {
          saidReady = true
          everReady.add(name)
          const told = onEvent({ event: "ready", name, run, after })
          return Effect.flatMap(told, () => {
            if (running.get(name)!.over) return Effect.void
            readyNow.add(name)
            return changed
          })
        })
      const tell = (event: Supervisor.Event): Effect.Effect<unknown> => {
        switch (event.event) {
          case "started":
            if (current === 0) started.push(name)
            current = event.run
            saidReady = false
            running.set(name, {
              spawned: Deferred.unsafeMake(FiberId.none),
              logged: Deferred.unsafeMake(FiberId.none),
              said: false,
              over: false
            })
            return Effect.void
          case "ready":
            return tellReady(event.run, event.after)
          case "ended": {
            const { exit, run, runtime } = event
            const here = running.get(name)!
            here.over = true
            readyNow.delete(name)
            const ended = { event: "ended", name, run, runtime } as const
            const error = Exit.isFailure(exit) ? Cause.failureOption(exit.cause) : Option.none()
            const { exitCode, signal } =
              Option.isSome(error) && error.value instanceof ServiceEnded ? error.value : {}
            const told = Exit.isSuccess(exit)
              ? onEvent({ ...ended, detail: "exit code 0", exitCode: 0 })
              : onEvent({ ...ended, detail: Causes.headline(exit.cause), exitCode, signal })
            const late = saidReady ? Effect.succeed(false) : wasReady(here, exit)
            return Effect.zipRight(
              Effect.if(late, { onTrue: () => tellReady(run, runtime), onFalse: () => Effect.void }),
              told
            )
          }
          case "restarting":
            restarts.set(name, event.run - 1)
            return onEvent({ name, ...event })
          default:
            return onEvent({ name, ...event })
        }
      }
      const exit = yield* Effect.exit(
        Supervisor.supervise(unlessStopping(runOnce(request, () => current, log)), {
          ...options,
          restart,
          waitFor,
          ready: isReady,
          health: check && { ...health, check },
          onEvent: (event) => (stopping ? Effect.void : Effect.asVoid(tell(event)))
        })
      )
      yield* turn // a check that fails now, because it has ended, is no failure either
      if (Exit.isSuccess(exit)) return yield* finish(name, "succeeded", undefined, saidReady)
      const error = Option.getOrUndefined(Cause.failureOption(exit.cause))
      // It has never begun, because another has failed.
      if (error instanceof NeverReady && current === 0 && outcomes.get(error.other)?.status !== "succeeded") {
        return yield* finish(name, "cancelled", error.message)
      }
      yield* finish(name, "failed", Causes.headline(exit.cause))
      if (onFailure === "cancel") yield* Deferred.succeed(over, `sibling ${name} failed`)
    }).pipe(
      Effect.scoped,
      Effect.onInterrupt((interruptors) =>
        finish(
          request.name,
          "cancelled",
          Cancellation.fromInterruptors(interruptors)[0]?.reason ?? "cancelled"
        )
      )
    )

  // All before the first is started: where one cannot be opened nothing has been done.
  const opened = yield* Effect.forEach(requests, ({ name }) =>
    logs === undefined ? Effect.succeed(undefined) : LogFiles.open(logs.directory, name, logs)
  )
  const tasks = new Map<string, TaskGroup.Task<unknown>>()
  for (const [i, request] of requests.entries()) {
    tasks.set(request.name, yield* group.start(request.name, keep(request, opened[i])))
  }

  const stop = (reason: string) =>
    Effect.gen(function* () {
      stopping = true
      const waiting = requests.map(({ name }) => name).filter((name) => !started.includes(name))
      for (const name of [...waiting, ...[...started].reverse()]) {
        if (outcomes.has(name)) continue
        yield* onEvent({ event: "stopping", name, reason })
        yield* tasks.get(name)!.cancel(reason, { origin: "long-running" })
      }
    })

  // Each failure is an outcome; but one of a callback's own ends all.
  const allEnded = Effect.asVoid(
    Effect.forEach(
      tasks.values(),
      (task) => Effect.flatMap(task.await, (exit) => Causes.raise(Causes.failuresOf(exit))),
      {
        concurrency: "unbounded"
      }
    )
  )
  const timeUp =
    duration === undefined
      ? Effect.never
      : Effect.as(Sleep.sleep(duration), `the run time of ${formatGiven(duration)} is over`)
  yield* Effect.raceFirst(Deferred.await(over), Effect.raceFirst(timeUp, allEnded)).pipe(
    Effect.catchAll((error) => Effect.zipRight(stop("a log cannot be written"), error)),
    Effect.flatMap((reason) => (reason === undefined ? Effect.void : stop(reason))),
    Effect.onInterrupt((interruptors) =>
      stop(Cancellation.fromInterruptors(interruptors)[0]?.reason ?? "cancelled")
    )
  )
  return requests.map(({ name }) => outcomes.get(name)!)
}, Effect.scoped)
