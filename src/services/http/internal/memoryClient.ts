import type * as Cookies from "@effect/platform/Cookies"
import * as Headers from "@effect/platform/Headers"
import * as HttpClientError from "@effect/platform/HttpClientError"
import type { HttpClientRequest } from "@effect/platform/HttpClientRequest"
import * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import * as HttpIncomingMessage from "@effect/platform/HttpIncomingMessage"
import type * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as UrlParams from "@effect/platform/UrlParams"
import { Effect, Inspectable, Option, Stream } from "effect"
import { joined } from "./memory.js"

type Failure = HttpClientError.ResponseError

/** A response in memory, as the client sees it. */
export class MemoryResponse extends Inspectable.Class implements HttpClientResponse.HttpClientResponse {
  readonly [HttpClientResponse.TypeId]: HttpClientResponse.TypeId = HttpClientResponse.TypeId
  readonly [HttpIncomingMessage.TypeId]: HttpIncomingMessage.TypeId = HttpIncomingMessage.TypeId
  readonly status: number
  readonly headers: Headers.Headers
  readonly cookies: Cookies.Cookies
  readonly remoteAddress = Option.some("127.0.0.1")
  private cached: Effect.Effect<Uint8Array, Failure> | undefined = undefined

  constructor(
    readonly request: HttpClientRequest,
    response: HttpServerResponse.HttpServerResponse,
    private readonly body: Stream.Stream<Uint8Array, unknown> | Uint8Array | undefined
  ) {
    super()
    this.status = response.status
    this.headers = Headers.fromInput(response.headers)
    this.cookies = response.cookies
  }

  get stream(): Stream.Stream<Uint8Array, Failure> {
    const { body } = this
    if (body === undefined) return Stream.empty
    if (body instanceof Uint8Array) return Stream.make(body)
    return Stream.mapError(body, (cause) => this.failed("Decode", cause))
  }

  private get bytes(): Effect.Effect<Uint8Array, Failure> {
    const { body } = this
    if (body === undefined || body instanceof Uint8Array) return Effect.succeed(body ?? new Uint8Array())
    this.cached ??= Effect.runSync(Effect.cached(joined(this.stream)))
    return this.cached
  }

  private failed(reason: "Decode" | "EmptyBody", cause: unknown): Failure {
    return new HttpClientError.ResponseError({ request: this.request, response: this, reason, cause })
  }

  private decoded<A>(decode: (text: string) => A): Effect.Effect<A, Failure> {
    return Effect.flatMap(this.text, (text) =>
      Effect.try({ try: () => decode(text), catch: (cause) => this.failed("Decode", cause) })
    )
  }

  get text(): Effect.Effect<string, Failure> {
    return Effect.map(this.bytes, (bytes) => new TextDecoder().decode(bytes))
  }
  get json(): Effect.Effect<unknown, Failure> {
    return this.decoded((text) => (text === "" ? null : (JSON.parse(text) as unknown)))
  }
  get urlParamsBody(): Effect.Effect<UrlParams.UrlParams, Failure> {
    return this.decoded((text) => UrlParams.fromInput(new URLSearchParams(text)))
  }
  get arrayBuffer(): Effect.Effect<ArrayBuffer, Failure> {
    return Effect.map(this.bytes, (bytes) => new Uint8Array(bytes).buffer as ArrayBuffer)
  }
  get formData(): Effect.Effect<FormData, Failure> {
    const headers = { "content-type": this.headers["content-type"] ?? "" }
    return Effect.flatMap(this.bytes, (bytes) =>
      Effect.tryPromise({
        try: () => new Response(new Uint8Array(bytes), { headers }).formData(),
        catch: (cause) => this.failed("Decode", cause)
      })
    )
  }

  toJSON(): unknown {
    return HttpIncomingMessage.inspect(this, {
      _id: "@effect/platform/HttpClientResponse",
      request: this.request.toJSON(),
      status: this.status
    })
  }
}
