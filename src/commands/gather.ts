import * as Args from "@effect/cli/Args"
import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import { Chunk, Deferred, Effect, Either, Exit, Fiber, Option, Stream } from "effect"
import * as Gather from "../programs/Gather.js"
import * as Downloader from "../services/download/Downloader.js"
import { codes, ExitError, UsageError } from "../services/host/ExitCodes.js"
import { leanHeap } from "../services/host/HeapTuning.js"
import * as Input from "../services/host/Input.js"
import * as Output from "../services/host/Output.js"
import * as Signals from "../services/host/Signals.js"
import type * as Cancellation from "../services/task/Cancellation.js"
import { formatDuration, formatSize, plural } from "../services/text/Units.js"
import { withRest } from "./kernel/Cli.js"
import * as Screen from "./kernel/Screen.js"
import * as Values from "./kernel/Values.js"

const header = Values.repeated("header", (text) => {
  const match = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*)$/s.exec(text)
  if (match === null) return Either.left(`'${text.replace(/\s+/g, " ")}' is no header; write 'Name: value'`)
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
  checksum: Values.parsed("checksum", Gather.parseChecksum).pipe(
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

/** How a run ended, for the person: the summary as a table, and how to go on. */
const table = (
  summary: Gather.Summary,
  {
    again,
    first,
    stopped
  }: { readonly again: string | undefined; readonly first: string | undefined; readonly stopped: boolean }
): string => {
  const {
    bytes,
    causes,
    elapsed,
    failed,
    finished,
    kept = { files: 0, bytes: 0 },
    retries,
    skipped
  } = summary
  const { cancelled = 0, ...reasons } = causes
  const files = [
    `${finished} downloaded`,
    ...(skipped > 0 ? [`${skipped} there already`] : []),
    ...(failed > cancelled ? [`${failed - cancelled} failed`] : []),
    ...(cancelled > 0 ? [`${cancelled} cancelled`] : [])
  ]
  const rows = [
    ["files", files.join(", ")],
    ["bytes", formatSize(bytes)],
    ["time", formatDuration(elapsed)],
    ["throughput", `${formatSize(Math.round(bytes / Math.max(elapsed / 1000, 0.001)))}/s`],
    ["retries", String(retries)]
  ]
  const why = Object.entries(reasons).map(([cause, times]) => `${cause} ${times}`)
  if (why.length > 0) rows.push(["failures", why.join(", ")])
  if (again !== undefined && (kept.files > 0 || stopped)) {
    const size = kept.files === 0 ? "" : `, ${formatSize(kept.bytes)}`
    const parts = `${plural(kept.files, "partial file")}${size}`
    rows.push(["kept", `${parts}; run the same command again to go on${again}`])
  }
  const there =
    skipped === 0
      ? ""
      : skipped === 1
        ? `${first} is there already\n`
        : `${skipped} files are there already\n`
  return there + rows.map(([name, value]) => `${name!.padEnd(10)}  ${value}`).join("\n")
}

const barWidth = 20

/** A line for the whole, and one for each transfer under way, as wide as the terminal at the most. */
const progressLines = (
  whole: string,
  transfers: Iterable<{
    readonly label: string
    readonly received: number
    readonly total: number | undefined
  }>
): ReadonlyArray<string> => {
  const columns = (process.stderr.columns || 80) - 1
  const lines = [whole]
  for (const { label, received, total } of transfers) {
    const amount =
      total === undefined ? formatSize(received) : `${formatSize(received)} of ${formatSize(total)}`
    const share = total === undefined || total === 0 ? 0 : Math.min(1, received / total)
    const done = Math.round(share * barWidth)
    const bar = columns < 60 ? "" : `${"━".repeat(done)}${" ".repeat(barWidth - done)} `
    const room = Math.max(8, Math.min(40, columns - bar.length - amount.length - 1))
    const name = label.length <= room ? label : `…${label.slice(label.length - room + 1)}`
    lines.push(`${bar}${name.padEnd(room)} ${amount}`)
  }
  return lines
}

const optional = <K extends string, A>(key: K, value: Option.Option<A>): { readonly [P in K]?: A } =>
  (Option.isSome(value) ? { [key]: value.value } : {}) as { readonly [P in K]?: A }

const usage = (message: string) => new UsageError({ message: `aio gather: ${message}` })

/** Notes about odd answers that are reported, each once. */
const mostOdd = 100

/** Prints events as they come: lines, with progress below them on a terminal, or NDJSON. What comes together leaves in one write. */
const report = (options: {
  readonly json: boolean
  readonly quiet: boolean
  readonly collect: boolean
  /** Of the line that says how to go on: what is to be added; undefined where nothing can be gone on with. */
  readonly again: (summary: Gather.Summary) => string | undefined
  /** The signal that has ended the downloads. */
  readonly stopped: () => string | undefined
}) =>
  Effect.gen(function* () {
    const output = yield* Output.Output
    const screen =
      output.stderr.interactive && !options.quiet && !options.json ? yield* Screen.make : undefined
    const shared = screen !== undefined && output.stdout.interactive // one screen for results and progress
    const label = (url: string) => url.slice(url.lastIndexOf("/", url.length - 2) + 1)
    const under = new Map<number, { label: string; received: number; total: number | undefined }>()
    let finished = 0
    let failed = 0
    let bytes = 0
    let first: string | undefined // of those that are there already
    const odd = new Set<string>()
    const note = (text: string) =>
      screen === undefined ? output.note(text) : Effect.sync(() => screen.log(text))
    const handle = (events: Iterable<Gather.DownloadEvent>) => {
      let results = ""
      let notes = ""
      for (const event of events) {
        if (options.json) {
          const { event: name, ...fields } = event
          results += `${Output.eventLine(name, fields)}\n`
          continue
        }
        switch (event.event) {
          case "progress":
            under.set(event.index, {
              label: label(event.url),
              received: event.received,
              total: event.total
            })
            break
          case "note":
            if (!options.quiet) notes += `${event.url}: ${event.detail}\n`
            break
          case "retried":
            under.delete(event.index)
            if (!options.quiet) {
              notes += `${event.url}: ${event.detail}; attempt ${event.attempt} in ${formatDuration(event.delay)}\n`
            }
            break
          case "finished":
            under.delete(event.index)
            if (event.skipped) first ??= event.path
            else {
              finished++
              bytes += event.size
              results += `Downloaded ${event.url}, size ${event.size}\n`
              if (event.note !== undefined && !options.quiet && odd.size < mostOdd && !odd.has(event.note)) {
                odd.add(event.note)
                notes += `${event.url}: ${event.note}\n`
              }
            }
            break
          case "failed":
            under.delete(event.index)
            failed++
            // What a signal has ended has not failed; the summary counts it.
            if (event.reason === "cancelled" && options.stopped() !== undefined) break
            if (options.collect) results += `Failed ${event.url}, ${event.detail}\n`
            else notes += `Failed ${event.url}: ${event.detail}\n`
            break
        }
      }
      screen?.show(
        progressLines(`${finished} downloaded, ${failed} failed, ${formatSize(bytes)}`, under.values())
      )
      if (shared) {
        if (results + notes !== "") screen.log((results + notes).trimEnd())
        return Effect.void
      }
      const write = results === "" ? Effect.void : output.write(results)
      return notes === "" ? write : Effect.zipRight(write, note(notes.trimEnd()))
    }
    /** What has become of all, for the person. */
    const end = (summary: Gather.Summary) =>
      options.json || options.quiet || options.stopped() === "SIGPIPE"
        ? Effect.void
        : note(
            table(summary, {
              again: options.again(summary),
              first,
              stopped: options.stopped() !== undefined
            })
          )
    return { handle, end }
  })

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
    const given = yield* Effect.forEach(urls, (text) => Gather.parseUrl(text)).pipe(
      Effect.mapError((problem) => usage(problem))
    )
    const requests = given.map(
      (url): Gather.DownloadRequest => ({ url, ...optional("checksum", config.checksum) })
    )
    const directory = Option.getOrUndefined(config.directory)
    if (directory === "") return yield* usage("option --directory: it is empty; write a folder")
    const list = Option.getOrUndefined(input)
    const listed = list === undefined ? Stream.empty : Gather.readList(list)
    const known = Stream.fromIterable(requests)
    const once =
      list !== undefined &&
      (yield* Effect.mapError((yield* Input.Input).isOnce(list), ({ detail }) =>
        usage(`cannot read the list ${list}: ${detail}`)
      ))
    const all = Stream.concat(known, listed)
    if (config.dryRun) {
      const claims = Gather.makeClaims()
      return yield* Stream.runForEach(all, (request) => {
        const url = Gather.show(request.url)
        return directory === undefined
          ? Output.print(url)
          : Effect.flatMap(claims.begin(request), (first) =>
              first ? Output.print(`${url} -> ${directory}/${Gather.nameOf(request)}`) : Effect.void
            )
      }).pipe(Effect.mapError((error) => usage(error.message)))
    }
    // What can be known before anything is fetched is refused before anything is fetched; the rest as it comes.
    const claims = Gather.makeClaims()
    const folders = directory === undefined ? new Set() : yield* Downloader.foldersIn(directory)
    yield* Stream.runForEachChunk(once ? known : all, (chunk) =>
      directory === undefined
        ? Effect.void
        : Effect.forEach(
            chunk,
            (request) =>
              Effect.zipRight(
                claims.check(request),
                folders.has(Gather.nameOf(request)) && !config.contentDisposition
                  ? new Gather.FolderInTheWay({
                      directory,
                      name: Gather.nameOf(request),
                      source: request.source
                    })
                  : Effect.void
              ),
            { discard: true }
          )
    ).pipe(Effect.mapError((error) => usage(error.message)))
    if (directory !== undefined) {
      yield* Effect.mapError(Downloader.checkDirectory(directory), ({ message }) => usage(message))
    }
    const headers: Record<string, string> = {}
    for (const [name, value] of config.header) headers[name] = value
    const output = yield* Output.Output
    const existing = config.noClobber && !config.overwrite ? "keep" : "replace"
    const signals = yield* Signals.Signals
    let stopped: string | undefined
    const stop = yield* Deferred.make<Cancellation.Cancellation>()
    const { end, handle } = yield* report({
      json: config.json,
      quiet: config.quiet,
      collect: config.onFailure === "collect",
      again: ({ finished }) =>
        directory === undefined
          ? undefined
          : finished > 0 && existing === "replace"
            ? ", with --no-clobber to leave what is there"
            : "",
      stopped: () => stopped
    })
    let summary: Gather.Summary | undefined
    const run = Gather.downloads(all, {
      claims,
      stop: Deferred.await(stop),
      ...optional("directory", config.directory),
      ...optional("perHost", config.perHost),
      ...optional("timeout", config.timeout),
      ...optional("stallTimeout", config.stallTimeout),
      ...optional("connectTimeout", config.connectTimeout),
      ...optional("limitRate", config.limitRate),
      ...optional("maxSize", config.maxSize),
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
    }).pipe(
      Stream.runForEachChunk((events) => {
        const last = Chunk.unsafeLast(events)
        if (last.event === "summary") summary = last
        return handle(events)
      }),
      Effect.mapError((error) => usage(error.message)),
      // Where the list is wrong and nothing was begun, that is all there is to say.
      Effect.onExit((exit) =>
        summary === undefined ||
        (Exit.isFailure(exit) && summary.finished + summary.skipped + summary.failed === 0)
          ? Effect.void
          : end(summary)
      )
    )
    // A signal ends the transfers, and what has become of them is still reported.
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
    "download many URLs at once: each file appears under its name only when it is whole, and what was interrupted goes on where it stopped. Alone: the guide's four pages from an embedded server."
  )
)
