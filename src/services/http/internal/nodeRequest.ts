import * as http from "node:http"
import type { Socket as NetSocket } from "node:net"
import type * as Headers from "@effect/platform/Headers"
import type { HttpMethod } from "@effect/platform/HttpMethod"
import type * as HttpServerError from "@effect/platform/HttpServerError"
import type * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import type * as Socket from "@effect/platform/Socket"
import { Cause, type Effect } from "effect"
import { NodeBody } from "./body.js"
import type { Resolved } from "./limits.js"
import * as NodeResponse from "./nodeResponse.js"
import type { Requests } from "./requests.js"
import { ServerRequest } from "./serverRequest.js"
import type { Stats } from "./stats.js"

/** What a request needs of its connection. */
export interface Connection extends NodeResponse.Writing {
  readonly socket: NetSocket
  readonly address: string | undefined
  readonly closed: boolean
  readonly server: {
    readonly limits: Resolved
    readonly stats: Stats
    readonly requests: Requests
    readonly closing: boolean
  }
}

/** A request over node:http. */
export class NodeRequest extends ServerRequest {
  private nodeBody: NodeBody | undefined = undefined

  constructor(
    readonly source: http.IncomingMessage,
    /** A function for the request of an upgrade, whose response is made when it is written. */
    readonly response: http.ServerResponse | (() => http.ServerResponse),
    readonly connection: Connection,
    url: string = source.url!,
    root?: NodeRequest,
    headers?: Headers.Headers,
    address?: string
  ) {
    super(root, url, headers, address)
  }

  protected override view(
    url: string,
    headers: Headers.Headers | undefined,
    address: string | undefined
  ): NodeRequest {
    return new NodeRequest(this.source, this.response, this.connection, url, this.root, headers, address)
  }

  get originalUrl(): string {
    return this.source.url!
  }
  get method(): HttpMethod {
    return this.source.method as HttpMethod
  }
  protected get ownHeaders(): Headers.Headers {
    return this.source.headers as unknown as Headers.Headers
  }
  protected get ownAddress(): string | undefined {
    return this.connection.address
  }
  protected get bodySize(): number {
    return this.connection.server.limits.bodySize
  }

  protected get body(): NodeBody | undefined {
    const { root, source } = this
    if (root.nodeBody === undefined) {
      const { headers } = source
      if (headers["content-length"] === undefined && headers["transfer-encoding"] === undefined)
        return undefined
      root.nodeBody = new NodeBody(root, source, () => this.connection.server.stats.limits.bodySize++)
    }
    return root.nodeBody
  }

  get upgrade(): Effect.Effect<Socket.Socket, HttpServerError.RequestError> {
    return this.root.session === undefined ? this.notUpgradeable : this.root.session
  }
  /** The WebSocket that the request asks for. */
  session: Effect.Effect<Socket.Socket, HttpServerError.RequestError> | undefined = undefined

  /** Whether a closed connection means that the client left before the end: of the answer, or of the WebSocket. */
  get left(): boolean {
    if (this.upgraded) return !this.connection.socket.writableEnded
    return typeof this.response === "function" || !this.response.writableEnded
  }

  respond(
    response: HttpServerResponse.HttpServerResponse
  ): Effect.Effect<void, HttpServerError.ResponseError> | undefined {
    if (this.answered) return undefined
    this.answered = true
    const { connection } = this
    if (connection.closed || this.upgraded) return undefined
    const target = typeof this.response === "function" ? this.response() : this.response
    if (connection.server.closing || this.nodeBody?.refused === true) target.shouldKeepAlive = false
    try {
      return NodeResponse.write(target, this, response, connection)
    } catch (error) {
      // A status or a header that HTTP does not have.
      if (target.headersSent) connection.socket.destroy()
      else {
        for (const name of target.getHeaderNames()) target.removeHeader(name)
        target.writeHead(500, { "content-length": 0 }).end()
      }
      connection.server.stats.failed++
      return connection.server.requests.report(this, Cause.die(error))
    }
  }
}

/** The response of an upgrade that becomes no WebSocket. */
export const responseOf = (source: http.IncomingMessage, socket: NetSocket): http.ServerResponse => {
  const response = new http.ServerResponse(source)
  response.shouldKeepAlive = false
  response.assignSocket(socket)
  response.once("finish", () => socket.destroySoon())
  return response
}
