import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientError from "@effect/platform/HttpClientError"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import {
  Clock,
  Context,
  Data,
  Effect,
  Layer,
  Option,
  type ParseResult,
  Redacted,
  Schema,
  Stream
} from "effect"
import { codes } from "../host/ExitCodes.js"
import { checkOptions, count } from "../text/Numbers.js"
import { formatSize } from "../text/Sizes.js"
import { reasonOf } from "./internal/reasons.js"
import * as NetworkSettings from "./NetworkSettings.js"

// errors

/**
 * The API answered with a failure or with what it should not, or not at all.
 *
 * @since 0.1.0
 * @category errors
 */
export class ApiError extends Data.TaggedError("ApiError")<{
  readonly reason: string
  /** Whether the same request may succeed later: no connection, 408, 425, 429, 5xx. */
  readonly isTransient: boolean
  /** The time that the answer asks to wait before the next request, in milliseconds. */
  readonly retryAfter?: number | undefined
  readonly cause?: unknown
}> {
  readonly exitCode = codes.failed
  override get message() {
    return `api: ${this.reason}`
  }
}

// tag

/**
 * A JSON API over HTTP.
 *
 * @since 0.1.0
 * @category services
 */
export class Api extends Context.Tag("effect-asyncio/services/Api")<
  Api,
  {
    /** How it was configured, without secrets. */
    readonly configured: string
    /** Whether it is in this process. */
    readonly isEmbedded: boolean
    /** The answer to GET of a path below the API's URL, decoded. */
    readonly get: <A, I>(path: string, schema: Schema.Schema<A, I>) => Effect.Effect<A, ApiError>
    /** The answer to POST of a JSON body. */
    readonly post: <A, I>(
      path: string,
      body: unknown,
      schema: Schema.Schema<A, I>
    ) => Effect.Effect<A, ApiError>
    /** Succeeds if the API answers, with whatever below 500. */
    readonly check: Effect.Effect<void, ApiError>
  }
>() {}

// make

/**
 * Settings of {@link make}.
 *
 * @since 0.1.0
 * @category options
 */
export interface Options {
  readonly url: URL
  /** Sent as `Authorization: Bearer …`, to the origin of `url` only. */
  readonly token?: Redacted.Redacted | undefined
  /** The largest answer in bytes. Default 10 MiB. */
  readonly maxSize?: number | undefined
  /** How many redirects are followed. Default 5. */
  readonly redirects?: number | undefined
  /** Default: `url`. */
  readonly configured?: string | undefined
  readonly isEmbedded?: boolean | undefined
}

const refused = (reason: string) => new ApiError({ reason, isTransient: false })

const broken = (cause: unknown) => new ApiError({ reason: reasonOf(cause), isTransient: true, cause })

/** Seconds or a date (RFC 9110), in milliseconds from now. */
const retryAfterOf = (value: string | undefined, now: number): number | undefined => {
  if (value === undefined) return undefined
  if (/^\d{1,9}$/.test(value)) return Number(value) * 1000
  const date = Date.parse(value)
  return Number.isNaN(date) ? undefined : Math.max(0, date - now)
}

/** A decoder is built once for a schema: that takes longer than to decode. */
const decoders = new WeakMap<object, (text: string) => Effect.Effect<unknown, ParseResult.ParseError>>()
const decoderOf = <A, I>(schema: Schema.Schema<A, I>) => {
  const known = decoders.get(schema) ?? Schema.decode(Schema.parseJson(schema))
  decoders.set(schema, known)
  return known as (text: string) => Effect.Effect<A, ParseResult.ParseError>
}

const retried = new Set([408, 425, 429])

/**
 * A client of a JSON API. Redirects are followed for GET; to another origin without the token. Dies with a `RangeError` when
 * a setting is out of range.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  http: HttpClient.HttpClient,
  options: Options
): Effect.Effect<Context.Tag.Service<Api>> =>
  Effect.sync(() => {
    checkOptions(options, { maxSize: count, redirects: { least: 0 } })
    const { maxSize = 10 * 1024 * 1024, redirects = 5, token, url } = options
    // What is traced is the caller's business; third parties get no headers of it.
    const client = HttpClient.withTracerPropagation(http, false)

    const send = (
      request: HttpClientRequest.HttpClientRequest,
      to: URL,
      left: number
    ): Effect.Effect<HttpClientResponse.HttpClientResponse, ApiError> =>
      client
        .execute(
          HttpClientRequest.setUrl(
            token !== undefined && to.origin === url.origin
              ? HttpClientRequest.bearerToken(request, token)
              : request,
            to.href
          )
        )
        .pipe(
          Effect.mapError(broken),
          Effect.flatMap((response) => {
            const { location } = response.headers
            if (response.status < 300 || response.status >= 400 || location === undefined) {
              return Effect.succeed(response)
            }
            if (request.method !== "GET")
              return refused(`status ${response.status}: ${request.method} is not redirected`)
            if (left === 0) return refused(`more than ${redirects} redirects`)
            const next = URL.canParse(location, to.href) ? new URL(location, to.href) : undefined
            return next === undefined || !/^https?:$/.test(next.protocol)
              ? refused("a redirect to no URL of HTTP")
              : send(request, next, left - 1)
          })
        )

    const bodyOf = (response: HttpClientResponse.HttpClientResponse) =>
      Effect.suspend(() => {
        const announced = response.headers["content-length"] ?? ""
        // A body of a known length needs no look at each of its pieces.
        if (/^\d+$/.test(announced) && Number(announced) <= maxSize)
          return Effect.mapError(response.text, broken)
        const parts: Array<Uint8Array> = []
        let size = 0
        return Stream.runForEach(Stream.mapError(response.stream, broken), (part) => {
          parts.push(part)
          size += part.length
          return size > maxSize ? refused(`the answer is larger than ${formatSize(maxSize)}`) : Effect.void
        }).pipe(Effect.map(() => Buffer.concat(parts).toString()))
      })

    const request = (method: Method, to: URL, body?: unknown) => {
      const plain = HttpClientRequest.acceptJson(HttpClientRequest.make(method)(to))
      return method === "POST" ? HttpClientRequest.bodyUnsafeJson(plain, body) : plain
    }
    return {
      ...over(url, (method, to, body) =>
        Effect.map(send(request(method, to, body), to, redirects), (response) => ({
          status: response.status,
          retryAfter: response.headers["retry-after"],
          text: bodyOf(response)
        }))
      ),
      configured: options.configured ?? NetworkSettings.shown(Redacted.make(url)),
      isEmbedded: options.isEmbedded ?? false,
      check: Effect.flatMap(send(HttpClientRequest.get(url), url, redirects), ({ status }) =>
        status < 500 ? Effect.void : new ApiError({ reason: `status ${status}`, isTransient: true })
      )
    }
  })

type Method = "GET" | "POST"

/** What answers a request: over HTTP, or in this process. */
type Transport = (
  method: Method,
  to: URL,
  body?: unknown
) => Effect.Effect<
  {
    readonly status: number
    readonly retryAfter: string | undefined
    readonly text: Effect.Effect<string, ApiError>
  },
  ApiError
>

const over = (url: URL, transport: Transport): Pick<Context.Tag.Service<Api>, "get" | "post"> => {
  const base = url.href.endsWith("/") ? url.href : `${url.href}/`
  const ask = <A, I>(method: Method, path: string, schema: Schema.Schema<A, I>, body?: unknown) =>
    Effect.suspend((): Effect.Effect<A, ApiError> => {
      const to = new URL(path.replace(/^\/+/, ""), base)
      if (!to.href.startsWith(base)) return refused(`'${path}' is not below the URL of the API`)
      return Effect.flatMap(transport(method, to, body), ({ retryAfter, status, text }) =>
        status >= 200 && status < 300
          ? Effect.flatMap(text, (text) => decoded(text, schema))
          : Effect.flatMap(
              Clock.currentTimeMillis,
              (now) =>
                new ApiError({
                  reason: `status ${status}`,
                  isTransient: status >= 500 || retried.has(status),
                  retryAfter: retryAfterOf(retryAfter, now)
                })
            )
      )
    })
  return {
    get: (path, schema) => ask("GET", path, schema),
    post: (path, body, schema) => ask("POST", path, schema, body)
  }
}

const decoded = <A, I>(text: string, schema: Schema.Schema<A, I>): Effect.Effect<A, ApiError> =>
  Effect.mapError(decoderOf(schema)(text), (error) =>
    refused(`the answer is not what was expected: ${reasonOf(error.message.split("\n").at(-1))}`)
  )

// embedded

/**
 * Answers a path below `/api` with JSON; `undefined` is 404.
 *
 * @since 0.1.0
 * @category models
 */
export type Answer = (path: string) => unknown

const answered = (answer: Answer, url: URL) => {
  const found = answer(decodeURIComponent(url.pathname).replace(/^\/api(?=\/)/, ""))
  return found === undefined ? { status: 404, text: "{}" } : { status: 200, text: JSON.stringify(found) }
}

/**
 * An HTTP client that answers in this process: the same requests and the same bytes, without a socket.
 *
 * @since 0.1.0
 * @category constructors
 */
export const inProcess = (answer: Answer): HttpClient.HttpClient =>
  HttpClient.make((request, url) =>
    Effect.try({
      try: () => {
        const { status, text } = answered(answer, url)
        const headers = { "content-type": "application/json", "content-length": `${Buffer.byteLength(text)}` }
        return HttpClientResponse.fromWeb(request, new Response(text, { status, headers }))
      },
      catch: (cause) => new HttpClientError.RequestError({ request, reason: "Transport", cause })
    })
  )

// layers

/**
 * The embedded API, which answers in this process: JSON is written, read and checked, without HTTP in between.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerEmbedded = (answer: Answer): Layer.Layer<Api> =>
  Layer.sync(Api, () => {
    const url = new URL("http://in.process/api/")
    const ask = (to: URL) => Effect.try({ try: () => answered(answer, to), catch: broken })
    return {
      ...over(url, (_method, to) =>
        Effect.map(ask(to), ({ status, text }) => ({
          status,
          retryAfter: undefined,
          text: Effect.succeed(text)
        }))
      ),
      configured: "in this process",
      isEmbedded: true,
      check: Effect.asVoid(ask(url))
    }
  })

/**
 * By settings: the API at `API_URL`, with `API_TOKEN` if it is set; {@link layerEmbedded} without it.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (
  answer: Answer
): Layer.Layer<Api, NetworkSettings.SettingError, HttpClient.HttpClient> =>
  Layer.unwrapEffect(
    Effect.gen(function* () {
      const url = yield* NetworkSettings.url("API_URL", ["https:", "http:"], "https://api.example.org/v1")
      if (Option.isNone(url)) return layerEmbedded(answer)
      const token = Option.getOrUndefined(yield* NetworkSettings.secret("API_TOKEN"))
      const http = yield* HttpClient.HttpClient
      return Layer.effect(
        Api,
        make(http, {
          url: Redacted.value(url.value),
          token,
          configured: `HTTP, ${NetworkSettings.shown(url.value)}`
        })
      )
    })
  )
