// The HTTP layer beside bare node:http and the platform's own layer. Measured is the CPU time of the server's process for
// the same requests: on an idle machine the inverse of its throughput, and on a busy one the same.
import { execFile, spawn } from "node:child_process"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { setTimeout as sleep } from "node:timers/promises"
import { promisify } from "node:util"
import { compare, older, pythonWith, root } from "./harness.mjs"

const peer = (name, from = root) => join(from, "bench/peers", name)
const run = promisify(execFile)
const only = process.env.BENCH_ONLY
const python = pythonWith("aiohttp, uvloop")

const servers = new Map()

/** A process that prints lines, and answers those that it gets. */
const started = (file, ...args) => {
  const runtime = file.endsWith(".py") ? [python] : [process.execPath, "--expose-gc"]
  const child = spawn(runtime[0], [...runtime.slice(1), file, ...args], {
    stdio: ["pipe", "pipe", "inherit"]
  })
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const next = async () => (await lines.next()).value
  return { next, say: (line) => child.stdin.write(`${line}\n`), end: () => child.stdin.end() }
}

const serving = async (...args) => {
  const { end, next, say } = started(...args)
  const port = Number(await next())
  const ask = async (question = "") => {
    say(question)
    return JSON.parse(await next())
  }
  return { port, ask, end }
}

/** A server in a process of its own, and the way to ask for its CPU time and memory. */
const server = async (kind, from = root) => {
  const key = `${from} ${kind}`
  if (servers.has(key)) return servers.get(key)
  const made = await serving(
    ...(kind === "aiohttp" ? [peer("server_page.py")] : [peer("server.mjs", from), kind])
  )
  servers.set(key, made)
  return made
}

/** A contender that answers the requests, 64 at a time; ours from an older checkout too, if there is one. */
const answers = (kind, requests, ...request) => {
  const from = (folder) => async () => {
    const { ask, port } = await server(kind, folder)
    const before = await ask()
    await run(process.execPath, [peer("load.mjs"), String(port), String(requests), "64", ...request])
    const after = await ask()
    return { time: after.cpu - before.cpu, memory: 0 }
  }
  return Object.assign(from(root), older !== undefined && kind.startsWith("ours") && { before: from(older) })
}

const rounds = Number(process.env.BENCH_ROUNDS ?? 7)
const titled = async (name, title, contenders, targets) => {
  if (only !== undefined && only !== name) return
  await compare(title, contenders, { rounds, targets })
  for (const { end } of servers.values()) end()
  servers.clear()
}

const get = ["GET", "/"]
await titled(
  "hello",
  "hello, 10,000 requests over 64 connections: CPU time of the server",
  [
    { name: "HttpServerNode", run: answers("ours-hello", 10_000, ...get) },
    { name: "node:http", run: answers("node", 10_000, ...get) },
    {
      name: "aiohttp on uvloop",
      run: python === undefined ? undefined : answers("aiohttp", 10_000, ...get)
    },
    { name: "NodeHttpServer", run: answers("stock-hello", 10_000, ...get) },
    { name: "NodeHttpServer, no tracer", run: answers("untraced-hello", 10_000, ...get) }
  ],
  { "node:http": 1 / 0.75, "aiohttp on uvloop": 1 }
)
const route = ["GET", "/route40/7"]
await titled(
  "router",
  "HttpRouter of 50 routes, 10,000 requests over 64 connections: CPU time of the server",
  [
    { name: "HttpServerNode", run: answers("ours-router", 10_000, ...route) },
    { name: "node:http", run: answers("node", 10_000, ...route) },
    { name: "NodeHttpServer", run: answers("stock-router", 10_000, ...route) },
    { name: "NodeHttpServer, no tracer", run: answers("untraced-router", 10_000, ...route) }
  ],
  { "node:http": 1 / 0.58, NodeHttpServer: 1 / 2.4 }
)
const post = ["POST", "/users", JSON.stringify({ id: 1, name: "Ada", tags: ["a", "b"] })]
await titled(
  "api",
  "HttpApi with Schema, 5,000 requests over 64 connections: CPU time of the server",
  [
    { name: "HttpServerNode", run: answers("ours-api", 5_000, ...post) },
    { name: "NodeHttpServer", run: answers("stock-api", 5_000, ...post) },
    { name: "NodeHttpServer, no tracer", run: answers("untraced-api", 5_000, ...post) }
  ],
  { NodeHttpServer: 1 / 2 }
)

// What an idle WebSocket costs, beside one of bare `ws`.
const perSocket = async (kind, path) => {
  const { ask, port } = await server(kind)
  const count = Number(process.env.BENCH_SOCKETS ?? 10_000)
  const client = started(peer("idle.mjs"), String(port), String(count), path)
  const before = await ask("gc")
  client.say("")
  await client.next()
  const after = await ask("gc")
  client.end()
  return (after.heap - before.heap) / count / 1024
}

if (only === undefined || only === "sockets") {
  console.log("\nidle WebSockets: heap of the server for each, KiB")
  const bare = await perSocket("node", "/ws")
  console.log(`  ${"ws on node:http".padEnd(28)} ${bare.toFixed(1).padStart(9)} KiB`)
  for (const kind of ["ours-echo", "ours-router", "stock-echo", "stock-router"]) {
    const each = await perSocket(kind, "/ws")
    console.log(
      `  ${kind.padEnd(28)} ${each.toFixed(1).padStart(9)} KiB  ${(each - bare).toFixed(1)} on top of ws`
    )
  }
  for (const { end } of servers.values()) end()
  servers.clear()
}

// How long `/` takes while 1,000 other requests wait, beside the same without them.
if (only === undefined || only === "waiting") {
  console.log("\n200 of / come one after another, while other requests wait: ms")
  for (const kind of ["ours-router", "stock-router"]) {
    const { port } = await server(kind)
    for (const count of ["0", "1000"]) {
      const { stdout } = await run(process.execPath, [peer("idle.mjs"), String(port), count, "/wait", "200"])
      const line = stdout.trim().split("\n").at(-1)
      const p99 = Number(line.split(" ").at(-1))
      const verdict = kind === "ours-router" ? `  (p99 at most 20: ${p99 <= 20 ? "yes" : "NO"})` : ""
      console.log(`  ${`${kind}, ${count} wait`.padEnd(28)} ${line}${verdict}`)
    }
  }
  for (const { end } of servers.values()) end()
}

/** A percentile of times in ms. */
const at = (times, share) => times.toSorted((a, b) => a - b)[Math.floor(times.length * share)].toFixed(1)
const mib = (bytes) => `${(bytes / 2 ** 20).toFixed(0)} MiB`

// Clients that keep no rule, for a minute, while one that does asks for `/` every 10 ms: its answers and their times, and
// the memory of the server afterwards beside that after twenty seconds of the same.
if (only === undefined || only === "abuse") {
  const seconds = Number(process.env.BENCH_SECONDS ?? 60)
  const { ask, end, port } = await serving(
    peer("guarded.mjs"),
    JSON.stringify({
      connections: null,
      headerTime: "2 seconds",
      bodyTime: "4 seconds",
      writeTime: "2 seconds"
    })
  )
  const abuse = async (seconds) => {
    const clients = started(peer("abuse.mjs"), String(port), "abuse", "2000")
    const times = []
    let other = 0
    for (const until = performance.now() + seconds * 1000; performance.now() < until; await sleep(10)) {
      const begun = performance.now()
      const text = await (await fetch(`http://127.0.0.1:${port}/`)).text().catch(String)
      times.push(performance.now() - begun)
      if (text !== "hello") other++
    }
    clients.end()
    const counts = JSON.parse(await clients.next())
    await sleep(6000) // for the limits of those that are left
    return { counts, other, times, ...(await ask("gc")) }
  }
  const before = await abuse(20)
  const after = await abuse(seconds)
  const { counts, other, times } = after
  console.log(`\nabuse for ${seconds} s, and a client that behaves`)
  console.log(
    `  ${Object.entries(counts)
      .map(([name, count]) => `${name} ${count}`)
      .join(", ")}`
  )
  console.log(
    `  answers ${times.length}, others ${other}; ms: p50 ${at(times, 0.5)}  p99 ${at(times, 0.99)}  all ${at(times, 0.9999)}`
  )
  for (const name of ["heap", "rss"])
    console.log(
      `  ${name} ${mib(before[name])} -> ${mib(after[name])}: ${(after[name] / before[name]).toFixed(2)} of before`
    )
  end()
}

// 1,000 connections with one request of 200 ms after the other; the server closes while they run.
if (only === undefined || only === "drain") {
  const seconds = Number(process.env.BENCH_SECONDS ?? 30)
  const { ask, end, port } = await serving(
    peer("guarded.mjs"),
    JSON.stringify({ connectionsPerAddress: null, grace: "30 seconds" })
  )
  const clients = started(peer("abuse.mjs"), String(port), "load", "1000")
  await clients.next()
  await sleep(seconds * 1000)
  const { requests } = await ask("close")
  const { answered, broken = 0, "not accepted": refused = 0 } = JSON.parse(await clients.next())
  console.log(`\na drain after ${seconds} s with 1,000 connections`)
  console.log(
    `  accepted ${requests.total}, answered ${answered}, broken ${broken}, cancelled ${requests.cancelled["server is closing"]}, sent and not accepted ${refused}`
  )
  end()
}
