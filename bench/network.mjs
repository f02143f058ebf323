// The page of `aio network serve` on its embedded services beside the same page with aiohttp: aiosqlite on uvloop, or what of
// that is installed. Then 1,000 connections with a neighbour that is dead, and the page's time beside its slowest neighbour.
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
const python = pythonWith("aiohttp")
const ours = await serve("--bulkhead", "64")
const theirs = python && (await server([python, peer("aiohttp_page.py")]))

const contender = (name, one, measure) => ({
  name,
  run: one && (async () => ({ time: await measure(one), memory: 0 }))
})
const both = (measure) => [
  contender("aio network serve", ours, measure),
  contender("aiohttp", theirs, measure)
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

// 1,000 connections, the database dead: it refuses after 10 ms.
const deadline = 1000
const seconds = Number(process.env.BENCH_SECONDS ?? 30)
const dead = await serve("--slow", "database=10ms", "--fail", "database", "--timeout", `${deadline}ms`)
const load = join(root, "node_modules/autocannon/autocannon.js")
const { stdout } = await run(
  process.execPath,
  [load, "--json", "-c", "1000", "-d", `${seconds}`, "-t", "30", dead.url],
  { maxBuffer: 1 << 26 }
)
const { errors, latency, non2xx, requests } = JSON.parse(stdout)
const metrics = await (await fetch(new URL("/metrics", dead.url))).text()
dead.end()
const called = (outcome) =>
  Number(
    metrics
      .split("\n")
      .find(
        (line) => line.startsWith("network_calls{") && line.includes("database") && line.includes(outcome)
      )
      ?.split(" ")[1] ?? 0
  )
// Without answers, a percentile says nothing.
const answered = requests.total - non2xx
const holds = answered > 0 && latency.p99 <= deadline + 50
if (!holds) process.exitCode = 1
console.log(
  `\n1,000 connections for ${seconds} s, one neighbour dead: ${requests.total} pages, ${errors} errors, ${non2xx} not 2xx, ` +
    `${called("failed")} of its calls failed; p50 ${latency.p50} ms, p99 ${latency.p99} ms ` +
    `(at most ${deadline + 50}: ${holds ? "yes" : answered > 0 ? "NO" : "NO: nothing was answered"})`
)
