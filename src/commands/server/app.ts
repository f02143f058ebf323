import { resolve } from "node:path"
import type * as HttpApp from "@effect/platform/HttpApp"
import { Effect, type Scope } from "effect"
import * as Server from "../../programs/Server.js"
import { builtFile } from "../../services/host/BuiltFile.js"
import { UsageError } from "../../services/host/ExitCodes.js"
import * as AppFile from "../../services/http/AppFile.js"
import * as Blocking from "../../services/http/Blocking.js"
import type * as HttpServer from "../../services/http/HttpServer.js"
import * as Metrics from "../../services/http/Metrics.js"
import * as StaticFiles from "../../services/http/StaticFiles.js"
import * as Modules from "../../services/source/Modules.js"
import * as Command from "../kernel/Command.js"
import { type Config, flags, ofMeasurements } from "./flags.js"

/** `FILE#EXPORT`; a `#` in the name of an existing file needs no escape as long as an export follows the last one. */
const target = (word: string) => {
  const hash = word.lastIndexOf("#")
  return hash <= 0
    ? { file: word, exportName: undefined }
    : { file: word.slice(0, hash), exportName: word.slice(hash + 1) }
}

/** The messages of what cannot be loaded are lines of the command. */
const inOneLine = (error: unknown) =>
  error instanceof Modules.ModuleError
    ? new UsageError({ message: `aio server: ${error.message}` })
    : error instanceof StaticFiles.FolderError || (error instanceof Blocking.WorkerRefused && error.isUsage)
      ? new UsageError({ message: `aio server: ${error.message}` })
      : error

const isGiven = (value: unknown) => value !== undefined && value !== false && value !== 0

/** What the options and the words say together and what is wrong with it. */
const problemOf = (config: Config, [word, extra]: ReadonlyArray<string>): string | undefined => {
  const { dir, host, model = "event-loop", port, threads, uds } = config
  const measurement = config.compare ? "compare" : config.explain ? "explain" : undefined
  if (measurement !== undefined) {
    if (word !== undefined) return `--${measurement} measures the demo app, not '${word}'`
    const other = Object.entries(config).find(
      ([key, value]) => isGiven(value) && !ofMeasurements[measurement].includes(key as keyof Config)
    )
    return other && `--${flags[other[0] as keyof Config].name} does not go with --${measurement}`
  }
  if (extra !== undefined) return `unexpected '${extra}'; one FILE is served`
  if (word === "") return "'' is no file; expected FILE or FILE#EXPORT"
  if (word?.endsWith("#") === true) return `'${word}' names no export; expected FILE#EXPORT`
  if (config.out !== undefined) return "--out is for --compare"
  if (dir !== undefined) {
    if (word !== undefined) return "FILE and --dir cannot be served together; choose one"
    if (model !== "event-loop") return `--dir is served by --model event-loop only, not by ${model}`
  }
  if (threads !== undefined && model !== "threads")
    return `--threads is for --model threads, not for ${model}`
  if (uds !== undefined && (port !== undefined || host !== undefined)) {
    return "--uds is instead of --host and --port; choose one"
  }
  return undefined
}

/** Checks what the options and the words say together, before anything starts. */
export const check = (config: Config, words: ReadonlyArray<string>): Effect.Effect<void, Command.Problem> => {
  const problem = problemOf(config, words)
  return problem === undefined ? Effect.void : Command.usage(problem)
}

/** The app of the options, within the scope: the demo, a person's, or files; in worker threads or here. */
export const make = (
  config: Config,
  word: string | undefined,
  report: NonNullable<Blocking.Options["report"]>
): Effect.Effect<
  HttpApp.Default<unknown, Scope.Scope>,
  unknown,
  Metrics.Metrics | HttpServer.ServerStats | Scope.Scope
> =>
  Effect.gen(function* () {
    const { dir, metrics, model = "event-loop", threads } = config
    const isDemo = word === undefined && dir === undefined
    const withRoutes = (app: HttpApp.Default<unknown, Scope.Scope>) =>
      metrics || (isDemo && model !== "event-loop") ? Metrics.withRoutes(app) : app
    if (dir !== undefined) return withRoutes(yield* StaticFiles.make(dir))
    if (model === "event-loop") {
      if (word === undefined) return Server.app
      const { exportName, file } = target(word)
      return withRoutes(yield* AppFile.load(file, exportName).pipe(Effect.provide(Modules.layer)))
    }
    const { exportName, file } = target(word ?? "")
    const blocking = yield* Blocking.make(
      isDemo ? { entry: builtFile("bin/serverWorker.cjs") } : { file: resolve(file), exportName },
      { threads: model === "blocking" ? 1 : threads, report }
    )
    const { add } = yield* Metrics.Metrics
    add(() => {
      const { busy, queued, threads } = blocking.counts()
      return [
        { name: "http_threads", help: "Worker threads.", type: "gauge", value: threads },
        { name: "http_threads_busy", help: "Worker threads held by a request.", type: "gauge", value: busy },
        {
          name: "http_requests_queued",
          help: "Requests that wait for a worker thread.",
          type: "gauge",
          value: queued
        }
      ]
    })
    return withRoutes(blocking.app)
  }).pipe(Effect.mapError(inOneLine))
