import { randomUUID } from "node:crypto"
import { hostname } from "node:os"
import { Context, Data, Deferred, Duration, Effect, Either, Fiber, Layer, type Scope } from "effect"
import { codes } from "../host/ExitCodes.js"
import type { MissingPackage } from "../network/NetworkSettings.js"
import * as Sleep from "../task/Sleep.js"
import { notDoneIn } from "../text/Durations.js"
import { checkOptions, count, someTime, time } from "../text/Numbers.js"
import { Executor } from "../thread/Executor.js"
import type { NotSerializable } from "../thread/ExecutorError.js"
import * as Builtins from "./internal/builtins.js"
import * as Claims from "./internal/claims.js"
import * as Code from "./internal/code.js"
import { located } from "./internal/location.js"
import * as Objects from "./internal/objects.js"
import * as Observer from "./internal/observer.js"
import { patient, within } from "./internal/patience.js"
import * as Queue from "./internal/queue.js"
import * as Sweeper from "./internal/sweeper.js"
import * as Wake from "./internal/wake.js"
import { RunError } from "./RunError.js"
import * as Store from "./Store.js"

// A runner: it claims jobs of its group's runs in batches, runs them on the executor of the context, and records the results in
// batches.

/**
 * A job that a runner has beside those of its code, where its owner has allowed it: `RunnerCommands.job`, `RunnerDownloads.job`.
 *
 * @since 0.1.0
 * @category models
 */
export interface BuiltinJob {
  /** Its name in a run, which no file has: `aio:command`. */
  readonly module: string
  /** Of its requests and results: another version is refused. */
  readonly version: string
  /** How many run at once; default: as many as the executor has workers. */
  readonly atOnce?: number | undefined
  /** Runs a request, which comes from the store and may be anything; its result takes `maxResult` bytes at most. */
  readonly run: (
    request: unknown,
    about: { readonly job: string; readonly id: string; readonly maxResult: number }
  ) => Effect.Effect<unknown, NotSerializable>
}

/**
 * Settings of {@link layer}.
 *
 * @since 0.1.0
 * @category options
 */
export interface Options {
  /** The store: `FILE`, `sqlite:FILE` or `postgres://user@host/database`. */
  readonly store: string
  /** The group whose jobs it runs; default `default`. */
  readonly group?: string | undefined
  /** The folder of the code: jobs name its files, and no others. Default: the working directory; with `builtins` none. */
  readonly code?: string | undefined
  /** Jobs beside those of the code, which any submitter of the store can ask for. Default none. */
  readonly builtins?: ReadonlyArray<BuiltinJob> | undefined
  /** Bytes of a job's result; a larger one goes to `storage`, and fails with `NotSerializable` without one. Default 1 MiB. */
  readonly maxResult?: number | undefined
  /**
   * Where results above `maxResult` go, and from where large arguments come: a folder, or `s3://BUCKET`, as `Storage.open` reads
   * it. The same as that of the submitters. Default: none.
   */
  readonly storage?: string | undefined
  /** Time that running jobs have to end when the scope closes; then they go back into the queue. Default 10 seconds. */
  readonly grace?: Duration.DurationInput | undefined
  /**
   * How often it shows that it lives. A runner that has not done so for six times this long is declared dead by the others, and
   * its jobs run there. Default 2 seconds.
   */
  readonly heartbeat?: Duration.DurationInput | undefined
  /** The runner fails when the store has not answered for this long. Default 1 minute. */
  readonly patience?: Duration.DurationInput | undefined
}

/**
 * What a runner does at this moment, and has done; times in milliseconds.
 *
 * @since 0.1.0
 * @category models
 */
export interface Snapshot {
  readonly id: string
  readonly group: string
  readonly maxWorkers: number
  /** Rows that it has claimed and not recorded. */
  readonly held: number
  /** Rows that it has recorded. */
  readonly recorded: number
  /** Rows whose result another runner was to record, because this one had been declared dead, or that were cancelled. */
  readonly dropped: number
  /** Runs that it has refused: it does not have their code. */
  readonly refused: number
  /** How often other runners have declared it dead. */
  readonly evicted: number
  /** Runners that it has declared dead. */
  readonly buried: number
  /** Failures of the store. */
  readonly storeFailures: number
  /** Since the store has answered last. */
  readonly silence: number
  readonly isDraining: boolean
}

/**
 * The store has not answered for too long. Exit code 1.
 *
 * @since 0.1.0
 * @category errors
 */
export class RunnerDead extends Data.TaggedError("RunnerDead")<{
  readonly silence: Duration.Duration
  readonly loop: "heartbeat" | "claims"
}> {
  readonly exitCode = codes.failed
  override get message() {
    return `${this.loop} ${notDoneIn(this.silence)}; the runner ends so that its supervisor starts it again`
  }
}

/**
 * A runner of jobs that came through a store.
 *
 * @since 0.1.0
 * @category services
 */
export class Runner extends Context.Tag("effect-asyncio/services/Runner")<
  Runner,
  {
    readonly snapshot: Effect.Effect<Snapshot>
    /** Whether its loops turn: false when the store has not answered for half of `patience`. */
    readonly isHealthy: Effect.Effect<boolean>
    /** Fails when the runner does; it does not end otherwise. */
    readonly failure: Effect.Effect<never, Store.StoreError | RunnerDead>
  }
>() {}

const make = (
  options: Options
): Effect.Effect<
  Context.Tag.Service<Runner>,
  Store.StoreError | MissingPackage | RunError,
  Scope.Scope | Executor
> =>
  Effect.gen(function* () {
    checkOptions(options, { maxResult: count, grace: time, heartbeat: someTime, patience: someTime })
    const { builtins = [], group = "default", maxResult = 1024 * 1024 } = options
    const { code = builtins.length === 0 ? process.cwd() : undefined } = options
    const grace = Duration.decode(options.grace ?? "10 seconds")
    const heartbeat = Duration.toMillis(options.heartbeat ?? "2 seconds")
    const patience = Duration.decode(options.patience ?? "1 minute")
    if (!Queue.isGroup(group)) return yield* new RunError({ message: Queue.groupProblem(group) })
    const location = yield* located(options.store)
    const objects = yield* Objects.make(options.storage, Duration.toMillis(patience))
    const executor = yield* Executor
    const { maxWorkers } = executor

    let id = randomUUID() as string
    let refused = 0
    let evicted = 0
    let buried = 0
    let storeFailures = 0
    let isDraining = false
    const turned = { heartbeat: performance.now(), claims: performance.now() }
    const ask = patient(Number.POSITIVE_INFINITY, () => storeFailures++)

    const queue = Queue.make(
      yield* patient(Duration.toMillis(patience))(Store.open(location, [Queue.tables]))
    )
    const about = {
      host: hostname(),
      pid: process.pid,
      workers: maxWorkers,
      offers: builtins.map(Builtins.offerOf)
    }
    yield* ask(queue.register(id, group, about))
    let cancelled = false
    const wake = yield* Wake.make(location, Queue.channels.group(group), (payload) => {
      if (payload === Queue.cancelled) cancelled = true
    })
    const claims = yield* Claims.make({
      ask,
      queue,
      group,
      objects,
      maxResult,
      runner: () => id,
      onRoom: wake.now
    })
    const observer = Observer.make({ queue, group, heartbeat })

    // the code of runs, and the runs of which it has none

    const ofCode = Claims.makeLane(maxWorkers, 20)
    // A command or a download is taken to be long: what is claimed ahead keeps other runners idle.
    const ofBuiltins = new Map(
      builtins.map((job) => [
        job,
        Claims.ofBuiltin(Claims.makeLane(job.atOnce ?? maxWorkers, 1000), job.run, maxResult)
      ])
    )
    const targets = new Map<string, Claims.Target>()
    const without = new Set<string>()
    const loaded = new Map<string, string>() // the digest of each file that threads have loaded
    const find = (run: Queue.Run): Either.Either<Claims.Target, string> => {
      if (Builtins.isBuiltin(run.module)) {
        const job = Builtins.find(builtins, run)
        return typeof job === "string" ? Either.left(job) : Either.right(ofBuiltins.get(job)!)
      }
      if (code === undefined) return Either.left("it runs no code; start it with --code DIR")
      return Either.flatMap(Code.find(code, run.module, run.version), ({ files, url }) => {
        const changed = [...files.keys()].find(
          (file) => (loaded.get(file) ?? files.get(file)) !== files.get(file)
        )
        if (changed !== undefined) {
          return Either.left(`it has loaded ${changed}, which has changed since; start it again`)
        }
        for (const [file, digest] of files) loaded.set(file, digest)
        return Either.right(Claims.ofModule(ofCode, url))
      })
    }
    const targetOf = (run: Queue.Run) =>
      Effect.suspend(() => {
        const known = targets.get(run.id)
        if (known !== undefined || without.has(run.id)) return Effect.succeed(known)
        const found = find(run)
        if (Either.isRight(found)) {
          if (targets.size >= 10_000) targets.clear()
          targets.set(run.id, found.right)
          return Effect.succeed(found.right)
        }
        if (without.size >= 10_000) without.clear()
        without.add(run.id)
        refused++
        return Effect.as(
          Effect.zipRight(
            Effect.logWarning(`run ${run.id} is refused: ${found.left}`),
            ask(queue.refuse(run.id, id, found.left))
          ),
          undefined
        )
      })

    // claims

    // A claim that has failed may be in the store all the same: its answer was lost with the connection.
    let isUnsure = false
    const askToClaim = patient(Number.POSITIVE_INFINITY, () => {
      storeFailures++
      isUnsure = true
    })
    let turn = 0
    /** Claims until there are no more jobs, or enough. */
    const claimSome = Effect.gen(function* () {
      const runs = yield* ask(queue.openRuns(group))
      turned.claims = performance.now()
      // Each run has its share, and another one is first each time.
      turn++
      const order = runs.map((_, i) => runs[(i + turn) % runs.length]!)
      for (const [i, run] of order.entries()) {
        const target = yield* targetOf(run)
        if (target === undefined) continue
        const { lane } = target
        const most = Claims.wanted(lane)
        if (lane.held >= most) continue
        const share = Math.ceil((most - lane.held) / (order.length - i))
        const rows = yield* askToClaim(queue.claim(run.id, id, share))
        yield* claims.start(run, target, rows)
        if (rows.length === share) lane.room = Math.max(lane.atOnce, Math.ceil(most / 2))
      }
    })
    const claimLoop = Effect.gen(function* () {
      yield* claimSome
      if (isUnsure) {
        yield* claims.returnLost
        isUnsure = false
      }
      yield* wake.wait
      if (cancelled) {
        cancelled = false
        yield* claims.dropLost
      }
    }).pipe(Effect.forever)

    // heartbeats

    const live = Effect.gen(function* () {
      const begun = performance.now()
      if (!(yield* ask(queue.beat(id, claims.size())))) {
        evicted++
        yield* Effect.logWarning(
          `other runners have declared runner ${id} dead; its jobs run there, and it begins anew`
        )
        yield* claims.dropAll
        without.clear()
        id = randomUUID()
        yield* ask(queue.register(id, group, about))
      }
      for (const gone of yield* ask(observer.look(id))) {
        buried++
        yield* Effect.logWarning(`runner ${gone} has died; its jobs run elsewhere`)
      }
      yield* claims.dropLost
      turned.heartbeat = performance.now()
      yield* Sleep.sleep(Math.max(0, heartbeat - (turned.heartbeat - begun)))
    }).pipe(Effect.forever)

    // Seconds are counted by turns of its own: a process that was stopped has not missed them.
    const failure = yield* Deferred.make<never, Store.StoreError | RunnerDead>()
    const silent = { heartbeat: 0, claims: 0 }
    const watch = Effect.gen(function* () {
      const before = { ...turned }
      const pause = Math.min(1000, Duration.toMillis(patience) / 4)
      yield* Sleep.sleep(pause)
      for (const loop of ["heartbeat", "claims"] as const) {
        silent[loop] = turned[loop] === before[loop] ? silent[loop] + pause : 0
        if (silent[loop] > Duration.toMillis(patience))
          return yield* new RunnerDead({ silence: patience, loop })
      }
    }).pipe(Effect.forever)

    const fork = <E extends Store.StoreError | RunnerDead>(loop: Effect.Effect<never, E>) =>
      Effect.forkDaemon(
        Effect.interruptible(Effect.catchAllCause(loop, (cause) => Deferred.failCause(failure, cause)))
      )
    const end = (loops: ReadonlyArray<Fiber.RuntimeFiber<unknown, unknown>>) =>
      within("2 seconds")(Fiber.interruptAll(loops))
    const recording = yield* fork(claims.recordLoop)
    const beating = yield* fork(live)
    const claiming = yield* fork(claimLoop)
    const watching = yield* fork(watch)
    const sweeping = yield* fork(Sweeper.sweep({ ask, group, objects, queue, every: 15 * heartbeat }))
    yield* Effect.addFinalizer(() =>
      Effect.gen(function* () {
        isDraining = true
        yield* end([claiming, watching, sweeping])
        // What a claim has taken that was interrupted goes back with `leave`.
        if (claims.size() > 0) yield* claims.drain(grace)
        yield* end([recording, beating])
        yield* within("5 seconds")(ask(queue.leave(id, group)))
      })
    )

    const silence = () => performance.now() - Math.min(turned.heartbeat, turned.claims)
    return Runner.of({
      failure: Deferred.await(failure),
      isHealthy: Effect.sync(() => silence() < Duration.toMillis(patience) / 2),
      snapshot: Effect.sync(() => ({
        id,
        group,
        maxWorkers,
        held: claims.size(),
        recorded: claims.recorded(),
        dropped: claims.dropped(),
        refused,
        evicted,
        buried,
        storeFailures,
        silence: silence(),
        isDraining
      }))
    })
  })

/**
 * Runs the jobs of a group on the executor of the context, until the scope closes: then it claims no more, running jobs have
 * the grace period, and what has not ended goes back into the queue. Any number of runners share a store. A job names an export
 * of a file in the folder `code`, and nothing else is run.
 *
 * Fails with `StoreError` if the store cannot be opened, and with `RunError` if the group has no valid name or `storage` names
 * no storage.
 *
 * @example
 * ```ts
 * import { Effect, Layer } from "effect"
 * import * as Executor from "effect-asyncio/services/Executor"
 * import * as Runner from "effect-asyncio/services/Runner"
 *
 * const runner = Runner.layer({ store: "jobs.sqlite", code: "lib" })
 *
 * export const main = Effect.flatMap(Runner.Runner, ({ failure }) => failure).pipe(
 *   Effect.provide(Layer.provide(runner, Executor.layerThreads({ maxWorkers: 4 })))
 * )
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (
  options: Options
): Layer.Layer<Runner, Store.StoreError | MissingPackage | RunError, Executor> =>
  Layer.scoped(Runner, make(options))
