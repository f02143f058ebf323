import { createReadStream, type Stats } from "node:fs"
import { stat } from "node:fs/promises"
import { Readable } from "node:stream"
import { SystemError, type SystemErrorReason } from "@effect/platform/Error"
import * as Etag from "@effect/platform/Etag"
import * as FileSystem from "@effect/platform/FileSystem"
import * as HttpPlatform from "@effect/platform/HttpPlatform"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { Effect, Layer, Option } from "effect"
import { contentType } from "./contentTypes.js"

// Files as responses. Of a file system they need no more than `stat`, so that no other package is needed.

const reasonsOf: Readonly<Record<string, SystemErrorReason>> = {
  ENOENT: "NotFound",
  EACCES: "PermissionDenied",
  EISDIR: "BadResource",
  ENOTDIR: "BadResource",
  ELOOP: "BadResource"
}

const info = (stats: Stats): FileSystem.File.Info => ({
  type: stats.isFile() ? "File" : stats.isDirectory() ? "Directory" : "Unknown",
  mtime: Option.some(stats.mtime),
  atime: Option.some(stats.atime),
  birthtime: Option.some(stats.birthtime),
  dev: stats.dev,
  rdev: Option.some(stats.rdev),
  ino: Option.some(stats.ino),
  mode: stats.mode,
  nlink: Option.some(stats.nlink),
  uid: Option.some(stats.uid),
  gid: Option.some(stats.gid),
  size: FileSystem.Size(stats.size),
  blksize: Option.some(FileSystem.Size(stats.blksize)),
  blocks: Option.some(stats.blocks)
})

const fileStats = FileSystem.layerNoop({
  stat: (path) =>
    Effect.tryPromise({
      try: async () => info(await stat(path)),
      catch: (cause) => {
        const { code, message, syscall } = cause as NodeJS.ErrnoException
        return new SystemError({
          reason: reasonsOf[code ?? ""] ?? "Unknown",
          module: "FileSystem",
          method: "stat",
          pathOrDescriptor: path,
          syscall,
          description: message,
          cause
        })
      }
    })
})

const platform = HttpPlatform.make({
  fileResponse: (path, status, statusText, headers, start, end, length) =>
    HttpServerResponse.raw(
      createReadStream(path, { start, ...(end === undefined ? {} : { end: Math.max(start, end - 1) }) }),
      {
        status,
        statusText,
        headers: {
          ...headers,
          "content-type": headers["content-type"] ?? contentType(path),
          "content-length": String(length)
        }
      }
    ),
  fileWebResponse: (file, status, statusText, headers) =>
    HttpServerResponse.raw(Readable.fromWeb(file.stream() as any), {
      status,
      statusText,
      headers: {
        ...headers,
        "content-type": headers["content-type"] ?? contentType(file.name),
        "content-length": String(file.size)
      }
    })
})

/** What `HttpServerResponse.file` and its kin need, as the platform's own server provides it. */
export const layer: Layer.Layer<HttpPlatform.HttpPlatform | Etag.Generator> = Layer.merge(
  Layer.effect(HttpPlatform.HttpPlatform, platform).pipe(Layer.provide(fileStats), Layer.provide(Etag.layer)),
  Etag.layerWeak
)
