import * as FileSystem from "@effect/platform/FileSystem"
import * as HttpApp from "@effect/platform/HttpApp"
import * as HttpIncomingMessage from "@effect/platform/HttpIncomingMessage"
import type * as HttpMiddleware from "@effect/platform/HttpMiddleware"
import * as HttpRouter from "@effect/platform/HttpRouter"
import type { HttpServer } from "@effect/platform/HttpServer"
import * as HttpServerError from "@effect/platform/HttpServerError"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerRespondable from "@effect/platform/HttpServerRespondable"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Socket from "@effect/platform/Socket"
import {
  Cause,
  Context,
  DefaultServices,
  Deferred,
  type Duration,
  Effect,
  Exit,
  Fiber,
  FiberRefs,
  GlobalValue,
  Option,
  Runtime,
  RuntimeFlags,
  Scope,
  Tracer
} from "effect"
import * as Cancellation from "../../task/Cancellation.js"
import * as Causes from "../../task/Causes.js"
import * as Deadline from "../../task/Deadline.js"
import * as RequestFiber from "../../task/RequestFiber.js"
import * as RequestScope from "../../task/RequestScope.js"
import * as Sleep from "../../task/Sleep.js"
import { formatGiven } from "../../text/Durations.js"
import { HandlerFailed, type Options, type Reason, reasons } from "../HttpServer.js"
import type { Resolved } from "./limits.js"
import * as RouteTable from "./routeTable.js"
import type { ServerRequest } from "./serverRequest.js"
import type { Stats } from "./stats.js"
import { Turns } from "./turns.js"

// A fiber for each request: the app and its middleware as one effect, the reasons of cancellation, the deadline, and the
// grace period at the end. Shared by the servers over node:http and in memory.

// Under the platform's id, by which its middleware tells a client that is gone from a server that stops.
Cancellation.describe(HttpServerError.clientAbortFiberId, {
  reason: reasons.disconnected,
  origin: "client"
})

const ejected = GlobalValue.globalValue(
  "@effect/platform/HttpApp/ejectedScopes",
  () => new WeakSet<Scope.Scope>()
)

const unavailable = HttpServerResponse.empty({ status: 503, headers: { "retry-after": "1" } })

type App = HttpApp.Default<any, any>
type AnyFiber = Fiber.RuntimeFiber<any, any>
type Ended = (request: ServerRequest) => void
type Start = (request: ServerRequest) => Fiber.RuntimeFiber<void>

/** Whether the router's own way to a route depends on nothing but the request. */
const isPlainRouter = (
  app: App,
  { context, fiberRefs }: Runtime.Runtime<never>
): app is App & HttpRouter.HttpRouter<any, any> =>
  HttpRouter.TypeId in app &&
  Object.keys(FiberRefs.getOrDefault(fiberRefs, HttpRouter.currentRouterConfig)).length === 0 &&
  !context.unsafeMap.has(Tracer.ParentSpan.key)

type Route = HttpRouter.Route<any, any>

const handlerOf = ({ handler }: Route): App => Effect.flatMap(handler, HttpServerRespondable.toResponse)

/** A route that is found before the fiber of its request starts: its effect, and what the router adds to the context. */
class Routed {
  private readonly prefix: string | undefined
  constructor(
    private readonly route: Route,
    readonly effect: Effect.Effect<void>
  ) {
    this.prefix = Option.getOrUndefined(route.prefix)
  }
  enter(
    context: Map<string, unknown>,
    request: ServerRequest,
    { params, searchParams }: RouteTable.Found<unknown>
  ) {
    context.set(HttpServerRequest.ParsedSearchParams.key, searchParams)
    context.set(HttpRouter.RouteContext.key, {
      [HttpRouter.RouteContextTypeId]: HttpRouter.RouteContextTypeId,
      route: this.route,
      params
    } satisfies HttpRouter.RouteContext)
    if (this.prefix === undefined) return
    const url = request.url.slice(this.prefix.length)
    context.set(HttpServerRequest.HttpServerRequest.key, request.modify({ url: url === "" ? "/" : url }))
  }
}

const requestOf = (fiber: AnyFiber) =>
  (
    Context.unsafeGet(
      fiber.currentContext as Context.Context<never>,
      HttpServerRequest.HttpServerRequest
    ) as ServerRequest
  ).root

const send = (response: HttpServerResponse.HttpServerResponse) =>
  Effect.withFiberRuntime<HttpServerResponse.HttpServerResponse, HttpServerError.ResponseError>((fiber) => {
    const request = requestOf(fiber)
    const before = fiber.getFiberRef(HttpApp.currentPreResponseHandlers)
    if (before._tag === "None") {
      const rest = request.respond(response)
      return rest === undefined ? Exit.succeed(response) : Effect.as(rest, response)
    }
    return Effect.tap(before.value(request, response), (response) => request.respond(response) ?? Effect.void)
  })

const sessionEnded = (cause: Cause.Cause<unknown>) =>
  Option.exists(Cause.failureOption(cause), (error) => Socket.SocketCloseError.is(error))

/** With the request as it came: the one in the context of a route lacks the prefix of its router. */
const outside = <E>(request: ServerRequest, answer: HttpApp.Default<E, any>): HttpApp.Default<E, any> =>
  Effect.provideService(answer, HttpServerRequest.HttpServerRequest, request)

/** Whether the scope of a request has been closed: it has no finalizer, or other code closes it. */
const isClosed = ({ scope }: ServerRequest, exit: Exit.Exit<unknown, unknown>) =>
  scope === undefined || RequestScope.unsafeCloseEmpty(scope, exit) || ejected.has(scope)

/** The requests of one server. */
export class Requests {
  readonly running = new Set<ServerRequest>()
  closing = false
  private readonly apps: Array<Start> = []
  private whenIdle: (() => void) | undefined = undefined
  /** Those that wait for a turn of the loop, and what is called when they have ended. */
  private readonly waiting = new Map<ServerRequest, Ended>()
  private readonly turns: Turns<ServerRequest> | undefined

  constructor(
    readonly limits: Resolved,
    readonly stats: Stats,
    private readonly options: Options,
    private readonly fork: <A>(effect: Effect.Effect<A>) => Fiber.RuntimeFiber<A>
  ) {
    if (Number.isFinite(limits.waitTime)) {
      this.turns = new Turns(limits.waitTime, (request, isLate) => this.next(request, isLate))
    }
  }

  /** Counts and reports a request that is answered with a status of 500 or more because its handler failed. */
  private failed(cause: Cause.Cause<unknown>, status: number) {
    if (status < 500 || Cause.isInterruptedOnly(cause) || sessionEnded(cause)) return Effect.void
    this.stats.failed++
    return Effect.withFiberRuntime<void>((fiber) => this.report(requestOf(fiber), cause))
  }

  report(request: ServerRequest, cause: Cause.Cause<unknown>): Effect.Effect<void> {
    const report = this.options.report ?? ((failure: HandlerFailed) => Effect.logError(failure.message))
    return Effect.catchAllCause(
      Effect.suspend(() => report(new HandlerFailed({ request, cause }))),
      (broken) => Effect.logError("the report of a handler failed", Cause.sequential(cause, broken))
    )
  }

  /** The app as an effect that answers the request in its context, and does not fail. Runs uninterruptible. */
  private handled(app: App, middleware: HttpMiddleware.HttpMiddleware | undefined): Effect.Effect<void> {
    const onFailure = (cause: Cause.Cause<unknown>) =>
      Effect.flatMap(HttpServerError.causeResponse(cause), ([response, rest]) =>
        Effect.zipRight(
          Effect.zipRight(send(response), this.failed(cause, response.status)),
          Cause.isEmptyType(rest) ? Exit.succeed(response) : Exit.failCause(rest)
        )
      )
    const end = (exit: Exit.Exit<HttpServerResponse.HttpServerResponse, unknown>) =>
      Effect.withFiberRuntime<void, unknown>((fiber) => {
        const request = requestOf(fiber)
        // Answered by now, unless the middleware did not run the app.
        const answer = request.answered
          ? Effect.void
          : Exit.isSuccess(exit)
            ? send(exit.value)
            : onFailure(exit.cause)
        return isClosed(request, exit) ? answer : Effect.ensuring(answer, Scope.close(request.scope!, exit))
      })
    const ended = (answered: App) =>
      Effect.matchCauseEffect(answered, {
        onSuccess: (response) => end(Exit.succeed(response)),
        onFailure: (cause) => end(Exit.failCause(cause))
      })
    if (middleware !== undefined) {
      const answered = Effect.matchCauseEffect(Effect.interruptible(app), { onSuccess: send, onFailure })
      return ended(middleware(answered)) as Effect.Effect<void>
    }
    // The same in fewer operations: an answer that can be written at once needs none.
    return Effect.matchCauseEffect(Effect.interruptible(app), {
      onSuccess: (response) => {
        const fiber = Option.getOrThrow(Fiber.getCurrentFiber())
        const request = requestOf(fiber)
        if (Option.isSome(fiber.getFiberRef(HttpApp.currentPreResponseHandlers)))
          return ended(outside(request, send(response)))
        const rest = request.respond(response)
        if (rest !== undefined) return ended(Effect.as(rest, response))
        const exit = Exit.succeed(response)
        return isClosed(request, exit) ? Exit.void : Scope.close(request.scope!, exit)
      },
      onFailure: (cause) =>
        Effect.withFiberRuntime<void, unknown, any>((fiber) =>
          ended(outside(requestOf(fiber), onFailure(cause)))
        )
    }) as Effect.Effect<void>
  }

  /** The same with a span for each request, which only the platform's own handler makes. */
  private traced(app: App, middleware: HttpMiddleware.HttpMiddleware | undefined): Effect.Effect<void> {
    const reported = Effect.tapErrorCause(Effect.interruptible(app), (cause) =>
      Effect.flatMap(HttpServerError.causeResponse(cause), ([{ status }]) => this.failed(cause, status))
    )
    const respond = (
      request: HttpServerRequest.HttpServerRequest,
      response: HttpServerResponse.HttpServerResponse
    ) => (request as ServerRequest).root.respond(response) ?? Effect.void
    return Effect.catchAllCause(
      HttpApp.toHandled(reported, respond, middleware),
      () => Effect.void
    ) as Effect.Effect<void>
  }

  /** `HttpServer.serve`: the requests of the app until the scope closes; then it waits for `close`. */
  readonly serve = (
    close: Effect.Effect<void>
  ): ((
    app: HttpApp.Default<any, any>,
    middleware?: HttpMiddleware.HttpMiddleware
  ) => Effect.Effect<void, never, any>) => {
    return (app, middleware) =>
      Effect.gen(this, function* () {
        const runtime = yield* Effect.runtime<never>()
        const tracer = yield* Effect.tracer
        // A span costs more than the rest of a request: only where a tracer was installed.
        const traced = tracer !== Context.get(DefaultServices.liveServices, Tracer.Tracer)
        const effect = traced ? this.traced(app, middleware) : this.handled(app, middleware)
        const services: Array<readonly [string, unknown]> = [...runtime.context.unsafeMap]
        if (
          !runtime.context.unsafeMap.has(HttpIncomingMessage.MaxBodySize.key) &&
          Number.isFinite(this.limits.bodySize)
        ) {
          services.push([
            HttpIncomingMessage.MaxBodySize.key,
            Option.some(FileSystem.Size(this.limits.bodySize))
          ])
        }
        const run = yield* Effect.withFiberRuntime<ReturnType<typeof RequestFiber.unsafeForker>>((fiber) =>
          Effect.succeed(
            RequestFiber.unsafeForker(Runtime.disableRuntimeFlag(runtime, RuntimeFlags.Interruption), fiber)
          )
        )
        const find =
          !traced && middleware === undefined && isPlainRouter(app, runtime)
            ? RouteTable.make(app, (route) => new Routed(route, this.handled(handlerOf(route), undefined)))
            : undefined
        const start: Start = (request) => {
          // Not `new Map(services)`, which takes almost twice as long.
          const context = new Map<string, unknown>()
          for (let i = 0; i < services.length; i++) context.set(services[i]![0], services[i]![1])
          request.scope = RequestScope.unsafeMake()
          context.set(HttpServerRequest.HttpServerRequest.key, request)
          context.set(Scope.Scope.key, request.scope)
          const found = find?.(request.method, request.url)
          found?.leaf.enter(context, request, found)
          return run(found === undefined ? effect : found.leaf.effect, Context.unsafeMake(context))
        }
        yield* Effect.acquireRelease(
          Effect.sync(() => this.apps.push(start)),
          () =>
            Effect.suspend(() => {
              if (this.apps.length === 1)
                return Effect.ensuring(
                  close,
                  Effect.sync(() => this.remove(start))
                )
              this.remove(start)
              return Effect.void
            })
        )
      })
  }

  private refuse(request: ServerRequest) {
    const rest = request.respond(unavailable)
    if (rest !== undefined) this.fork(Effect.ignore(rest))
  }

  private remove(start: Start) {
    this.apps.splice(this.apps.indexOf(start), 1)
  }

  /** Starts the fiber of the request, or has it wait while the thread is busy. Returns false if it has ended already. */
  start(request: ServerRequest, ended: Ended): boolean {
    this.stats.requests++
    this.stats.running++
    const turn = this.turns?.enter(request) ?? "begin"
    if (turn === "begin") return this.begin(request, ended)
    if (turn === "refuse") {
      this.late(request)
      return false
    }
    this.running.add(request)
    this.waiting.set(request, ended)
    return true
  }

  /** A connection was accepted. */
  readonly accepted = (): void => this.turns?.accepted()

  /** Begins a request that has waited, or refuses it. */
  private next(request: ServerRequest, isLate: boolean) {
    const ended = this.waiting.get(request)!
    this.waiting.delete(request)
    if (!isLate && this.begin(request, ended)) return
    if (isLate) this.late(request)
    this.over(request, ended)
  }

  private late(request: ServerRequest) {
    this.stats.limits.waitTime++
    this.stats.running--
    this.refuse(request)
  }

  private over(request: ServerRequest, ended: Ended) {
    this.running.delete(request)
    ended(request)
    if (this.running.size === 0) this.whenIdle?.()
  }

  private begin(request: ServerRequest, ended: Ended): boolean {
    const app = this.apps.at(-1)
    if (app === undefined) {
      this.stats.running--
      this.refuse(request)
      return false
    }
    const fiber: Fiber.RuntimeFiber<unknown> = app(request)
    if (fiber.unsafePoll() !== null) {
      this.stats.running--
      return false
    }
    request.fiber = fiber
    this.running.add(request)
    const late = Number.isFinite(this.limits.deadline) ? this.expire(request) : undefined
    fiber.addObserver(() => {
      this.stats.running--
      late?.unsafeInterruptAsFork(fiber.id())
      this.over(request, ended)
    })
    return true
  }

  private expire(request: ServerRequest) {
    return this.fork(
      Effect.zipRight(
        Sleep.sleep(this.limits.deadline),
        Effect.sync(() => {
          if (request.upgraded) return
          this.stats.limits.deadline++
          this.cancel(request, reasons.deadline)
        })
      )
    )
  }

  /** Cancels a request that runs. Its client is answered at once, whether or not the handler can be interrupted. */
  cancel(request: ServerRequest, reason: Reason): void {
    const ended = this.waiting.get(request)
    if ((request.fiber === undefined && ended === undefined) || request.reason !== undefined) return
    request.reason = reason
    this.stats.cancelled[reason]++
    if (reason !== reasons.disconnected) this.refuse(request)
    if (ended !== undefined) {
      this.turns?.leave(request)
      this.waiting.delete(request)
      this.stats.running--
      this.over(request, ended)
    }
    request.fiber?.unsafeInterruptAsFork(
      reason === reasons.disconnected
        ? HttpServerError.clientAbortFiberId
        : Cancellation.toFiberId({ reason, origin: "server" })
    )
  }

  private readonly drained = Effect.async<void>((resume) => {
    if (this.running.size === 0) return resume(Effect.void)
    this.whenIdle = () => resume(Effect.void)
  })

  /** Gives running requests the grace period, then cancels them, and waits until all connections are gone. */
  drain(gone: Effect.Effect<void>, destroy: () => void): Effect.Effect<void> {
    const { grace } = this.limits
    // A fiber of its own: this runs in a finalizer, which cannot be interrupted, and so not be timed out.
    const within = (wait: Effect.Effect<void>, limit: Duration.DurationInput) =>
      Deadline.timeout(wait, {
        limit,
        late: { reason: reasons.closing, origin: "server" },
        onTimeout: () => reasons.closing
      }).pipe(Effect.option, Effect.interruptible, Effect.forkDaemon, Effect.flatMap(Fiber.join))
    return Effect.gen(this, function* () {
      let requests = 0
      for (const request of this.running) if (!request.upgraded) requests++
      if (requests > 0) {
        yield* Effect.catchAllCause(
          Effect.suspend(() => this.options.onDrain?.(requests, grace) ?? Effect.void),
          (cause) => Effect.logError(`onDrain failed: ${Causes.headline(cause)}`)
        )
      }
      if (Option.isSome(yield* within(Effect.zipRight(gone, this.drained), grace))) return
      for (const request of this.running) this.cancel(request, reasons.closing)
      // As long again for the clean-up of handlers; those that cannot be interrupted are left.
      const ended = yield* within(this.drained, grace)
      destroy()
      yield* gone
      if (Option.isSome(ended)) return
      const { size } = this.running
      yield* Effect.logError(
        `server: ${size} cancelled ${size === 1 ? "request has" : "requests have"} not ended within ${formatGiven(grace)}`
      )
    })
  }
}

/** The service that the platform's tag stands for. */
export type Serve = HttpServer["serve"]

/** Done once by the first caller; later ones wait for the same end. */
export const once = (effect: Effect.Effect<void>): Effect.Effect<void> => {
  let done: Deferred.Deferred<void> | undefined
  return Effect.flatMap(Deferred.make<void>(), (fresh) => {
    if (done !== undefined) return Deferred.await(done)
    done = fresh
    return Effect.ensuring(effect, Deferred.succeed(fresh, undefined))
  })
}
