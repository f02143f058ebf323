import { randomUUID } from "node:crypto"
import { realpathSync, type Stats, statSync } from "node:fs"
import type { FileHandle } from "node:fs/promises"
import type * as HttpApp from "@effect/platform/HttpApp"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { Data, Effect, Option, type Scope, Stream } from "effect"
import { codes } from "../host/ExitCodes.js"
import { contentType } from "./internal/contentTypes.js"
import { find } from "./internal/filePath.js"
import * as Ranges from "./internal/ranges.js"

/**
 * The folder cannot be served; the message is one line for the user. Exit code 2.
 *
 * @since 0.1.0
 * @category errors
 */
export class FolderError extends Data.TaggedError("FolderError")<{
  readonly folder: string
  /** Node's code: `ENOENT`, `EACCES`, … `ENOTDIR` for a file. */
  readonly code: string
}> {
  readonly exitCode = codes.usage
  override get message() {
    const { code, folder } = this
    const what =
      code === "ENOENT"
        ? "does not exist"
        : code === "ENOTDIR"
          ? "is not a folder"
          : code === "EACCES"
            ? "cannot be read: permission denied"
            : `cannot be read: ${code}`
    return `'${folder}' ${what}; expected a folder of files to serve`
  }
}

/**
 * Settings of {@link make}.
 *
 * @since 0.1.0
 * @category options
 */
export interface Options {
  /** The file that stands for its folder; default `index.html`. */
  readonly index?: string | undefined
}

/** A file that changed this recently, in milliseconds, may change again without another time: its tag is weak. */
const settled = 2000

// The bytes are the same for the same inode, size and time of change, if that time is not now.
const tagOf = ({ ino, mtimeMs, size }: Stats): string => {
  const tag = `"${[ino, size, Math.round(mtimeMs * 1000)].map((n) => n.toString(36)).join("-")}"`
  return Date.now() - mtimeMs < settled ? `W/${tag}` : tag
}

const weak = (tag: string) => tag.replace(/^W\//, "")

/** Whole seconds, as HTTP's dates have them. */
const seconds = (ms: number) => Math.floor(ms / 1000)

const isNewer = (header: string, mtimeMs: number): boolean => {
  const since = Date.parse(header)
  return Number.isNaN(since) || seconds(mtimeMs) > seconds(since)
}

type Headers = Readonly<Record<string, string | undefined>>

/** Whether the client has the file already. `If-None-Match` decides alone if it is there. */
const isUnchanged = (headers: Headers, tag: string, mtimeMs: number): boolean => {
  const tags = headers["if-none-match"]
  if (tags !== undefined) {
    return tags.trim() === "*" || tags.split(",").some((one) => weak(one.trim()) === weak(tag))
  }
  const since = headers["if-modified-since"]
  return since !== undefined && !isNewer(since, mtimeMs)
}

/** Whether the ranges are of the version that the client has a part of; only a strong tag proves that. */
const isSameVersion = (header: string | undefined, tag: string, mtimeMs: number): boolean => {
  if (header === undefined) return true
  if (header.includes('"')) return !tag.startsWith("W/") && header.trim() === tag
  return !tag.startsWith("W/") && seconds(Date.parse(header)) === seconds(mtimeMs)
}

/** Bytes that are read at a time. */
const chunk = 64 * 1024

// Ends with a defect if the file has become shorter: the client then sees a body that is cut, and no other bytes.
const read = (file: FileHandle, { first, last }: Ranges.Range): Stream.Stream<Uint8Array> =>
  Stream.unfoldEffect(first, (at) =>
    at > last
      ? Effect.succeedNone
      : Effect.promise(async () => {
          const buffer = Buffer.allocUnsafe(Math.min(chunk, last - at + 1))
          const { bytesRead } = await file.read(buffer, 0, buffer.length, at)
          if (bytesRead === 0) throw new Error("the file has become shorter while it was sent")
          return Option.some([buffer.subarray(0, bytesRead), at + bytesRead] as const)
        })
  )

interface Part {
  readonly status: number
  readonly headers: Record<string, string>
  readonly contentType: string
}

const body = (file: FileHandle, ranges: ReadonlyArray<Ranges.Range>, options: Part, size: number) => {
  const [range = { first: 0, last: size - 1 }, ...more] = ranges
  if (more.length === 0) {
    const contentLength = range.last - range.first + 1
    return contentLength > chunk
      ? Effect.succeed(HttpServerResponse.stream(read(file, range), { ...options, contentLength }))
      : Effect.map(Stream.runHead(read(file, range)), (bytes) =>
          HttpServerResponse.uint8Array(Option.getOrThrow(bytes), options)
        )
  }
  const boundary = randomUUID()
  const parts = ranges.map((range) => ({
    range,
    head: Buffer.from(
      `\r\n--${boundary}\r\ncontent-type: ${options.contentType}\r\ncontent-range: bytes ${range.first}-${range.last}/${size}\r\n\r\n`
    )
  }))
  const tail = Buffer.from(`\r\n--${boundary}--\r\n`)
  const length = parts.reduce((sum, { head, range }) => sum + head.length + range.last - range.first + 1, 0)
  const stream = Stream.flatMap(Stream.fromIterable(parts), ({ head, range }) =>
    Stream.concat(Stream.make(head), read(file, range))
  )
  return Effect.succeed(
    HttpServerResponse.stream(Stream.concat(stream, Stream.make(tail)), {
      ...options,
      contentType: `multipart/byteranges; boundary=${boundary}`,
      contentLength: length + tail.length
    })
  )
}

const plain = (text: string, status: number, headers: Record<string, string> = {}) =>
  HttpServerResponse.text(`${text}\n`, { status, headers })

const answer = (file: FileHandle, name: string, request: HttpServerRequest.HttpServerRequest) =>
  Effect.flatMap(
    Effect.promise(() => file.stat()),
    (stats) => {
      const { mtimeMs, size } = stats
      const tag = tagOf(stats)
      const headers: Record<string, string> = {
        etag: tag,
        "last-modified": new Date(seconds(mtimeMs) * 1000).toUTCString(),
        "accept-ranges": "bytes",
        "x-content-type-options": "nosniff"
      }
      const given: Headers = request.headers
      if (isUnchanged(given, tag, mtimeMs)) {
        return Effect.succeed(HttpServerResponse.empty({ status: 304, headers }))
      }
      const { range } = given
      const ranges =
        range === undefined || request.method === "HEAD" || !isSameVersion(given["if-range"], tag, mtimeMs)
          ? undefined
          : Ranges.parse(range, size)
      if (ranges?.length === 0) {
        const inAll = { ...headers, "content-range": `bytes */${size}` }
        return Effect.succeed(plain(`no byte of the range is in the file, which has ${size}`, 416, inAll))
      }
      const type = contentType(name)
      if (request.method === "HEAD" || size === 0) {
        return Effect.succeed(
          HttpServerResponse.empty({
            status: 200,
            headers: { ...headers, "content-type": type, "content-length": String(size) }
          })
        )
      }
      if (ranges === undefined) return body(file, [], { status: 200, headers, contentType: type }, size)
      const [{ first, last }] = ranges as readonly [Ranges.Range]
      const partial = ranges.length > 1 ? {} : { "content-range": `bytes ${first}-${last}/${size}` }
      return body(file, ranges, { status: 206, headers: { ...headers, ...partial }, contentType: type }, size)
    }
  )

/** The file is closed when the answer has been sent. */
const open = (root: string, path: string, index: string) =>
  Effect.acquireRelease(
    Effect.promise(() => find(root, path, index)),
    (found) =>
      found._tag === "File" ? Effect.promise(() => found.file.close().catch(() => undefined)) : Effect.void
  )

/**
 * Serves the files of a folder, for GET and HEAD: byte ranges (one, several, 416), `ETag` and `Last-Modified` with their
 * conditions, `index.html` for a folder (whose path without the last slash is redirected). Nothing outside the folder is
 * opened, through encoded dots and slashes or through symbolic links; names that begin with a dot are not served; a folder
 * has no listing. Fails with {@link FolderError} if it is no folder that can be read.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import * as Server from "effect-asyncio/programs/Server"
 * import * as StaticFiles from "effect-asyncio/services/StaticFiles"
 *
 * export const program = Effect.flatMap(StaticFiles.make("public"), (app) => Server.serve(app))
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  folder: string,
  { index = "index.html" }: Options = {}
): Effect.Effect<HttpApp.Default<never, Scope.Scope>, FolderError> =>
  Effect.map(
    Effect.try({
      try: () => {
        const root = realpathSync(folder)
        if (!statSync(root).isDirectory()) throw Object.assign(new Error(), { code: "ENOTDIR" })
        return root
      },
      catch: (error) => new FolderError({ folder, code: (error as NodeJS.ErrnoException).code ?? "unknown" })
    }),
    (root) =>
      Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) => {
        const { method, url } = request
        if (method !== "GET" && method !== "HEAD") {
          return Effect.succeed(
            plain(`${method} is not served here; GET, HEAD is`, 405, { allow: "GET, HEAD" })
          )
        }
        const [path = "", ...query] = url.split(/(?=[?])/)
        return Effect.flatMap(open(root, path, index), (found) => {
          switch (found._tag) {
            case "Bad":
              return Effect.succeed(plain("the path is not percent-encoded UTF-8", 400))
            case "None":
              return Effect.succeed(plain(`no file at ${path}`, 404))
            case "Folder":
              return Effect.succeed(
                plain(`it is at ${path}/`, 301, { location: `${path}/${query.join("")}` })
              )
            case "File":
              return answer(found.file, found.name, request)
          }
        })
      })
  )
