import { Data, type Duration } from "effect"

// What a download is: the request, its target, what it became or why it failed.

/** A file's expected content. */
export interface Checksum {
  readonly algorithm: "sha256"
  /** Lower-case hexadecimal. */
  readonly hex: string
}

/** One file to download, as a list or the command line names it. */
export interface DownloadRequest {
  readonly url: URL
  /** The file name under `directory`; default: what the URL's path suggests. */
  readonly name?: string | undefined
  readonly checksum?: Checksum | undefined
  /** Where it was asked for, for errors: `urls.txt, line 12`. */
  readonly source?: string | undefined
}

/** The URL as it is shown: without user and password. */
export const show = (url: URL): string => {
  if (url.username === "" && url.password === "") return url.href
  const copy = new URL(url.href)
  copy.username = ""
  copy.password = ""
  return copy.href
}

/** Where the body goes. It appears under its final name only when it is whole and verified. */
export interface Target {
  /** The folder; made when it is missing. */
  readonly directory: string
  /** A plain file name; `FileName.fromUrl` gives one for a URL. */
  readonly name: string
  /** Takes the name from `Content-Disposition` where the server sends a usable one. */
  readonly contentDisposition?: boolean | undefined
  /**
   * An existing file of that name: replaced when the new one is whole (default), or left and not fetched; where the
   * request has a checksum, only a file that has it is left.
   */
  readonly existing?: "replace" | "keep" | undefined
  /** Continues what an earlier attempt or process left, when it is provably the same version; default true. */
  readonly resume?: boolean | undefined
  /** Makes file and folder survive a power cut before the download counts as done; default false. */
  readonly fsync?: boolean | undefined
}

/** What the attempts at one download know of each other. */
export interface History {
  /** The length that each strong validator has stood for: it stands for no other. */
  readonly lengths: Map<string, number>
  /** Requests in a row that asked for the rest of a file in vain; after some the whole file is asked for. */
  refused: number
}

/** For the first attempt at a download; give the same to every further one. */
export const makeHistory = (): History => ({ lengths: new Map(), refused: 0 })

/** One GET, redirects included. */
export interface Request {
  readonly url: URL
  readonly headers?: Readonly<Record<string, string>> | undefined
  /** Without a target the body is read, decoded and counted, and not kept. */
  readonly target?: Target | undefined
  readonly checksum?: Checksum | undefined
  /** Refuses more decoded bytes than this; default unlimited, and 1 GiB for a compressed body, which may be a bomb. */
  readonly maxSize?: number | undefined
  /** Of earlier attempts at the same download; default none. */
  readonly history?: History | undefined
  /**
   * Decides the file's name where the response suggests another than the target's: gives the name, or undefined, which
   * fails with `name-taken`. Default: the suggested name.
   */
  readonly resolveName?: ((suggested: string) => string | undefined) | undefined
  /** Bytes so far (of the whole file, the resumed part included) and in all, where known; several times a second. */
  readonly onProgress?: ((received: number, total: number | undefined) => void) | undefined
  /** Is given what a person should know although the download goes on: a sentence without the URL. */
  readonly onNote?: ((detail: string) => void) | undefined
  /** Is given, when an attempt has ended without its file, the bytes on the disk with which a further one goes on. */
  readonly onKept?: ((bytes: number) => void) | undefined
}

/** What a finished download was. */
export interface Downloaded {
  /** Bytes of the decoded body; of the whole file where it was resumed. */
  readonly size: number
  /** Where it is, when it was saved. */
  readonly path: string | undefined
  /** The file was there already and `existing` is `"keep"`: nothing was fetched. */
  readonly skipped: boolean
  /** Bytes that were there from an earlier attempt and did not have to be fetched again. */
  readonly resumedFrom: number
  /** HTTP status of the last response; 0 when skipped. */
  readonly status: number
  /** What was odd about the response, for a person. */
  readonly note?: string | undefined
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

/** What is known of a failure. */
export interface Failure {
  readonly reason: Reason
  /** Without user and password. */
  readonly url: string
  /** What happened, for a person, without the URL. */
  readonly detail: string
  /** Whether the same request may well succeed later. */
  readonly retryable: boolean
  /** How long the server asked to wait (`Retry-After` of a 429 or 503), in milliseconds. */
  readonly retryAfter?: number | undefined
  readonly status?: number | undefined
}

/** A download that failed: `reason` for programs, `detail` for a person, `retryable` for the next attempt. */
export class DownloadError extends Data.TaggedError("DownloadError")<Failure> {
  override get message() {
    return `${this.url}: ${this.detail}`
  }
}

/** What holds for every request of a session. */
export interface SessionOptions {
  /** How long a connection, TLS included, may take; default 10 seconds. */
  readonly connectTimeout?: Duration.DurationInput | undefined
  /** How long nothing at all may arrive, to about a second; default 30 seconds. */
  readonly stallTimeout?: Duration.DurationInput | undefined
  /** Bytes a second over all transfers together; default unlimited. */
  readonly limitRate?: number | undefined
  /** Redirects followed for one request; default 10. */
  readonly maxRedirects?: number | undefined
  /** Refuses addresses that are not public, looked at after DNS and at every redirect; default false. */
  readonly denyPrivate?: boolean | undefined
}
