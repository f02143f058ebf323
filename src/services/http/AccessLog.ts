import type * as HttpApp from "@effect/platform/HttpApp"
import * as HttpBody from "@effect/platform/HttpBody"
import * as HttpServerError from "@effect/platform/HttpServerError"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { type Cause, Effect, Option, Stream } from "effect"
import * as Cancellation from "../task/Cancellation.js"
import { reasons } from "./HttpServer.js"

/**
 * A request that was answered.
 *
 * @since 0.1.0
 * @category models
 */
export interface Entry {
  readonly event: "request"
  /** When it came, as ISO 8601 in UTC. */
  readonly time: string
  /** The address of the client; undefined on a Unix socket. */
  readonly remote?: string
  readonly method: string
  /** As it was sent, with its query. */
  readonly url: string
  /** 499: the client has gone. */
  readonly status: number
  /** Bytes of the body that were sent. */
  readonly bytes: number
  /** Milliseconds until the last of the body was produced. */
  readonly duration: number
  readonly referer?: string
  readonly userAgent?: string
  /** Why its handler was cancelled. */
  readonly cancelled?: string
}

const months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]

const pad = (n: number) => String(n).padStart(2, "0")

/** As Apache writes the time, in UTC: `27/Nov/2026:21:14:16 +0000`. */
const clfTime = (iso: string): string => {
  const at = new Date(iso)
  const day = `${pad(at.getUTCDate())}/${months[at.getUTCMonth()]}/${at.getUTCFullYear()}`
  return `${day}:${[at.getUTCHours(), at.getUTCMinutes(), at.getUTCSeconds()].map(pad).join(":")} +0000`
}

// As Apache and nginx: what could end the field or the line is written as \xHH.
const quoted = (text: string | undefined): string =>
  text === undefined
    ? '"-"'
    : `"${text.replace(/["\\\x00-\x1f\x7f-\uffff]/g, (c) =>
        [...Buffer.from(c)].map((byte) => `\\x${byte.toString(16).padStart(2, "0")}`).join("")
      )}"`

/**
 * The entry as a line of the combined log format of Apache and nginx.
 *
 * @since 0.1.0
 * @category formatting
 */
export const combined = (entry: Entry): string =>
  [
    entry.remote ?? "-",
    "-",
    "-",
    `[${clfTime(entry.time)}]`,
    quoted(`${entry.method} ${entry.url} HTTP/1.1`),
    entry.status,
    entry.bytes === 0 ? "-" : entry.bytes,
    quoted(entry.referer),
    quoted(entry.userAgent)
  ].join(" ")

const statusOf: Readonly<Record<string, number>> = { [reasons.disconnected]: 499 }

const failedWith = (
  cause: Cause.Cause<unknown>
): Effect.Effect<{ readonly status: number; readonly cancelled?: string }> => {
  const [cancellation] = Cancellation.fromCause(cause)
  return cancellation === undefined
    ? Effect.map(HttpServerError.causeResponse(cause), ([{ status }]) => ({ status }))
    : Effect.succeed({ status: statusOf[cancellation.reason] ?? 503, cancelled: cancellation.reason })
}

/**
 * Reports each request when the last of its answer was produced, by whatever way it ends. What the server answers before
 * an app is called (a malformed request, a limit) is not reported; the server's counters have it. The bodies of streams are
 * counted as they pass.
 *
 * @since 0.1.0
 * @category middleware
 */
export const middleware =
  (report: (entry: Entry) => Effect.Effect<void>) =>
  <E, R>(app: HttpApp.Default<E, R>): HttpApp.Default<E, R> =>
    Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) =>
      Effect.clockWith((clock) => {
        const begun = clock.unsafeCurrentTimeMillis()
        const beginning = clock.unsafeCurrentTimeNanos()
        const { referer, "user-agent": userAgent } = request.headers
        const remote = Option.getOrUndefined(request.remoteAddress)
        const write = (status: number, bytes: number, cancelled?: string | undefined) =>
          Effect.suspend(() =>
            report({
              event: "request",
              time: new Date(begun).toISOString(),
              ...(remote === undefined ? {} : { remote }),
              method: request.method,
              url: request.originalUrl,
              status,
              bytes,
              duration: Math.round(Number(clock.unsafeCurrentTimeNanos() - beginning) / 1000) / 1000,
              ...(referer === undefined ? {} : { referer }),
              ...(userAgent === undefined ? {} : { userAgent }),
              ...(cancelled === undefined ? {} : { cancelled })
            })
          )
        const failed = (cause: Cause.Cause<unknown>) =>
          Effect.flatMap(failedWith(cause), ({ cancelled, status }) => write(status, 0, cancelled))
        return Effect.flatMap(Effect.onError(app, failed), (response) => {
          const { body, status } = response
          if (request.method === "HEAD") return Effect.as(write(status, 0), response)
          if (body._tag !== "Stream") return Effect.as(write(status, body.contentLength ?? 0), response)
          let bytes = 0
          const count = (chunk: Uint8Array) =>
            Effect.sync(() => {
              bytes += chunk.length
            })
          const counted = Stream.ensuring(
            Stream.tap(body.stream, count),
            Effect.suspend(() => write(status, bytes))
          )
          return Effect.succeed(
            HttpServerResponse.setBody(
              response,
              HttpBody.stream(counted, body.contentType, body.contentLength)
            )
          )
        })
      })
    )
