import { readFileSync } from "node:fs"
import { pathToFileURL } from "node:url"
import { WebSocket } from "ws"
import { quantiles } from "./answerTimes.js"

// The program of LoadDriver's process. Its argument is a Job as JSON; it writes each phase, and then the result, as a
// line of JSON. Node's modules, ws and the load generator only: it starts for each measurement.

export interface Job {
  /** The file of autocannon. */
  readonly generator: string
  readonly url: string
  readonly webSocketUrl: string
  readonly connections: number
  readonly webSockets: number
  /** Milliseconds. */
  readonly time: number
  readonly warmUp: number
  readonly connectTime: number
}

interface Client {
  readonly conn: { readonly connecting: boolean; readonly destroyed: boolean }
  on(event: "request", listener: () => void): void
}

/** What is used of autocannon. */
type Autocannon = (options: object) => PromiseLike<unknown> & {
  on(event: "response", listener: (client: Client, status: number, bytes: number, ms: number) => void): void
  on(event: "reqError", listener: (error: Error) => void): void
  stop(): void
}

const job = JSON.parse(process.argv[2]!) as Job
const write = (message: object) => process.stdout.write(`${JSON.stringify(message)}\n`)
const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms))

/** After a phase the parent looks at the server, whose memory should not change meanwhile. */
const lookTime = 60

const phase = (name: string) => {
  write({ phase: name })
  return pause(lookTime)
}

/** How long no new connection means that there will be none: longer than the kernel's first retry, which is a second. */
const quiet = 1200

/** Waits until all are open, until none has opened for a while, or until the limit. */
const opened = async (count: () => number, all: number): Promise<number> => {
  const end = performance.now() + job.connectTime
  let last = -1
  let since = 0
  for (;;) {
    const now = performance.now()
    const open = count()
    if (open !== last) since = now
    last = open
    if (open >= all || now >= end || now - since >= quiet) return open
    await pause(10)
  }
}

const failures = new Set<string>()
let errors = 0
const failed = (error: NodeJS.ErrnoException) => {
  errors++
  failures.add(error.code ?? error.message)
}
/** What the warm-up meets does not count. */
const forget = () => {
  errors = 0
  failures.clear()
}

/** Sockets that open at a time: more than the server's backlog would wait for the kernel's retry. */
const burst = 100

const openWebSockets = async () => {
  const sockets: Array<WebSocket> = []
  const count = () => sockets.filter(({ readyState }) => readyState === WebSocket.OPEN).length
  while (sockets.length < job.webSockets) {
    for (let i = 0; i < burst && sockets.length < job.webSockets; i++) {
      const socket = new WebSocket(job.webSocketUrl, { perMessageDeflate: false })
      socket.on("error", failed)
      sockets.push(socket)
    }
    await pause(5)
  }
  await opened(count, job.webSockets)
  return { sockets, count }
}

const autocannon = ((await import(pathToFileURL(job.generator).href)) as { default: Autocannon }).default

/** Starts load that lasts until `stop`, and counts what is answered between `begin` and `end`. */
const startLoad = (url: string, connections: number) => {
  const clients: Array<Client> = []
  const sent: Array<number> = []
  const answered: Array<number> = []
  let refused = 0
  let counting = false
  let begun = 0
  const load = autocannon({
    url,
    connections,
    duration: 86_400,
    timeout: 3600,
    sampleInt: 50,
    skipAggregateResult: true,
    setupClient: (client: Client) => {
      const at = clients.push(client) - 1
      client.on("request", () => {
        sent[at] = performance.now()
      })
    }
  })
  load.on("response", (_, status, __, ms) => {
    if (!counting) return
    if (status >= 200 && status < 300) answered.push(ms)
    else refused++
  })
  load.on("reqError", failed)
  const connected = () =>
    clients.reduce((sum, { conn }) => sum + (conn.connecting || conn.destroyed ? 0 : 1), 0)
  return {
    connected,
    begin: () => {
      counting = true
      begun = performance.now()
    },
    end: () => {
      const now = performance.now()
      counting = false
      const [p50, p99] = quantiles(
        answered,
        sent.map((at) => now - at),
        [0.5, 0.99]
      )
      return { connected: connected(), requests: answered.length, refused, time: now - begun, p50, p99 }
    },
    stop: () => {
      load.stop()
      return load
    }
  }
}

/** Connections with the server's port that the kernel keeps after their end (state 06 in /proc/net/tcp). */
const timeWait = (port: string): number | undefined => {
  const address = `:${Number(port).toString(16).toUpperCase().padStart(4, "0")}`
  try {
    return ["/proc/net/tcp", "/proc/net/tcp6"]
      .flatMap((file) => readFileSync(file, "latin1").split("\n"))
      .map((line) => line.trim().split(/\s+/))
      .filter(
        ([, local = "", remote = "", state]) =>
          state === "06" && (local.endsWith(address) || remote.endsWith(address))
      ).length
  } catch {
    return undefined
  }
}

if (job.warmUp > 0) {
  const load = startLoad(new URL("/", job.url).href, 8)
  await pause(job.warmUp)
  await load.stop()
  forget()
}
await phase("warm")
const { sockets, count } = await openWebSockets()
await phase("open")
const load = job.connections > 0 ? startLoad(job.url, job.connections) : undefined
if (load !== undefined) await opened(load.connected, job.connections)
write({ phase: "begun" })
load?.begin()
const begun = performance.now()
await pause(job.time)
const measured = load?.end() ?? { connected: 0, requests: 0, refused: 0, time: performance.now() - begun }
const webSockets = count()
const found = { ...measured, webSockets, errors, failures: [...failures] }
await phase("ended")
await load?.stop()
for (const socket of sockets) socket.terminate()
await pause(20)
write({ result: { ...found, timeWait: timeWait(new URL(job.url).port) } })
process.exit()
