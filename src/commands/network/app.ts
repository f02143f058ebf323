import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { Duration, Effect, Mailbox, Stream } from "effect"
import * as Network from "../../programs/Network.js"
import * as Neighbours from "../../services/network/Neighbours.js"
import * as NetworkDemo from "../../services/network/NetworkDemo.js"
import { html } from "./html.js"
import * as prometheus from "./prometheus.js"

// The page over HTTP: / for people, /api/page/:user for programs, /events/:user as parts arrive, /health and /metrics.

const ms = Duration.toMillis

const partOf = (name: Network.PartName, part: Network.Part<unknown>) => ({
  name,
  took: ms(part.took),
  text: Network.text(name, part as Network.Part<never>),
  degraded: part.stale !== undefined || part.value._tag === "Left",
  ...(part.stale === undefined ? {} : { reason: part.stale.reason }),
  ...(part.value._tag === "Left" ? { reason: part.value.left.reason } : {})
})

const answerOf = (page: Network.Page) => ({
  user: page.user,
  complete: Network.isComplete(page),
  total: ms(page.total),
  sum: ms(page.sum),
  parts: Network.names.map((name) => partOf(name, page.parts[name]))
})

const secure = HttpServerResponse.setHeaders({
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "content-security-policy":
    "default-src 'self'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:"
})
const json = (value: unknown, status = 200) =>
  HttpServerResponse.unsafeJson(value, { status, headers: { "cache-control": "no-store" } })
const refused = (error: { readonly message: string }) => Effect.succeed(json({ error: error.message }, 400))

const user = Effect.map(HttpRouter.params, ({ user = "" }) => user)

const page = (options: Network.PageOptions) =>
  Effect.flatMap(user, (user) => Network.page(user, options)).pipe(
    Effect.map((page) => json(answerOf(page))),
    Effect.catchTag("InvalidUser", refused)
  )

const encoder = new TextEncoder()
const event = (name: string, data: unknown) =>
  encoder.encode(`event: ${name}\ndata: ${JSON.stringify(data)}\n\n`)

// The page is asked for by a fiber of the response's stream: a client that goes away cancels it.
const events = Effect.fnUntraced(function* (options: Network.PageOptions) {
  const name = yield* user
  if (!NetworkDemo.isUser(name)) return yield* refused(new NetworkDemo.InvalidUser({ user: name }))
  const services = yield* Effect.context<Network.Services>()
  const stream = Stream.unwrapScoped(
    Effect.gen(function* () {
      const mailbox = yield* Mailbox.make<Uint8Array>(16)
      const asked = Network.page(name, {
        ...options,
        onPart: (part, value) => mailbox.offer(event("part", partOf(part, value)))
      })
      yield* asked.pipe(
        Effect.flatMap(({ sum, total }) => mailbox.offer(event("done", { total: ms(total), sum: ms(sum) }))),
        Effect.ensuring(mailbox.end),
        Effect.forkScoped
      )
      return Mailbox.toStream(mailbox)
    })
  )
  return HttpServerResponse.stream(Stream.provideContext(stream, services), {
    contentType: "text/event-stream",
    headers: { "cache-control": "no-store" }
  })
})

const health = Effect.flatMap(Neighbours.Neighbours, ({ all }) =>
  Effect.map(
    Effect.forEach(all, ({ name, state, usage }) =>
      Effect.zipWith(state, usage, (breaker, usage) => ({ name, breaker, ...usage }))
    ),
    (neighbours) => json({ status: "ok", neighbours })
  )
)

export const app = (options: Network.PageOptions = {}) =>
  HttpRouter.empty.pipe(
    HttpRouter.get("/", HttpServerResponse.html(html)),
    HttpRouter.get("/api/page/:user", page(options)),
    HttpRouter.get("/events/:user", events(options)),
    HttpRouter.get("/health", health),
    HttpRouter.get(
      "/metrics",
      Effect.map(prometheus.snapshot, (text) =>
        HttpServerResponse.text(text, { contentType: "text/plain; version=0.0.4; charset=utf-8" })
      )
    ),
    Effect.catchTag("RouteNotFound", () => Effect.succeed(json({ error: "not found" }, 404))),
    Effect.map(secure)
  )
