// The page of `aio network serve` on its embedded services beside the same page with aiohttp, with the same policies of its
// neighbours and with deadlines only: aiosqlite on uvloop, or what of that is installed. Then the page's time beside its
// slowest neighbour, and 1,000 connections with a neighbour that is dead.
import { execFile, spawn } from "node:child_process"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { promisify } from "node:util"
import { aio, compare, pythonWith, root } from "./harness.mjs"

const peer = (name) => join(root, "bench/peers", name)
const run = promisify(execFile)
const path = "/api/page/ada"
const rounds = Number(process.env.BENCH_ROUNDS ?? 5)
const pages = Number(process.env.BENCH_PAGES ?? 2000)

/** A server in a process of its own, from the line that tells its address. */
const server = async (argv) => {
  const child = spawn(argv[0], argv.slice(1), { stdio: ["ignore", "pipe", "ignore"] })
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const { value } = await lines.next()
  const port = new URL(/http:\S+/.exec(value)[0]).port
  // Clock ticks of 10 ms, of all threads.
  const cpu = () => {
    const fields = readFileSync(`/proc/${child.pid}/stat`, "latin1").split(") ")[1].split(" ")
    return (Number(fields[11]) + Number(fields[12])) * 10
  }
  return { port, cpu, url: `http://127.0.0.1:${port}${path}`, end: () => child.kill("SIGKILL") }
}
const ask = async ({ port }, requests, connections) =>
  Number(
    (await run(process.execPath, [peer("pages.mjs"), port, `${requests}`, `${connections}`, path])).stdout
  )

const serve = (...more) => server([process.execPath, aio, "network", "serve", "--port", "0", ...more])
const python = pythonWith("aiohttp, aiosqlite, uvloop, cryptography") ?? pythonWith("aiohttp")
// Nothing is refused: how fast it is, not how much it takes on.
const ours = await serve("--bulkhead", "64", "--wait-time", "1h")
const theirs = python && (await server([python, peer("aiohttp_page.py")]))
const bare = python && (await server([python, peer("aiohttp_page.py"), "bare"]))

const contender = (name, one, measure) => ({
  name,
  run: one && (async () => ({ time: await measure(one), memory: 0 }))
})
const both = (measure) => [
  contender("aio network serve", ours, measure),
  contender("aiohttp", theirs, measure),
  contender("aiohttp, deadlines only", bare, measure)
]
await compare(
  `${pages} pages over 64 connections: time`,
  both((one) => ask(one, pages, 64)),
  {
    rounds,
    targets: { aiohttp: 1 / 3 }
  }
)
await compare(
  `${pages} pages over 64 connections: CPU time of the server`,
  both(async (one) => {
    const before = one.cpu()
    await ask(one, pages, 64)
    return one.cpu() - before
  }),
  { rounds }
)
theirs?.end()
bare?.end()
ours.end()

// One page at a time: what the page takes on top of its slowest part.
const slow = await serve("--slow", "database=50ms")
const ratios = []
for (let n = 0; n < 60; n++) {
  const { parts, total } = await (await fetch(slow.url)).json()
  if (n >= 10) ratios.push(total / Math.max(...parts.map(({ took }) => took)))
}
slow.end()
const ratio = ratios.sort((a, b) => a - b)[ratios.length / 2]
console.log(
  `\na page beside its slowest neighbour: ${ratio.toFixed(3)} of its time (at most 1.1: ${ratio <= 1.1 ? "yes" : "NO"})`
)

// 1,000 connections, the database dead: it refuses after 10 ms. A client that is refused by the server comes back after the
// time of Retry-After.
const deadline = 1000
const seconds = Number(process.env.BENCH_SECONDS ?? 30)
const dead = await serve("--slow", "database=10ms", "--fail", "database", "--timeout", `${deadline}ms`)
const { stdout } = await run(process.execPath, [peer("patient.mjs"), dead.port, `${seconds}`, "1000", path])
const { answered, max, others, p50, p99, refused } = JSON.parse(stdout)
const metrics = await (await fetch(new URL("/metrics", dead.url))).text()
dead.end()
const failed = Number(
  metrics
    .split("\n")
    .find((line) => line.startsWith("network_calls{") && line.includes("database") && line.includes("failed"))
    ?.split(" ")[1] ?? 0
)
// Without answers, a percentile says nothing.
const holds = answered > 0 && others === 0 && p99 <= deadline + 50
if (!holds) process.exitCode = 1
console.log(
  `\n1,000 connections for ${seconds} s, one neighbour dead: ${answered} pages, ${refused} refused with 503, ${others} other ` +
    `answers and errors, ${failed} of its calls failed; p50 ${p50} ms, p99 ${p99} ms, longest ${max} ms ` +
    `(p99 at most ${deadline + 50}: ${holds ? "yes" : answered > 0 ? "NO" : "NO: nothing was answered"})`
)
