import * as Cookies from "@effect/platform/Cookies"
import * as HttpApi from "@effect/platform/HttpApi"
import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder"
import * as HttpApiEndpoint from "@effect/platform/HttpApiEndpoint"
import * as HttpApiGroup from "@effect/platform/HttpApiGroup"
import * as HttpApp from "@effect/platform/HttpApp"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import * as HttpMiddleware from "@effect/platform/HttpMiddleware"
import * as HttpMultiplex from "@effect/platform/HttpMultiplex"
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServer from "@effect/platform/HttpServer"
import * as Respondable from "@effect/platform/HttpServerRespondable"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Multipart from "@effect/platform/Multipart"
import * as NodeContext from "@effect/platform-node/NodeContext"
import { describe, expect, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Layer, Option, Schedule, Schema, Scope, Stream, Tracer } from "effect"
import type { HandlerFailed } from "../../../src/services/http/HttpServer.js"
import * as Cancellation from "../../../src/services/task/Cancellation.js"
import { text } from "../../support/Http.js"
import { endless, layers, NoRows, request, respond, stats } from "./support.js"

const bytes = (body: string) => new TextEncoder().encode(body)
const quiet = { report: () => Effect.void }

const User = Schema.Struct({ id: Schema.Number, name: Schema.String })
const api = HttpApi.make("api").add(
  HttpApiGroup.make("users").add(HttpApiEndpoint.post("create", "/users").setPayload(User).addSuccess(User))
)
const users = HttpApiBuilder.group(api, "users", (handlers) =>
  handlers.handle("create", ({ payload }) => Effect.succeed({ ...payload, id: payload.id + 1 }))
)
const apiLayer = HttpApiBuilder.serve().pipe(
  Layer.provide(HttpApiBuilder.api(api)),
  Layer.provide(users),
  Layer.provide(NodeContext.layer)
)

const stream = (...chunks: ReadonlyArray<string>) => Stream.fromIterable(chunks.map(bytes))
const withBody = <A, E, R>(read: (one: typeof request.Service) => Effect.Effect<A, E, R>) =>
  Effect.flatMap(request, read)

type Answer = readonly [status: number, body: string, headers?: object]
// [what, the app, the method or the body that is posted, the answer]
const answers: ReadonlyArray<
  readonly [string, HttpApp.Default<unknown>, "GET" | "HEAD" | { post: string }, Answer]
> = [
  ["text", respond("hi"), "GET", [200, "hi", { "content-type": "text/plain", "content-length": "2" }]],
  ["an effect that waits", Effect.delay(respond("late"), 5), "GET", [200, "late"]],
  ["nothing", HttpServerResponse.empty({ status: 201 }), "GET", [201, ""]],
  ["204, whatever its body", HttpServerResponse.text("x", { status: 204 }), "GET", [204, ""]],
  [
    "304",
    HttpServerResponse.empty({ status: 304, headers: { etag: '"1"' } }),
    "GET",
    [304, "", { etag: '"1"' }]
  ],
  ["HEAD", respond("hidden"), "HEAD", [200, "", { "content-length": "6" }]],
  ["a text that is raw", HttpServerResponse.raw("raw é"), "GET", [200, "raw é"]],
  ["a large text", respond("é".repeat(100_000)), "GET", [200, "é".repeat(100_000)]],
  ["a small text beyond ASCII", respond("é€😀"), "GET", [200, "é€😀"]],
  ["a stream", HttpServerResponse.stream(stream("a", "b", "c")), "GET", [200, "abc"]],
  ["an empty stream", HttpServerResponse.stream(Stream.empty), "GET", [200, ""]],
  [
    "a header",
    HttpServerResponse.text("", { headers: { "x-own": "yes" } }),
    "GET",
    [200, "", { "x-own": "yes" }]
  ],
  ["the body", withBody((one) => Effect.map(one.text, respond)), { post: "sent" }, [200, "sent"]],
  [
    "the body twice",
    withBody((one) =>
      Effect.map(Effect.zip(one.text, one.arrayBuffer), ([a, b]) => respond(a + b.byteLength))
    ),
    { post: "four" },
    [200, "four4"]
  ],
  ["no body", withBody((one) => Effect.map(one.text, (body) => respond(`<${body}>`))), "GET", [200, "<>"]],
  [
    "the body as a stream",
    Effect.map(request, (one) => HttpServerResponse.stream(one.stream)),
    { post: "streamed" },
    [200, "streamed"]
  ],
  [
    "JSON",
    withBody((one) => Effect.flatMap(one.json, HttpServerResponse.json)),
    { post: '{"a":1}' },
    [200, '{"a":1}']
  ],
  ["400 for what is not JSON", withBody((one) => Effect.as(one.json, respond(""))), { post: "{" }, [400, ""]],
  [
    "413 for a larger body",
    withBody((one) => Effect.as(one.text, respond(""))),
    { post: "x".repeat(2000) },
    [413, ""]
  ],
  [
    "an error that knows its answer",
    Effect.flatMap(HttpServerResponse.text("gone", { status: 410 }), Effect.fail),
    "GET",
    [410, "gone"]
  ],
  ["500 for a failure, with nothing of it", Effect.fail(new NoRows()), "GET", [500, ""]],
  ["500 for a defect", Effect.die(new TypeError("secret")), "GET", [500, ""]],
  ["503 for an interruption", Effect.interrupt, "GET", [503, ""]],
  ["404 of a router", HttpRouter.get(HttpRouter.empty, "/other", respond("")), "GET", [404, ""]],
  [
    "a mounted route's parameters",
    HttpRouter.mount(
      HttpRouter.empty,
      "/x",
      HttpRouter.get(
        HttpRouter.empty,
        "/:id",
        Effect.map(HttpRouter.params, ({ id }) => respond(`${id}`))
      )
    ),
    "GET",
    [200, "a b"]
  ],
  [
    "HttpMultiplex",
    HttpMultiplex.hostExact(HttpMultiplex.empty, "elsewhere", respond("no")),
    "GET",
    [404, ""]
  ],
  [
    "a pre-response handler",
    HttpMiddleware.cors()(respond("cors")),
    "GET",
    [200, "cors", { "access-control-allow-origin": "*" }]
  ]
]

for (const [name, layer] of layers) {
  describe(`HttpServer with ${name}`, () => {
    it.scopedLive("answers as the app says", () =>
      Effect.forEach(answers, ([what, app, sent, [status, body, headers = {}]]) =>
        Effect.gen(function* () {
          yield* HttpServer.serveEffect(app)
          const to = (method: "GET" | "HEAD" | "POST") => HttpClientRequest.make(method)("/x/a%20b?q=1")
          const got = yield* HttpClient.execute(
            typeof sent === "string" ? to(sent) : HttpClientRequest.bodyText(to("POST"), sent.post)
          )
          expect([what, got.status, yield* got.text]).toEqual([what, status, body])
          expect(got.headers, what).toMatchObject(headers)
        }).pipe(Effect.scoped, Effect.provide(layer({ bodySize: 1000, ...quiet })))
      )
    )

    it.scopedLive("passes the request on, and views of it", () =>
      Effect.gen(function* () {
        const app = Effect.gen(function* () {
          const one = yield* request
          const view = one.modify({ url: "/changed", remoteAddress: "10.0.0.1" })
          return yield* HttpServerResponse.json({
            seen: [one.method, one.url, one.headers["x-own"], one.cookies, Option.isSome(one.remoteAddress)],
            view: [view.url, view.originalUrl, view.headers["x-own"], yield* view.text, view.remoteAddress]
          })
        })
        yield* HttpServer.serveEffect(Effect.orDie(app))
        const got = yield* HttpClient.execute(
          HttpClientRequest.put("/a%20b?c=%C3%A9").pipe(
            HttpClientRequest.setHeaders({ "x-own": "yes", cookie: "a=1; b=2" }),
            HttpClientRequest.bodyText("body")
          )
        )
        expect(yield* got.json).toMatchObject({
          seen: ["PUT", "/a%20b?c=%C3%A9", "yes", { a: "1", b: "2" }, true],
          view: ["/changed", "/a%20b?c=%C3%A9", "yes", "body", { value: "10.0.0.1" }]
        })
      }).pipe(Effect.provide(layer()))
    )

    it.scopedLive("serves the routes of a router as the router does", () =>
      Effect.gen(function* () {
        const seen = Effect.flatMap(HttpRouter.RouteContext, ({ params, route }) =>
          Effect.map(request, ({ originalUrl, url }) =>
            respond([route.path, url, originalUrl, params["id"]].join(" "))
          )
        )
        const tagged = Effect.zipRight(
          HttpApp.appendPreResponseHandler(
            (one, response) =>
              Effect.map(request, ({ url }) =>
                HttpServerResponse.setHeader(response, "x-url", `${one.url} ${url}`)
              ) as Effect.Effect<HttpServerResponse.HttpServerResponse>
          ),
          seen
        )
        const router = HttpRouter.prefixAll(
          HttpRouter.empty.pipe(
            HttpRouter.get("/", seen),
            HttpRouter.get("/users/:id", tagged),
            HttpRouter.all("/any/:id", seen),
            HttpRouter.post("/fail", Effect.zipRight(tagged, new NoRows())),
            HttpRouter.get(
              "/value",
              Effect.succeed({ [Respondable.symbol]: () => respond("converted") }) as never as HttpApp.Default
            )
          ),
          "/v1"
        )
        yield* HttpServer.serveEffect(router)
        expect(yield* text("/v1")).toBe("/v1 / /v1 ")
        expect(yield* text("/V1/users/Ada?x=1")).toBe("/v1/users/:id /users/Ada?x=1 /V1/users/Ada?x=1 Ada")
        expect(yield* text("/v1/users/%41da/")).toBe("/v1/users/:id /users/%41da/ /v1/users/%41da/ Ada")
        expect((yield* HttpClient.get("/v1/users/1")).headers["x-url"]).toBe("/v1/users/1 /v1/users/1")
        expect((yield* HttpClient.del("/v1/any/2")).status).toBe(200)
        expect((yield* HttpClient.head("/v1/any/2")).status).toBe(200)
        expect((yield* HttpClient.post("/v1/users/1")).status).toBe(404)
        const failed = yield* HttpClient.post("/v1/fail")
        expect([failed.status, failed.headers["x-url"]]).toEqual([500, "/v1/fail /v1/fail"])
        expect(yield* text("/v1/value")).toBe("converted")
      }).pipe(Effect.provide(layer(quiet)))
    )

    it.scopedLive("leaves a router with settings of its own, and one in a span, to itself", () =>
      Effect.gen(function* () {
        const router = HttpRouter.get(HttpRouter.empty, "/a/:id", respond("found"))
        yield* HttpServer.serveEffect(router).pipe(
          HttpRouter.withRouterConfig({ caseSensitive: true, maxParamLength: 3 })
        )
        const status = (path: string) => Effect.map(HttpClient.get(path), ({ status }) => status)
        expect(yield* status("/a/123")).toBe(200)
        expect(yield* status("/a/1234")).toBe(404)
        expect(yield* status("/A/123")).toBe(404)
        const span = yield* Effect.makeSpan("server")
        yield* HttpServer.serveEffect(HttpRouter.get(HttpRouter.empty, "/b/:id", respond("found"))).pipe(
          Effect.withParentSpan(span)
        )
        expect(yield* status("/b/1")).toBe(200)
        expect(span.attributes.get("http.route")).toBe("/b/:id")
      }).pipe(Effect.provide(layer(quiet)))
    )

    it.scopedLive("serves cookies and files", () =>
      Effect.gen(function* () {
        yield* HttpServer.serveEffect(
          HttpRouter.empty.pipe(
            HttpRouter.get("/cookie", HttpServerResponse.setCookie(respond(""), "a", "1")),
            HttpRouter.get("/file", HttpServerResponse.file("package.json")),
            HttpRouter.get("/part", HttpServerResponse.file("package.json", { offset: 2, bytesToRead: 6 })),
            HttpRouter.get("/missing", HttpServerResponse.file("nowhere.json"))
          )
        )
        expect(Cookies.toRecord((yield* HttpClient.get("/cookie")).cookies)).toEqual({ a: "1" })
        const file = yield* HttpClient.get("/file")
        expect(file.headers).toMatchObject({ "content-type": "application/json", etag: expect.any(String) })
        expect(yield* file.json).toMatchObject({ name: "effect-asyncio" })
        expect(yield* text("/part")).toBe(`  "nam`)
        expect((yield* HttpClient.get("/missing")).status).toBe(500)
      }).pipe(Effect.provide(layer(quiet)))
    )

    it.scopedLive("serves an HttpApi", () =>
      Effect.gen(function* () {
        yield* Layer.build(apiLayer)
        const post = (body: string) =>
          HttpClient.execute(
            HttpClientRequest.bodyText(HttpClientRequest.post("/users"), body, "application/json")
          )
        expect(yield* (yield* post('{"id":1,"name":"Ada"}')).json).toEqual({ id: 2, name: "Ada" })
        expect((yield* post('{"id":"one"}')).status).toBe(400)
      }).pipe(Effect.provide(layer()))
    )

    it.scopedLive("reads forms in parts", () =>
      Effect.gen(function* () {
        const shown = (part: Multipart.Part) =>
          Multipart.isField(part)
            ? Effect.succeed(`${part.key}=${part.value}`)
            : Effect.map(Stream.runCollect(part.content), (all) => `${part.key}:${Buffer.concat([...all])}`)
        yield* HttpServer.serveEffect(
          withBody((one) =>
            Effect.map(Stream.runCollect(Stream.mapEffect(one.multipartStream, shown)), (parts) =>
              respond([...parts].join(" "))
            )
          )
        )
        const form = new FormData()
        form.append("a", "1")
        form.append("f", new Blob(["file"]), "f.txt")
        const got = yield* HttpClient.execute(
          HttpClientRequest.bodyFormData(HttpClientRequest.post("/"), form)
        )
        expect(yield* got.text).toBe("a=1 f:file")
      }).pipe(Effect.provide(layer()))
    )

    it.scopedLive(
      "reports failures and defects, and continues; what is answered below 500 is no failure",
      () => {
        const reports: Array<HandlerFailed> = []
        return Effect.gen(function* () {
          yield* HttpServer.serveEffect(
            HttpRouter.empty.pipe(
              HttpRouter.get("/fail", Effect.fail(new NoRows())),
              HttpRouter.get(
                "/die",
                Effect.dieSync(() => new TypeError("undefined is no function"))
              ),
              HttpRouter.get("/", respond("well"))
            )
          )
          for (const path of ["/fail?secret=1", "/die", "/nowhere"]) yield* HttpClient.get(path)
          expect(yield* text("/")).toBe("well")
          expect(reports.map(({ message }) => message)).toEqual([
            "GET /fail failed: no rows",
            "GET /die failed: undefined is no function"
          ])
          expect((yield* stats).requests).toMatchObject({ total: 4, running: 0, failed: 2 })
        }).pipe(Effect.provide(layer({ report: (failure) => Effect.sync(() => void reports.push(failure)) })))
      }
    )

    it.scopedLive("runs middleware around the answer", () =>
      Effect.gen(function* () {
        const seen: Array<unknown> = []
        const middleware = HttpMiddleware.make((app) =>
          Effect.onExit(app, (exit) =>
            Effect.sync(() => seen.push(Exit.isSuccess(exit) ? exit.value.status : exit._tag))
          )
        )
        yield* HttpServer.serveEffect(HttpRouter.get(HttpRouter.empty, "/", respond("")), middleware)
        expect((yield* HttpClient.get("/")).status).toBe(200)
        expect((yield* HttpClient.get("/nowhere")).status).toBe(404)
        expect(seen).toEqual([200, "Failure"])
      }).pipe(Effect.provide(layer()))
    )

    it.scopedLive("makes a span for a request where a tracer is installed, and only there", () =>
      Effect.gen(function* () {
        const spans: Array<string> = []
        const native = yield* Effect.tracer
        const tracer = Tracer.make({
          span: (name, ...rest) => {
            spans.push(name)
            return native.span(name, ...rest)
          },
          context: (execution, fiber) => native.context(execution, fiber)
        })
        const spanned = Effect.map(Effect.option(Effect.currentSpan), (span) => respond(span._tag))
        const served = (serve: Effect.Effect<void, never, HttpServer.HttpServer | Scope.Scope>) =>
          Effect.zipRight(serve, text("/")).pipe(Effect.scoped, Effect.provide(layer()))
        expect(yield* served(HttpServer.serveEffect(spanned))).toBe("None")
        expect(yield* served(Effect.withTracer(HttpServer.serveEffect(spanned), tracer))).toBe("Some")
        expect(spans).toContain("http.server GET")
      })
    )

    it.scopedLive("closes the scope of a request when it is answered, with its exit", () =>
      Effect.gen(function* () {
        const log: Array<string> = []
        const resource = Effect.acquireRelease(
          Effect.sync(() => log.push("open")),
          (_, exit) => Effect.sync(() => log.push(exit._tag))
        )
        yield* HttpServer.serveEffect(
          Effect.zipRight(
            resource,
            Effect.flatMap(request, ({ url }) => (url === "/fail" ? Effect.fail("no") : respond("yes")))
          )
        )
        yield* text("/")
        yield* text("/fail")
        yield* Effect.repeat(Effect.sleep(1), { until: () => log.length === 4 })
        expect(log).toEqual(["open", "Success", "open", "Failure"])
      }).pipe(Effect.provide(layer(quiet)))
    )

    it.scopedLive("cancels the handler of a client that disconnects, with the reason", () =>
      Effect.gen(function* () {
        const { app, begun, reason } = yield* endless
        yield* HttpServer.serveEffect(app)
        const client = yield* Effect.fork(text("/slow"))
        yield* begun
        yield* Fiber.interrupt(client)
        expect(yield* reason).toEqual({ reason: "client disconnected", origin: "client" })
        yield* Effect.repeat(stats, { until: ({ requests }) => requests.running === 0 })
        expect((yield* stats).requests.cancelled).toEqual({
          "client disconnected": 1,
          "server is closing": 0,
          deadline: 0
        })
      }).pipe(Effect.provide(layer()))
    )

    it.scopedLive("cancels the source of a streamed answer when the client stops reading", () =>
      Effect.gen(function* () {
        const ended = yield* Deferred.make<Exit.Exit<unknown, unknown>>()
        const ticks = Stream.fromSchedule(Schedule.spaced(1)).pipe(
          Stream.map((n) => bytes(`${n}`)),
          Stream.ensuringWith((exit) => Deferred.succeed(ended, exit))
        )
        yield* HttpServer.serveEffect(HttpServerResponse.stream(ticks))
        const response = yield* HttpClient.get("/")
        yield* Stream.runDrain(Stream.take(response.stream, 2))
        const exit = yield* Deferred.await(ended)
        expect(Cancellation.fromExit(exit)[0]?.reason).toBe("client disconnected")
      }).pipe(Effect.provide(layer()))
    )

    it.scopedLive("answers 503 at the deadline and cancels the handler, even one that ignores it", () =>
      Effect.gen(function* () {
        const { app, reason } = yield* endless
        const release = yield* Effect.makeLatch()
        const stubborn = Effect.as(Effect.uninterruptible(release.await), respond("late"))
        yield* HttpServer.serveEffect(
          Effect.flatMap(request, ({ url }) => (url === "/stubborn" ? stubborn : app))
        )
        expect((yield* HttpClient.get("/")).status).toBe(503)
        expect(yield* reason).toEqual({ reason: "deadline", origin: "server" })
        expect((yield* HttpClient.get("/stubborn")).status).toBe(503)
        expect((yield* stats).limits.deadline).toBe(2)
        yield* release.open
      }).pipe(Effect.provide(layer({ deadline: "20 millis" })))
    )

    it.scopedLive("closing lets running requests end, and cancels those left after the grace period", () =>
      Effect.gen(function* () {
        const drains: Array<number> = []
        const scope = yield* Scope.make()
        const { app, begun, reason } = yield* endless
        const quick = yield* Effect.makeLatch()
        const program = Effect.gen(function* () {
          yield* HttpServer.serveEffect(
            Effect.flatMap(request, ({ url }) =>
              url === "/quick" ? Effect.as(quick.await, respond("quick")) : app
            )
          ).pipe(Scope.extend(scope))
          const endless = yield* Effect.fork(HttpClient.get("/endless"))
          yield* begun
          const first = yield* Effect.fork(text("/quick"))
          yield* Effect.repeat(Effect.delay(stats, 1), { until: ({ requests }) => requests.running === 2 })
          const closing = yield* Effect.fork(Scope.close(scope, Exit.void))
          yield* Effect.sleep(10)
          yield* quick.open
          expect(yield* Fiber.join(first)).toBe("quick")
          expect((yield* Fiber.join(endless)).status).toBe(503)
          yield* Fiber.join(closing)
          expect(yield* reason).toEqual({ reason: "server is closing", origin: "server" })
          expect((yield* Effect.flip(HttpClient.get("/"))).reason).toBe("Transport")
        })
        const onDrain = (running: number) => Effect.sync(() => void drains.push(running))
        yield* Effect.provide(program, layer({ grace: "100 millis", onDrain }))
        expect(drains).toEqual([2])
      })
    )

    it.scopedLive("fails with one clear line when the port is in use", () =>
      Effect.gen(function* () {
        const { address } = yield* HttpServer.HttpServer
        const port = address._tag === "TcpAddress" ? address.port : 0
        const error = yield* Effect.flip(Layer.build(layer({ port })))
        expect(error.message).toBe(
          `cannot listen on 127.0.0.1:${port}: the port is in use; choose another, or 0 for a free one`
        )
      }).pipe(Effect.provide(layer()))
    )

    it.scopedLive("answers 503 while no app is served", () =>
      Effect.gen(function* () {
        const { headers, status } = yield* HttpClient.get("/")
        expect([status, headers["retry-after"]]).toEqual([503, "1"])
      }).pipe(Effect.provide(layer()))
    )
  })
}
