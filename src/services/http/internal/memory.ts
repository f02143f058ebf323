import * as Headers from "@effect/platform/Headers"
import type { HttpBody } from "@effect/platform/HttpBody"
import type { HttpMethod } from "@effect/platform/HttpMethod"
import * as HttpServerError from "@effect/platform/HttpServerError"
import type * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import type * as Socket from "@effect/platform/Socket"
import { Effect, Stream } from "effect"
import { type Body, BodyTooLarge, ServerRequest } from "./serverRequest.js"

type Failure = HttpServerError.RequestError

/** The body of a client's request or of a server's response as a stream; undefined for none. */
export const streamOf = (body: HttpBody): Stream.Stream<Uint8Array, unknown> | undefined => {
  switch (body._tag) {
    case "Empty":
      return undefined
    case "Uint8Array":
      return Stream.make(body.body)
    case "Raw":
      if (typeof body.body === "string") return Stream.make(Buffer.from(body.body))
      if (body.body instanceof Uint8Array) return Stream.make(body.body)
      return Stream.fromAsyncIterable(body.body as AsyncIterable<Uint8Array>, (error) => error)
    case "FormData":
      return Stream.fromReadableStream(
        () => new Response(body.formData).body!,
        (error) => error
      )
    case "Stream":
      return body.stream
  }
}

/** The chunks in one. */
export const joined = <E>(stream: Stream.Stream<Uint8Array, E>): Effect.Effect<Uint8Array, E> =>
  Effect.map(Stream.runCollect(stream), (chunks) => new Uint8Array(Buffer.concat([...chunks])))

class MemoryBody implements Body {
  private readonly once: (most: number) => Effect.Effect<Uint8Array, Failure>

  constructor(
    private readonly request: MemoryRequest,
    private readonly source: Stream.Stream<Uint8Array, unknown>
  ) {
    let cached: Effect.Effect<Uint8Array, Failure> | undefined
    this.once = (most) => {
      cached ??= Effect.runSync(Effect.cached(joined(this.stream(most))))
      return cached
    }
  }

  bytes(most: number): Effect.Effect<Uint8Array, Failure> {
    return Effect.suspend(() => this.once(most))
  }

  stream(most: number): Stream.Stream<Uint8Array, Failure> {
    const { request } = this
    return Stream.suspend(() => {
      let size = 0
      return this.source.pipe(
        Stream.mapError(
          (cause): Failure =>
            new HttpServerError.RequestError({
              request,
              reason: "Transport",
              description: "the body was cut off",
              cause
            })
        ),
        Stream.tap((chunk) => {
          size += chunk.length
          if (size <= most) return Effect.void
          request.exchange.onTooLarge()
          return Effect.fail(
            new BodyTooLarge({
              request,
              reason: "Decode",
              description: `the body is larger than ${most} bytes`
            })
          )
        })
      )
    })
  }
}

/** What a request in memory is made of. */
export interface Exchange {
  readonly method: HttpMethod
  readonly url: string
  readonly headers: Headers.Input
  readonly body: Stream.Stream<Uint8Array, unknown> | undefined
  readonly bodySize: number
  readonly onTooLarge: () => void
  readonly session?: Effect.Effect<Socket.Socket>
  /** Passes the response to the client. Returns what the server's fiber has to do for a streamed body. */
  readonly respond: (
    response: HttpServerResponse.HttpServerResponse
  ) => Effect.Effect<void, HttpServerError.ResponseError> | undefined
}

/** A request in memory. */
export class MemoryRequest extends ServerRequest {
  readonly originalUrl: string
  readonly method: HttpMethod
  protected readonly ownHeaders: Headers.Headers
  protected readonly ownAddress = "127.0.0.1"
  protected readonly bodySize: number
  protected readonly body: Body | undefined

  constructor(
    readonly exchange: Exchange,
    url: string = exchange.url,
    root?: MemoryRequest,
    headers?: Headers.Headers,
    address?: string
  ) {
    super(root, url, headers, address)
    this.originalUrl = exchange.url
    this.method = exchange.method
    this.bodySize = exchange.bodySize
    this.ownHeaders = root?.ownHeaders ?? Headers.fromInput(exchange.headers)
    this.body =
      root === undefined
        ? exchange.body === undefined
          ? undefined
          : new MemoryBody(this, exchange.body)
        : root.body
  }

  get source(): unknown {
    return this.exchange
  }

  protected override view(
    url: string,
    headers: Headers.Headers | undefined,
    address: string | undefined
  ): MemoryRequest {
    return new MemoryRequest(this.exchange, url, this.root, headers, address)
  }

  get upgrade(): Effect.Effect<Socket.Socket, Failure> {
    return this.exchange.session ?? this.notUpgradeable
  }

  respond(
    response: HttpServerResponse.HttpServerResponse
  ): Effect.Effect<void, HttpServerError.ResponseError> | undefined {
    if (this.answered) return undefined
    this.answered = true
    return this.upgraded ? undefined : this.exchange.respond(response)
  }
}
