import { Effect, Either } from "effect"
import * as Server from "../programs/Server.js"
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
  )
}

export const command = Command.make(
  "server",
  {
    summary: "serve HTTP and WebSocket on one thread, one fiber per request",
    usage: ["[OPTIONS]"],
    flags
  },
  (options) =>
    Effect.flatMap(Server.notes, (notes) =>
      Effect.provide(Server.example, HttpServerNode.layer({ ...options, ...notes }))
    )
)
