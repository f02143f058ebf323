import { Chunk, Data, Effect, Either, Stream } from "effect"
import { codes } from "../host/ExitCodes.js"
import * as Input from "../host/Input.js"
import * as Backoff from "../task/Backoff.js"
import * as Sleep from "../task/Sleep.js"
import * as Printable from "../text/Printable.js"
import { formatSize } from "../text/Sizes.js"
import * as Download from "./Download.js"
import * as Downloader from "./Downloader.js"
import type { DownloadsOptions } from "./Downloads.js"
import * as FileName from "./FileName.js"

// Lists of checksums as sha256sum and its relatives write them, and which of their names is a download's.

/** Hexadecimal digits of each algorithm's checksums. */
const digits: Readonly<Record<Download.Algorithm, number>> = { md5: 32, sha1: 40, sha256: 64, sha512: 128 }
/** The algorithms, the strongest first. */
const algorithms = ["sha512", "sha256", "sha1", "md5"] as const
/** Segments at the end of a URL's path that a name in a list may have. */
const deepest = 32

/** The algorithm of a name such as `SHA256SUMS`, `a.zip.sha1` or `MD5`. */
const algorithmIn = (name: string): Download.Algorithm | undefined =>
  algorithms.find((one) => name.toLowerCase().replaceAll("-", "").includes(one))

const hexOf = (text: string, algorithm?: Download.Algorithm): Download.Checksum | undefined => {
  const found = algorithm ?? algorithms.find((one) => digits[one] === text.length)
  return found !== undefined && digits[found] === text.length && /^[0-9a-f]+$/i.test(text)
    ? { algorithm: found, hex: text.toLowerCase() }
    : undefined
}

/** Reads `ALGORITHM:HEX`. */
export const parse = (text: string): Download.Checksum | undefined => {
  const [, name = "", hex = ""] = /^(md5|sha1|sha256|sha512):([0-9a-f]+)$/i.exec(text) ?? []
  return hexOf(hex, name.toLowerCase() as Download.Algorithm)
}

/**
 * A list of checksums cannot be read, or a download is not in it; `message` names the list.
 *
 * @since 0.1.0
 * @category errors
 */
export class ChecksumsError extends Data.TaggedError("ChecksumsError")<{
  /** The path or the URL of the list. */
  readonly list: string
  /** What is wrong with it. */
  readonly detail: string
  /** The place of the request that is not in the list. */
  readonly source?: string | undefined
  /** 1 if the list could not be downloaded, 2 if it is wrong. */
  readonly exitCode: number
}> {
  override get message() {
    const { detail, list, source } = this
    return Printable.line(`${source === undefined ? "" : `${source}: `}the checksums of ${list}: ${detail}`)
  }
}

/** The URL of a list that is downloaded. */
const urlOf = (list: string): URL | undefined =>
  /^https?:\/\//i.test(list) && URL.canParse(list) ? new URL(list) : undefined
const shown = (list: string): string => {
  const url = urlOf(list)
  return url === undefined ? list : Download.show(url)
}

/** What a list says of each name. */
export interface Checksums {
  readonly list: string
  readonly byName: ReadonlyMap<string, Download.Checksum>
}

const unescaped = (name: string) =>
  name.replace(/\\([\\nr])/g, (_, one) => (one === "n" ? "\n" : one === "r" ? "\r" : "\\"))

type Line = readonly [name: string, checksum: Download.Checksum] | undefined

/** GNU: `HEX  NAME`, `HEX *NAME`, with a backslash in front if the name is escaped. BSD: `ALGORITHM (NAME) = HEX`. */
const readLine = (line: string, expected: Download.Algorithm | undefined): Line => {
  const bsd = /^(\\?)([A-Za-z0-9-]+) ?\((.+)\) ?= ?([0-9a-f]+)$/i.exec(line)
  if (bsd !== null) {
    const algorithm = algorithms.find((one) => one === bsd[2]!.toLowerCase().replace("-", ""))
    const checksum = algorithm && hexOf(bsd[4]!, algorithm)
    return checksum && [bsd[1] === "" ? bsd[3]! : unescaped(bsd[3]!), checksum]
  }
  const gnu = /^(\\?)([0-9a-f]{32,128})(?: [ *]|[ \t]+)(.+)$/i.exec(line)
  if (gnu === null) return undefined
  const checksum = hexOf(gnu[2]!, expected)
  return checksum && [gnu[1] === "" ? gnu[3]! : unescaped(gnu[3]!), checksum]
}

/**
 * Reads a list of checksums. The algorithm of a line is the named one, else that of the list's own name, else that of its
 * length. Lines that are not checksums are passed over, as sha256sum does; a list without any is refused, and so is a name
 * with two checksums of one algorithm. Of several algorithms the strongest counts. A file that is one bare checksum is
 * that of the file whose name it has: `a.zip.sha256`.
 */
export const read = (text: string, list: string): Either.Either<Checksums, ChecksumsError> => {
  const refuse = (detail: string) =>
    Either.left(new ChecksumsError({ list: shown(list), detail, exitCode: codes.usage }))
  const url = urlOf(list)
  const path = url === undefined ? list : FileName.fromUrl(url)
  const own = path.slice(path.lastIndexOf("/") + 1)
  if (/b2|blake|sha3/i.test(own)) return refuse("their algorithm is not md5, sha1, sha256 or sha512")
  const expected = algorithmIn(own)
  const byName = new Map<string, Download.Checksum>()
  const bare = hexOf(text.trim(), expected)
  if (bare !== undefined)
    byName.set(own.replace(/[.-](md5|sha-?1|sha-?256|sha-?512)(sums?)?(\.txt)?$/i, ""), bare)
  for (const line of text.replace(/^\ufeff/, "").split("\n")) {
    const found = readLine(line.replace(/\r$/, ""), expected)
    if (found === undefined) continue
    const name = found[0].replace(/^(\.\/+)+/, "")
    const [, checksum] = found
    const earlier = byName.get(name)
    if (earlier !== undefined) {
      if (earlier.algorithm === checksum.algorithm && earlier.hex !== checksum.hex)
        return refuse(`'${name}' is in it twice, with two ${checksum.algorithm} checksums`)
      if (digits[earlier.algorithm] >= digits[checksum.algorithm]) continue
    }
    byName.set(name, checksum)
  }
  if (byName.size === 0)
    return refuse(
      "no line is a checksum; expected HEX  NAME or SHA256 (NAME) = HEX, with md5, sha1, sha256 or sha512"
    )
  return Either.right({ list, byName })
}

const decoded = (segment: string): string => {
  try {
    return decodeURIComponent(segment)
  } catch {
    return segment
  }
}

/**
 * The checksum of a download: that of the longest name in the list with which its URL's path ends, else that of the name
 * under which it is saved; on the left if the list has neither.
 */
export const find = (
  { byName, list }: Checksums,
  { name, source, url }: Download.DownloadRequest
): Either.Either<Download.Checksum, ChecksumsError> => {
  const segments = url.pathname.split("/").slice(1).slice(-deepest).map(decoded)
  for (let i = 0; i < segments.length; i++) {
    const found = byName.get(segments.slice(i).join("/"))
    if (found !== undefined) return Either.right(found)
  }
  const found = byName.get(name ?? FileName.fromUrl(url))
  if (found !== undefined) return Either.right(found)
  const detail = `${Download.show(url)} is not among them; leave it out, or give it a checksum of its own`
  return Either.left(new ChecksumsError({ list: shown(list), detail, source, exitCode: codes.usage }))
}

/** Most bytes of a list. */
const mostBytes = 64 * 1024 * 1024
/** The longest pause before another attempt at the list, in ms. */
const longestPause = 30_000

/** Settings of {@link load}, as those of `Downloads.downloads`. */
export type Options = Download.SessionOptions & Pick<DownloadsOptions, "backoff" | "headers" | "retries">

/** {@link read} of a file, `-` (standard input) or a URL, which is downloaded with the same retries as any file. */
export const load = (
  list: string,
  options: Options
): Effect.Effect<Checksums, ChecksumsError | Downloader.ProxyError, Downloader.Downloader | Input.Input> => {
  const failed = (exitCode: number) => (error: { readonly detail: string }) =>
    new ChecksumsError({ list: shown(list), detail: error.detail, exitCode })
  const url = urlOf(list)
  const text: Effect.Effect<
    string,
    ChecksumsError | Downloader.ProxyError,
    Downloader.Downloader | Input.Input
  > =
    url === undefined
      ? Effect.flatMap(Input.Input, ({ open }) => bounded(open(list))).pipe(
          Effect.mapError(failed(codes.usage))
        )
      : Effect.gen(function* () {
          const { headers, retries = 3 } = options
          const session = yield* (yield* Downloader.Downloader).open(options)
          const pauseBefore = Backoff.make(options.backoff)
          const attempt = (made: number): Effect.Effect<string, Download.DownloadError> =>
            Downloader.response(session, { url, headers, maxSize: mostBytes }).pipe(
              Effect.flatMap((response) => response.text),
              Effect.scoped,
              Effect.catchIf(
                ({ retryable }) => retryable && made < retries,
                ({ retryAfter = 0 }) =>
                  Effect.flatMap(pauseBefore(made), (pause) =>
                    Sleep.sleep(Math.round(Math.max(pause, Math.min(retryAfter, longestPause))))
                  ).pipe(Effect.zipRight(Effect.suspend(() => attempt(made + 1))))
              )
            )
          return yield* Effect.mapError(attempt(0), failed(codes.failed))
        }).pipe(Effect.scoped)
  return Effect.flatMap(text, (text) => read(text, list))
}

const bounded = (bytes: Stream.Stream<Uint8Array, Input.InputError>) => {
  let size = 0
  return bytes.pipe(
    Stream.tap((piece) => {
      size += piece.length
      return size > mostBytes
        ? Effect.fail({ detail: `it has more than ${formatSize(mostBytes)}` })
        : Effect.void
    }),
    Stream.runCollect,
    Effect.map((pieces) => Buffer.concat(Chunk.toReadonlyArray(pieces)).toString("utf8"))
  )
}
