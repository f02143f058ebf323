import type { Readable } from "node:stream"
import { Data, type Duration } from "effect"

// The model of a download: the request, its target, its result or failure.

/**
 * How a checksum is computed. `md5` and `sha1` find damage, and no forgery.
 *
 * @since 0.1.0
 * @category models
 */
export type Algorithm = "md5" | "sha1" | "sha256" | "sha512"

/**
 * A file's expected content.
 *
 * @since 0.1.0
 * @category models
 */
export interface Checksum {
  readonly algorithm: Algorithm
  /** Lower-case hexadecimal. */
  readonly hex: string
}

/**
 * One file to download, as a list or the command line names it.
 *
 * @since 0.1.0
 * @category models
 */
export interface DownloadRequest {
  readonly url: URL
  /** The file name under `directory`, which may have folders (`a/b.bin`); default: the name that the URL's path suggests. */
  readonly name?: string | undefined
  readonly checksum?: Checksum | undefined
  /** The origin of the request, for errors: `urls.txt, line 12`. */
  readonly source?: string | undefined
}

/**
 * The URL for messages: without user and password.
 *
 * @since 0.1.0
 * @category formatting
 */
export const show = (url: URL): string => {
  if (url.username === "" && url.password === "") return url.href
  const copy = new URL(url.href)
  copy.username = ""
  copy.password = ""
  return copy.href
}

/**
 * The file of the body. It appears under its final name only when it is complete and verified.
 *
 * @since 0.1.0
 * @category models
 */
export interface Target {
  /** The folder; created if it is missing. */
  readonly directory: string
  /**
   * A plain file name, or a path of such below `directory` (`FileName.isSafePath`), whose folders are made and may not be links;
   * `FileName.fromUrl` makes one from a URL.
   */
  readonly name: string
  /** Takes the name from `Content-Disposition` if the server sends a usable one. */
  readonly contentDisposition?: boolean | undefined
  /**
   * An existing file of that name is replaced when the new one is complete (default), or kept and not downloaded; if the
   * request has a checksum, only a file that matches it is kept. With `"newer"` and no checksum a file is kept if the
   * server's is not newer: `If-Modified-Since` has its time, and a response with the same length and no later
   * `Last-Modified` counts as one of status 304. This compares with `name`, not with a name from the server.
   */
  readonly existing?: "replace" | "keep" | "newer" | undefined
  /** Gives the file the time of `Last-Modified`; default false. */
  readonly mtime?: boolean | undefined
  /** Continues the partial file of an earlier attempt or process, if it is provably the same version; default true. */
  readonly resume?: boolean | undefined
  /**
   * Most connections for this file; default 1. A file whose server names its version (a strong validator) and its length, and sends
   * ranges, is downloaded in so many segments of a MiB or more; each is joined on the same proof as a continued file.
   */
  readonly split?: number | undefined
  /** Makes file and folder survive a power cut before the download counts as done; default false. */
  readonly fsync?: boolean | undefined
}

/**
 * State that the attempts at one download share.
 *
 * @since 0.1.0
 * @category models
 */
export interface History {
  /** The length of the file with each strong validator: a validator belongs to one length. */
  readonly lengths: Map<string, number>
  /** Requests in a row for the rest of a file that failed; after some the whole file is requested. */
  refused: number
}

/**
 * For the first attempt at a download; pass the same one to every further attempt.
 *
 * @since 0.1.0
 * @category constructors
 */
export const makeHistory = (): History => ({ lengths: new Map(), refused: 0 })

/**
 * The head of a response.
 *
 * @since 0.1.0
 * @category models
 */
export interface Head {
  readonly status: number
  /** Lower-case names; an array for a repeated header. */
  readonly headers: Readonly<Record<string, string | Array<string> | undefined>>
  /** The URL of the response, after redirects. */
  readonly url: URL
}

/**
 * Takes a response in place of a file; `Downloader.response` is the same as an effect.
 *
 * @since 0.1.0
 * @category models
 */
export interface Receiver {
  /**
   * Whether the body is requested and taken as that of a file: whole, and without an encoding that is not the file's own.
   * Default false.
   */
  readonly asFile?: boolean | undefined
  /** Called when the request is about to be sent: before that, no server can have acted on it. */
  readonly onSend?: (() => void) | undefined
  /** Whether a response of status 300 or more is that failure, as it is by default; else it is received like any other. */
  readonly refuses?: ((failure: Failure) => boolean) | undefined
  /** Called with the head; `resume` is to be called when `data` has returned false and more is wanted. */
  readonly head: (head: Head, resume: () => void) => void
  /** Called with each decoded piece of the body, whose bytes are overwritten afterwards. False asks for a pause. */
  readonly data: (piece: Uint8Array) => boolean
}

/**
 * One request, redirects included: a GET, unless it has a `receiver`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Request {
  readonly url: URL
  /** `Authorization`, `Cookie`, `Proxy-Authorization` and `Host` are sent to the origin of `url` only. */
  readonly headers?: Readonly<Record<string, string>> | undefined
  /** Further headers, in lower case, that are sent to the origin of `url` only; default none. */
  readonly secrets?: ReadonlySet<string> | undefined
  /** Default GET. Redirects change it as browsers do: 303, and 301 and 302 of a POST, become a GET. */
  readonly method?: string | undefined
  /** Sent with the request; never to another origin. A stream is sent once. */
  readonly body?: Uint8Array | Readable | undefined
  /** Takes the response; excludes `target`. */
  readonly receiver?: Receiver | undefined
  /** Without a target or a receiver the body is read, decoded and counted, and not kept. */
  readonly target?: Target | undefined
  readonly checksum?: Checksum | undefined
  /** Most decoded bytes; default unlimited, and 1 GiB for a compressed body, which may be a bomb. */
  readonly maxSize?: number | undefined
  /** The history of earlier attempts at the same download; default none. */
  readonly history?: History | undefined
  /**
   * Decides the file's name if the response suggests another than the target's: returns the name, or undefined to fail
   * with `name-taken`. Default: the suggested name.
   */
  readonly resolveName?: ((suggested: string) => string | undefined) | undefined
  /** Called several times a second with the bytes so far (the resumed part included) and, if known, the total. */
  readonly onProgress?: ((received: number, total: number | undefined) => void) | undefined
  /** Called with an oddity that does not stop the download: a sentence without the URL. */
  readonly onNote?: ((detail: string) => void) | undefined
  /** Called when an attempt has failed, with the bytes on the disk from which a further one continues. */
  readonly onKept?: ((bytes: number) => void) | undefined
}

/**
 * The result of a finished download.
 *
 * @since 0.1.0
 * @category models
 */
export interface Downloaded {
  /** Bytes of the decoded body; of the whole file if it was resumed. */
  readonly size: number
  /** The path of the file, if it was saved. */
  readonly path: string | undefined
  /** The file already existed and `existing` is `"keep"`, or it is not modified: nothing was downloaded. */
  readonly skipped: boolean
  /** Bytes of an earlier attempt that were not downloaded again. */
  readonly resumedFrom: number
  /** HTTP status of the last response; when skipped, 304 if the file is not modified, else 0. */
  readonly status: number
  /** An oddity of the response, as a sentence. */
  readonly note?: string | undefined
  /** The machine that has the file, if `Downloader` is that of other machines. */
  readonly host?: string | undefined
}

/**
 * Why a download failed.
 *
 * - The network: `"dns"`, `"connect"` and `"tls"` before there is a connection; `"stalled"` when nothing arrived for
 *   `stallTimeout`; `"timeout"` of the whole transfer; `"dropped"` when the body ended before it was whole; `"protocol"`
 *   when the response is not HTTP.
 * - The response: `"status"` of 400 or more; `"redirect"` without a usable target, or one too many; `"private-address"` under
 *   `denyPrivate`; `"too-large"` for `maxSize`; `"decode"` of a compressed body; `"range"` when a partial response does not
 *   continue the file; `"checksum"` when the content is another.
 * - This machine: `"name-taken"`, `"disk-full"`, `"descriptors"` (too many open files), `"file"` for any other error of the
 *   file system.
 *
 * @since 0.1.0
 * @category models
 */
export type Reason =
  | "dns"
  | "connect"
  | "tls"
  | "stalled"
  | "timeout"
  | "dropped"
  | "status"
  | "redirect"
  | "private-address"
  | "too-large"
  | "decode"
  | "range"
  | "checksum"
  | "name-taken"
  | "disk-full"
  | "descriptors"
  | "file"
  | "protocol"

/**
 * The fields of a failure.
 *
 * @since 0.1.0
 * @category models
 */
export interface Failure {
  readonly reason: Reason
  /** Without user and password. */
  readonly url: string
  /** A sentence about the failure, without the URL. */
  readonly detail: string
  /** Whether the same request may succeed later. */
  readonly retryable: boolean
  /** The wait that the server requested (`Retry-After` of a 429 or 503), in milliseconds. */
  readonly retryAfter?: number | undefined
  readonly status?: number | undefined
}

/**
 * A download that failed: `reason` for programs, `detail` for a person, `retryable` for the next attempt.
 *
 * @since 0.1.0
 * @category errors
 */
export class DownloadError extends Data.TaggedError("DownloadError")<Failure> {
  override get message() {
    return `${this.url}: ${this.detail}`
  }
}

/**
 * Settings of all requests of a session.
 *
 * @since 0.1.0
 * @category options
 */
export interface SessionOptions {
  /** Time limit of a connection, TLS included; default 10 seconds. */
  readonly connectTimeout?: Duration.DurationInput | undefined
  /** Longest time without a received byte, to about a second; default 30 seconds. */
  readonly stallTimeout?: Duration.DurationInput | undefined
  /** Bytes a second over all transfers together; default unlimited. */
  readonly limitRate?: number | undefined
  /** Redirects followed for one request; default 10. With 0 a receiver takes the redirect itself. */
  readonly maxRedirects?: number | undefined
  /** Certificates of the only authorities that are trusted, as PEM; default: those of Node. */
  readonly ca?: string | undefined
  /** Refuses addresses that are not public, checked after DNS and at every redirect; default false. */
  readonly denyPrivate?: boolean | undefined
}
