import { describe, expect, it } from "@effect/vitest"
import { Effect, Fiber, Redacted, TestClock } from "effect"
import * as OAuth from "../../../src/services/network/OAuth.js"

// The issuer of this process, with its faults.

const issued = (options: OAuth.IssuerOptions = {}) =>
  Effect.gen(function* () {
    const issuer = yield* OAuth.makeIssuer(options)
    const calls = { grants: 0, keys: 0 }
    const grant = Effect.zipRight(
      Effect.sync(() => calls.grants++),
      issuer.grant
    )
    const keys = Effect.zipRight(
      Effect.sync(() => calls.keys++),
      issuer.keys
    )
    return { issuer, calls, oauth: yield* OAuth.make({ ...issuer, grant, keys }) }
  })

describe("OAuth", () => {
  it.scoped("fetches a token once for all that wait, and goes on when one of them is interrupted", () =>
    Effect.gen(function* () {
      const { calls, issuer } = yield* issued()
      const oauth = yield* OAuth.make({
        ...issuer,
        grant: Effect.zipRight(
          Effect.sync(() => calls.grants++),
          Effect.delay(issuer.grant, 100)
        )
      })
      const [first, ...others] = yield* Effect.forEach([1, 2, 3, 4], () => Effect.fork(oauth.token))
      yield* TestClock.adjust(50)
      yield* Fiber.interrupt(first!)
      yield* TestClock.adjust(50)
      const tokens = yield* Fiber.joinAll(others)
      expect(new Set(tokens.map(({ value }) => Redacted.value(value))).size).toBe(1)
      expect(calls.grants).toBe(1)
    })
  )

  it.scoped(
    "refreshes a token in the last tenth of its life while it is given out, and waits only when it has expired",
    () =>
      Effect.gen(function* () {
        const { calls, oauth } = yield* issued({ lifetime: 100 })
        const text = Effect.map(oauth.token, ({ value }) => Redacted.value(value))
        const first = yield* text
        yield* TestClock.adjust("89 seconds")
        expect(yield* text).toBe(first)
        expect(calls.grants).toBe(1)
        yield* TestClock.adjust("1 seconds")
        expect(yield* text).toBe(first)
        yield* Effect.yieldNow()
        const second = yield* text
        expect(second).not.toBe(first)
        expect(calls.grants).toBe(2)
        yield* TestClock.adjust("1 hour")
        expect(yield* text).not.toBe(second)
      })
  )

  it.scoped("fails those that wait when the issuer fails, and asks again on the next call", () =>
    Effect.gen(function* () {
      const { issuer } = yield* issued()
      let calls = 0
      const down = new OAuth.OAuthError({ reason: "connection refused", isTransient: true })
      const oauth = yield* OAuth.make({
        ...issuer,
        grant: Effect.suspend(() => (calls++ === 0 ? down : issuer.grant))
      })
      expect((yield* Effect.flip(oauth.token)).message).toBe("oauth: connection refused")
      yield* oauth.token
      expect(calls).toBe(2)
    })
  )

  it.scoped("does not give out a token again that was revoked", () =>
    Effect.gen(function* () {
      const { issuer, oauth } = yield* issued()
      const { value } = yield* oauth.token
      yield* issuer.revoke(value)
      expect(yield* oauth.introspect(value)).toMatchObject({ isActive: false })
      const next = (yield* oauth.token).value
      expect(yield* oauth.introspect(next)).toMatchObject({ isActive: true, subject: "aio" })
    })
  )

  it.scoped("verifies tokens of rotated keys, and looks an unknown key up at most every 5 seconds", () =>
    Effect.gen(function* () {
      const { calls, issuer, oauth } = yield* issued()
      const old = (yield* oauth.token).value
      yield* oauth.verify(old)
      yield* TestClock.adjust("5 seconds")
      yield* issuer.rotate({ forget: true })
      const { value } = yield* issuer.grant
      expect(yield* oauth.verify(value)).toMatchObject({ sub: "aio" })
      expect(calls.keys).toBe(2)
      expect((yield* Effect.flip(oauth.verify(old))).message).toContain("not signed by a key of the issuer")
      const other = yield* OAuth.makeIssuer()
      for (const _ of [1, 2, 3]) yield* Effect.flip(oauth.verify((yield* other.grant).value))
      expect(calls.keys).toBe(2)
    })
  )

  it.scoped("accepts a clock that is 60 seconds off, and no more", () =>
    Effect.gen(function* () {
      const { oauth } = yield* issued({ lifetime: 100 })
      const { value } = yield* oauth.token
      yield* TestClock.adjust("159 seconds")
      yield* oauth.verify(value)
      yield* TestClock.adjust("1 seconds")
      expect((yield* Effect.flip(oauth.verify(value))).message).toBe("oauth: the token has expired")
    })
  )

  it.scoped("refuses a token of another issuer that has the same key, and one signed with a secret", () =>
    Effect.gen(function* () {
      const { issuer } = yield* issued()
      const oauth = yield* OAuth.make({ ...issuer, issuer: Effect.succeed("https://other") })
      const { value } = yield* oauth.token
      expect((yield* Effect.flip(oauth.verify(value))).reason).toBe("the token is of another issuer")
      const [, payload] = Redacted.value(value).split(".")
      for (const alg of ["none", "HS256", "__proto__", "toString"]) {
        const header = Buffer.from(JSON.stringify({ alg })).toString("base64url")
        const error = yield* Effect.flip(oauth.verify(Redacted.make(`${header}.${payload}.`)))
        expect(error.reason).toBe("the token is no JWT with ES256 or RS256")
      }
    })
  )
})
