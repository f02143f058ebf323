import { Duration, Effect, Option } from "effect"
import * as Network from "../../../src/programs/Network.js"
import { failing, layer, takes } from "../../support/Neighbourhood.js"
import { say } from "../Case.js"

const services = layer(
  {
    database: failing(50, "connection refused"),
    cache: takes(10, Option.none()),
    storage: takes(10_000),
    chat: takes(30)
  },
  { policy: { retries: 0, deadline: 100 } }
)

export default Effect.gen(function* () {
  const { parts, total } = yield* Network.page("ada")
  for (const name of ["database", "cache", "storage", "chat"] as const) {
    const { value } = parts[name]
    yield* say(name, value._tag === "Left" ? value.left.reason : "ok")
  }
  yield* say(Duration.toMillis(total) < 190 ? "as long as the slowest" : "as long as all together")
}).pipe(Effect.provide(services))
