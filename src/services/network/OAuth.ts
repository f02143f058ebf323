import type { JsonWebKey } from "node:crypto"
import { Clock, Context, Data, Effect, Layer, Option, Redacted, type Scope } from "effect"
import { codes } from "../host/ExitCodes.js"
import { nativeImport } from "../source/NativeImport.js"
import { checkOptions, count } from "../text/Numbers.js"
import * as jwt from "./internal/jwt.js"
import { isOfConnection, reasonOf } from "./internal/reasons.js"
import * as refreshed from "./internal/refreshed.js"
import * as NetworkSettings from "./NetworkSettings.js"

// model

/**
 * An access token.
 *
 * @since 0.1.0
 * @category models
 */
export interface Token {
  readonly value: Redacted.Redacted
  readonly scopes: ReadonlyArray<string>
  /** Milliseconds since 1970. */
  readonly expires: number
}

/**
 * What the issuer says of a token (RFC 7662); of one that is not active nothing else is known.
 *
 * @since 0.1.0
 * @category models
 */
export interface Introspection {
  readonly isActive: boolean
  /** The user, or the client if it has the token for itself. */
  readonly subject: string | undefined
  readonly scopes: ReadonlyArray<string>
}

// errors

/**
 * The issuer did not answer, or refused.
 *
 * @since 0.1.0
 * @category errors
 */
export class OAuthError extends Data.TaggedError("OAuthError")<{
  readonly reason: string
  /** Whether the same call may succeed later. */
  readonly isTransient: boolean
  readonly cause?: unknown
}> {
  readonly exitCode = codes.failed
  override get message() {
    return `oauth: ${this.reason}`
  }
}

// tag

/**
 * The client of an OAuth issuer.
 *
 * @since 0.1.0
 * @category services
 */
export class OAuth extends Context.Tag("effect-asyncio/services/OAuth")<
  OAuth,
  {
    /** How it was configured, without secrets. */
    readonly configured: string
    /** Whether it is in this process. */
    readonly isEmbedded: boolean
    /**
     * A token of this client (client credentials). It is kept, and fetched again in the last tenth of its life while it is
     * still given out; there is one fetch for all that wait.
     */
    readonly token: Effect.Effect<Token, OAuthError>
    /** Asks the issuer about a token. One that is not active is not given out again. */
    readonly introspect: (token: Redacted.Redacted) => Effect.Effect<Introspection, OAuthError>
    /**
     * The claims of a token that is a JWT, if one of the issuer's keys has signed it, the issuer is right and it is valid
     * now, give or take 60 seconds. Keys are kept; an unknown one is looked up at the issuer, at most every 5 seconds.
     */
    readonly verify: (
      token: Redacted.Redacted
    ) => Effect.Effect<Readonly<Record<string, unknown>>, OAuthError>
    /** Succeeds if the issuer gives this client a token. */
    readonly check: Effect.Effect<void, OAuthError>
  }
>() {}

// make

/**
 * What {@link make} asks of an issuer.
 *
 * @since 0.1.0
 * @category models
 */
export interface Issuer {
  readonly configured: string
  readonly isEmbedded: boolean
  readonly issuer: Effect.Effect<string, OAuthError>
  readonly grant: Effect.Effect<Token, OAuthError>
  readonly introspect: (token: Redacted.Redacted) => Effect.Effect<Introspection, OAuthError>
  readonly keys: Effect.Effect<ReadonlyArray<JsonWebKey>, OAuthError>
}

const skew = 60
const refused = (reason: string) => new OAuthError({ reason, isTransient: false })

/**
 * A client of the issuer.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (issuer: Issuer): Effect.Effect<Context.Tag.Service<OAuth>, never, Scope.Scope> =>
  Effect.gen(function* () {
    const tokens = yield* refreshed.make(
      Effect.zipWith(issuer.grant, Clock.currentTimeMillis, (value, now) => ({
        value,
        until: value.expires,
        renew: value.expires - (value.expires - now) / 10
      }))
    )
    let keys: ReadonlyArray<JsonWebKey & { readonly kid?: string }> = []
    let askedAt = Number.NEGATIVE_INFINITY
    const keyOf = (kid: string | undefined) => keys.filter((key) => kid === undefined || key.kid === kid)
    const keysFor = (kid: string | undefined) =>
      Effect.flatMap(Clock.currentTimeMillis, (now) => {
        if (keyOf(kid).length > 0 || now - askedAt < 5000) return Effect.succeed(keyOf(kid))
        askedAt = now
        return Effect.map(issuer.keys, (found) => {
          keys = found
          return keyOf(kid)
        }).pipe(Effect.tapError(() => Effect.sync(() => (askedAt = Number.NEGATIVE_INFINITY))))
      })
    return {
      configured: issuer.configured,
      isEmbedded: issuer.isEmbedded,
      token: tokens.get,
      introspect: (token) =>
        Effect.tap(issuer.introspect(token), ({ isActive }) => {
          if (!isActive) tokens.drop(({ value }) => Redacted.value(value) === Redacted.value(token))
        }),
      verify: Effect.fn("OAuth.verify")(function* (token: Redacted.Redacted) {
        const decoded = jwt.decode(Redacted.value(token))
        if (decoded === undefined) return yield* refused("the token is no JWT with ES256 or RS256")
        const candidates = yield* keysFor(decoded.kid)
        if (!candidates.some(decoded.isSignedBy)) {
          return yield* refused("the token is not signed by a key of the issuer")
        }
        const now = (yield* Clock.currentTimeMillis) / 1000
        const { exp, iss, nbf = 0 } = decoded.claims
        if (iss !== (yield* issuer.issuer)) return yield* refused("the token is of another issuer")
        if (typeof exp !== "number" || now >= exp + skew) return yield* refused("the token has expired")
        if (typeof nbf !== "number" || now < nbf - skew) return yield* refused("the token is not valid yet")
        return decoded.claims
      }),
      check: Effect.asVoid(issuer.grant)
    }
  })

// embedded

/**
 * An issuer in this process, with real keys and signatures.
 *
 * @since 0.1.0
 * @category models
 */
export interface EmbeddedIssuer extends Issuer {
  /** Signs with a new key from now on; with `forget` the old keys leave the key set. */
  readonly rotate: (options?: { readonly forget?: boolean }) => Effect.Effect<void>
  /** The token is not active any more. */
  readonly revoke: (token: Redacted.Redacted) => Effect.Effect<void>
}

/**
 * Settings of {@link makeIssuer}.
 *
 * @since 0.1.0
 * @category options
 */
export interface IssuerOptions {
  /** How tokens are signed. Default ES256. */
  readonly algorithm?: "ES256" | "RS256" | undefined
  /** The client that gets the tokens. Default `aio`. */
  readonly client?: string | undefined
  /** Default `read` and `write`. */
  readonly scopes?: ReadonlyArray<string> | undefined
  /** The life of a token in seconds. Default 600. */
  readonly lifetime?: number | undefined
}

/**
 * Makes an issuer in this process. Expiry follows the current clock. Dies with a `RangeError` when a setting is out of
 * range.
 *
 * @since 0.1.0
 * @category constructors
 */
export const makeIssuer = (options: IssuerOptions = {}): Effect.Effect<EmbeddedIssuer> =>
  Effect.gen(function* () {
    checkOptions(options, { lifetime: count })
    const { algorithm = "ES256", client = "aio", lifetime = 600, scopes = ["read", "write"] } = options
    const name = "urn:effect-asyncio:issuer"
    const generate = Effect.promise(() => jwt.generate(algorithm))
    let keys = [yield* generate]
    let last = 0
    const revoked = new Set<unknown>()
    // A signature takes a hundred times as long to verify as a lookup. It does not change; the key set may.
    const verified = new Map<string, jwt.Decoded>()
    const verifiedOf = (token: string) => {
      const known = verified.get(token)
      if (known !== undefined) return known
      const decoded = jwt.decode(token)
      if (
        decoded === undefined ||
        !keys.some(({ jwk, kid }) => kid === decoded.kid && decoded.isSignedBy(jwk))
      )
        return undefined
      if (verified.size >= 1000) verified.clear()
      verified.set(token, decoded)
      return decoded
    }
    return {
      configured: "an issuer in this process",
      isEmbedded: true,
      issuer: Effect.succeed(name),
      grant: Effect.map(Clock.currentTimeMillis, (now) => {
        const iat = Math.floor(now / 1000)
        const claims = {
          iss: name,
          sub: client,
          client_id: client,
          scope: scopes.join(" "),
          jti: String(++last),
          iat,
          exp: iat + lifetime
        }
        return {
          value: Redacted.make(jwt.encode(keys.at(-1)!, claims)),
          scopes,
          expires: (iat + lifetime) * 1000
        }
      }),
      introspect: (token) =>
        Effect.map(Clock.currentTimeMillis, (now) => {
          const decoded = verifiedOf(Redacted.value(token))
          const isActive =
            decoded !== undefined &&
            keys.some(({ kid }) => kid === decoded.kid) &&
            !revoked.has(decoded.claims["jti"]) &&
            now < Number(decoded.claims["exp"]) * 1000
          return isActive
            ? { isActive, subject: client, scopes }
            : { isActive, subject: undefined, scopes: [] }
        }),
      keys: Effect.sync(() => keys.map(({ jwk }) => jwk)),
      rotate: ({ forget = false } = {}) =>
        Effect.map(generate, (key) => {
          keys = forget ? [key] : [...keys, key]
        }),
      revoke: (token) => Effect.sync(() => void revoked.add(jwt.decode(Redacted.value(token))?.claims["jti"]))
    }
  })

// real

const words = (scope: unknown) => (typeof scope === "string" && scope !== "" ? scope.split(" ") : [])

const openId = (
  url: Redacted.Redacted<URL>
): Effect.Effect<Issuer, NetworkSettings.MissingPackage | NetworkSettings.SettingError> =>
  Effect.gen(function* () {
    const id = Redacted.value(yield* NetworkSettings.required("OAUTH_CLIENT_ID", "OAUTH_ISSUER"))
    const clientSecret = yield* NetworkSettings.required("OAUTH_CLIENT_SECRET", "OAUTH_ISSUER")
    const scope = Option.getOrUndefined(yield* NetworkSettings.text("OAUTH_SCOPE"))
    const resource = Option.getOrUndefined(yield* NetworkSettings.text("OAUTH_RESOURCE"))
    const client = yield* NetworkSettings.load(
      "openid-client",
      "OAUTH_ISSUER",
      (): Promise<typeof import("openid-client")> => nativeImport("openid-client")
    )
    const server = Redacted.value(url)

    const ask = <A>(name: string, request: () => Promise<A>) =>
      Effect.tryPromise({
        try: request,
        catch: (cause) => {
          const { error, error_description, status } = cause as Record<string, unknown>
          // A challenge of the server is in the causes (RFC 6750).
          const [challenge] = [(cause as Error).cause].flat() as ReadonlyArray<{
            parameters?: Record<string, string>
          }>
          const said = error_description ?? error ?? challenge?.parameters?.["error_description"]
          return new OAuthError({
            reason: typeof said === "string" ? reasonOf(said) : reasonOf(cause),
            isTransient:
              isOfConnection(cause) || Number(status ?? 0) >= 500 || /timed? ?out/i.test(reasonOf(cause)),
            cause
          })
        }
      }).pipe(Effect.withSpan(`OAuth.${name}`))

    // Discovered when first needed, and again after a failure: an issuer that is down now may be up later.
    let found: Promise<Awaited<ReturnType<typeof client.discovery>>> | undefined
    const discovered = () => {
      found ??= client
        .discovery(server, id, undefined, client.ClientSecretBasic(Redacted.value(clientSecret)), {
          timeout: 5,
          // Plain HTTP is accepted for an issuer that was configured so.
          execute: server.protocol === "http:" ? [client.allowInsecureRequests] : []
        })
        .catch((error) => {
          found = undefined
          throw error
        })
      return found
    }
    return {
      configured: `OpenID Connect, ${NetworkSettings.shown(url)}, client ${id}`,
      isEmbedded: false,
      issuer: ask("discover", async () => (await discovered()).serverMetadata().issuer),
      grant: Effect.flatMap(Clock.currentTimeMillis, (now) =>
        ask("grant", async () => {
          const config = await discovered()
          const answer = await client.clientCredentialsGrant(config, {
            ...(scope === undefined ? {} : { scope }),
            ...(resource === undefined ? {} : { resource })
          })
          return {
            value: Redacted.make(answer.access_token),
            scopes: words(answer.scope ?? scope),
            expires: now + (answer.expires_in ?? 60) * 1000
          }
        })
      ),
      introspect: (token) =>
        ask("introspect", async () => {
          const answer = await client.tokenIntrospection(await discovered(), Redacted.value(token))
          return {
            isActive: answer.active,
            subject: answer.sub ?? answer.client_id,
            scopes: words(answer.scope)
          }
        }),
      keys: ask("keys", async () => {
        const uri = (await discovered()).serverMetadata().jwks_uri
        if (uri === undefined) throw new Error("the issuer has no key set")
        const response = await fetch(uri, { signal: AbortSignal.timeout(5000) })
        if (!response.ok) throw new Error(`the key set was answered with status ${response.status}`)
        const { keys } = (await response.json()) as { readonly keys?: ReadonlyArray<JsonWebKey> }
        return Array.isArray(keys) ? keys : []
      })
    }
  })

// layers

/**
 * The embedded client, of an issuer in this process.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerEmbedded: Layer.Layer<OAuth> = Layer.scoped(OAuth, Effect.flatMap(makeIssuer(), make))

/**
 * By the setting `OAUTH_ISSUER`: any OpenID issuer, with `OAUTH_CLIENT_ID`, `OAUTH_CLIENT_SECRET`, and perhaps
 * `OAUTH_SCOPE` and `OAUTH_RESOURCE` (needs `openid-client`); {@link layerEmbedded} without it. An issuer that is down fails the calls, not the layer.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<OAuth, NetworkSettings.MissingPackage | NetworkSettings.SettingError> =
  Layer.scoped(
    OAuth,
    Effect.flatMap(
      NetworkSettings.url("OAUTH_ISSUER", ["https:", "http:"], "https://issuer.example.org"),
      (url): Effect.Effect<Issuer, NetworkSettings.MissingPackage | NetworkSettings.SettingError> =>
        Option.isNone(url) ? makeIssuer() : openId(url.value)
    ).pipe(Effect.flatMap(make))
  )
