import { join } from "node:path"
import { Chunk, Effect, Either, Stream } from "effect"
import { type ChecksumsError, find, load } from "../services/download/Checksums.js"
import * as Download from "../services/download/Download.js"
import * as Downloader from "../services/download/Downloader.js"
import * as DownloadList from "../services/download/DownloadList.js"
import * as Downloads from "../services/download/Downloads.js"
import * as FileName from "../services/download/FileName.js"
import * as NameClaims from "../services/download/NameClaims.js"
import type * as Events from "../services/host/Events.js"
import * as Input from "../services/host/Input.js"
import * as Output from "../services/host/Output.js"
import * as GuideServer from "../services/http/GuideServer.js"
import * as Items from "../services/record/Items.js"

export { ChecksumsError } from "../services/download/Checksums.js"

// #region example
/**
 * The four pages of the guide, from the embedded server; prints each as it arrives.
 *
 * @since 0.1.0
 * @category examples
 */
export const example: Effect.Effect<
  void,
  NameClaims.NameTaken | Downloader.ProxyError,
  Downloader.Downloader | GuideServer.GuideServer | Output.Output
> = Effect.gen(function* () {
  const { origin } = yield* GuideServer.GuideServer
  yield* Output.note(`(the guide's pages, from an embedded server at ${origin})`)
  yield* Downloads.downloads(GuideServer.pages.map(({ url }) => ({ url: new URL(url) }))).pipe(
    Stream.updateService(
      Downloader.Downloader,
      Downloader.mapUrl(({ host }) => new URL(host, origin))
    ),
    Stream.runForEach((event) =>
      event.event === "finished" && event.status === "succeeded"
        ? Output.print(`Downloaded ${event.name.replace(/\/$/, "")}, size ${event.bytes}`)
        : Effect.void
    )
  )
})
// #endregion

/**
 * Given requests, and then those of a list.
 *
 * @since 0.1.0
 * @category models
 */
export interface Sources extends ListOptions {
  readonly requests: ReadonlyArray<Download.DownloadRequest>
  /** The path of a list, for {@link readList}; `-` is standard input. Default: no list. */
  readonly list?: string | undefined
  /** The path or the URL of a list of checksums like `SHA256SUMS`; each request without a checksum must be in it. Default: none. */
  readonly checksums?: string | undefined
  /** Saves requests without a name under their URL's host and folders: `FileName.mirrored`. Default false. */
  readonly forceDirectories?: boolean | undefined
  /** User and password of URLs that have none, for their own origin only. Default: none. */
  readonly user?: { readonly name: string; readonly password: string } | undefined
}

/**
 * Settings of {@link readList}.
 *
 * @since 0.1.0
 * @category options
 */
export interface ListOptions {
  /** Whether requests are lines (default) or end with NUL. */
  readonly format?: "lines" | "null" | undefined
  /** Most bytes of a request; default 16 MiB. */
  readonly maxLine?: number | undefined
}

/**
 * The errors of a list: it cannot be read, or a line is not a download, is too long or not UTF-8.
 *
 * @since 0.1.0
 * @category errors
 */
export type ListFailure = DownloadList.ListError | Items.ItemFailed

/**
 * Reads a list of downloads, each as `DownloadList.parseLine` reads it; blank lines and those that begin with `#` are
 * skipped. `-` is standard input. The list is streamed and not kept. Fails at the first wrong line, and if the list cannot
 * be read.
 *
 * @since 0.1.0
 * @category streams
 */
export const readList = (
  list: string,
  options: ListOptions = {}
): Stream.Stream<Download.DownloadRequest, ListFailure, Input.Input> =>
  Stream.filter(Items.read(list, options), ({ text }) => !text.startsWith("#")).pipe(
    Items.proper,
    Stream.mapError((error) =>
      error._tag === "ItemFailed"
        ? error
        : new DownloadList.ListError({ list, place: undefined, detail: error.detail })
    ),
    // Parsed on demand in small chunks, so that they die young; without waiting for further lines.
    Stream.chunks,
    Stream.mapConcatChunk((lines) => Chunk.chunksOf(lines, 64)),
    Stream.flattenChunks,
    Stream.mapChunksEffect((items) =>
      Effect.suspend(() => {
        const requests: Array<Download.DownloadRequest> = []
        for (const { place: source, value } of items) {
          const request = DownloadList.parseLine(value as string)
          if (Either.isLeft(request)) {
            return new DownloadList.ListError({ list, place: source, detail: request.left })
          }
          requests.push({ ...request.right, source })
        }
        return Effect.succeed(Chunk.unsafeFromArray(requests))
      })
    )
  )

/** A request with what all of them share: names by their URLs, a user. */
const completed =
  ({ forceDirectories = false, user }: Sources) =>
  (request: Download.DownloadRequest): Download.DownloadRequest => {
    const name = request.name ?? (forceDirectories ? FileName.mirrored(request.url) : undefined)
    if (user === undefined || request.url.username !== "") return { ...request, name }
    const url = new URL(request.url)
    url.username = encodeURIComponent(user.name)
    url.password = encodeURIComponent(user.password)
    return { ...request, name, url }
  }

const open = Effect.fnUntraced(function* ({ list, requests, ...options }: Sources) {
  const complete = completed({ requests, ...options })
  const given = requests.map(complete)
  const known = Stream.fromIterable(given)
  if (list === undefined) return { all: known, given, known: true }
  const once = yield* Effect.mapError(
    (yield* Input.Input).isOnce(list),
    ({ detail }) => new DownloadList.ListError({ list, place: undefined, detail })
  )
  return { all: Stream.concat(known, Stream.map(readList(list, options), complete)), given, known: !once }
})

/**
 * A planned download: its URL as `name`, and the path of its file, if there is a directory.
 *
 * @since 0.1.0
 * @category models
 */
export type Planned = Extract<typeof Events.Gather.Type, { readonly event: "planned" }>

/**
 * The downloads of {@link files}, in input order, without starting any; with a directory, equal requests are listed once.
 * Fails as {@link files} does if the list cannot be read or two requests would write one file.
 *
 * @since 0.1.0
 * @category streams
 */
export const plan = (
  sources: Sources,
  directory?: string
): Stream.Stream<Planned, ListFailure | NameClaims.NameTaken, Input.Input> =>
  Stream.unwrap(
    Effect.map(open(sources), ({ all }) => {
      const claims = NameClaims.make()
      let index = 0
      const planned = (request: Download.DownloadRequest): Planned => ({
        event: "planned",
        index: ++index,
        name: Download.show(request.url),
        ...(directory === undefined ? {} : { path: join(directory, NameClaims.nameOf(request)) })
      })
      const numbered = Stream.map(all, (request) => ({ request, event: planned(request) }))
      const once = ({ request }: { readonly request: Download.DownloadRequest }) => claims.begin(request)
      return Stream.map(
        directory === undefined ? numbered : Stream.filterEffect(numbered, once),
        ({ event }) => event
      )
    })
  )

/**
 * Settings of {@link files}: those of `Downloads.DownloadsOptions`, but for the claims, which are made here.
 *
 * @since 0.1.0
 * @category options
 */
export interface FilesOptions extends Omit<Downloads.DownloadsOptions, "claims"> {
  /** Whether the directory is another machine's (`ClusterDownloader`): then it is not looked at here. Default false. */
  readonly remote?: boolean | undefined
}

/**
 * The downloads of {@link files}.
 *
 * @since 0.1.0
 * @category models
 */
export interface Files {
  /** How many requests there are; undefined for a list that is read only once. */
  readonly count: number | undefined
  readonly events: Stream.Stream<
    Downloads.DownloadEvent,
    ListFailure | ChecksumsError | NameClaims.NameTaken | Downloader.ProxyError,
    Downloader.Downloader | Input.Input
  >
}

/**
 * Checks the requests, then returns their downloads as a stream of events: `Downloads.downloads` for a user's URLs.
 *
 * Invalid requests are refused before the first download: a list with an invalid line, two requests that would write one
 * file, a folder in a file's place, a directory in which no file can be saved. A list that can be read only once (a pipe)
 * is checked as it is read: then the stream fails.
 *
 * @since 0.1.0
 * @category effects
 */
export const files = Effect.fn("Gather.files")(function* (sources: Sources, options: FilesOptions = {}) {
  const { contentDisposition, directory, remote = false } = options
  const claims = NameClaims.make()
  const { known, ...opened } = yield* open(sources)
  const sums = sources.checksums === undefined ? undefined : yield* load(sources.checksums, options)
  const checked = <E, R>(requests: Stream.Stream<Download.DownloadRequest, E, R>) =>
    sums === undefined
      ? requests
      : Stream.mapEffect(requests, (request) =>
          request.checksum !== undefined
            ? Effect.succeed(request)
            : Effect.map(find(sums, request), (checksum) => ({ ...request, checksum }))
        )
  const all = checked(opened.all)
  const folders = directory === undefined || remote ? undefined : yield* Downloader.foldersIn(directory)
  const check = (directory: string) =>
    Effect.fnUntraced(function* (request: Download.DownloadRequest) {
      const name = yield* claims.check(request)
      if (folders?.has(name) === true && contentDisposition !== true)
        return yield* new NameClaims.FolderInTheWay({ directory, name, source: request.source })
      if (!remote) yield* Downloader.checkPlace(directory, name)
    })
  let count = 0
  yield* Stream.runForEachChunk(known ? all : checked(Stream.fromIterable(opened.given)), (chunk) => {
    count += chunk.length
    return directory === undefined ? Effect.void : Effect.forEach(chunk, check(directory), { discard: true })
  })
  if (directory !== undefined && !remote) yield* Downloader.checkDirectory(directory)
  const events = Downloads.downloads(all, { ...options, claims })
  return { count: known ? count : undefined, events } satisfies Files as Files
})
