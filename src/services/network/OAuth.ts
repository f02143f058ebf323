import { Context, Data, type Duration, Effect, Layer } from "effect"

// model

/** Who a user is, as the identity provider has it. */
export interface Account {
  readonly email: string
  /** What the user has allowed us to do. */
  readonly scopes: ReadonlyArray<string>
}

// errors

/** The identity provider does not vouch for the user, or could not be asked. */
export class OAuthError extends Data.TaggedError("OAuthError")<{ readonly reason: string }> {
  override get message() {
    return `oauth: ${this.reason}`
  }
}

// tag

/** The identity provider that an application server asks about its users. */
export class OAuth extends Context.Tag("effect-asyncio/services/OAuth")<
  OAuth,
  {
    /** Fails for a user that it does not know. */
    readonly account: (user: string) => Effect.Effect<Account, OAuthError>
  }
>() {}

/** Whom an embedded provider knows and how it behaves. */
export interface Embedded {
  readonly accounts: Readonly<Record<string, Account>>
  /** How long each answer takes. */
  readonly latency: Duration.DurationInput
  /** Answers with this failure instead. */
  readonly down?: string
}

// make

/** A provider in memory. It takes its time by the clock at hand. */
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

/** Embedded: the account of the user `ada`, each answer after 90 ms. */
export const layer: Layer.Layer<OAuth> = Layer.succeed(
  OAuth,
  make({
    latency: 90,
    accounts: { ada: { email: "ada@example.org", scopes: ["read", "write"] } }
  })
)

/** Nobody known and at once, but for what is given. */
export const layerTest = (given: Partial<Embedded> = {}): Layer.Layer<OAuth> =>
  Layer.succeed(OAuth, make({ latency: 0, accounts: {}, ...given }))
