// The HTTP layer beside bare node:http and the platform's own layer. Measured is the CPU time of the server's process for
// the same requests: on an idle machine the inverse of its throughput, and on a busy one the same.
import { execFile, spawn } from "node:child_process"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { promisify } from "node:util"
import { compare, root } from "./harness.mjs"

const peer = (name) => join(root, "bench/peers", name)
const run = promisify(execFile)
const only = process.env.BENCH_ONLY

const servers = new Map()

/** A server in a process of its own, and the way to ask for its CPU time and memory. */
const server = async (kind) => {
  if (servers.has(kind)) return servers.get(kind)
  const child = spawn(process.execPath, ["--expose-gc", peer("server.mjs"), kind], {
    stdio: ["pipe", "pipe", "inherit"]
  })
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const next = async () => (await lines.next()).value
  const port = Number(await next())
  const ask = async () => {
    child.stdin.write("\n")
    return JSON.parse(await next())
  }
  const made = { port, ask, end: () => child.stdin.end() }
  servers.set(kind, made)
  return made
}

/** A contender that answers the requests, 64 at a time. */
const answers =
  (kind, requests, ...request) =>
  async () => {
    const { ask, port } = await server(kind)
    const before = await ask()
    await run(process.execPath, [peer("load.mjs"), String(port), String(requests), "64", ...request])
    const after = await ask()
    return { time: after.cpu - before.cpu, memory: 0 }
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
    { name: "NodeHttpServer", run: answers("stock-hello", 10_000, ...get) },
    { name: "NodeHttpServer, no tracer", run: answers("untraced-hello", 10_000, ...get) }
  ],
  { "node:http": 1 / 0.75 }
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
  const count = Number(process.env.BENCH_SOCKETS ?? 2000)
  const client = spawn(process.execPath, [peer("idle.mjs"), String(port), String(count), path], {
    stdio: ["pipe", "pipe", "inherit"]
  })
  const lines = createInterface({ input: client.stdout })[Symbol.asyncIterator]()
  const before = await ask()
  client.stdin.write("\n")
  await lines.next()
  const after = await ask()
  client.stdin.end()
  return (after.heap - before.heap) / count / 1024
}

if (only === undefined || only === "sockets") {
  console.log("\nidle WebSockets: heap of the server for each, KiB")
  const bare = await perSocket("node", "/ws")
  console.log(`  ${"ws on node:http".padEnd(28)} ${bare.toFixed(1).padStart(9)} KiB`)
  for (const kind of ["ours-router", "stock-router"]) {
    const each = await perSocket(kind, "/ws")
    console.log(
      `  ${kind.padEnd(28)} ${each.toFixed(1).padStart(9)} KiB  ${(each - bare).toFixed(1)} on top of ws`
    )
  }
  for (const { end } of servers.values()) end()
  servers.clear()
}

// How long `/` takes while 1,000 other requests wait.
if (only === undefined || only === "waiting") {
  console.log("\n1,000 requests wait, and 200 of / come one after another: ms")
  for (const kind of ["ours-router", "stock-router"]) {
    const { port } = await server(kind)
    const { stdout } = await run(process.execPath, [peer("idle.mjs"), String(port), "1000", "/wait", "200"])
    console.log(`  ${kind.padEnd(28)} ${stdout.trim().split("\n").at(-1)}`)
  }
  for (const { end } of servers.values()) end()
}
