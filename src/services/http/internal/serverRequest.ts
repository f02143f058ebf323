import * as Cookies from "@effect/platform/Cookies"
import type * as Headers from "@effect/platform/Headers"
import * as HttpIncomingMessage from "@effect/platform/HttpIncomingMessage"
import type { HttpMethod } from "@effect/platform/HttpMethod"
import * as HttpServerError from "@effect/platform/HttpServerError"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as Respondable from "@effect/platform/HttpServerRespondable"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Multipart from "@effect/platform/Multipart"
import type * as Socket from "@effect/platform/Socket"
import * as UrlParams from "@effect/platform/UrlParams"
import { Context, Effect, type Fiber, Inspectable, Option, type Scope, Stream } from "effect"
import type { Reason } from "../HttpServer.js"

/** The body is larger than a limit: answered with 413. */
export class BodyTooLarge extends HttpServerError.RequestError {
  override [Respondable.symbol]() {
    return HttpServerResponse.empty({ status: 413 })
  }
}

/** How a transport reads the body of a request; the same for all views of the request. */
export interface Body {
  /** The whole body, read once; a larger one fails with {@link BodyTooLarge}. */
  readonly bytes: (most: number) => Effect.Effect<Uint8Array, HttpServerError.RequestError>
  readonly stream: (most: number) => Stream.Stream<Uint8Array, HttpServerError.RequestError>
}

const decoder = new TextDecoder()

/**
 * A request with fields that are made when they are read. The app may have a changed view of it (`modify`); `root` is the
 * request as it came, which holds what belongs to the exchange itself.
 */
export abstract class ServerRequest extends Inspectable.Class implements HttpServerRequest.HttpServerRequest {
  get [HttpServerRequest.TypeId](): HttpServerRequest.TypeId {
    return HttpServerRequest.TypeId
  }
  get [HttpIncomingMessage.TypeId](): HttpIncomingMessage.TypeId {
    return HttpIncomingMessage.TypeId
  }

  declare abstract readonly source: unknown
  abstract readonly originalUrl: string
  abstract readonly method: HttpMethod
  abstract readonly upgrade: Effect.Effect<Socket.Socket, HttpServerError.RequestError>

  /** Undefined where the request says that it has none. */
  protected abstract readonly body: Body | undefined
  protected abstract readonly ownHeaders: Headers.Headers
  protected abstract readonly ownAddress: string | undefined
  protected abstract view(
    url: string,
    headers: Headers.Headers | undefined,
    address: string | undefined
  ): HttpServerRequest.HttpServerRequest

  // of the exchange

  fiber: Fiber.RuntimeFiber<unknown> | undefined = undefined
  scope: Scope.CloseableScope | undefined = undefined
  answered = false
  /** Whether it has become a WebSocket. */
  upgraded = false
  reason: Reason | undefined = undefined

  /** The limit of the server for bodies, in bytes. */
  protected abstract readonly bodySize: number
  /**
   * Writes the response, unless one was written before. Returns the effect that writes what cannot be written at once.
   */
  abstract respond(
    response: HttpServerResponse.HttpServerResponse
  ): Effect.Effect<void, HttpServerError.ResponseError> | undefined

  constructor(
    root: ServerRequest | undefined,
    readonly url: string,
    protected readonly changedHeaders: Headers.Headers | undefined,
    protected readonly changedAddress: string | undefined
  ) {
    super()
    this.root = (root ?? this) as this
  }
  readonly root: this

  get headers(): Headers.Headers {
    return this.changedHeaders ?? this.root.ownHeaders
  }

  get remoteAddress(): Option.Option<string> {
    return Option.fromNullable(this.changedAddress ?? this.root.ownAddress)
  }

  private parsedCookies: Readonly<Record<string, string>> | undefined = undefined
  get cookies(): Readonly<Record<string, string>> {
    this.parsedCookies ??= Cookies.parseHeader(this.headers["cookie"] ?? "")
    return this.parsedCookies
  }

  private limited<A>(
    read: (body: Body, most: number) => Effect.Effect<A, HttpServerError.RequestError>,
    none: () => A
  ): Effect.Effect<A, HttpServerError.RequestError> {
    return Effect.withFiberRuntime((fiber) => {
      const { body, bodySize } = this.root
      if (body === undefined) return Effect.sync(none)
      const most = Context.get(
        fiber.currentContext as Context.Context<never>,
        HttpIncomingMessage.MaxBodySize
      )
      return read(body, Option.isSome(most) ? Math.min(bodySize, Number(most.value)) : bodySize)
    })
  }

  get text(): Effect.Effect<string, HttpServerError.RequestError> {
    return this.limited(
      (body, most) => Effect.map(body.bytes(most), (bytes) => decoder.decode(bytes)),
      () => ""
    )
  }

  get json(): Effect.Effect<unknown, HttpServerError.RequestError> {
    return this.decoded((text) => (text === "" ? null : (JSON.parse(text) as unknown)))
  }

  get urlParamsBody(): Effect.Effect<UrlParams.UrlParams, HttpServerError.RequestError> {
    return this.decoded((text) => UrlParams.fromInput(new URLSearchParams(text)))
  }

  private decoded<A>(decode: (text: string) => A) {
    return Effect.flatMap(this.text, (text) => {
      try {
        return Effect.succeed(decode(text))
      } catch (cause) {
        return Effect.fail(new HttpServerError.RequestError({ request: this, reason: "Decode", cause }))
      }
    })
  }

  get arrayBuffer(): Effect.Effect<ArrayBuffer, HttpServerError.RequestError> {
    return this.limited(
      (body, most) => Effect.map(body.bytes(most), (bytes) => new Uint8Array(bytes).buffer as ArrayBuffer),
      () => new ArrayBuffer(0)
    )
  }

  get stream(): Stream.Stream<Uint8Array, HttpServerError.RequestError> {
    return Stream.unwrap(
      this.limited(
        (body, most) => Effect.succeed(body.stream(most)),
        (): Stream.Stream<Uint8Array, HttpServerError.RequestError> => Stream.empty
      )
    )
  }

  get multipartStream(): Stream.Stream<Multipart.Part, Multipart.MultipartError> {
    return Stream.pipeThroughChannel(
      Stream.mapError(
        this.stream,
        (cause) =>
          new Multipart.MultipartError({
            reason: cause instanceof BodyTooLarge ? "BodyTooLarge" : "InternalError",
            cause
          })
      ),
      Multipart.makeChannel(this.headers)
    )
  }

  private persisted: HttpServerRequest.HttpServerRequest["multipart"] | undefined = undefined
  get multipart(): HttpServerRequest.HttpServerRequest["multipart"] {
    const { root } = this
    root.persisted ??= Effect.runSync(Effect.cached(Multipart.toPersisted(this.multipartStream)))
    return root.persisted
  }

  modify(options: {
    readonly url?: string | undefined
    readonly headers?: Headers.Headers | undefined
    readonly remoteAddress?: string | undefined
  }): HttpServerRequest.HttpServerRequest {
    return this.view(
      options.url ?? this.url,
      options.headers ?? this.changedHeaders,
      options.remoteAddress ?? this.changedAddress
    )
  }

  override toString(): string {
    return `ServerRequest(${this.method} ${this.url})`
  }

  toJSON(): unknown {
    return HttpIncomingMessage.inspect(this, {
      _id: "@effect/platform/HttpServerRequest",
      method: this.method,
      url: this.originalUrl
    })
  }

  /** Fails an upgrade that the request did not ask for. */
  protected get notUpgradeable() {
    return Effect.fail(
      new HttpServerError.RequestError({
        request: this,
        reason: "Decode",
        description: "not an upgradeable ServerRequest"
      })
    )
  }
}
