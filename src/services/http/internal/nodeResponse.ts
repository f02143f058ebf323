import type { ServerResponse } from "node:http"
import { Readable } from "node:stream"
import { pipeline } from "node:stream/promises"
import * as Cookies from "@effect/platform/Cookies"
import * as HttpServerError from "@effect/platform/HttpServerError"
import type { HttpServerRequest } from "@effect/platform/HttpServerRequest"
import type { HttpServerResponse } from "@effect/platform/HttpServerResponse"
import { Chunk, Effect, Stream } from "effect"

type Fields = Record<string, string | Array<string>>

const withCookies = (response: HttpServerResponse): Fields => {
  const set = Cookies.toSetCookieHeaders(response.cookies)
  const own = response.headers["set-cookie"]
  if (own !== undefined) set.push(own)
  return { ...response.headers, "set-cookie": set }
}

const isReadable = (body: unknown): body is Readable =>
  typeof body === "object" && body !== null && typeof (body as { pipe?: unknown }).pipe === "function"

/** Statuses whose answers have no body (RFC 9110, 6.4.1), whatever the response says. */
const bodiless = (status: number) => status === 204 || status === 304 || status < 200

const withoutLength = ({ "content-length": _, "transfer-encoding": __, ...rest }: Fields) => rest

const failed = (request: HttpServerRequest, response: HttpServerResponse, cause: unknown) =>
  new HttpServerError.ResponseError({ request, response, reason: "Decode", cause })

/** Streams into the response; what fails or is interrupted half-way cuts the connection off, as HTTP has no other sign. */
const cutOff = <A, E>(target: ServerResponse, write: Effect.Effect<A, E>) =>
  Effect.onError(Effect.interruptible(Effect.asVoid(write)), () =>
    Effect.sync(() => void (target.socket ?? target).destroy())
  )

const pipe = (
  target: ServerResponse,
  request: HttpServerRequest,
  response: HttpServerResponse,
  body: Readable
) =>
  cutOff(
    target,
    Effect.tryPromise({
      try: (signal) => pipeline(body, target, { signal, end: true }),
      catch: (cause) => failed(request, response, cause)
    })
  )

const stream = (
  target: ServerResponse,
  request: HttpServerRequest,
  response: HttpServerResponse,
  body: Stream.Stream<Uint8Array, unknown>,
  { backlog, onBlocked }: Writing
) => {
  const drained = Effect.unsafeMakeLatch(true)
  const open = () => drained.unsafeOpen()
  target.on("drain", open).on("close", open)
  const written = Stream.runForEachChunk(body, (chunk) => {
    let more = true
    for (const bytes of Chunk.toReadonlyArray(chunk)) more = target.write(bytes)
    if (more || target.destroyed || target.writableLength < backlog) return Effect.void
    drained.unsafeClose()
    onBlocked()
    return drained.await
  })
  return cutOff(
    target,
    Effect.zipRight(
      Effect.mapError(written, (cause) => failed(request, response, cause)),
      Effect.sync(() => void target.end())
    )
  )
}

const small = 4096 // bytes

const scratch = Buffer.alloc(small)

/**
 * Ends with the body. Node joins a small one with the head in one write if it is text: a byte is a character of Latin-1.
 * `end(text)` would be a `writev` of two, the second of them empty, which takes longer than a plain write of one.
 */
const end = (target: ServerResponse, body: Uint8Array) => {
  if (body.length > small) return void target.end(body)
  scratch.set(body)
  const text = scratch.toString("latin1", 0, body.length)
  const { socket } = target
  if (socket === null || text === "" || target.chunkedEncoding) return void target.end(text, "latin1")
  socket.cork()
  target.write(text, "latin1")
  socket.uncork()
  target.end()
}

/** How a response is written. */
export interface Writing {
  readonly backlog: number
  /** Writing waits for the client. */
  readonly onBlocked: () => void
}

/**
 * Writes the response. Returns the effect that writes what cannot be written at once. Throws on a status or a header that
 * HTTP does not have.
 */
export const write = (
  target: ServerResponse,
  request: HttpServerRequest,
  response: HttpServerResponse,
  writing: Writing
): Effect.Effect<void, HttpServerError.ResponseError> | undefined => {
  const { body, status } = response
  let fields: Fields = response.headers
  if (!Cookies.isEmpty(response.cookies)) fields = withCookies(response)
  const head = (fields: Fields) => {
    if (response.statusText === undefined) target.writeHead(status, fields)
    else target.writeHead(status, response.statusText, fields)
  }
  if (request.method === "HEAD" || bodiless(status)) {
    head(status === 304 || request.method === "HEAD" ? fields : withoutLength(fields))
    target.end()
    if (body._tag === "Raw" && isReadable(body.body)) body.body.destroy()
    return undefined
  }
  switch (body._tag) {
    case "Empty": {
      head(fields["content-length"] === undefined ? { ...fields, "content-length": "0" } : fields)
      target.end()
      return undefined
    }
    case "Uint8Array": {
      head(fields)
      end(target, body.body)
      if (target.writableLength > 0) writing.onBlocked()
      return undefined
    }
    case "Raw": {
      if (isReadable(body.body)) {
        head(fields)
        return pipe(target, request, response, body.body)
      }
      const bytes = body.body as string | Uint8Array
      const known = fields["content-length"] !== undefined || fields["transfer-encoding"] !== undefined
      head(known ? fields : { ...fields, "content-length": String(Buffer.byteLength(bytes)) })
      target.end(bytes)
      if (target.writableLength > 0) writing.onBlocked()
      return undefined
    }
    case "FormData": {
      const web = new Response(body.formData)
      head({ ...fields, ...Object.fromEntries(web.headers) })
      return pipe(target, request, response, Readable.fromWeb(web.body as any))
    }
    case "Stream": {
      head(fields)
      return stream(target, request, response, body.stream, writing)
    }
  }
}
