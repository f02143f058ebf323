import { gzipSync } from "node:zlib"
import * as HttpBody from "@effect/platform/HttpBody"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientError from "@effect/platform/HttpClientError"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import * as HttpIncomingMessage from "@effect/platform/HttpIncomingMessage"
import { describe, expect, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Layer, Option, Schema, Stream } from "effect"
import { DownloadError } from "../../../src/services/download/Download.js"
import * as Downloader from "../../../src/services/download/Downloader.js"
import * as DownloaderTest from "../../../src/services/download/DownloaderTest.js"
import * as SafeHttpClient from "../../../src/services/download/SafeHttpClient.js"
import * as VirtualClock from "../../../src/services/time/VirtualClock.js"
import * as FaultServer from "../../support/FaultServer.js"

const serve = (...args: Parameters<typeof FaultServer.start>) =>
  Effect.acquireRelease(
    Effect.promise(() => FaultServer.start(...args)),
    (server) => Effect.promise(server.close)
  )
const client = (options: SafeHttpClient.Options = {}) =>
  SafeHttpClient.make({ backoff: { first: 1, jitter: 0 }, ...options }).pipe(Effect.provide(Downloader.layer))
/** The reason beneath an error of the platform. */
const reason = (error: unknown) =>
  HttpClientError.isHttpClientError(error) && error.cause instanceof DownloadError
    ? `${error._tag} ${error.cause.reason}`
    : String(error)
const failure = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.map(Effect.flip(effect), reason)
const echo: FaultServer.Handler = ({ request, response }) => {
  const parts: Array<Buffer> = []
  request
    .on("data", (part) => parts.push(part))
    .on("end", () => {
      response.end(
        JSON.stringify({
          method: request.method,
          type: request.headers["content-type"],
          body: Buffer.concat(parts).toString()
        })
      )
    })
}

describe("SafeHttpClient", () => {
  it.scopedLive("is an HttpClient: JSON by Schema, text, bytes, streams, forms, headers and cookies", () =>
    Effect.gen(function* () {
      const large = FaultServer.bytes(3_000_000)
      const server = yield* serve({
        "/json": FaultServer.ok('{"tag":"v1"}'),
        "/large": FaultServer.ok(large),
        "/form": FaultServer.ok("a=1&b=2"),
        "/form-data": FaultServer.ok("a=1", { "content-type": "application/x-www-form-urlencoded" }),
        "/gzip": FaultServer.ok(gzipSync("packed"), { "content-encoding": "gzip" }),
        "/empty": FaultServer.status(204, { "set-cookie": ["a=1", "b=2"], "x-n": "1" }),
        "/missing": FaultServer.status(404, {}, "nothing here")
      })
      const http = yield* client()
      const get = (path: string) => http.get(server.url(path))
      const decode = HttpClientResponse.schemaBodyJson(Schema.Struct({ tag: Schema.String }))
      expect(yield* Effect.flatMap(get("/json"), decode)).toEqual({ tag: "v1" })
      const pieces = yield* Stream.runCollect(HttpClientResponse.stream(get("/large")))
      expect(Buffer.concat([...pieces]).equals(large)).toBe(true)
      expect(Buffer.from(yield* Effect.flatMap(get("/large"), (got) => got.arrayBuffer)).equals(large)).toBe(
        true
      )
      expect(yield* Effect.flatMap(get("/form"), (got) => got.urlParamsBody)).toEqual([
        ["a", "1"],
        ["b", "2"]
      ])
      expect((yield* Effect.flatMap(get("/form-data"), (got) => got.formData)).get("a")).toBe("1")
      const gzip = yield* get("/gzip")
      // Once read, it is kept.
      expect([yield* gzip.text, yield* gzip.text]).toEqual(["packed", "packed"])
      const empty = yield* get("/empty")
      expect([empty.status, empty.headers["x-n"], Object.keys(empty.cookies.cookies)]).toEqual([
        204,
        "1",
        ["a", "b"]
      ])
      const missing = yield* get("/missing")
      expect([missing.status, yield* missing.text]).toEqual([404, "nothing here"])
      expect(yield* Effect.flip(HttpClientResponse.filterStatusOk(missing))).toMatchObject({
        _tag: "ResponseError",
        reason: "StatusCode"
      })
      const head = yield* http.head(server.url("/large"))
      expect([head.status, head.headers["content-length"], yield* head.text]).toEqual([200, "3000000", ""])
      expect(yield* Effect.flip(Effect.flatMap(get("/form"), (got) => got.json))).toMatchObject({
        _tag: "ResponseError",
        reason: "Decode",
        description: "its body is not JSON"
      })
    })
  )

  it.scopedLive("sends bodies: text, JSON, bytes, forms and streams", () =>
    Effect.gen(function* () {
      const server = yield* serve({ "/": echo })
      const http = yield* client()
      const send = (body: HttpBody.HttpBody) =>
        http.post(server.url("/"), { body }).pipe(Effect.flatMap((got) => got.json as Effect.Effect<any>))
      expect(yield* send(HttpBody.text("plain"))).toEqual({
        method: "POST",
        type: "text/plain",
        body: "plain"
      })
      expect(yield* send(HttpBody.unsafeJson({ a: 1 }))).toEqual({
        method: "POST",
        type: "application/json",
        body: '{"a":1}'
      })
      expect((yield* send(HttpBody.raw("raw"))).body).toBe("raw")
      const form = new FormData()
      form.set("name", "Ada")
      const sent = yield* send(HttpBody.formData(form))
      expect(sent.type).toMatch(/^multipart\/form-data; boundary=/)
      expect(sent.body).toContain('name="name"\r\n\r\nAda')
      const parts = Stream.map(Stream.range(1, 3), (n) => new TextEncoder().encode(`part ${n},`))
      expect((yield* send(HttpBody.stream(parts, "text/csv"))).body).toBe("part 1,part 2,part 3,")
      const broken = yield* Effect.flip(
        send(HttpBody.stream(Stream.concat(parts, Stream.die("disk")), "text/csv"))
      )
      expect(broken).toMatchObject({ _tag: "RequestError", reason: "Encode" })
      expect(yield* Effect.flip(http.get("ftp://127.0.0.1/"))).toMatchObject({ reason: "InvalidUrl" })
    })
  )

  it.scopedLive("retries what may be sent twice, after Retry-After, and returns the last response", () =>
    Effect.gen(function* () {
      const flaky = () => FaultServer.inTurn(FaultServer.status(503), FaultServer.ok("at last"))
      const server = yield* serve({
        "/flaky": flaky(),
        "/put": flaky(),
        "/post": flaky(),
        "/key": flaky(),
        "/asked": flaky(),
        "/patient": FaultServer.inTurn(
          FaultServer.status(429, { "retry-after": "1" }),
          FaultServer.ok("at last")
        ),
        "/tomorrow": FaultServer.status(503, { "retry-after": "86400" }, "tomorrow"),
        "/down": FaultServer.status(500, {}, "down"),
        "/drops": FaultServer.inTurn(({ socket }) => socket.destroy(), FaultServer.ok("at last")),
        "/drops-post": ({ socket }) => socket.destroy()
      })
      const http = yield* client({ retries: 2 })
      const text = (request: HttpClientRequest.HttpClientRequest, through = http) =>
        Effect.flatMap(through.execute(request), (got) =>
          Effect.map(got.text, (text) => `${got.status} ${text}`)
        )
      const { get, post, put } = HttpClientRequest
      const asked = (path: string) => server.seenAt(path).length
      expect(yield* text(get(server.url("/flaky")))).toBe("200 at last")
      expect(yield* text(put(server.url("/put")))).toBe("200 at last")
      expect(yield* text(post(server.url("/post")))).toBe("503 ")
      expect(asked("/post")).toBe(1)
      expect(yield* text(HttpClientRequest.setHeader(post(server.url("/key")), "Idempotency-Key", "1"))).toBe(
        "200 at last"
      )
      const all = yield* client({ isIdempotent: () => true })
      expect(yield* text(post(server.url("/asked")), all)).toBe("200 at last")
      const begun = performance.now()
      expect(yield* text(get(server.url("/patient")))).toBe("200 at last")
      expect(performance.now() - begun).toBeGreaterThan(990)
      expect(yield* text(get(server.url("/tomorrow")))).toBe("503 tomorrow")
      expect(asked("/tomorrow")).toBe(1)
      expect(yield* text(get(server.url("/down")))).toBe("500 down")
      expect(asked("/down")).toBe(3)
      expect(yield* text(get(server.url("/drops")))).toBe("200 at last")
      expect(yield* failure(http.post(server.url("/drops-post")))).toBe("RequestError dropped")
      expect(asked("/drops-post")).toBe(1)
    })
  )

  it.scopedLive("retries a POST that was not sent", () =>
    Effect.gen(function* () {
      // A port without a server, until the first attempt has failed.
      const { port } = yield* Effect.scoped(serve({}))
      const http = yield* client({ retries: 5, backoff: { first: 100, factor: 1, jitter: 0 } })
      const fiber = yield* Effect.fork(
        http
          .post(`http://127.0.0.1:${port}/`, { body: HttpBody.text("once") })
          .pipe(Effect.flatMap((got) => got.text))
      )
      yield* Effect.sleep(50)
      const { createServer } = yield* Effect.promise(() => import("node:http"))
      let seen = 0
      yield* Effect.acquireRelease(
        Effect.async<ReturnType<typeof createServer>>((resume) => {
          const server = createServer((_, response) => {
            seen++
            response.end("got it")
          }).listen(port, "127.0.0.1", () => resume(Effect.succeed(server)))
        }),
        (server) =>
          Effect.sync(() => {
            server.close()
            server.closeAllConnections()
          })
      )
      expect([yield* Fiber.join(fiber), seen]).toEqual(["got it", 1])
    })
  )

  it.scopedLive("follows redirects, and another origin gets no secret and no body", () =>
    Effect.gen(function* () {
      const other = yield* serve({ "/": echo, "/get": FaultServer.ok("other") })
      const server = yield* serve({
        "/away": FaultServer.redirect(other.url("/get")),
        "/away-307": FaultServer.redirect(other.url("/"), 307),
        "/home-307": FaultServer.redirect("/echo", 307),
        "/home-302": FaultServer.redirect("/echo"),
        "/home-303": FaultServer.redirect("/echo", 303),
        "/loop": FaultServer.redirect("/loop"),
        "/echo": echo
      })
      const http = yield* client({ maxRedirects: 3 })
      const headers = {
        authorization: "Bearer s",
        cookie: "s=1",
        "x-api-key": "s",
        "x-open": "yes"
      }
      yield* Effect.flatMap(http.get(server.url("/away"), { headers }), (got) => got.text)
      const [seen] = other.seenAt("/get")
      expect(server.seen[0]!.headers).toMatchObject(headers)
      expect(Object.keys(headers).filter((name) => seen!.headers[name] !== undefined)).toEqual(["x-open"])
      expect([server.seen[0], seen].map((one) => "traceparent" in one!.headers)).toEqual([true, false])
      expect(seen!.headers["host"]).toBe(`127.0.0.1:${other.port}`)
      const post = (path: string) =>
        http
          .post(server.url(path), { body: HttpBody.text("body") })
          .pipe(Effect.flatMap((got) => got.json as Effect.Effect<any>))
      expect(yield* failure(post("/away-307"))).toBe("RequestError redirect")
      expect(other.seenAt("/")).toEqual([])
      expect(yield* post("/home-307")).toEqual({ method: "POST", type: "text/plain", body: "body" })
      expect(yield* post("/home-302")).toEqual({ method: "GET", body: "" })
      expect(yield* post("/home-303")).toEqual({ method: "GET", body: "" })
      const stream = HttpBody.stream(Stream.make(new Uint8Array([65])))
      expect(yield* failure(http.post(server.url("/home-307"), { body: stream }))).toBe(
        "RequestError redirect"
      )
      expect(yield* failure(http.get(server.url("/loop")))).toBe("RequestError redirect")
      const raw = yield* client({ maxRedirects: 0 })
      expect((yield* raw.get(server.url("/away"))).status).toBe(302)
    })
  )

  it.scopedLive("bounds and checks bodies", () =>
    Effect.gen(function* () {
      const body = FaultServer.bytes(100_000)
      const server = yield* serve({
        "/large": FaultServer.ok(body),
        "/chunked": ({ response }) => {
          response.write(body.subarray(0, 10))
          response.end(body.subarray(10))
        },
        "/bomb": FaultServer.ok(gzipSync(Buffer.alloc(1_000_000)), { "content-encoding": "gzip" }),
        "/cut": FaultServer.dropAfter(body, 50_000),
        "/bad": FaultServer.ok("no gzip", { "content-encoding": "gzip" })
      })
      const http = yield* client({ maxSize: 60_000 })
      const bytes = (path: string) => Effect.flatMap(http.get(server.url(path)), (got) => got.arrayBuffer)
      expect(yield* failure(bytes("/large"))).toBe("RequestError too-large")
      expect(yield* failure(bytes("/chunked"))).toBe("ResponseError too-large")
      expect(yield* failure(bytes("/bomb"))).toBe("ResponseError too-large")
      const wide = HttpIncomingMessage.withMaxBodySize(Option.some(200_000))
      expect((yield* wide(bytes("/large"))).byteLength).toBe(100_000)
      expect(yield* failure(wide(bytes("/cut")))).toBe("ResponseError dropped")
      expect(yield* failure(bytes("/bad"))).toBe("ResponseError decode")
      const got = yield* wide(http.get(server.url("/large")))
      yield* Stream.runDrain(Stream.take(got.stream, 1))
      expect(yield* Effect.flip(Stream.runDrain(got.stream))).toMatchObject({
        description: "its body has been read already"
      })
    })
  )

  it.scopedLive("refuses private addresses, by name and after a redirect", () =>
    Effect.gen(function* () {
      const server = yield* serve({ "/": FaultServer.ok("secret") })
      const http = yield* client({ denyPrivate: true })
      expect(yield* failure(http.get(server.url("/")))).toBe("RequestError private-address")
      expect(yield* failure(http.get(`http://localhost:${server.port}/`))).toBe(
        "RequestError private-address"
      )
      expect(server.seen).toEqual([])
    })
  )

  it.scopedLive("limits the time of the head, of the body, and closes the connection", () =>
    Effect.gen(function* () {
      const closed = yield* Deferred.make<void>()
      const server = yield* serve({
        "/silent": () => undefined,
        "/slow": ({ response }) => {
          response.on("close", () => Deferred.unsafeDone(closed, Effect.void))
          response.writeHead(200, { "content-length": 10 }).write("half")
        }
      })
      const http = yield* client({ timeout: 300 })
      expect(yield* failure(http.get(server.url("/silent")))).toBe("RequestError timeout")
      const got = yield* http.get(server.url("/slow"))
      expect(yield* failure(got.text)).toBe("ResponseError timeout")
      yield* Deferred.await(closed)
    })
  )

  it.scopedLive("interrupted, closes the connection: before the head, and while the body is read", () =>
    Effect.gen(function* () {
      const ends = new Map<string, () => void>()
      const ended = (path: string) => new Promise<void>((resolve) => ends.set(path, resolve))
      const handler: FaultServer.Handler = ({ path, response, socket }) => {
        socket.on("close", () => ends.get(path)?.())
        if (path === "/body") response.writeHead(200, { "content-length": 10 }).write("half")
      }
      const server = yield* serve({ "/head": handler, "/body": handler, "/left": handler })
      const http = yield* client()
      for (const path of ["/head", "/body"]) {
        const end = ended(path)
        const fiber = yield* Effect.fork(Effect.flatMap(http.get(server.url(path)), (got) => got.text))
        yield* Effect.promise(() => server.arrived(path))
        yield* Effect.sleep(20)
        yield* Fiber.interrupt(fiber)
        yield* Effect.promise(() => end)
      }
      // A scope closes a response that nobody reads.
      const end = ended("/body")
      yield* Effect.scoped(HttpClient.withScope(http).get(server.url("/body")))
      yield* Effect.promise(() => end)
      expect(server.seenAt("/body").length).toBe(2)
    })
  )

  it.scopedLive("pauses the connection while its reader is busy", () =>
    Effect.gen(function* () {
      const body = FaultServer.bytes(16_000_000)
      let written = 0
      const server = yield* serve({
        "/": ({ response }) => {
          response.writeHead(200, { "content-length": body.length })
          const more = () => {
            while (written < body.length) {
              const part = body.subarray(written, written + 100_000)
              written += part.length
              if (!response.write(part)) {
                response.once("drain", more)
                return
              }
            }
            response.end()
          }
          more()
        }
      })
      const got = yield* (yield* client()).get(server.url("/"))
      yield* Effect.sleep(300)
      expect(written).toBeLessThan(body.length / 2)
      expect((yield* got.arrayBuffer).byteLength).toBe(body.length)
    })
  )

  it("runs on DownloaderTest: in memory, in virtual time", async () => {
    const url = "https://api.example.org/orders"
    let asked = 0
    const program = Effect.gen(function* () {
      const answer = yield* HttpClient.post(url, { body: HttpBody.unsafeJson({ id: 7 }) })
      const missing = yield* HttpClient.get(`${url}/8`)
      return [answer.status, yield* answer.json, missing.status]
    }).pipe(
      Effect.provide(
        Layer.provide(
          SafeHttpClient.layerWith({ isIdempotent: () => true }),
          DownloaderTest.layer({
            [url]: ({ body, method, url }) =>
              ++asked === 1
                ? Effect.fail(
                    new DownloadError({
                      reason: "status",
                      url: url.href,
                      detail: "HTTP 429",
                      status: 429,
                      retryable: true,
                      retryAfter: 240_000
                    })
                  )
                : Effect.succeed(JSON.stringify([method, String(Buffer.from(body as Uint8Array))]))
          })
        )
      ),
      VirtualClock.run()
    )
    expect(await Effect.runPromise(program)).toEqual([200, ["POST", '{"id":7}'], 404])
  })
})

describe("Downloader.response", () => {
  it.scopedLive("has a body decoded by a Schema, bounded, and closed with its scope", () =>
    Effect.gen(function* () {
      const ended = yield* Deferred.make<void>()
      const server = yield* serve({
        "/json": FaultServer.ok('{"n":1}'),
        "/half": ({ response, socket }) => {
          socket.on("close", () => Deferred.unsafeDone(ended, Effect.void))
          response.writeHead(200, { "content-length": 10 }).write("half")
        }
      })
      const session = yield* (yield* Downloader.Downloader).open()
      const get = (path: string, more = {}) =>
        Downloader.response(session, { url: new URL(server.url(path)), ...more })
      const decode = HttpIncomingMessage.schemaBodyJson(Schema.Struct({ n: Schema.Number }))
      expect(yield* Effect.flatMap(get("/json"), decode)).toEqual({ n: 1 })
      expect(yield* Effect.flip(Effect.flatMap(get("/json", { maxSize: 3 }), decode))).toMatchObject({
        _tag: "DownloadError",
        reason: "too-large"
      })
      expect(yield* Effect.flip(get("/none"))).toMatchObject({ reason: "status", status: 404 })
      yield* Effect.scoped(get("/half"))
      yield* Deferred.await(ended)
      const sha = yield* get("/json", {
        checksum: { algorithm: "sha256", hex: FaultServer.sha256(Buffer.from("{}")) }
      })
      expect(yield* Effect.flip(sha.text)).toMatchObject({ reason: "checksum" })
    }).pipe(Effect.provide(Downloader.layer))
  )
})
