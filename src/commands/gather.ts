import * as Args from "@effect/cli/Args"
import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import { Chunk, Effect, Either, Option, Stream } from "effect"
import * as Gather from "../programs/Gather.js"
import { codes, ExitError, UsageError } from "../services/Exits.js"
import * as Input from "../services/Input.js"
import { leanHeap } from "../services/internal/leanHeap.js"
import * as Output from "../services/Output.js"
import { formatDuration, formatSize } from "../services/Units.js"
import * as Bars from "./Bars.js"
import { withRest } from "./Cli.js"
import * as Values from "./Values.js"

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
    Options.withDescription("leave files that exist, fetch nothing for them")
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

const table = (summary: Gather.Summary): string => {
  const { bytes, causes, elapsed, failed, finished, retries, skipped } = summary
  const files = [
    `${finished} downloaded`,
    ...(skipped > 0 ? [`${skipped} there already`] : []),
    ...(failed > 0 ? [`${failed} failed`] : [])
  ]
  const rows = [
    ["files", files.join(", ")],
    ["bytes", formatSize(bytes)],
    ["time", formatDuration(elapsed)],
    ["throughput", `${formatSize(Math.round(bytes / Math.max(elapsed / 1000, 0.001)))}/s`],
    ["retries", String(retries)],
    ...(failed > 0
      ? [
          [
            "failures",
            Object.entries(causes)
              .map(([cause, count]) => `${cause} ${count}`)
              .join(", ")
          ] as const
        ]
      : [])
  ]
  return rows.map(([name, value]) => `${name!.padEnd(10)}  ${value}`).join("\n")
}

const optional = <K extends string, A>(key: K, value: Option.Option<A>): { readonly [P in K]?: A } =>
  (Option.isSome(value) ? { [key]: value.value } : {}) as { readonly [P in K]?: A }

const usage = (message: string) => new UsageError({ message: `aio gather: ${message}` })

/** Notes about odd answers that are told, each once. */
const mostOdd = 100

/** Prints events as they come: lines, bars on a terminal, or NDJSON. What comes together leaves in one write. */
const report = (options: { readonly json: boolean; readonly quiet: boolean; readonly collect: boolean }) =>
  Effect.gen(function* () {
    const output = yield* Output.Output
    const bars = output.stderr.interactive && !options.quiet && !options.json ? yield* Bars.make : undefined
    const shared = bars !== undefined && output.stdout.interactive // one screen for results and bars
    const label = (url: string) => url.slice(url.lastIndexOf("/", url.length - 2) + 1)
    let finished = 0
    let failed = 0
    let bytes = 0
    const odd = new Set<string>()
    return (events: Iterable<Gather.DownloadEvent>) => {
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
            bars?.update(event.index, label(event.url), event.received, event.total)
            break
          case "retried":
            if (!options.quiet) {
              notes += `${event.url}: ${event.detail}; attempt ${event.attempt} in ${formatDuration(event.delay)}\n`
            }
            break
          case "finished":
            finished++
            bytes += event.size
            bars?.remove(event.index)
            if (!event.skipped) results += `Downloaded ${event.url}, size ${event.size}\n`
            else if (!options.quiet) notes += `${event.path} is there already\n`
            if (event.note !== undefined && !options.quiet && odd.size < mostOdd && !odd.has(event.note)) {
              odd.add(event.note)
              notes += `${event.url}: ${event.note}\n`
            }
            break
          case "failed":
            failed++
            bars?.remove(event.index)
            if (options.collect) results += `Failed ${event.url}, ${event.detail}\n`
            else notes += `Failed ${event.url}: ${event.detail}\n`
        }
      }
      bars?.total(`${finished} downloaded, ${failed} failed, ${formatSize(bytes)}`)
      if (shared) {
        if (results + notes !== "") bars.log((results + notes).trimEnd())
        return Effect.void
      }
      const write = results === "" ? Effect.void : output.write(results)
      if (notes === "") return write
      return Effect.zipRight(
        write,
        bars === undefined ? output.note(notes.trimEnd()) : Effect.sync(() => bars.log(notes.trimEnd()))
      )
    }
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
    const requests = given.map((url) => ({ url, ...optional("checksum", config.checksum) }))
    const saving = Option.isSome(config.directory)
    const list = Option.getOrUndefined(input)
    const listed = list === undefined ? Stream.empty : Gather.readList(list)
    const claims = Gather.makeClaims()
    const check = (chunk: Chunk.Chunk<Gather.DownloadRequest>) =>
      saving ? Effect.forEach(chunk, claims.check, { discard: true }) : Effect.void
    // What can be known before anything is fetched is refused before anything is fetched; the rest as it comes.
    const known = Stream.fromIterable(requests)
    const once =
      list !== undefined &&
      (yield* Effect.mapError((yield* Input.Input).isOnce(list), ({ detail }) =>
        usage(`cannot read the list ${list}: ${detail}`)
      ))
    const file = once ? Stream.empty : listed
    yield* Stream.runForEachChunk(Stream.concat(known, file), check).pipe(
      Effect.mapError((error) => usage(error.message))
    )
    const all = Stream.concat(
      known,
      once ? Stream.mapChunksEffect(listed, (chunk) => Effect.as(check(chunk), chunk)) : file
    )
    if (config.dryRun) {
      const again = Gather.makeClaims()
      return yield* Stream.runForEach(all, (request) =>
        saving
          ? Effect.zipRight(
              again.check(request),
              Output.print(
                `${Gather.show(request.url)} -> ${config.directory.value}/${Gather.nameOf(request)}`
              )
            )
          : Output.print(Gather.show(request.url))
      ).pipe(Effect.mapError((error) => usage(error.message)))
    }
    const headers: Record<string, string> = {}
    for (const [name, value] of config.header) headers[name] = value
    const output = yield* Output.Output
    const handle = yield* report({
      json: config.json,
      quiet: config.quiet,
      collect: config.onFailure === "collect"
    })
    let summary: Gather.Summary | undefined
    yield* Gather.downloads(all, {
      claims,
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
      existing: config.noClobber && !config.overwrite ? "keep" : "replace",
      headers,
      progress: config.json || (output.stderr.interactive && !config.quiet)
    }).pipe(
      Stream.runForEachChunk((events) => {
        const last = Chunk.unsafeLast(events)
        if (last.event === "summary") summary = last
        return handle(events)
      }),
      Effect.mapError((error) => usage(error.message))
    )
    if (summary === undefined) return
    if (!config.quiet && !config.json) yield* output.note(table(summary))
    if (summary.failed > 0) return yield* new ExitError({ exitCode: codes.failed, message: "" })
  }).pipe(Effect.scoped)
).pipe(
  Command.withDescription(
    "download many URLs at once: each file appears under its name only when it is whole, and what was interrupted goes on where it stopped. Alone: the guide's four pages from an embedded server."
  )
)
