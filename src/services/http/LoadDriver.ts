import { readFileSync } from "node:fs"
import { createRequire } from "node:module"
import { join } from "node:path"
import * as Command from "@effect/platform/Command"
import { Context, Data, Duration, Effect, Either, Layer, ParseResult, Schema } from "effect"
import { builtFile } from "../host/BuiltFile.js"
import * as EventLine from "../host/EventLine.js"
import { codes } from "../host/ExitCodes.js"
import * as Processes from "../process/Processes.js"
import { checkOptions, countOrNone, someTime, time as timeOrNone } from "../text/Numbers.js"
import type { Job } from "./internal/loadMain.js"

/**
 * Load on a server: connections that send a request, wait for its answer and send the next, while WebSockets are open and
 * idle.
 *
 * @since 0.1.0
 * @category options
 */
export interface LoadOptions {
  /** Connections that send requests; default 64. */
  readonly connections?: number | undefined
  /** Idle WebSockets that are opened first; default 0. */
  readonly webSockets?: number | undefined
  /** The path of the WebSockets; default `/ws`. */
  readonly webSocketPath?: string | undefined
  /** Time that is measured, once the connections are open; default 1 s. */
  readonly time?: Duration.DurationInput | undefined
  /** Time of unmeasured requests for `/` on 8 connections beforehand; default 200 ms. */
  readonly warmUp?: Duration.DurationInput | undefined
  /** Longest wait for connections to open; default 5 s. What has opened by then is measured. */
  readonly connectTime?: Duration.DurationInput | undefined
}

/**
 * What a load has come to: `warm` after the warm-up, without a connection; `open` with the WebSockets; `begun` and
 * `ended` around the time that is measured. Memory of the server is best read at `warm`, `open` and `ended`.
 *
 * @since 0.1.0
 * @category models
 */
export const Phase = Schema.Literal("warm", "open", "begun", "ended")

/**
 * The type of {@link Phase}.
 *
 * @since 0.1.0
 * @category models
 */
export type Phase = typeof Phase.Type

/**
 * A quantile of the time from request to answer, in milliseconds. `atLeast`: more requests than that still wait, so the
 * quantile is not lower.
 *
 * @since 0.1.0
 * @category models
 */
export const Quantile = Schema.Struct({ ms: Schema.NonNegative, atLeast: Schema.Boolean })

/**
 * The type of {@link Quantile}.
 *
 * @since 0.1.0
 * @category models
 */
export type Quantile = typeof Quantile.Type

/**
 * The result of a load. Requests that still wait at the end count in the quantiles with the time that they have waited.
 *
 * @since 0.1.0
 * @category models
 */
export const LoadResult = Schema.Struct({
  /** Connections and WebSockets that were open at the end. */
  connected: Schema.NonNegativeInt,
  webSockets: Schema.NonNegativeInt,
  /** Answers with a status from 200 to 299. */
  requests: Schema.NonNegativeInt,
  /** Answers with another status. */
  refused: Schema.NonNegativeInt,
  /** Connections and WebSockets that failed, by any error; `failures` has the codes, each once. */
  errors: Schema.NonNegativeInt,
  failures: Schema.Array(Schema.String),
  /** Milliseconds that were measured. */
  time: Schema.NonNegative,
  /** Undefined without a request. */
  p50: Schema.optionalWith(Quantile, { exact: true }),
  p99: Schema.optionalWith(Quantile, { exact: true }),
  /** Connections to the server in the state TIME_WAIT after the end; undefined if the platform does not report it. */
  timeWait: Schema.optionalWith(Schema.NonNegativeInt, { exact: true })
})

/**
 * The type of {@link LoadResult}.
 *
 * @since 0.1.0
 * @category models
 */
export type LoadResult = typeof LoadResult.Type

/**
 * A load was not driven: the load generator is not installed (exit code 2), or its process failed (exit code 1).
 *
 * @since 0.1.0
 * @category errors
 */
export class LoadError extends Data.TaggedError("LoadError")<{
  readonly reason: "missing" | "failed"
  readonly detail: string
}> {
  get exitCode() {
    return this.reason === "missing" ? codes.usage : codes.failed
  }
  override get message() {
    return this.reason === "missing"
      ? `the load generator ${this.detail} is not installed; npm install --save-dev ${this.detail}`
      : `the load generator failed: ${this.detail}`
  }
}

/**
 * Drives load against an HTTP server, from a process of its own.
 *
 * @since 0.1.0
 * @category services
 */
export class LoadDriver extends Context.Tag("effect-asyncio/services/LoadDriver")<
  LoadDriver,
  {
    /** Fails with `LoadError` if the load generator is not installed. */
    readonly check: Effect.Effect<void, LoadError>
    /**
     * The most connections that the limit of open files (`ulimit -n`) leaves to a process, with some spared for its own
     * files; `Infinity` if the platform does not report it.
     */
    readonly mostConnections: Effect.Effect<number>
    /**
     * Drives load until it is measured. `onPhase` is run at each phase. Interruption ends the process and thereby its
     * connections.
     */
    readonly run: (
      url: string,
      options?: LoadOptions,
      onPhase?: (phase: Phase) => Effect.Effect<void>
    ) => Effect.Effect<LoadResult, LoadError>
  }
>() {}

/**
 * Drives load; see the service's own `run`.
 *
 * @example
 * ```ts
 * import { Effect, Layer } from "effect"
 * import * as LoadDriver from "effect-asyncio/services/LoadDriver"
 * import * as Processes from "effect-asyncio/services/Processes"
 *
 * export const measured = LoadDriver.run("http://127.0.0.1:8080/", { connections: 100, time: "2 seconds" }).pipe(
 *   Effect.map(({ requests, time }) => (requests * 1000) / time),
 *   Effect.provide(Layer.provide(LoadDriver.layer, Processes.layer))
 * )
 * ```
 *
 * @since 0.1.0
 * @category effects
 */
export const run = (
  url: string,
  options?: LoadOptions,
  onPhase?: (phase: Phase) => Effect.Effect<void>
): Effect.Effect<LoadResult, LoadError, LoadDriver> =>
  Effect.flatMap(LoadDriver, (driver) => driver.run(url, options, onPhase))

const checked = (url: string, options: LoadOptions): Omit<Job, "generator"> => {
  checkOptions(options, {
    connections: countOrNone,
    webSockets: countOrNone,
    time: someTime,
    warmUp: timeOrNone,
    connectTime: timeOrNone
  })
  const { connections = 64, connectTime = 5000, time = 1000, warmUp = 200, webSockets = 0 } = options
  const webSocketUrl = new URL(options.webSocketPath ?? "/ws", url.replace(/^http/, "ws")).href
  return {
    url,
    webSocketUrl,
    connections,
    webSockets,
    time: Duration.toMillis(time),
    warmUp: Duration.toMillis(warmUp),
    connectTime: Duration.toMillis(connectTime)
  }
}

/** Descriptors that a process has beside its connections. */
const spared = 64

const readLimit = (): number => {
  try {
    const [, soft] = /^Max open files +(\d+)/m.exec(readFileSync("/proc/self/limits", "latin1")) ?? []
    return soft === undefined ? Number.POSITIVE_INFINITY : Math.max(1, Number(soft) - spared)
  } catch {
    return Number.POSITIVE_INFINITY
  }
}

/** The file of a package: of this package's neighbours, or of the project in the working directory. */
const resolvePackage = (name: string, main: string): string | undefined => {
  for (const from of [main, join(process.cwd(), "noop.js")]) {
    try {
      return createRequire(from).resolve(name)
    } catch {
      // the next place
    }
  }
  return undefined
}

const Message = Schema.parseJson(
  Schema.Union(Schema.Struct({ phase: Phase }), Schema.Struct({ result: LoadResult }))
)
const decodeMessage = Schema.decodeUnknownEither(Message)

/** The end of what a process writes to stderr that is kept for its error. */
const lastWords = 2000

const failed = (detail: string) => new LoadError({ reason: "failed", detail })

/**
 * {@link layer} with a load generator that has autocannon's interface: a package, or the path of a file.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerWith = (options: {
  readonly generator: string
}): Layer.Layer<LoadDriver, never, Processes.Processes> =>
  Layer.effect(
    LoadDriver,
    Effect.map(Processes.Processes, (processes) => {
      const find = Effect.suspend(() => {
        const main = builtFile("services/http/internal/loadMain.js")
        const generator = resolvePackage(options.generator, main)
        if (generator === undefined) return new LoadError({ reason: "missing", detail: options.generator })
        return resolvePackage("ws", main) === undefined
          ? new LoadError({ reason: "missing", detail: "ws" })
          : Effect.succeed({ main, generator })
      })
      const drive: LoadDriver["Type"]["run"] = (url, options = {}, onPhase = () => Effect.void) =>
        Effect.gen(function* () {
          const load = checked(url, options)
          const { generator, main } = yield* find
          const job: Job = { ...load, generator }
          const { decode } = EventLine.texts()
          let text = ""
          let stderr = ""
          let result: LoadResult | undefined
          const take = (line: string): Effect.Effect<void> => {
            const message = decodeMessage(line)
            if (Either.isLeft(message)) {
              stderr += ParseResult.TreeFormatter.formatErrorSync(message.left)
              return Effect.void
            }
            if ("phase" in message.right) return onPhase(message.right.phase)
            result = message.right.result
            return Effect.void
          }
          const ended = yield* processes
            .run(Command.make(process.execPath, main, JSON.stringify(job)), {
              stopSignal: "SIGKILL",
              onOutput: (stream, bytes) => {
                const chunk = decode(stream, bytes)
                if (stream === "stderr") {
                  stderr = (stderr + chunk).slice(-lastWords)
                  return undefined
                }
                const lines = (text + chunk).split("\n")
                text = lines.pop()!
                return Effect.forEach(lines, take, { discard: true })
              }
            })
            .pipe(Effect.mapError(({ message }) => failed(message)))
          if (result !== undefined && ended.exitCode === 0) return result
          const [first] = /^\S*Error\b.*/m.exec(stderr) ?? []
          return yield* failed(first ?? `exit code ${ended.exitCode}`)
        })
      return { check: Effect.asVoid(find), mostConnections: Effect.sync(readLimit), run: drive }
    })
  )

/**
 * autocannon, which is an optional peer of this package, and `ws`, in a process of Node for each load.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<LoadDriver, never, Processes.Processes> = layerWith({
  generator: "autocannon"
})

/**
 * For tests: results without load. The phases are run in order.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerTest = (
  result: (url: string, options: LoadOptions) => Partial<LoadResult>,
  mostConnections: number = Number.POSITIVE_INFINITY
): Layer.Layer<LoadDriver> =>
  Layer.succeed(LoadDriver, {
    check: Effect.void,
    mostConnections: Effect.succeed(mostConnections),
    run: (url, options = {}, onPhase = () => Effect.void) =>
      Effect.gen(function* () {
        const { connections, time, webSockets } = checked(url, options)
        yield* Effect.forEach(Phase.literals, onPhase, { discard: true })
        return {
          ...{ connected: connections, webSockets, requests: 0, refused: 0, errors: 0, failures: [], time },
          ...result(url, options)
        }
      })
  })
