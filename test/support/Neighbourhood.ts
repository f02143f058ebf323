import { type Duration, Effect, Layer, Option, Redacted } from "effect"
import * as Network from "../../src/programs/Network.js"
import * as Api from "../../src/services/network/Api.js"
import * as Cache from "../../src/services/network/Cache.js"
import * as Database from "../../src/services/network/Database.js"
import * as Neighbours from "../../src/services/network/Neighbours.js"
import * as OAuth from "../../src/services/network/OAuth.js"
import * as Storage from "../../src/services/network/Storage.js"

/** What a part answers; without one, an empty answer at once. */
export type Answers = Partial<Record<Network.PartName, Effect.Effect<unknown, unknown>>>

const empty = { database: [], cache: Option.none(), oauth: undefined, storage: [], drive: [], chat: [] }

/** Services that answer a page with these effects, on the current clock, and a policy without retries. */
export const layer = (answers: Answers = {}, options: Neighbours.Options = { policy: { retries: 0 } }) => {
  const of = (name: Network.PartName): Effect.Effect<any, any> => answers[name] ?? Effect.succeed(empty[name])
  const service = { configured: "a stub", isEmbedded: true, check: Effect.void }
  const unused = () => Effect.dieMessage("not part of a page")
  return Layer.mergeAll(
    Layer.succeed(Database.Database, {
      ...service,
      dialect: "sqlite",
      use: () => of("database"),
      migrate: unused
    }),
    Layer.succeed(Cache.Cache, {
      ...service,
      get: () => of("cache"),
      set: unused,
      increment: unused,
      remove: unused,
      clear: unused
    }),
    Layer.succeed(OAuth.OAuth, {
      ...service,
      token: Effect.succeed({ value: Redacted.make("token"), scopes: [], expires: 0 }),
      introspect: () => Effect.as(of("oauth"), { isActive: true, subject: "aio", scopes: ["read"] }),
      verify: unused
    }),
    Layer.succeed(Storage.Storage, {
      ...service,
      list: () => of("storage"),
      get: unused,
      stream: unused as never,
      put: unused,
      remove: unused,
      presign: unused
    }),
    Layer.succeed(Api.Api, {
      ...service,
      get: (path) => of(path.endsWith("/documents") ? "drive" : "chat"),
      post: unused
    }),
    Neighbours.layer(Network.names, options)
  )
}

/** An answer after some time. */
export const takes = (time: Duration.DurationInput, value: unknown = []) =>
  Effect.as(Effect.sleep(time), value)

/** A failure after some time. */
export const failing = (time: Duration.DurationInput, reason: string, isTransient = false) =>
  Effect.zipRight(Effect.sleep(time), Effect.fail({ reason, isTransient }))

/** What each part of a page says. */
export const texts = ({ parts }: Network.Page): Readonly<Record<string, string>> =>
  Object.fromEntries(
    Network.names.map((name) => [name, Network.text(name, parts[name] as Network.Part<never>)])
  )
