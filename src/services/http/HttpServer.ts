import type * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import { type Cause, Context, Data, type Duration, type Effect } from "effect"
import { codes } from "../host/ExitCodes.js"
import * as Causes from "../task/Causes.js"

// options

/**
 * What a server accepts of its clients. Every limit has a default, and {@link Snapshot} counts how often it was reached.
 * A count may be `Infinity`, a time too.
 *
 * @since 0.1.0
 * @category options
 */
export interface Limits {
  /** Open connections; more are answered with 503 and `Retry-After`, and closed. Default 10,000. */
  readonly connections?: number | undefined
  /** Open connections of one address; more are answered as above. Default 1,000. */
  readonly connectionsPerAddress?: number | undefined
  /** Time for the head of a request to arrive, from the connection's begin or the head's first byte; 408. Default 10 s. */
  readonly headerTime?: Duration.DurationInput | undefined
  /** Size of a request's head in bytes; 431. Default 16 KiB. */
  readonly headerSize?: number | undefined
  /** Time for a whole request to arrive, body included, from its first byte; 408. Default 60 s. */
  readonly bodyTime?: Duration.DurationInput | undefined
  /** Size of a request's body in bytes; 413. Default 10 MiB. */
  readonly bodySize?: number | undefined
  /** Time that a connection may stay open between two requests. Default 5 s. */
  readonly idleTime?: Duration.DurationInput | undefined
  /** Requests of one connection that run at the same time; further ones are not read. Default 8. */
  readonly pipelined?: number | undefined
  /** Size of a WebSocket message in bytes; close code 1009. Default 1 MiB. */
  readonly messageSize?: number | undefined
  /** WebSocket messages whose handlers run at the same time; further ones are not read. Default 64. */
  readonly messagesWaiting?: number | undefined
  /** Bytes that were written and that a slow client has not taken; then writing waits. Default 1 MiB. */
  readonly backlog?: number | undefined
  /** Time that a client may take none of the bytes that wait for it; then its connection is closed. Default 60 s. */
  readonly writeTime?: Duration.DurationInput | undefined
  /** Interval of the pings to WebSockets; one that leaves two unanswered is closed. Default 30 s. */
  readonly pingInterval?: Duration.DurationInput | undefined
  /**
   * Time that a request may wait while the thread is busy with others; one that may have waited longer is answered with 503
   * and `Retry-After` instead of being begun. Default: none.
   */
  readonly waitTime?: Duration.DurationInput | undefined
  /** Time that a request may take; then it is cancelled with the reason `deadline` and answered with 503. Default: none. */
  readonly deadline?: Duration.DurationInput | undefined
}

/**
 * Settings of a server.
 *
 * @since 0.1.0
 * @category options
 */
export interface Options extends Limits {
  /** Default 0: a free one. */
  readonly port?: number | undefined
  /** Address or name of this machine to listen on. Default `127.0.0.1`: this machine only. */
  readonly host?: string | undefined
  /** A Unix domain socket to listen on, instead of `host` and `port`. */
  readonly path?: string | undefined
  /** Certificate and key in PEM; then the server speaks TLS. */
  readonly tls?: { readonly cert: string | Uint8Array; readonly key: string | Uint8Array } | undefined
  /** Time that running requests have to end when the server closes; then they are cancelled. Default 5 s. */
  readonly grace?: Duration.DurationInput | undefined
  /** Called when the server closes while requests run, with their number, WebSockets not counted. Default: does nothing. */
  readonly onDrain?: ((running: number, grace: Duration.Duration) => Effect.Effect<void>) | undefined
  /** Called for each request that is answered with 500 because its handler failed. Default: logs an error. */
  readonly report?: ((failure: HandlerFailed) => Effect.Effect<void>) | undefined
}

/**
 * The defaults of {@link Limits}: sizes in bytes, times in milliseconds.
 *
 * @since 0.1.0
 * @category constants
 */
export const defaults = {
  connections: 10_000,
  connectionsPerAddress: 1_000,
  headerTime: 10_000,
  headerSize: 16 * 1024,
  bodyTime: 60_000,
  bodySize: 10 * 1024 * 1024,
  idleTime: 5_000,
  pipelined: 8,
  messageSize: 1024 * 1024,
  messagesWaiting: 64,
  backlog: 1024 * 1024,
  writeTime: 60_000,
  pingInterval: 30_000,
  waitTime: Number.POSITIVE_INFINITY,
  deadline: Number.POSITIVE_INFINITY
} satisfies Required<Limits>

// cancellation

/**
 * The reasons for which a server cancels a request (see `Cancellation.fromCause`). The origin is `client` for the first,
 * `server` for the others.
 *
 * @since 0.1.0
 * @category constants
 */
export const reasons = {
  disconnected: "client disconnected",
  closing: "server is closing",
  deadline: "deadline"
} as const

/**
 * One of {@link reasons}.
 *
 * @since 0.1.0
 * @category models
 */
export type Reason = (typeof reasons)[keyof typeof reasons]

// errors

/**
 * The server cannot listen there.
 *
 * @since 0.1.0
 * @category errors
 */
export class ListenError extends Data.TaggedError("ListenError")<{
  /** `host:port`, or the path of the Unix domain socket. */
  readonly address: string
  /** Node's code: `EADDRINUSE`, `EACCES`, …; `TLS` for a certificate or key that cannot be used. */
  readonly code: string
  readonly cause?: unknown
}> {
  readonly exitCode = codes.failed
  override get message() {
    const { address, code } = this
    const why = `cannot listen on ${address}`
    const file = address.startsWith("/") || !address.includes(":")
    switch (code) {
      case "EADDRINUSE":
        return file
          ? `${why}: it is in use, or was left behind; choose another path, or remove it`
          : `${why}: the port is in use; choose another, or 0 for a free one`
      case "EACCES":
      case "EPERM":
        return file
          ? `${why}: not allowed; choose a path in a folder that you can write to`
          : `${why}: not allowed; choose a port from 1024 on, or 0 for a free one`
      case "EADDRNOTAVAIL":
      case "ENOTFOUND":
      case "EAI_AGAIN":
      case "EINVAL":
        return `${why}: ${address.replace(/:\d+$/, "")} is not an address of this machine; 127.0.0.1 and 0.0.0.0 are`
      case "TLS":
        return `${why}: the certificate or the key cannot be used (${(this.cause as Error).message}); expected PEM`
      default:
        return `${why}: ${code}`
    }
  }
}

/**
 * A request was answered with 500: its handler failed or died.
 *
 * @since 0.1.0
 * @category errors
 */
export class HandlerFailed extends Data.TaggedError("HandlerFailed")<{
  readonly request: HttpServerRequest.HttpServerRequest
  readonly cause: Cause.Cause<unknown>
}> {
  override get message() {
    const { method, originalUrl } = this.request
    return `${method} ${originalUrl.replace(/\?.*/s, "")} failed: ${Causes.headline(this.cause)}`
  }
}

// tag

/**
 * What a server has done since it began to listen. Plain numbers.
 *
 * @since 0.1.0
 * @category models
 */
export interface Snapshot {
  readonly requests: {
    readonly total: number
    readonly running: number
    /** Answered with 500 because the handler failed. */
    readonly failed: number
    readonly cancelled: Readonly<Record<Reason, number>>
    /** Not valid HTTP: answered with 400. */
    readonly malformed: number
  }
  readonly connections: { readonly total: number; readonly open: number }
  readonly webSockets: { readonly total: number; readonly open: number }
  /** How often each limit was reached. */
  readonly limits: Readonly<Record<keyof Limits, number>>
}

/**
 * Counts of the server in the context.
 *
 * @since 0.1.0
 * @category services
 */
export class ServerStats extends Context.Tag("effect-asyncio/services/ServerStats")<
  ServerStats,
  { readonly snapshot: Effect.Effect<Snapshot> }
>() {}
