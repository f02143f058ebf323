import { parentPort } from "node:worker_threads"
import * as Cookies from "@effect/platform/Cookies"
import * as HttpApp from "@effect/platform/HttpApp"
import * as HttpServerError from "@effect/platform/HttpServerError"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { Cause, Effect, Exit, Fiber, Option, type Runtime } from "effect"
import * as Causes from "../../task/Causes.js"
import type * as AppFile from "../AppFile.js"
import * as Workload from "../Workload.js"
import type * as Protocol from "./blockingProtocol.js"
import { workerSocket } from "./workerSocket.js"

// What a worker thread does: it serves an app, one request at a time.

const port = parentPort!
export const post = (message: Protocol.FromWorker, transfer: ReadonlyArray<ArrayBuffer> = []) =>
  port.postMessage(message, transfer as Array<ArrayBuffer>)

/** Called when the main thread has written what was posted last. */
let onWritten: () => void = () => undefined
/** The WebSocket of the request. */
let socket: ReturnType<typeof workerSocket> | undefined
let running: Fiber.RuntimeFiber<void, unknown> | undefined

const written = (message: Protocol.FromWorker): Effect.Effect<void> =>
  Effect.async((resume) => {
    onWritten = () => resume(Effect.void)
    post(message)
  })

/** A copy, so that its buffer can be moved: a view may be one of a pool. */
const copied = (bytes: Uint8Array) => new Uint8Array(bytes)

const sendStream = (response: HttpServerResponse.HttpServerResponse, runtime: Runtime.Runtime<never>) =>
  Effect.gen(function* () {
    const web = HttpServerResponse.toWeb(response, { runtime })
    const { "set-cookie": _, ...headers } = Object.fromEntries(web.headers)
    const more = web.body !== null
    post({
      type: "head",
      status: response.status,
      statusText: response.statusText,
      headers,
      cookies: Cookies.toSetCookieHeaders(response.cookies),
      body: undefined,
      more
    })
    if (!more) return
    const reader = web.body.getReader()
    yield* Effect.addFinalizer(() => Effect.promise(() => reader.cancel().catch(() => undefined)))
    for (;;) {
      const next = yield* Effect.either(Effect.tryPromise(() => reader.read()))
      if (next._tag === "Left")
        return post({ type: "broken", reason: Causes.headline(Cause.fail(next.left.cause)) })
      if (next.right.done) return post({ type: "end" })
      yield* written({ type: "chunk", data: copied(next.right.value) })
    }
  }).pipe(Effect.scoped)

const send = (response: HttpServerResponse.HttpServerResponse): Effect.Effect<void> => {
  const { body } = response
  if (socket !== undefined) return Effect.void
  if (body._tag !== "Empty" && body._tag !== "Uint8Array") {
    return Effect.flatMap(Effect.runtime<never>(), (runtime) =>
      Effect.interruptible(sendStream(response, runtime))
    )
  }
  return Effect.sync(() => {
    const bytes = body._tag === "Empty" ? undefined : copied(body.body)
    post(
      {
        type: "head",
        status: response.status,
        statusText: response.statusText,
        headers: { ...response.headers },
        cookies: Cookies.toSetCookieHeaders(response.cookies),
        body: bytes,
        more: false
      },
      bytes === undefined ? [] : [bytes.buffer]
    )
  })
}

/** The request of the app; its `upgrade` is one over messages, also after `modify`. */
const withUpgrade = (request: HttpServerRequest.HttpServerRequest): HttpServerRequest.HttpServerRequest => {
  const modify = request.modify.bind(request)
  return Object.defineProperties(request, {
    upgrade: {
      get: () =>
        (request.headers["upgrade"] ?? "").toLowerCase() === "websocket"
          ? Effect.sync(() => {
              socket = workerSocket(post, written)
              post({ type: "upgrade" })
              return socket.socket
            })
          : Effect.fail(
              new HttpServerError.RequestError({
                request,
                reason: "Decode",
                description: "Not an upgradeable ServerRequest"
              })
            )
    },
    modify: { value: (options: Parameters<typeof modify>[0]) => withUpgrade(modify(options)) }
  })
}

const toRequest = ({ body, headers, method, remote, url }: Protocol.Request) => {
  const hasBody = body !== undefined && method !== "GET" && method !== "HEAD"
  const web = new Request(new URL(url, "http://localhost"), {
    method,
    headers,
    ...(hasBody ? { body: body as Uint8Array<ArrayBuffer> } : {})
  })
  const request = HttpServerRequest.fromWeb(web)
  return withUpgrade(request.modify({ url, ...(remote === undefined ? {} : { remoteAddress: remote }) }))
}

const reasonOf = (cause: Cause.Cause<unknown>): string | undefined => {
  if (Cause.isInterruptedOnly(cause)) return undefined
  const [{ status }, stripped] = HttpServerError.causeResponseStripped(cause)
  return status >= 500
    ? Option.match(stripped, { onNone: () => undefined, onSome: Causes.headline })
    : undefined
}

/** Serves the app to the thread that has started this one. */
export const serve = (app: AppFile.AnyApp): void => {
  const handled = HttpApp.toHandled(Effect.interruptible(app), (_, response) =>
    send(response)
  ) as Effect.Effect<void, never, HttpServerRequest.HttpServerRequest>
  const start = (given: Protocol.Request) => {
    socket = undefined
    const answer = Effect.suspend(() =>
      Effect.provideService(handled, HttpServerRequest.HttpServerRequest, toRequest(given))
    ).pipe(Effect.provideService(Workload.Wait, Workload.block))
    running = Effect.runFork(answer)
    running.addObserver((exit) => {
      const reason = Exit.isFailure(exit) ? reasonOf(exit.cause) : undefined
      if (reason !== undefined) post({ type: "failed", reason })
      running = undefined
      post({ type: "done" })
    })
  }
  port.on("message", (message: Protocol.ToWorker) => {
    switch (message.type) {
      case "request":
        return start(message)
      case "cancel":
        return void (running === undefined || Effect.runFork(Fiber.interrupt(running)))
      case "written":
        return onWritten()
      case "message":
        return socket?.receive(message.data)
      case "closed":
        return socket?.closed(message.code, message.reason)
    }
  })
  post({ type: "ready" })
}
