import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import { Effect, Either } from "effect"
import * as Server from "../programs/Server.js"
import * as Output from "../services/host/Output.js"
import * as Values from "./kernel/Values.js"

const options = {
  port: Values.parsed("port", (text) =>
    /^\d{1,5}$/.test(text) && Number(text) < 65_536
      ? Either.right(Number(text))
      : Either.left(`'${text}' is not a port; expected 1 to 65535, or 0 for a free port`)
  ).pipe(
    Options.withPseudoName("n"),
    Options.withDescription("port to listen on; default 0, a free port"),
    Options.withDefault(0)
  ),
  host: Values.parsed("host", (text) =>
    /^[\w.:%-]+$/.test(text)
      ? Either.right(text)
      : Either.left(`'${text}' is not a host; expected a name or an address of this machine, like 127.0.0.1`)
  ).pipe(
    Options.withPseudoName("address"),
    Options.withDescription("address to listen on; default 127.0.0.1, this machine only"),
    Options.withDefault("127.0.0.1")
  ),
  grace: Values.duration("grace").pipe(
    Options.withDescription("grace period for running requests after a signal; default 5s"),
    Options.withDefault(5000)
  ),
  demo: Options.boolean("demo").pipe(
    Options.withDescription("show in five lines how waiting and blocking affect other requests, then end")
  )
}

export const command = Command.make("server", options, ({ demo, ...options }) =>
  demo
    ? Effect.flatMap(Server.demo(options), (measured) =>
        Effect.forEach(Server.demoLines(measured), Output.print, { discard: true })
      )
    : Server.serve(options)
).pipe(Command.withDescription("serve HTTP and WebSocket on one thread, one fiber per request"))
