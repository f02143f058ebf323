import { Cause, Effect, Exit, Fiber, Option, Runtime } from "effect"
import * as Cancellation from "../../task/Cancellation.js"
import * as Deadline from "../../task/Deadline.js"
import { formatGiven } from "../../text/Durations.js"
import { checkedDuration, checkOptions } from "../../text/Numbers.js"
import {
  type Handler,
  HandlerFailed,
  type Request,
  type Response,
  type ServeOptions,
  SocketClosed,
  text,
  type Upgrade
} from "../HttpServer.js"
import type { Connection } from "./connections.js"
import { title } from "./title.js"

// A fiber for each request: its answer, the reasons of its cancellation, and the grace period at the end. Shared by the
// servers over node:http and in memory.

/** A request, its path and query split when they are read. */
export class IncomingRequest implements Request {
  readonly path: string
  readonly #search: string
  #query: URLSearchParams | undefined

  constructor(
    readonly method: string,
    target: string,
    readonly headers: Request["headers"]
  ) {
    // A proxy may send the whole URL (RFC 9112, 3.2.2).
    const local = /^https?:\/\/[^/?]*/i.test(target) ? target.replace(/^https?:\/\/[^/?]*/i, "") : target
    const mark = local.indexOf("?")
    this.path = (mark < 0 ? local : local.slice(0, mark)) || "/"
    this.#search = mark < 0 ? "" : local.slice(mark)
  }

  get query() {
    this.#query ??= new URLSearchParams(this.#search)
    return this.#query
  }
}

/** The fibers of one server. */
export const make = <E, R>(handler: Handler<E, R>, options: ServeOptions) =>
  Effect.map(Effect.runtime<R>(), (runtime) => {
    const fork = Runtime.runFork(runtime)
    const report = options.report ?? ((failure: HandlerFailed) => Effect.logError(failure.message))
    checkOptions(options, { port: { least: 0, most: 65_535 } })
    const grace = checkedDuration("grace", options.grace ?? "5 seconds")
    const running = new Map<Fiber.RuntimeFiber<unknown>, Request>()
    let whenIdle: (() => void) | undefined
    let sessions = 0 // running requests that are WebSockets

    const drained = Effect.async<void>((resume) => {
      if (running.size === 0) return resume(Effect.void)
      whenIdle = () => resume(Effect.void)
    })
    const failed = (request: Request, cause: Cause.Cause<unknown>) =>
      Effect.catchAllCause(
        Effect.suspend(() => report(new HandlerFailed({ request, cause }))),
        (broken) => Effect.logError("the report of a handler failed", Cause.sequential(cause, broken))
      )
    const interrupt = (fiber: Fiber.RuntimeFiber<unknown>, reason: string, origin: string) =>
      fiber.unsafeInterruptAsFork(Cancellation.toFiberId({ reason, origin }))

    return {
      /** Runs the effect as the fiber of this request. */
      start: <A>(
        request: Request,
        effect: Effect.Effect<A, never, R>,
        onExit: (exit: Exit.Exit<A>) => void
      ) => {
        const fiber = fork(effect)
        running.set(fiber, request)
        fiber.addObserver((exit) => {
          running.delete(fiber)
          onExit(exit)
          if (running.size === 0) whenIdle?.()
        })
        return fiber
      },
      drained,
      failed,
      disconnected: (fiber: Fiber.RuntimeFiber<unknown>) => {
        const request = running.get(fiber)
        if (request !== undefined) interrupt(fiber, "client disconnected", title(request))
      },
      /** The handler's answer; 500 if the handler fails. */
      answer: (request: Request): Effect.Effect<Response | Upgrade, never, R> =>
        Effect.catchAllCause(
          Effect.suspend(() => handler(request)),
          (cause) =>
            Cause.isInterruptedOnly(cause)
              ? Effect.failCause(cause as Cause.Cause<never>)
              : Effect.as(failed(request, cause), text("internal error\n", { status: 500 }))
        ),
      /** Runs the session to its end, and closes the connection with the code of that end. */
      converse: (request: Request, upgrade: Upgrade, connection: Connection): Effect.Effect<void> =>
        Effect.suspend(() => {
          sessions++
          return upgrade.session(connection.socket)
        }).pipe(
          Effect.catchIf(
            (error) => error instanceof SocketClosed,
            () => Effect.void
          ),
          Effect.tapErrorCause((cause) =>
            Cause.isInterruptedOnly(cause) ? Effect.void : failed(request, cause)
          ),
          Effect.onExit((exit) =>
            Effect.sync(() => {
              sessions--
              connection.unsafeClose(
                Exit.isSuccess(exit) ? 1000 : Cause.isInterruptedOnly(exit.cause) ? 1001 : 1011
              )
            })
          ),
          Effect.catchAllCause((cause) =>
            Cause.isInterruptedOnly(cause) ? Effect.failCause(cause as Cause.Cause<never>) : Effect.void
          ),
          Effect.asVoid
        ),
      /** Gives running requests the grace period, cancels the others and waits until `gone`. */
      close: (gone: Effect.Effect<void>, destroy: Effect.Effect<void>) =>
        Effect.gen(function* () {
          const requests = running.size - sessions
          if (requests > 0) {
            yield* Effect.catchAllCause(
              Effect.suspend(() => options.onDrain?.(requests, grace) ?? Effect.void),
              (cause) => Effect.logError("onDrain failed", cause)
            )
          }
          // A fiber of its own: this runs in a finalizer, which cannot be interrupted, and so not be timed out.
          const reason = `server closed and the grace period of ${formatGiven(grace)} is over`
          const inTime = yield* Deadline.timeout(gone, {
            limit: grace,
            late: { reason, origin: "server" },
            onTimeout: () => reason
          }).pipe(Effect.option, Effect.interruptible, Effect.forkDaemon, Effect.flatMap(Fiber.join))
          if (Option.isSome(inTime)) return
          for (const fiber of running.keys()) interrupt(fiber, reason, "server")
          yield* drained
          yield* destroy
          yield* gone
        })
    }
  })

/** The answer of a request that is cancelled because the server closes. */
export const unavailable = text("server is closing\n", { status: 503 })

const upgradeRequired = text("this is a WebSocket\n", {
  status: 426,
  headers: { upgrade: "websocket", "sec-websocket-version": "13" }
})

/** The response of a request that ended so. */
export const toResponse = (exit: Exit.Exit<Response | Upgrade>): Response =>
  Exit.isFailure(exit) ? unavailable : exit.value._tag === "Upgrade" ? upgradeRequired : exit.value
