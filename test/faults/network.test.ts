import type { RequestListener } from "node:http"
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import { afterAll, describe, expect, it } from "@effect/vitest"
import { ConfigProvider, Effect, Layer, Schema } from "effect"
import * as Network from "../../src/programs/Network.js"
import * as Api from "../../src/services/network/Api.js"
import * as Cache from "../../src/services/network/Cache.js"
import * as Database from "../../src/services/network/Database.js"
import * as jwt from "../../src/services/network/internal/jwt.js"
import * as OAuth from "../../src/services/network/OAuth.js"
import * as Storage from "../../src/services/network/Storage.js"
import * as Loopback from "../support/Loopback.js"
import { layer, texts } from "../support/Neighbourhood.js"

// Neighbours that are wrong in ways that a real one rarely is, on loopback.

afterAll(Loopback.close)

const settings = (values: Record<string, string>) =>
  Layer.setConfigProvider(ConfigProvider.fromMap(new Map(Object.entries(values))))

/** An OpenID issuer over HTTP, whose keys and clock are the test's. */
const openId = async () => {
  const state = { keys: [await jwt.generate("ES256")], ahead: 0 }
  const url = await Loopback.serve(async (request, response) => {
    const json = (value: unknown) =>
      response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(value))
    const now = Math.floor(Date.now() / 1000) + state.ahead
    if (request.url === "/.well-known/openid-configuration")
      json({
        issuer: url,
        token_endpoint: `${url}/token`,
        jwks_uri: `${url}/keys`,
        introspection_endpoint: `${url}/introspect`,
        response_types_supported: ["code"],
        subject_types_supported: ["public"],
        id_token_signing_alg_values_supported: ["ES256"]
      })
    else if (request.url === "/keys") json({ keys: state.keys.map(({ jwk }) => jwk) })
    else if (request.url === "/token")
      json({
        access_token: jwt.encode(state.keys.at(-1)!, {
          iss: url,
          sub: "aio",
          iat: now,
          nbf: now,
          exp: now + 600
        }),
        token_type: "Bearer",
        expires_in: 600
      })
    else response.writeHead(404).end()
  })
  const oauth = Layer.provide(
    OAuth.layer,
    settings({ OAUTH_ISSUER: url, OAUTH_CLIENT_ID: "aio", OAUTH_CLIENT_SECRET: "secret" })
  )
  return { state, oauth: Layer.fresh(oauth) }
}
const granted = Effect.flatMap(OAuth.OAuth, ({ token, verify }) =>
  Effect.flatMap(token, ({ value }) => verify(value))
)

describe("neighbours that are wrong", () => {
  it.live(
    "follows an issuer that rotates its keys: a token of the new key is verified, one of an unknown key is not",
    () =>
      Effect.gen(function* () {
        const { oauth, state } = yield* Effect.promise(openId)
        yield* Effect.gen(function* () {
          const { token, verify } = yield* OAuth.OAuth
          const old = (yield* token).value
          const stranger = yield* Effect.promise(() => jwt.generate("ES256"))
          state.keys = [stranger]
          // The keys are fetched when the first token is verified: the old one has left the set by then.
          expect((yield* Effect.flip(verify(old))).message).toBe(
            "oauth: the token is not signed by a key of the issuer"
          )
          const next = yield* Effect.provide(
            Effect.flatMap(OAuth.OAuth, ({ token }) => token),
            oauth
          )
          expect(yield* verify(next.value)).toMatchObject({ sub: "aio" })
        }).pipe(Effect.provide(oauth))
      })
  )

  it.live(
    "accepts a token of an issuer whose clock is 45 seconds off, and refuses one that is minutes ahead",
    () =>
      Effect.gen(function* () {
        const { oauth, state } = yield* Effect.promise(openId)
        for (const ahead of [-45, 0, 45]) {
          state.ahead = ahead
          expect(yield* Effect.provide(granted, oauth)).toMatchObject({ sub: "aio" })
        }
        state.ahead = 300
        const error = yield* Effect.flip(Effect.provide(granted, oauth))
        expect(error).toMatchObject({ message: "oauth: the token is not valid yet" })
        // The life of a token is counted from its arrival, so that it is kept whatever the issuer's clock.
        const { expires } = yield* Effect.provide(
          Effect.flatMap(OAuth.OAuth, ({ token }) => token),
          oauth
        )
        expect(Math.abs(expires - Date.now() - 600_000)).toBeLessThan(60_000)
      })
  )

  it.live.each([
    ["database", { DATABASE_URL: "postgres://app:s3cret@nowhere.invalid/shop" }],
    ["cache", { REDIS_URL: "redis://:s3cret@nowhere.invalid" }],
    [
      "oauth",
      { OAUTH_ISSUER: "http://nowhere.invalid", OAUTH_CLIENT_ID: "aio", OAUTH_CLIENT_SECRET: "s3cret" }
    ],
    [
      "storage",
      {
        S3_ENDPOINT: "http://nowhere.invalid",
        S3_BUCKET: "files",
        S3_ACCESS_KEY_ID: "app",
        S3_SECRET_ACCESS_KEY: "s3cret"
      }
    ],
    ["api", { API_URL: "http://nowhere.invalid/v1" }]
  ] as const)(
    "says in one line that the name of the %s is not found, and that this may pass",
    ([name, given]) =>
      Effect.gen(function* () {
        const services: Record<
          string,
          { readonly check: Effect.Effect<void, { readonly message: string }> }
        > = {
          database: yield* Database.Database,
          cache: yield* Cache.Cache,
          oauth: yield* OAuth.OAuth,
          storage: yield* Storage.Storage,
          api: yield* Api.Api
        }
        const error = yield* Effect.flip(services[name]!.check)
        expect(error).toMatchObject({
          isTransient: true,
          message: expect.stringMatching(new RegExp(`^${name}: [^\\n]+$`))
        })
        expect(error.message).not.toContain("s3cret")
      }).pipe(
        Effect.provide(
          Layer.mergeAll(
            Database.layer,
            Cache.layer,
            OAuth.layer,
            Storage.layer,
            Layer.provide(
              Api.layer(() => undefined),
              NodeHttpClient.layerUndici
            )
          ).pipe(Layer.provide(settings(given)), Layer.fresh)
        ),
        Effect.timeout("20 seconds")
      )
  )

  it.live("an API that hangs, answers garbage or never ends costs the page its parts and no other", () =>
    Effect.gen(function* () {
      let written = 0
      const answers: Record<string, RequestListener> = {
        hangs: () => undefined,
        garbage: (_, response) => void response.end("<html>"),
        endless: (_, response) => {
          const chunk = Buffer.alloc(65_536, 97)
          const write = () => {
            do written += chunk.length
            while (response.write(chunk))
            response.once("drain", write)
          }
          write()
        }
      }
      for (const [name, answer] of Object.entries(answers)) {
        const url = yield* Effect.promise(() => Loopback.serve(answer))
        const api = Api.layer(() => undefined).pipe(
          Layer.provide(NodeHttpClient.layerUndici),
          Layer.provide(settings({ API_URL: url })),
          Layer.fresh
        )
        const page = yield* Effect.gen(function* () {
          const { get } = yield* Api.Api
          const asked = get("x", Schema.Unknown)
          return yield* Effect.provide(
            Network.page("ada"),
            layer(
              { drive: asked, chat: asked },
              { policy: { deadline: name === "hangs" ? "2 seconds" : "30 seconds", retries: 0 } }
            )
          )
        }).pipe(Effect.provide(api))
        const { chat, drive, ...others } = texts(page)
        for (const text of [chat, drive]) {
          expect(`${name} ${text}`).toMatch(
            name === "hangs"
              ? / unavailable: no answer within 2.0 s$/
              : name === "garbage"
                ? / unavailable: the answer is not what was expected: /
                : / unavailable: the answer is larger than 10 MiB$/
          )
        }
        expect(others).toEqual({
          database: "0 orders",
          cache: "0 visits",
          oauth: "aio, may read",
          storage: "0 files, 0 B"
        })
      }
      // Two answers of at most 10 MiB, and what sockets hold.
      expect(written).toBeLessThan(64 * 1024 * 1024)
    })
  )
})
