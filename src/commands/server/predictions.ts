import type { Load, Measured, Model } from "../../programs/ServerCompare.js"
import { integer, memory, number, type Predicted, quantile, time } from "../kernel/Comparison.js"

// What the guide's explanation says, sentence by sentence, beside what was measured. Whether a sentence holds is computed
// from the measurements, by the rule that stands next to it.

export interface Settings {
  readonly threads: number
  /** Milliseconds that a request of the load `wait` waits. */
  readonly wait: number
}

/** Noise of a second's measurement: what changes throughput by less counts as no change. */
const noise = 0.2

export const predictions = (
  all: ReadonlyArray<Measured>,
  { threads, wait }: Settings
): ReadonlyArray<Predicted> => {
  const of = (model: Model, load: Load) => all.filter((one) => one.model === model && one.load === load)
  const [loop, pool, blocking] = [of("event-loop", "wait"), of("threads", "wait"), of("blocking", "wait")]
  const [hello] = of("event-loop", "hello")
  const [poolHello] = of("threads", "hello")
  const [sockets] = of("event-loop", "sockets")
  const [poolSockets] = of("threads", "sockets")

  /** Requests that waited at the same time, by Little's law. */
  const atOnce = (one: Measured) => (one.throughput * wait) / 1000
  const most = (loads: ReadonlyArray<Measured>) =>
    loads.length === 0 ? undefined : Math.max(...loads.map(atOnce))
  const [loopMost, poolMost, blockingMost] = [most(loop), most(pool), most(blocking)]
  const connectionsOf = (loads: ReadonlyArray<Measured>) =>
    Math.max(...loads.map(({ connections }) => connections))

  const claims: Array<Predicted> = []
  const claim = <const A extends ReadonlyArray<unknown>>(
    sentence: string,
    needs: A,
    judge: (
      ...known: { readonly [K in keyof A]: NonNullable<A[K]> }
    ) => readonly [measured: string, holds: boolean]
  ) => {
    if (needs.includes(undefined)) {
      claims.push({ event: "predicted", claim: sentence, measured: "not measured" })
      return
    }
    const [measured, holds] = (judge as (...known: ReadonlyArray<unknown>) => readonly [string, boolean])(
      ...needs
    )
    claims.push({ event: "predicted", claim: sentence, measured, holds })
  }

  claim(
    "The event loop allows you to handle a larger number of network connections at once.",
    [loopMost, poolMost, blockingMost],
    (loop, pool, blocking) => [
      `requests under way at once: ${number(loop)} on the event loop, ${number(pool)} on ${threads} threads, ${number(blocking)} when blocking`,
      loop > pool && loop > blocking
    ]
  )
  claim(
    "Non-blocking network IO, so you can have long running connections with very little performance impact",
    [hello, sockets],
    (hello, sockets) => {
      const [before, after] = [hello.cpuPerRequest, sockets.cpuPerRequest]
      const each = sockets.memoryPerConnection
      const parts = [
        `${integer(sockets.webSockets)} idle WebSockets on the event loop${each === undefined ? "" : `, ${memory(each)} each`}`,
        `${integer(sockets.throughput)} answers a second, ${integer(hello.throughput)} without`,
        ...(before && after ? [`processor time for an answer ${time(after)}, ${time(before)} without`] : [])
      ]
      // Processor time where it is known: other programs on the machine change it less.
      const cost = before && after ? after / before : hello.throughput / sockets.throughput
      return [parts.join("; "), sockets.webSockets > 0 && cost <= 1 + noise]
    }
  )
  claim(
    "Processes X Threads = Total number of concurrent connections that can be handled at once.",
    [poolMost],
    (most) => {
      const opened =
        poolSockets === undefined ? "" : `; idle WebSockets that opened: ${integer(poolSockets.webSockets)}`
      return [
        `1 process with ${threads} threads: ${number(most)} requests under way at once, on up to ${integer(connectionsOf(pool))} connections${opened}`,
        Math.abs(most - threads) <= threads * (noise + 0.05)
      ]
    }
  )
  const crowded = pool.find(({ connections }) => connections >= 2 * threads)
  claim(
    "If no threads available, request is blocked, waiting for an open thread",
    [crowded, crowded?.p50],
    ({ connections }, p50) => [
      `${integer(connections)} connections, ${threads} threads: half of the requests took ${quantile(p50)} or longer to wait for ${time(wait)}`,
      p50.ms >= 2 * wait * (1 - noise)
    ]
  )
  claim("Threads are expensive (CPU)", [hello?.cpuPerRequest, poolHello?.cpuPerRequest], (loop, pool) => [
    `processor time for an answer: ${time(pool)} on threads, ${time(loop)} on the event loop`,
    pool > loop * (1 + noise)
  ])
  const large = loop.findLast(({ memoryPerConnection }) => memoryPerConnection !== undefined)
  claim("Processes are expensive on RAM", [hello?.memory, large?.memoryPerConnection], (process, each) => [
    `a process takes ${memory(process)} before its first connection, a connection on the event loop ${memory(each)}`,
    process > 100 * each
  ])
  const many = loop.filter(({ connections }) => connections >= 100)
  const quick = ({ p50 }: Measured) => p50 !== undefined && !p50.atLeast && p50.ms <= 2 * wait
  claim(
    "Since we don’t block on network traffic, we can juggle many requests at the same time",
    [many.findLast(quick) ?? many[0]],
    (one) => [
      `${integer(one.connections)} connections on one thread: half of the requests took ${quantile(one.p50)} to wait for ${time(wait)}`,
      quick(one)
    ]
  )
  claim(
    "Modern web application servers connect with many different services that can potentially block on network traffic — BAD",
    [loop.at(-1), blocking.at(-1)],
    (loop, blocking) => [
      `${integer(loop.connections)} connections: ${number(blocking.throughput)} answers a second when waiting blocks, ${number(loop.throughput)} when it does not`,
      blocking.throughput < loop.throughput * (1 - noise)
    ]
  )
  const peak = [hello, ...loop].reduce(
    (best, one) => (one !== undefined && one.throughput > (best?.throughput ?? -1) ? one : best),
    undefined
  )
  claim(
    "Limiting factor is maxed out CPU, not costly thread switching between requests — GOOD",
    [peak, peak?.cpu, peak?.switches],
    ({ throughput }, cpu, switches) => [
      `event loop at ${integer(throughput)} answers a second: ${integer(cpu * 100)} % of a processor, ${number(switches)} context switches an answer`,
      cpu >= 1 - noise && switches < 1
    ]
  )
  claim(
    "Anywhere in your application server that is not and does network traffic WILL BLOCK all other connections while it is doing its network traffic",
    [blockingMost],
    (blocking) => [
      `${number(blocking)} requests under way at once when waiting blocks`,
      blocking <= 1 + noise
    ]
  )
  return claims
}
