import { Duration, Schema } from "effect"
import type * as Download from "../../download/Download.js"
import * as FileName from "../../download/FileName.js"

// One attempt at a download as the argument of a job, and its end as the result: plain data of the store, decoded by a schema.

const text = Schema.String
const count = Schema.NonNegativeInt
const milliseconds = Schema.NonNegative.pipe(Schema.finite())
/** V8 keeps a field that is undefined. */
const optional = <A, I>(schema: Schema.Schema<A, I>) => Schema.optional(Schema.UndefinedOr(schema))

const history = Schema.Struct({ lengths: Schema.Array(Schema.Tuple(text, count)), refused: count })

const Request = Schema.Struct({
  url: text.pipe(
    Schema.filter((url) => URL.canParse(url) && /^https?:$/.test(new URL(url).protocol), {
      message: () => "it is no URL of HTTP"
    })
  ),
  headers: optional(Schema.Record({ key: text, value: text })),
  target: optional(
    Schema.Struct({
      name: text.pipe(
        Schema.filter(FileName.isSafePath, {
          message: () => "its file name is no path within the folder of the downloads"
        })
      ),
      existing: optional(Schema.Literal("replace", "keep", "newer")),
      mtime: optional(Schema.Boolean),
      resume: optional(Schema.Boolean),
      split: optional(Schema.Int.pipe(Schema.between(1, 64))),
      fsync: optional(Schema.Boolean)
    })
  ),
  checksum: optional(
    Schema.Struct({ algorithm: Schema.Literal("md5", "sha1", "sha256", "sha512"), hex: text })
  ),
  maxSize: optional(count),
  history,
  session: Schema.Struct({
    connectTimeout: optional(milliseconds),
    stallTimeout: optional(milliseconds),
    limitRate: optional(Schema.Positive.pipe(Schema.finite())),
    maxRedirects: optional(count),
    denyPrivate: optional(Schema.Boolean)
  })
})
export type Request = typeof Request.Type

const reason = Schema.Literal(
  ...(["dns", "connect", "tls", "stalled", "timeout", "dropped", "status", "redirect"] as const),
  ...(["private-address", "too-large", "decode", "range", "checksum", "name-taken"] as const),
  ...(["disk-full", "descriptors", "file", "protocol"] as const)
)

const Result = Schema.Struct({
  host: text.pipe(Schema.pattern(/^[^\s\p{Cc}]{1,255}$/u)),
  notes: Schema.Array(text),
  kept: optional(count),
  history,
  ended: Schema.Union(
    Schema.Struct({
      _tag: Schema.Literal("Downloaded"),
      size: count,
      path: optional(text),
      skipped: Schema.Boolean,
      resumedFrom: count,
      status: count,
      note: optional(text)
    }),
    Schema.Struct({
      _tag: Schema.Literal("Failed"),
      reason,
      detail: text,
      retryable: Schema.Boolean,
      retryAfter: optional(milliseconds),
      status: optional(count)
    })
  )
})
export type Result = typeof Result.Type

export const decodeRequest = Schema.decodeUnknown(Request)
export const decodeResult = Schema.decodeUnknownEither(Result)

export const historyOf = ({ lengths, refused }: Download.History): Request["history"] => ({
  lengths: [...lengths],
  refused
})
export const toHistory = ({ lengths, refused }: Request["history"]): Download.History => ({
  lengths: new Map(lengths),
  refused
})

/** The settings of a session that its attempts take along. */
export const sessionOf = (options: Download.SessionOptions): Request["session"] => {
  const millis = (duration: Duration.DurationInput | undefined) =>
    duration === undefined ? undefined : Duration.toMillis(duration)
  return {
    connectTimeout: millis(options.connectTimeout),
    stallTimeout: millis(options.stallTimeout),
    limitRate: options.limitRate,
    maxRedirects: options.maxRedirects,
    denyPrivate: options.denyPrivate
  }
}

/** The request for one attempt; a text is why it is for this machine only. */
export const requestOf = (request: Download.Request, session: Request["session"]): Request | string => {
  const { body, checksum, headers, history, maxSize, method, receiver, secrets, target, url } = request
  if (receiver !== undefined || body !== undefined || method !== undefined || secrets !== undefined) {
    return "only a file can be downloaded on another machine"
  }
  if (target?.contentDisposition === true) return "a name from the server is for files of this machine"
  return {
    url: url.href,
    headers,
    target: target && {
      name: target.name,
      existing: target.existing,
      mtime: target.mtime,
      resume: target.resume,
      split: target.split,
      fsync: target.fsync
    },
    checksum,
    maxSize,
    history: historyOf(history ?? { lengths: new Map(), refused: 0 }),
    session
  }
}
