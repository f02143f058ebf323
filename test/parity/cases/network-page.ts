import { Duration, Effect, Layer } from "effect"
import * as Network from "../../../src/programs/Network.js"
import * as Apis from "../../../src/services/network/Apis.js"
import * as Cache from "../../../src/services/network/Cache.js"
import * as Database from "../../../src/services/network/Database.js"
import * as OAuth from "../../../src/services/network/OAuth.js"
import * as Storage from "../../../src/services/network/Storage.js"
import { say } from "../Case.js"

const services = Layer.mergeAll(
  Apis.layerTest({ latency: { drive: 0, chat: 30 } }),
  Cache.layerTest({ latency: 10 }),
  Database.layerTest({ latency: 50, down: "connection refused" }),
  OAuth.layerTest(),
  Storage.layerTest({ latency: 10_000 })
)

export default Effect.gen(function* () {
  const { parts, total } = yield* Network.dashboard("ada", { timeout: 100 })
  for (const name of ["database", "cache", "storage", "chat"] as const) {
    const { value } = parts[name]
    yield* say(name, value._tag === "Left" ? value.left.reason : "ok")
  }
  yield* say(Duration.toMillis(total) < 190 ? "as long as the slowest" : "as long as all together")
}).pipe(Effect.provide(services))
