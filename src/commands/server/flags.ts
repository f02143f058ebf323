import { Either } from "effect"
import type * as HttpServer from "../../services/http/HttpServer.js"
import * as Flag from "../kernel/Flag.js"
import * as Flags from "../kernel/Flags.js"
import * as Values from "../kernel/Values.js"
import * as WatchLoop from "../kernel/WatchLoop.js"

const host: Flag.Parse<string> = (text) =>
  /^[\w.:%-]+$/.test(text)
    ? Either.right(text)
    : Either.left(`'${text}' is not a host; expected a name or an address of this machine, like 127.0.0.1`)

const file = (name: string, value: string, text: string) =>
  Flag.value(name, { value, text, parse: Values.text("a path") })

// limits

const unbounded: Flag.Parse<number> = (text) =>
  text === "unbounded"
    ? Either.right(Number.POSITIVE_INFINITY)
    : Either.mapLeft(Values.integer(1)(text), (message) => `${message}, or unbounded`)

const count = (name: string, shown: string, text: string) =>
  Flag.value(name, { value: "N", text, parse: unbounded, default: shown })

const time = (name: string, shown: string, text: string) =>
  Flag.value(name, {
    value: "DURATION",
    text,
    parse: Values.span,
    ...(shown === "" ? {} : { default: shown })
  })

const size = (name: string, shown: string, text: string) =>
  Flag.value(name, { value: "SIZE", text, parse: Values.size(1), default: shown })

/** An option for each limit of the server. */
const limits = {
  connections: count("connections", "10000", "open connections; more get 503"),
  connectionsPerAddress: count(
    "connections-per-address",
    "1000",
    "open connections of one address; more get 503"
  ),
  headerTime: time("header-time", "10s", "time for the head of a request; then 408"),
  headerSize: size("header-size", "16K", "size of the head of a request; then 431"),
  bodyTime: time("body-time", "60s", "time for a whole request; then 408"),
  bodySize: size("body-size", "10M", "size of the body of a request; then 413"),
  idleTime: time("idle-time", "5s", "time that a connection may stay open between two requests"),
  pipelined: count("pipelined", "8", "requests of one connection that run at the same time"),
  messageSize: size("message-size", "1M", "size of a WebSocket message; then close code 1009"),
  messagesWaiting: count("messages-waiting", "64", "WebSocket messages under way before reading pauses"),
  backlog: size("backlog", "1M", "bytes that a slow client has not taken before writing waits"),
  writeTime: time("write-time", "60s", "time that a client may take none of them; then it is closed"),
  pingInterval: time("ping-interval", "30s", "interval of pings to WebSockets; two without an answer close"),
  waitTime: Flags.waitTime,
  deadline: time("deadline", "", "time that a request may take; then it is cancelled, and gets 503")
} satisfies Record<keyof HttpServer.Limits, Flag.Flag<number | undefined>>

export const limitNames = Object.keys(limits) as ReadonlyArray<keyof HttpServer.Limits>

/** The most worker threads and processes; more are a mistake. */
const most = 1024

export const flags = {
  dir: file("dir", "DIR", "serve the files of DIR"),
  model: Flag.choice("model", ["event-loop", "threads", "blocking"], {
    text: "how requests run: as fibers of one thread, each on one of --threads, or one after the other",
    default: "event-loop"
  }),
  threads: Flag.value("threads", {
    value: "N",
    text: "worker threads of --model threads; the default is four more than processors, 32 at most",
    parse: Values.integer(1, most)
  }),
  processes: Flag.value("processes", {
    value: "M",
    text: "processes that share the port; one that dies is replaced",
    parse: Values.integer(1, most),
    default: "1"
  }),
  port: Flags.port,
  host: Flag.value("host", {
    value: "ADDRESS",
    text: "address to listen on; the default is reached from this machine only",
    parse: host,
    default: "127.0.0.1"
  }),
  uds: file("uds", "PATH", "listen on a Unix domain socket instead"),
  cert: file("cert", "FILE", "certificate in PEM, with its chain: serve TLS"),
  key: file("key", "FILE", "its private key in PEM"),
  grace: Flag.withText(Flags.grace("5s"), "time that running requests have after a signal"),
  accessLog: Flag.toggle(
    "access-log",
    "a line for each request, in the combined log format; an event with --json"
  ),
  metrics: Flag.toggle("metrics", "serve /health and /metrics before the app of FILE or DIR"),
  compare: Flag.toggle(
    "compare",
    "measure every model under the same loads beside what the guide says, then end"
  ),
  out: Flag.withText(Flags.out, "write the picture of --compare to FILE.svg or FILE.html"),
  explain: Flag.toggle(
    "explain",
    "show in five lines how waiting and blocking affect other requests, then end"
  ),
  ...limits,
  ...WatchLoop.flags,
  ...Flags.reporting
}

export type Config = Flag.Values<typeof flags>

/** The options that --compare and --explain have; the others are about a server of one's own. */
export const ofMeasurements: Readonly<Record<"compare" | "explain", ReadonlyArray<keyof Config>>> = {
  compare: ["compare", "out", "model", "threads", "json", "quiet"],
  explain: ["explain"]
}
