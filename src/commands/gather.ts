import { type Context, Effect, Layer, Stream } from "effect"
import * as Gather from "../programs/Gather.js"
import * as Downloader from "../services/download/Downloader.js"
import * as DownloadList from "../services/download/DownloadList.js"
import type * as Downloads from "../services/download/Downloads.js"
import * as StdoutBody from "../services/download/StdoutBody.js"
import { codes, ExitError } from "../services/host/ExitCodes.js"
import { lateWebAssembly, leanHeap } from "../services/host/HeapTuning.js"
import * as SystemLoad from "../services/host/SystemLoad.js"
import * as GuideServer from "../services/http/GuideServer.js"
import { readAuthorities } from "./gather/authorities.js"
import { flags } from "./gather/flags.js"
import * as Place from "./gather/place.js"
import * as View from "./gather/view.js"
import * as Command from "./kernel/Command.js"
import type * as Flag from "./kernel/Flag.js"
import * as Reporter from "./kernel/Reporter.js"
import { stopOnSignal } from "./kernel/stopOnSignal.js"
import * as Values from "./kernel/Values.js"

/** Bad input is wrong usage; a list of checksums that the network does not give is a failure. */
const wrong = ({ exitCode, message }: { readonly exitCode?: number; readonly message: string }) =>
  exitCode === codes.failed
    ? new ExitError({ exitCode, message: `aio gather: ${message}` })
    : Command.usage(message)

type Config = Flag.Values<typeof flags> & { readonly ca: string | undefined }

const parseUrl = (text: string) =>
  text.startsWith("-")
    ? Command.usage(`'${text}' is not a URL; options go before the first URL`)
    : Effect.mapError(DownloadList.parseUrl(text), Command.usage)

/** Sets V8's flags when a session is open: V8 refuses code that was cached under others, and by then all of it is loaded. */
const tuned = ({ open }: Context.Tag.Service<typeof Downloader.Downloader>) =>
  Downloader.Downloader.of({
    open: (options) => open(options).pipe(Effect.zipLeft(leanHeap), Effect.zipLeft(lateWebAssembly))
  })

const gather = (sources: Gather.Sources, config: Config, place: Place.Place, stop: Effect.Effect<string>) =>
  Effect.gen(function* () {
    const { clobber, cluster, header, jobs, mtime, onFailure, resume, retries, timestamping, ...given } =
      config
    const clock = yield* Effect.clock
    let count: number | undefined
    const view = View.make({
      bodies: place.bodies,
      replaces: clobber !== false && !timestamping,
      onFailure,
      files: () => count,
      now: () => Number(clock.unsafeCurrentTimeNanos() / 1_000_000n)
    })
    const { isLive, report } = yield* Reporter.make(view, { ...config, progress: config.progress ?? true })
    const settings: Gather.FilesOptions = {
      ...given,
      ...retries,
      directory: place.directory,
      receive: place.bodies === "printed" ? yield* StdoutBody.receiver : undefined,
      concurrency: Values.jobCount(jobs, (yield* SystemLoad.SystemLoad).cpus),
      onFailure,
      remote: cluster !== undefined,
      existing: timestamping ? "newer" : clobber === false ? "keep" : "replace",
      mtime: mtime !== false,
      resume: resume !== false,
      headers: Object.fromEntries(header),
      progress: config.json || isLive,
      stop: Effect.map(stop, (reason) => ({ reason, origin: "process" }))
    }
    // Lists of checksums are read here, also when files are downloaded elsewhere.
    const files = yield* Effect.mapError(Gather.files(sources, settings), wrong)
    count = files.count
    let end: Downloads.Summary | undefined
    const remote =
      cluster === undefined
        ? undefined
        : (yield* Effect.promise(() => import("./gather/cluster.js"))).make(cluster, config.group)
    const all = Stream.runForEachChunk(Stream.mapError(files.events, wrong), (chunk) =>
      Effect.suspend(() => {
        for (const event of chunk) if (event.event === "summary") end = event
        return remote === undefined ? report(chunk) : Effect.zipRight(remote.check, report(chunk))
      })
    )
    yield* remote === undefined ? all : Effect.provide(all, remote.layer)
    const exitCode = end?.exitCode ?? codes.ok
    // The kernel exits with the code of a signal.
    if (exitCode !== codes.ok && exitCode <= 128) return yield* new ExitError({ exitCode, message: "" })
  }).pipe(Effect.updateService(Downloader.Downloader, tuned), Effect.scoped)

export const command = Command.provide(
  Command.make(
    "gather",
    {
      summary:
        "download many URLs at once: a file appears under its name when it is complete, and interrupted downloads continue where they stopped",
      usage: ["[OPTIONS] URL...", "[OPTIONS] -a FILE [URL...]"],
      operands: "list",
      arguments: [["URL", "http://… or https://…; options go before the first URL"]],
      flags,
      examples: [
        ["gather https://example.org/a.zip", "save a file in the current folder"],
        ["gather -o - https://example.org/a.json", "print a file"],
        ["gather -d files -j 4 --no-clobber -a urls.txt", "save what a list names, except for what is there"],
        [
          "gather --json --discard https://example.org/a.zip",
          "read a file without saving it, and print events"
        ],
        ["gather --dry-run -d files -a urls.txt", "print what would be saved where"]
      ]
    },
    (config, { operands }) =>
      Effect.gen(function* () {
        const { argFile, checksum, checksums, forceDirectories, user } = config
        if (operands.length === 0 && argFile === undefined) {
          return yield* Command.usage("no URL is given; write a URL, or -a FILE")
        }
        const one = operands.length === 1 && argFile === undefined
        if (checksum !== undefined && !one) {
          return yield* Command.usage(
            "--checksum is for one URL; in a list write URL, TAB, sha256:HEX, or use --checksums FILE"
          )
        }
        const place = yield* Place.placeOf(config, one)
        const urls = yield* Effect.forEach(operands, parseUrl)
        const format = yield* Command.formatOf(config)
        const requests = urls.map((url) => ({ url, checksum, name: place.name }))
        if (user !== undefined && config.header.some(([name]) => name.toLowerCase() === "authorization"))
          return yield* Command.usage("--user and --header Authorization name a user each; omit one of them")
        const { maxLine } = config
        const sources = { requests, list: argFile, format, maxLine, checksums, forceDirectories, user }
        const ca = config.cacert === undefined ? undefined : yield* readAuthorities(config.cacert)
        if (!config.dryRun)
          return yield* stopOnSignal((stop) => gather(sources, { ...config, ca }, place, stop))
        const view = View.make({
          bodies: place.bodies,
          replaces: true,
          onFailure: config.onFailure,
          files: () => undefined,
          now: () => 0
        })
        const { report } = yield* Reporter.make(view, config)
        yield* Stream.runForEachChunk(Gather.plan(sources, place.directory), report).pipe(
          Effect.mapError(wrong)
        )
      }).pipe(Effect.scoped),
    {
      example: {
        run: () => Effect.provide(Gather.example, GuideServer.layer),
        instead: "write a URL, or -a FILE"
      }
    }
  ),
  Layer.mergeAll(Downloader.layer, SystemLoad.layer)
)
