import { Readable } from "node:stream"
import * as Cookies from "@effect/platform/Cookies"
import * as Headers from "@effect/platform/Headers"
import type * as HttpBody from "@effect/platform/HttpBody"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientError from "@effect/platform/HttpClientError"
import type * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import * as HttpIncomingMessage from "@effect/platform/HttpIncomingMessage"
import { type Cause, Clock, Context, Duration, Effect, Layer, Option, type Scope, Stream } from "effect"
import * as Backoff from "../task/Backoff.js"
import * as Deadline from "../task/Deadline.js"
import * as Sleep from "../task/Sleep.js"
import { formatGiven } from "../text/Durations.js"
import { anyCount, checkOptions, time } from "../text/Numbers.js"
import { DownloadError, type Failure, type Request, type SessionOptions, show } from "./Download.js"
import * as Downloader from "./Downloader.js"
import { longestRetryAfter } from "./internal/attempts.js"
import { Incoming, type Received, receive } from "./internal/incoming.js"

/**
 * Settings of {@link make}: those of a session, and those of all its requests.
 *
 * @since 0.1.0
 * @category options
 */
export interface Options extends SessionOptions {
  /**
   * Most bytes of a decoded body; default 100 MiB. `HttpIncomingMessage.withMaxBodySize` sets another for a request.
   */
  readonly maxSize?: number | undefined
  /** Further attempts after a transient failure; default 3. */
  readonly retries?: number | undefined
  /** The pauses before further attempts; default as in `Backoff.make`. A longer `Retry-After` wins. */
  readonly backoff?: Backoff.Backoff | undefined
  /** Time limit of a request, retries and the body included; default unlimited. */
  readonly timeout?: Duration.DurationInput | undefined
  /**
   * Whether the server may get a request twice. Default: GET, HEAD, OPTIONS, PUT, DELETE, and any other with an
   * `Idempotency-Key`. A streamed body is never sent twice; a request that was not sent is retried in any case.
   */
  readonly isIdempotent?: ((request: HttpClientRequest.HttpClientRequest) => boolean) | undefined
}

const idempotent = new Set(["GET", "HEAD", "OPTIONS", "PUT", "DELETE"])
const isIdempotent = ({ headers, method }: HttpClientRequest.HttpClientRequest) =>
  idempotent.has(method) || headers["idempotency-key"] !== undefined

/** Headers of tracing, which tell another origin about the caller. */
const tracing = ["traceparent", "tracestate", "baggage", "b3"]

class Response
  extends Incoming<HttpClientError.ResponseError>
  implements HttpClientResponse.HttpClientResponse
{
  readonly [HttpClientResponse.TypeId]: HttpClientResponse.TypeId = HttpClientResponse.TypeId
  readonly cookies: Cookies.Cookies

  constructor(
    readonly request: HttpClientRequest.HttpClientRequest,
    received: Received
  ) {
    super(received)
    this.cookies = Cookies.fromSetCookie([received.head.headers["set-cookie"] ?? []].flat())
  }

  get formData(): Effect.Effect<FormData, HttpClientError.ResponseError> {
    return Effect.flatMap(this.bytes, (bytes) =>
      Effect.tryPromise({
        try: () => new globalThis.Response(bytes, { headers: this.headers }).formData(),
        catch: (cause) => this.fault("its body is not a form", cause)
      })
    )
  }

  protected override fault(description: string, cause: unknown) {
    return new HttpClientError.ResponseError({
      request: this.request,
      response: this,
      reason: "Decode",
      description,
      cause
    })
  }
}

interface Body {
  readonly body: Request["body"]
  readonly headers?: Readonly<Record<string, string>>
  /** The error of a streamed body, once it has one. */
  readonly failed?: () => unknown
}

/** The body as bytes if it can be sent twice, else as a stream. */
const toBody = (body: HttpBody.HttpBody): Effect.Effect<Body, Cause.UnknownException> => {
  const whole = (from: ConstructorParameters<typeof globalThis.Response>[0]) =>
    Effect.tryPromise(async () => {
      const response = new globalThis.Response(from)
      const type = response.headers.get("content-type")
      return {
        body: new Uint8Array(await response.arrayBuffer()),
        ...(type === null ? {} : { headers: { "content-type": type } })
      }
    })
  switch (body._tag) {
    case "Empty":
      return Effect.succeed({ body: undefined })
    case "Uint8Array":
      return Effect.succeed({ body: body.body })
    case "FormData":
      return whole(body.formData)
    case "Raw":
      return body.body instanceof Readable
        ? Effect.succeed({ body: body.body })
        : Effect.map(whole(body.body as string), ({ body: bytes }) => ({ body: bytes }))
    case "Stream":
      return Effect.map(Effect.runtime(), (runtime) => {
        let error: unknown
        const source = Stream.tapErrorCause(body.stream, (cause) =>
          Effect.sync(() => {
            error = cause
          })
        )
        return {
          body: Readable.fromWeb(Stream.toReadableStreamRuntime(source, runtime) as never),
          failed: () => error
        }
      })
  }
}

/**
 * An `HttpClient` of `@effect/platform` with the rules of downloads, for the calls of an application to APIs; its
 * connections are closed with the scope.
 *
 * - Redirects are followed. Another origin gets no `Authorization`, `Cookie`, `Proxy-Authorization`, no header that
 *   `Headers.currentRedactedNames` names, no header of tracing and no body; `https` is not left for `http`.
 * - A transient failure (no connection, a dropped one, a stall, 408, 425, 429, 5xx) is retried after a back-off, or after a
 *   longer `Retry-After`, if the request may be sent twice: see `isIdempotent`. The last response is returned, whatever
 *   its status; also one whose `Retry-After` is longer than 5 minutes.
 * - Bodies are decoded (gzip, deflate, br) and bounded, and a body that is not whole is an error.
 * - `denyPrivate` refuses addresses that are not public, after DNS and at each redirect.
 *
 * Errors are `RequestError` (`Transport`) before there is a response, and `ResponseError` (`Decode`) while its body is read;
 * `cause` is the `DownloadError` with the reason. A body of a request that cannot be read is a `RequestError` (`Encode`).
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  options: Options = {}
): Effect.Effect<HttpClient.HttpClient, Downloader.ProxyError, Downloader.Downloader | Scope.Scope> =>
  Effect.gen(function* () {
    checkOptions(options, { maxSize: anyCount, retries: anyCount, timeout: time })
    const { maxSize = 100 * 1024 * 1024, retries = 3 } = options
    const mayRepeat = options.isIdempotent ?? isIdempotent
    const pauseBefore = Backoff.make(options.backoff)
    const timeout = Duration.decode(options.timeout ?? Duration.infinity)
    const session = yield* (yield* Downloader.Downloader).open(options)
    const late = `not done in ${formatGiven(options.timeout ?? timeout)}`

    return HttpClient.make((request, url, signal, fiber) => {
      const fault = (reason: "Encode" | "InvalidUrl" | "Transport", cause: unknown, description?: string) =>
        new HttpClientError.RequestError({
          request,
          reason,
          cause,
          ...(description === undefined ? {} : { description })
        })
      if (url.protocol !== "http:" && url.protocol !== "https:")
        return fault("InvalidUrl", undefined, `${url.protocol} is not http or https`)
      const tooLate = () =>
        new DownloadError({ reason: "timeout", url: show(url), detail: late, retryable: false })
      const names = [...fiber.getFiberRef(Headers.currentRedactedNames)]
      const secrets = new Set(
        [...Object.keys(request.headers), ...tracing].filter(
          (name) =>
            tracing.includes(name) ||
            names.some((secret) =>
              typeof secret === "string" ? secret.toLowerCase() === name : secret.test(name)
            )
        )
      )
      const size = Context.get(fiber.currentContext, HttpIncomingMessage.MaxBodySize)

      const attempts = (from: Body, made: number): Effect.Effect<Received, DownloadError> => {
        const { body, headers } = from
        const streamed = body instanceof Readable
        const again = !streamed && mayRepeat(request)
        const left = ({ retryAfter = 0, retryable }: Failure) =>
          retryable && made <= retries && retryAfter <= longestRetryAfter
        let sent = streamed // may have been read
        return receive(
          session,
          {
            url,
            method: request.method,
            headers: { ...request.headers, ...headers },
            secrets,
            body,
            maxSize: Option.match(size, { onNone: () => maxSize, onSome: Number })
          },
          {
            onSend: () => {
              sent = true
            },
            refuses: (failure) => again && left(failure),
            signal
          }
        ).pipe(
          Effect.catchAll((error) =>
            (again || !sent) && left(error)
              ? pauseBefore(made - 1).pipe(
                  Effect.flatMap((pause) => Sleep.sleep(Math.round(Math.max(pause, error.retryAfter ?? 0)))),
                  Effect.zipRight(Effect.suspend(() => attempts(from, made + 1)))
                )
              : error
          )
        )
      }

      return Effect.gen(function* () {
        const body = yield* Effect.mapError(toBody(request.body), (cause) => fault("Encode", cause))
        const begun = yield* Clock.currentTimeMillis
        const received = yield* Deadline.timeout(attempts(body, 1), {
          limit: timeout,
          late: { reason: late, origin: "timeout" },
          onTimeout: tooLate
        }).pipe(
          Effect.mapError((error) => {
            const broken = body.failed?.()
            return broken === undefined
              ? fault("Transport", error, error.detail)
              : fault("Encode", broken, "its body failed")
          })
        )
        if (Duration.isFinite(timeout)) {
          const rest = Duration.toMillis(timeout) - ((yield* Clock.currentTimeMillis) - begun)
          received.closeAfter(rest, tooLate())
        }
        return new Response(request, received)
      })
    })
  })

/**
 * {@link make} as a layer.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerWith = (
  options: Options
): Layer.Layer<HttpClient.HttpClient, Downloader.ProxyError, Downloader.Downloader> =>
  Layer.scoped(HttpClient.HttpClient, make(options))

/**
 * {@link make} with its defaults, on the network. In tests: {@link layerWith} on `DownloaderTest.layer`.
 *
 * @example
 * import * as HttpClient from "@effect/platform/HttpClient"
 * import * as HttpClientResponse from "@effect/platform/HttpClientResponse"
 * import { Effect, Schema } from "effect"
 * import * as SafeHttpClient from "effect-asyncio/services/SafeHttpClient"
 *
 * const Release = Schema.Struct({ tag: Schema.String })
 *
 * const program = HttpClient.get("https://example.com/latest.json").pipe(
 *   Effect.flatMap(HttpClientResponse.filterStatusOk),
 *   Effect.flatMap(HttpClientResponse.schemaBodyJson(Release)),
 *   Effect.provide(SafeHttpClient.layer)
 * )
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<HttpClient.HttpClient, Downloader.ProxyError> = Layer.provide(
  layerWith({}),
  Downloader.layer
)
