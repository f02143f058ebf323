import { Effect, Either } from "effect"
import * as Server from "../programs/Server.js"
import * as Output from "../services/host/Output.js"
import * as HttpServerNode from "../services/http/HttpServerNode.js"
import * as Command from "./kernel/Command.js"
import * as Flag from "./kernel/Flag.js"
import * as Flags from "./kernel/Flags.js"
import * as Values from "./kernel/Values.js"

const host: Flag.Parse<string> = (text) =>
  /^[\w.:%-]+$/.test(text)
    ? Either.right(text)
    : Either.left(`'${text}' is not a host; expected a name or an address of this machine, like 127.0.0.1`)

const flags = {
  port: Flag.withDefault(
    Flag.value("port", { value: "N", text: "port to listen on; 0 is a free port", parse: Values.port(0) }),
    0
  ),
  host: Flag.withDefault(
    Flag.value("host", {
      value: "ADDRESS",
      text: "address to listen on; the default is reached from this machine only",
      parse: host
    }),
    "127.0.0.1"
  ),
  grace: Flag.withDefault(
    Flag.withText(Flags.grace("5s"), "time that running requests have after a signal"),
    5000,
    "5s"
  ),
  demo: Flag.toggle("demo", "show in five lines how waiting and blocking affect other requests, then end")
}

export const command = Command.provide(
  Command.make(
    "server",
    {
      summary: "serve HTTP and WebSocket on one thread, one fiber per request",
      usage: ["[OPTIONS]"],
      flags,
      examples: [["server --demo", "what waiting and what blocking does to other requests"]]
    },
    ({ demo, ...options }) =>
      demo
        ? Effect.flatMap(Server.demo(options), (measured) =>
            Effect.forEach(Server.demoLines(measured), Output.print, { discard: true })
          )
        : Server.serve(options)
  ),
  HttpServerNode.layer
)
