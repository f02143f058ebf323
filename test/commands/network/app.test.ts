import * as HttpApp from "@effect/platform/HttpApp"
import { afterAll, describe, expect, it } from "@effect/vitest"
import { Deferred, Effect, Layer } from "effect"
import { app } from "../../../src/commands/network/app.js"
import { failing, layer } from "../../support/Neighbourhood.js"

// The application of `aio network serve`, without a socket.

const cancelled = Effect.runSync(Deferred.make<void>())
let isHanging = false
const chat = Effect.suspend(() =>
  isHanging
    ? Effect.onInterrupt(Effect.never, () => Deferred.succeed(cancelled, undefined))
    : Effect.succeed([])
)
const { dispose, handler } = HttpApp.toWebHandlerLayer(
  app(),
  Layer.orDie(
    layer(
      { database: failing(0, "connection refused"), chat },
      { policy: { retries: 0, deadline: "20 seconds" } }
    )
  )
)
afterAll(dispose)
const get = async (path: string) => {
  const response = await handler(new Request(`http://localhost${path}`))
  return { status: response.status, headers: response.headers, text: await response.text() }
}

describe("aio network serve", () => {
  it("answers the page as JSON, whole with a neighbour that is dead", async () => {
    const { status, text } = await get("/api/page/ada")
    const page = JSON.parse(text)
    expect(status).toBe(200)
    expect(page).toMatchObject({ user: "ada", complete: false, total: expect.any(Number) })
    expect(page.parts.map(({ degraded, name }: any) => `${name} ${degraded}`)).toEqual([
      "database true",
      "cache false",
      "oauth false",
      "storage false",
      "drive false",
      "chat false"
    ])
    expect(page.parts[0]).toMatchObject({
      text: "unavailable: connection refused",
      reason: "connection refused"
    })
  })

  it("sends the parts as events, then the end", async () => {
    const { headers, text } = await get("/events/ada")
    expect(headers.get("content-type")).toBe("text/event-stream")
    const events = text
      .trim()
      .split("\n\n")
      .map((one) => one.split("\n")[0])
    expect(events).toEqual([...Array(6).fill("event: part"), "event: done"])
  })

  it("cancels the calls of a page whose reader has gone away", async () => {
    isHanging = true
    const { body } = await handler(new Request("http://localhost/events/ada"))
    const reader = body!.getReader()
    await reader.read()
    await reader.cancel()
    await Effect.runPromise(Deferred.await(cancelled))
    isHanging = false
    const { text } = await get("/health")
    expect(JSON.parse(text).neighbours.map(({ running }: any) => running)).toEqual([0, 0, 0, 0, 0, 0])
  })

  it("refuses a user that is none with 400, and unknown paths with 404", async () => {
    for (const path of ["/api/page/..%2f", "/events/a%20b", "/api/page/%00"]) {
      const { status, text } = await get(path)
      expect({ path, status, error: JSON.parse(text).error }).toEqual({
        path,
        status: 400,
        error: expect.stringContaining("is not a user")
      })
    }
    expect((await get("/nothing")).status).toBe(404)
  })

  it("shows a page for people that loads nothing from elsewhere, and metrics for Prometheus", async () => {
    const { headers, text } = await get("/")
    expect(headers.get("content-security-policy")).toContain("default-src 'self'")
    expect(text).not.toMatch(/(src|href)="(https?:)?\/\//)
    const metrics = await get("/metrics")
    expect(metrics.text).toContain("# TYPE network_calls counter\n")
    expect(metrics.text).toMatch(/^network_calls\{[^}]*neighbour="database"[^}]*\} \d+$/m)
    expect(metrics.text).toMatch(/^network_call_bucket\{[^}]*le="\+Inf"\} \d+$/m)
  })
})
