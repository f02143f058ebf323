import type { RequestListener } from "node:http"
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import { afterAll, describe, expect, it } from "@effect/vitest"
import { ConfigProvider, Effect, Fiber, Layer, Schema } from "effect"
import * as Api from "../../../src/services/network/Api.js"
import { apiContract as contract } from "../../network/contract.js"
import * as Loopback from "../../support/Loopback.js"

// The API over HTTP, with servers on loopback that answer what they should and what they should not.

const { serve } = Loopback
afterAll(Loopback.close)

const json = (response: Parameters<RequestListener>[1], value: unknown, status = 200, headers = {}) =>
  response.writeHead(status, { "content-type": "application/json", ...headers }).end(JSON.stringify(value))

const seen: Array<string | undefined> = []
const elsewhere = await serve((request, response) => {
  seen.push(request.headers.authorization)
  json(response, { title: "elsewhere" })
})
const attempts = new Map<string, number>()
const url = await serve((request, response) => {
  const path = request.url ?? ""
  const nth = (attempts.get(path) ?? 0) + 1
  attempts.set(path, nth)
  seen.push(request.headers.authorization)
  if (path === "/v1/notes") json(response, [{ title: "é" }])
  else if (path === "/v1/away") response.writeHead(302, { location: `${elsewhere}/x` }).end()
  else if (path === "/v1/round") response.writeHead(302, { location: "/v1/round" }).end()
  else if (path === "/v1/busy" && nth === 1) json(response, {}, 503, { "retry-after": "0" })
  else if (path === "/v1/busy") json(response, { title: "late" })
  else if (path === "/v1/garbage") response.end("<html>")
  else if (path === "/v1/huge") {
    const write = () => {
      while (response.write(Buffer.alloc(65_536, 97)));
      response.once("drain", write)
    }
    write()
  } else if (path === "/v1/hang") return
  else if (path === "/v1/cut") {
    response.writeHead(200, { "content-length": "1000" }).write("[")
    setImmediate(() => response.destroy())
  } else json(response, {}, path === "/v1/" ? 200 : 404)
})
const api = Api.layer(() => undefined).pipe(
  Layer.provide(NodeHttpClient.layerUndici),
  Layer.provide(
    Layer.setConfigProvider(
      ConfigProvider.fromMap(
        new Map([
          ["API_URL", `${url}/v1`],
          ["API_TOKEN", "api-token"]
        ])
      )
    )
  )
)
contract("Api, HTTP", api)

const Note = Schema.Struct({ title: Schema.String })

describe("Api, HTTP", () => {
  it.live("follows a redirect to another origin without the token", () =>
    Effect.gen(function* () {
      const { get } = yield* Api.Api
      seen.length = 0
      expect(yield* get("away", Note)).toEqual({ title: "elsewhere" })
      expect(seen).toEqual(["Bearer api-token", undefined])
    }).pipe(Effect.provide(api))
  )

  it.live("says what is wrong with an answer, in one line, and reads no more of it than its limit", () =>
    Effect.gen(function* () {
      const { get } = yield* Api.Api
      const said = (path: string) => Effect.map(Effect.flip(get(path, Note)), ({ message }) => message)
      expect(yield* said("round")).toBe("api: more than 5 redirects")
      expect(yield* said("huge")).toBe("api: the answer is larger than 10 MiB")
      expect(yield* said("garbage")).toMatch(/^api: the answer is not what was expected: [^\n]*JSON[^\n]*$/)
      expect(yield* Effect.flip(get("cut", Note))).toMatchObject({ isTransient: true })
      const busy = yield* Effect.flip(get("busy", Note))
      expect(busy).toMatchObject({ message: "api: status 503", isTransient: true, retryAfter: 0 })
      expect(yield* get("busy", Note)).toEqual({ title: "late" })
      const hanging = yield* Effect.fork(get("hang", Note))
      yield* Effect.sleep(20)
      yield* Fiber.interrupt(hanging)
    }).pipe(Effect.provide(api))
  )
})
