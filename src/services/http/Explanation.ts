import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpServer from "@effect/platform/HttpServer"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { Duration, Effect } from "effect"
import * as Gather from "../task/Gather.js"
import * as Sleep from "../task/Sleep.js"
import { formatDuration } from "../text/Durations.js"
import { checkOptions, countOrNone, time } from "../text/Numbers.js"
import * as Workload from "./Workload.js"

/**
 * Settings of {@link measure}.
 *
 * @since 0.1.0
 * @category options
 */
export interface Options {
  /** Requests that wait at the same time; default 1,000. */
  readonly requests?: number | undefined
  /** How long each of them waits; default 200 milliseconds. */
  readonly wait?: Duration.DurationInput | undefined
  /** How long one handler blocks; default 300 milliseconds. */
  readonly block?: Duration.DurationInput | undefined
  /** Requests without a wait that are sent at the same time; default 10. */
  readonly others?: number | undefined
}

/**
 * What {@link measure} has measured; times in milliseconds.
 *
 * @since 0.1.0
 * @category models
 */
export interface Measured {
  readonly requests: number
  readonly wait: number
  readonly block: number
  readonly others: number
  /** One request that waits, alone. */
  readonly one: number
  /** From the first of the waiting requests to the last answer. */
  readonly all: number
  /** The slowest of the other requests while nothing blocks. */
  readonly free: number
  /** The quickest of the other requests while one handler blocks. */
  readonly held: number
}

const timed = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<number, E, R> =>
  Effect.map(Effect.timed(effect), ([duration]) => Duration.toMillis(duration))

const hi = HttpServerResponse.text("hi\n")

/**
 * Measures the strength and the weakness of an event loop: many requests that wait take one wait, and one handler that
 * blocks delays all others. The client is one of the server, as `HttpServer.layerTestClient` makes it; both share the one
 * thread.
 *
 * @since 0.1.0
 * @category effects
 */
export const measure = Effect.fn("Explanation.measure")(function* (options: Options = {}) {
  checkOptions(options, { requests: countOrNone, others: countOrNone, wait: time, block: time })
  const { others = 10, requests = 1000 } = options
  const block = Duration.toMillis(options.block ?? 300)
  const wait = Duration.toMillis(options.wait ?? 200)
  const work: Readonly<Record<string, Effect.Effect<void>>> = {
    "/wait": Sleep.sleep(wait),
    "/block": Workload.block(block)
  }
  yield* HttpServer.serveEffect(
    Effect.flatMap(HttpServerRequest.HttpServerRequest, ({ url }) => Effect.as(work[url] ?? Effect.void, hi))
  )
  const client = yield* HttpClient.HttpClient
  const get = (path: string) => Effect.flatMap(client.get(path), ({ text }) => text)
  const quick = Array.from({ length: others }, () => timed(get("/")))
  // Connections are opened first: opening a thousand takes longer than the wait, on any server.
  yield* Gather.gather(Array.from({ length: requests }, () => get("/")))
  const one = yield* timed(get("/wait"))
  const all = yield* timed(Gather.gather(Array.from({ length: requests }, () => get("/wait"))))
  const free = Math.max(...(yield* Gather.gather(quick)))
  // The blocking request is sent first, so that it delays the others.
  const [, ...held] = yield* Gather.gather([timed(get("/block")), ...quick])
  return { requests, wait, block, others, one, all, free, held: Math.min(...held) } satisfies Measured
}, Effect.scoped)

const ms = (measured: number) => `${Math.round(measured)} ms`

/**
 * What was {@link Measured} in five lines.
 *
 * @since 0.1.0
 * @category formatting
 */
export const lines = ({
  all,
  block,
  free,
  held,
  one,
  others,
  requests,
  wait
}: Measured): ReadonlyArray<string> => [
  `1 request that waits ${wait} ms: answered after ${ms(one)}`,
  `${requests} requests that wait ${wait} ms each: all answered after ${ms(all)} (one after another: ${formatDuration(requests * wait)})`,
  `${others} requests with nothing to wait for: each answered within ${ms(free)}`,
  `the same ${others} while one handler blocks for ${block} ms: none answered before ${ms(held)}`,
  "waiting costs the loop nothing, blocking stops it for all requests: blocking work belongs on a thread (aio executor)"
]
