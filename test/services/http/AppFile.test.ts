import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServer from "@effect/platform/HttpServer"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { describe, expect, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import * as AppFile from "../../../src/services/http/AppFile.js"
import * as HttpServerTest from "../../../src/services/http/HttpServerTest.js"
import * as Modules from "../../../src/services/source/Modules.js"
import { text } from "../../support/Http.js"

const hi = HttpServerResponse.text("hi")

const load = (value: unknown, name = "default") =>
  AppFile.load("app.ts").pipe(Effect.provide(Modules.layerTest({ "app.ts": { [name]: value } })))

describe("AppFile", () => {
  const apps: ReadonlyArray<readonly [string, unknown]> = [
    ["a response", hi],
    ["an HttpApp", Effect.succeed(hi)],
    ["an HttpRouter", HttpRouter.empty.pipe(HttpRouter.get("/", hi))],
    ["an object with fetch", { fetch: () => new Response("hi") }],
    ["an object with a handler, as toWebHandler gives it", { handler: async () => new Response("hi") }]
  ]
  it.scopedLive.each(apps)("serves %s", ([, value]) =>
    Effect.gen(function* () {
      yield* HttpServer.serveEffect(yield* load(value))
      expect(yield* text("/")).toBe("hi")
    }).pipe(Effect.provide(HttpServerTest.layer()))
  )

  it.scopedLive(
    "takes the export app when there is no default, and 500 is the answer of an effect without one",
    () =>
      Effect.gen(function* () {
        const app = yield* load(Effect.succeed("text"), "app")
        const reports: Array<string> = []
        yield* HttpServer.serveEffect(
          Effect.tapErrorCause(app, (cause) => Effect.sync(() => void reports.push(String(cause))))
        )
        expect((yield* HttpClient.get("/")).status).toBe(500)
        expect(reports.join()).toContain(
          "app.ts: export 'app' answered with a string; expected an HttpServerResponse"
        )
      }).pipe(Effect.provide(HttpServerTest.layer({ report: () => Effect.void })))
  )

  it.live.each([
    [undefined, "undefined"],
    [null, "null"],
    [80, "a number"],
    [() => hi, "a function"],
    [{ port: 80 }, "an object"],
    [[hi], "an array"],
    [Layer.empty, "a Layer (of an HttpApi export HttpApiBuilder.toWebHandler)"]
  ] as ReadonlyArray<readonly [unknown, string]>)("refuses %s in one line", ([value, what]) =>
    Effect.gen(function* () {
      const refused = yield* Effect.flip(Effect.asVoid(load(value)))
      expect([refused._tag, refused.message]).toEqual([
        "ModuleError",
        `app.ts: export 'default' is ${what}; expected an HttpApp, an HttpRouter, or an object with fetch(request)`
      ])
    })
  )
})
