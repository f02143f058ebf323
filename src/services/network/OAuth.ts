import { Context, Data, type Duration, Effect, Layer } from "effect"

// model

/**
 * A user's account at the identity provider.
 *
 * @since 0.1.0
 * @category models
 */
export interface Account {
  readonly email: string
  /** The scopes that the user has granted. */
  readonly scopes: ReadonlyArray<string>
}

// errors

/**
 * The identity provider does not know the user, or did not answer.
 *
 * @since 0.1.0
 * @category errors
 */
export class OAuthError extends Data.TaggedError("OAuthError")<{ readonly reason: string }> {
  override get message() {
    return `oauth: ${this.reason}`
  }
}

// tag

/**
 * The identity provider that an application server asks about its users.
 *
 * @since 0.1.0
 * @category services
 */
export class OAuth extends Context.Tag("effect-asyncio/services/OAuth")<
  OAuth,
  {
    /** The account of the user; fails for an unknown user. */
    readonly account: (user: string) => Effect.Effect<Account, OAuthError>
  }
>() {}

/**
 * The accounts of an embedded provider and its behaviour.
 *
 * @since 0.1.0
 * @category models
 */
export interface Embedded {
  readonly accounts: Readonly<Record<string, Account>>
  /** Time that each answer takes. */
  readonly latency: Duration.DurationInput
  /** Answers with this failure instead. */
  readonly down?: string
}

// make

/**
 * A provider in memory. Its latency is a time of the current clock.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = ({ accounts, down, latency }: Embedded): Context.Tag.Service<OAuth> => ({
  account: (user) =>
    Effect.zipRight(
      Effect.sleep(latency),
      Effect.suspend(() => {
        const account = accounts[user]
        if (down !== undefined) return new OAuthError({ reason: down })
        return account === undefined
          ? new OAuthError({ reason: `no account for ${user}` })
          : Effect.succeed(account)
      })
    )
})

// layers

/**
 * Embedded: the account of the user `ada`, each answer after 90 ms.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<OAuth> = Layer.succeed(
  OAuth,
  make({
    latency: 90,
    accounts: { ada: { email: "ada@example.org", scopes: ["read", "write"] } }
  })
)

/**
 * Without accounts and without latency, except for the given content.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerTest = (given: Partial<Embedded> = {}): Layer.Layer<OAuth> =>
  Layer.succeed(OAuth, make({ latency: 0, accounts: {}, ...given }))
