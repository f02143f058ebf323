import * as Args from "@effect/cli/Args"
import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import { Chunk, Deferred, Effect, Either, Exit, Fiber, Option, Stream } from "effect"
import * as Gather from "../programs/Gather.js"
import * as DownloadList from "../services/download/DownloadList.js"
import type * as Downloads from "../services/download/Downloads.js"
import { codes, ExitError, UsageError } from "../services/host/ExitCodes.js"
import { leanHeap } from "../services/host/HeapTuning.js"
import * as Output from "../services/host/Output.js"
import * as Signals from "../services/host/Signals.js"
import type * as Cancellation from "../services/task/Cancellation.js"
import * as GatherReport from "./gather/report.js"
import { withRest } from "./kernel/Cli.js"
import * as Values from "./kernel/Values.js"

const header = Values.repeated("header", (text) => {
  const match = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*)$/s.exec(text)
  if (match === null)
    return Either.left(`'${text.replace(/\s+/g, " ")}' is not a header; expected 'Name: value'`)
  if (/[\0-\x08\x0a-\x1f\x7f]|[^\0-\xff]/.test(match[2]!)) {
    return Either.left(`the value of ${match[1]} has a line end or another character that no header may have`)
  }
  return Either.right([match[1]!, match[2]!] as const)
})

const options = {
  directory: Options.text("directory").pipe(
    Options.withPseudoName("dir"),
    Options.withAlias("d"),
    Options.withDescription("save the files in this folder; without it they are read and counted"),
    Options.optional
  ),
  input: Options.text("input").pipe(
    Options.withPseudoName("file"),
    Options.withAlias("i"),
    Options.withDescription(
      "also read URLs from this file (- for stdin): a URL a line, then TAB and a file name, TAB and sha256:HEX if wanted"
    ),
    Options.optional
  ),
  concurrency: Values.integer("concurrency", 1).pipe(
    Options.withAlias("j"),
    Options.withDescription("transfers at once (default 16)"),
    Options.withDefault(16)
  ),
  perHost: Values.integer("per-host", 1).pipe(
    Options.withDescription("transfers at once from one host (default: as many as --concurrency)"),
    Options.optional
  ),
  retries: Values.integer("retries", 0).pipe(
    Options.withDescription(
      "further attempts after a passing failure, backing off or as Retry-After says (default 3)"
    ),
    Options.withDefault(3)
  ),
  timeout: Values.duration("timeout").pipe(
    Options.withDescription(
      "longest a transfer may take, retries included, like 90s or 1h30m (default: no limit)"
    ),
    Options.optional
  ),
  stallTimeout: Values.duration("stall-timeout").pipe(
    Options.withDescription("longest nothing may arrive, to about a second (default 30s)"),
    Options.optional
  ),
  connectTimeout: Values.duration("connect-timeout").pipe(
    Options.withDescription("longest a connection may take (default 10s)"),
    Options.optional
  ),
  limitRate: Values.size("limit-rate").pipe(
    Options.withDescription("bytes a second over all transfers, like 500K or 2M (default: no limit)"),
    Options.optional
  ),
  maxSize: Values.size("max-size").pipe(
    Options.withDescription(
      "most bytes of a decoded body, like 100M (default: no limit, but 1G for a compressed body)"
    ),
    Options.optional
  ),
  maxRedirects: Values.integer("max-redirects", 0).pipe(
    Options.withDescription("redirects followed for one URL (default 10)"),
    Options.withDefault(10)
  ),
  header: header.pipe(
    Options.withPseudoName("header"),
    Options.withDescription(
      "send 'Name: value' with every request; secrets stay with the URL's own origin; repeatable"
    )
  ),
  checksum: Values.parsed("checksum", DownloadList.parseChecksum).pipe(
    Options.withPseudoName("sha256:HEX"),
    Options.withDescription("sha256:HEX that the one URL's file must have"),
    Options.optional
  ),
  onFailure: Values.choice("on-failure", ["cancel", "continue", "collect"]).pipe(
    Options.withDescription(
      "when one fails: cancel the others, continue (default), or continue and give failures as results on stdout"
    ),
    Options.withDefault("continue")
  ),
  noClobber: Options.boolean("no-clobber").pipe(
    Options.withDescription(
      "leave files that exist and fetch nothing for them, unless a checksum says that they are wrong"
    )
  ),
  overwrite: Options.boolean("overwrite").pipe(
    Options.withDescription(
      "replace files that exist once the new one is whole (the default; beats --no-clobber)"
    )
  ),
  resume: Options.boolean("resume").pipe(
    Options.withDescription(
      "continue partial files of an earlier run when they are the same version (the default with -d)"
    )
  ),
  noResume: Options.boolean("no-resume").pipe(
    Options.withDescription("neither keep nor continue partial files")
  ),
  contentDisposition: Options.boolean("content-disposition").pipe(
    Options.withDescription("take file names from the server's Content-Disposition")
  ),
  fsync: Options.boolean("fsync").pipe(Options.withDescription("a finished file survives a power cut")),
  denyPrivate: Options.boolean("deny-private").pipe(
    Options.withDescription("refuse addresses that are not public, at every redirect, after DNS")
  ),
  dryRun: Options.boolean("dry-run").pipe(
    Options.withDescription("print what would be fetched, and fetch nothing")
  ),
  json: Options.boolean("json").pipe(Options.withDescription("events as NDJSON on stdout")),
  quiet: Options.boolean("quiet").pipe(
    Options.withAlias("q"),
    Options.withDescription("no progress, notes or summary on stderr; failures still are")
  )
}

const urls = Args.text({ name: "URL" }).pipe(Args.repeated)

const usage = (message: string) => new UsageError({ message: `aio gather: ${message}` })

export const command = Command.make("gather", { urls, ...options }, (config) =>
  Effect.gen(function* () {
    const { input } = config
    const urls = yield* withRest(config.urls)
    if (urls.length === 0 && Option.isNone(input)) {
      if (Option.isSome(config.directory))
        return yield* usage("no URL is given; name some, or a list with -i FILE")
      return yield* Gather.example
    }
    yield* leanHeap
    if (Option.isSome(config.checksum) && (urls.length !== 1 || Option.isSome(input))) {
      return yield* usage("--checksum is for one URL; in a list write URL, TAB, sha256:HEX")
    }
    const given = yield* Effect.forEach(urls, (text) => DownloadList.parseUrl(text)).pipe(
      Effect.mapError((problem) => usage(problem))
    )
    const requests = given.map((url) => ({ url, checksum: Option.getOrUndefined(config.checksum) }))
    const directory = Option.getOrUndefined(config.directory)
    if (directory === "") return yield* usage("option --directory: it is empty; expected a folder")
    const sources = { requests, list: Option.getOrUndefined(input) }
    if (config.dryRun) {
      return yield* Stream.runForEach(Gather.plan(sources, directory), ({ path, url }) =>
        Output.print(path === undefined ? url : `${url} -> ${path}`)
      ).pipe(Effect.mapError((error) => usage(error.message)))
    }
    const headers: Record<string, string> = {}
    for (const [name, value] of config.header) headers[name] = value
    const output = yield* Output.Output
    const existing = config.noClobber && !config.overwrite ? "keep" : "replace"
    const signals = yield* Signals.Signals
    const stop = yield* Deferred.make<Cancellation.Cancellation>()
    const events = yield* Gather.files(sources, {
      stop: Deferred.await(stop),
      directory,
      perHost: Option.getOrUndefined(config.perHost),
      timeout: Option.getOrUndefined(config.timeout),
      stallTimeout: Option.getOrUndefined(config.stallTimeout),
      connectTimeout: Option.getOrUndefined(config.connectTimeout),
      limitRate: Option.getOrUndefined(config.limitRate),
      maxSize: Option.getOrUndefined(config.maxSize),
      concurrency: config.concurrency,
      retries: config.retries,
      onFailure: config.onFailure,
      maxRedirects: config.maxRedirects,
      denyPrivate: config.denyPrivate,
      contentDisposition: config.contentDisposition,
      fsync: config.fsync,
      resume: !config.noResume,
      existing,
      headers,
      progress: config.json || (output.stderr.interactive && !config.quiet)
    }).pipe(Effect.mapError((error) => usage(error.message)))
    let stopped: string | undefined
    const { end, handle } = yield* GatherReport.make({
      json: config.json,
      quiet: config.quiet,
      collect: config.onFailure === "collect",
      again: ({ finished }) =>
        directory === undefined
          ? undefined
          : finished > 0 && existing === "replace"
            ? ", with --no-clobber to keep existing files"
            : "",
      stopped: () => stopped
    })
    let summary: Downloads.Summary | undefined
    const run = events.pipe(
      Stream.runForEachChunk((events) => {
        const last = Chunk.unsafeLast(events)
        if (last.event === "summary") summary = last
        return handle(events)
      }),
      Effect.mapError((error) => usage(error.message)),
      // If the list is invalid and nothing has started, only that is reported.
      Effect.onExit((exit) =>
        summary === undefined ||
        (Exit.isFailure(exit) && summary.finished + summary.skipped + summary.failed === 0)
          ? Effect.void
          : end(summary)
      )
    )
    // A signal ends the transfers, and their outcomes are still reported.
    const fiber = yield* Effect.acquireRelease(Effect.forkDaemon(Effect.interruptible(run)), (fiber) =>
      Effect.flatMap(signals.first, (signal) => {
        stopped = signal ?? "the command has ended"
        return Effect.zipRight(
          Deferred.succeed(stop, { reason: stopped, origin: "process" }),
          Fiber.await(fiber)
        )
      })
    )
    yield* Fiber.join(fiber)
    if (summary !== undefined && summary.failed > 0)
      return yield* new ExitError({ exitCode: codes.failed, message: "" })
  }).pipe(Effect.scoped)
).pipe(
  Command.withDescription(
    "download many URLs at once: each file appears under its name only when it is complete, and interrupted downloads continue where they stopped. Alone: the guide's four pages from an embedded server."
  )
)
