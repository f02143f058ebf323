import { availableParallelism } from "node:os"
import * as Cookies from "@effect/platform/Cookies"
import type * as HttpApp from "@effect/platform/HttpApp"
import type * as HttpServerError from "@effect/platform/HttpServerError"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Socket from "@effect/platform/Socket"
import { Data, Effect, Option, Queue, type Scope, Stream } from "effect"
import { builtFile } from "../host/BuiltFile.js"
import { codes } from "../host/ExitCodes.js"
import { checkOptions, count } from "../text/Numbers.js"
import type * as Protocol from "./internal/blockingProtocol.js"
import { serve } from "./internal/blockingWorker.js"
import * as WorkerPool from "./internal/workerPool.js"

/**
 * The app that the workers serve: that of a file, as `AppFile.load` takes it (default export `default`, then `app`; a path
 * is absolute or relative to the working directory), or that of a worker's own entry, which calls {@link serveHere}.
 *
 * @since 0.1.0
 * @category models
 */
export type Target =
  | { readonly file: string; readonly exportName?: string | undefined }
  | { readonly entry: string }

/**
 * Settings of {@link make}.
 *
 * @since 0.1.0
 * @category options
 */
export interface Options {
  /** Requests that are answered at the same time; default {@link defaultThreads}. */
  readonly threads?: number | undefined
  /** Called with the reason for a handler that fails; its client gets 500. Default: does nothing. */
  readonly report?:
    | ((request: HttpServerRequest.HttpServerRequest, reason: string) => Effect.Effect<void>)
    | undefined
}

/**
 * The threads of Python's `ThreadPoolExecutor`: four more than there are processors, 32 at most.
 *
 * @since 0.1.0
 * @category constants
 */
export const defaultThreads = Math.min(32, availableParallelism() + 4)

/**
 * What the workers do at a moment.
 *
 * @since 0.1.0
 * @category models
 */
export interface Counts {
  /** Worker threads that have started. */
  readonly threads: number
  /** Those that a request holds. */
  readonly busy: number
  /** Requests that wait for one. */
  readonly queued: number
}

/**
 * The app cannot be loaded in a worker thread. Exit code 2 if the file is not as expected, else 1.
 *
 * @since 0.1.0
 * @category errors
 */
export class WorkerRefused extends Data.TaggedError("WorkerRefused")<{
  readonly message: string
  readonly isUsage: boolean
}> {
  get exitCode() {
    return this.isUsage ? codes.usage : codes.failed
  }
}

type Heard = Protocol.FromWorker | { readonly type: "gone"; readonly code: number }

const gone = (code: number) => new Error(`the worker thread ended with exit code ${code}`)

/** The thread of the request until its scope closes, and what the thread says. */
const hold = (pool: WorkerPool.Pool) =>
  Effect.gen(function* () {
    const heard = yield* Queue.unbounded<Heard>()
    let resumed: (refused?: WorkerPool.Refused) => void = () => undefined
    const ticket: WorkerPool.Ticket = { thread: undefined, granted: (refused) => resumed(refused) }
    yield* Effect.addFinalizer(() => Effect.sync(() => pool.leave(ticket)))
    yield* Effect.async<void, WorkerRefused>((resume) => {
      resumed = (refused) =>
        resume(refused === undefined ? Effect.void : Effect.fail(new WorkerRefused(refused)))
      pool.take(ticket)
    })
    const thread = ticket.thread!
    thread.listen = (message) => void heard.unsafeOffer(message)
    return { heard, post: thread.post }
  })

type Held = Effect.Effect.Success<ReturnType<typeof hold>>

const chunks = ({ heard, post }: Held): Stream.Stream<Uint8Array> =>
  Stream.repeatEffectOption(
    Effect.flatMap(Queue.take(heard), (message) => {
      switch (message.type) {
        case "chunk":
          // The next one comes when this one is asked for.
          post({ type: "written" })
          return Effect.succeed(message.data)
        case "broken":
          return Effect.die(new Error(message.reason))
        case "gone":
          return Effect.die(gone(message.code))
        default:
          return Effect.fail(Option.none())
      }
    })
  )

const toResponse = (head: Extract<Heard, { readonly type: "head" }>, held: Held) => {
  const { body, cookies, headers, more, status, statusText } = head
  const contentType = headers["content-type"]
  const contentLength = headers["content-length"]
  const options = {
    status,
    statusText,
    headers,
    ...(contentType === undefined ? {} : { contentType }),
    cookies: Cookies.fromSetCookie(cookies)
  }
  if (more) {
    return HttpServerResponse.stream(chunks(held), {
      ...options,
      ...(contentLength === undefined ? {} : { contentLength: Number(contentLength) })
    })
  }
  return body === undefined ? HttpServerResponse.empty(options) : HttpServerResponse.uint8Array(body, options)
}

/** Carries messages between the client and the worker until one of them closes. */
const converse = (request: HttpServerRequest.HttpServerRequest, { heard, post }: Held) =>
  Effect.gen(function* () {
    const socket = yield* request.upgrade
    const write = yield* socket.writer
    const handled: Array<() => void> = []
    const receive = (data: Protocol.Data) =>
      Effect.async<void>((resume) => {
        handled.push(() => resume(Effect.void))
        post({ type: "message", data })
      })
    const client = Effect.matchEffect(socket.runRaw(receive), {
      onSuccess: () => Effect.succeed({ code: 1000, reason: "" }),
      onFailure: (error) =>
        Effect.succeed(
          error.reason === "Close"
            ? { code: error.code, reason: error.closeReason ?? "" }
            : { code: 1006, reason: "" }
        )
    }).pipe(
      Effect.flatMap((end) =>
        Effect.zipRight(
          Effect.sync(() => post({ type: "closed", ...end })),
          Effect.never
        )
      )
    )
    const worker = Effect.iterate(true, {
      while: (open) => open,
      body: () =>
        Effect.flatMap(Queue.take(heard), (message): Effect.Effect<boolean> => {
          switch (message.type) {
            case "send":
              return Effect.as(
                Effect.ensuring(
                  Effect.ignore(write(message.data)),
                  Effect.sync(() => post({ type: "written" }))
                ),
                true
              )
            case "close":
              return Effect.as(
                Effect.ignore(write(new Socket.CloseEvent(message.code, message.reason))),
                true
              )
            case "handled":
              handled.shift()?.()
              return Effect.succeed(true)
            case "gone":
              return Effect.die(gone(message.code))
            default:
              return Effect.succeed(message.type !== "done")
          }
        })
    })
    yield* Effect.raceFirst(worker, client)
    return HttpServerResponse.empty()
  })

/** Reads the answer; a handler that fails has answered before it says why. */
const answer = (
  request: HttpServerRequest.HttpServerRequest,
  held: Held,
  report: NonNullable<Options["report"]>
) =>
  Effect.gen(function* () {
    let response: HttpServerResponse.HttpServerResponse | undefined
    for (;;) {
      const message = yield* Queue.take(held.heard)
      switch (message.type) {
        case "head":
          response = toResponse(message, held)
          // The reason for a failure, or `done`, is next.
          if (message.more) return response
          continue
        case "upgrade":
          return yield* converse(request, held)
        case "failed":
          yield* report(request, message.reason)
          continue
        case "gone":
          return yield* Effect.die(gone(message.code))
        case "done":
          return response ?? HttpServerResponse.empty({ status: 500 })
      }
    }
  })

const hasBody = (headers: Readonly<Record<string, string | undefined>>) =>
  headers["transfer-encoding"] !== undefined || Number(headers["content-length"] ?? 0) > 0

/**
 * An app that serves the target's app as a threaded server does: each request holds one of `threads` worker threads for its
 * whole life, also while it waits, and a WebSocket for as long as it is open. When none is free, a request waits in a
 * queue, in order. In the worker `Workload.wait` blocks the thread. A request's body is read whole before the handler runs
 * (the server's `bodySize` limits it); the body of an answer is streamed.
 *
 * A client that goes interrupts the handler; a thread that computes or blocks notices that only afterwards, and is held
 * until then. Threads share no memory. The first one is awaited: fails with {@link WorkerRefused} if it cannot load the app.
 * A thread that ends is replaced. All are terminated when the scope closes. Dies on an option out of range.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  target: Target,
  options: Options = {}
): Effect.Effect<
  {
    readonly app: HttpApp.Default<HttpServerError.RequestError | WorkerRefused, Scope.Scope>
    readonly counts: () => Counts
  },
  WorkerRefused,
  Scope.Scope
> =>
  Effect.gen(function* () {
    checkOptions(options, { threads: count })
    const { report = () => Effect.void, threads = defaultThreads } = options
    const pool = yield* Effect.acquireRelease(
      Effect.sync(() =>
        "entry" in target
          ? WorkerPool.make(target.entry, undefined, threads)
          : WorkerPool.make(builtFile("services/http/internal/blockingMain.js"), target, threads)
      ),
      (pool) => Effect.promise(pool.close)
    )
    yield* Effect.scoped(hold(pool))
    const app = Effect.gen(function* () {
      const request = yield* HttpServerRequest.HttpServerRequest
      const held = yield* hold(pool)
      const body = hasBody(request.headers) ? new Uint8Array(yield* request.arrayBuffer) : undefined
      const { headers, method, url } = request
      const remote = Option.getOrUndefined(request.remoteAddress)
      held.post({ type: "request", method, url, headers: { ...headers }, remote, body })
      return yield* answer(request, held, report)
    })
    return { app, counts: pool.counts }
  })

/**
 * Makes the worker thread that calls it one of {@link make} with an `entry`: for a bundle that has the app in it.
 *
 * @since 0.1.0
 * @category functions
 */
export const serveHere = (app: HttpApp.Default<unknown, Scope.Scope>): void => serve(app)
