// Jobs through a store: SQLite and PostgreSQL, 1, 2 and 4 runners, beside graphile-worker on the same PostgreSQL and
// BullMQ on Redis; the latency of a start; and the cost of a job as the queue grows. PostgreSQL and Redis are Debian's, started
// here: PostgreSQL with fsync as it is by default, Redis in memory. graphile-worker 0.16 (0.17 and later need Node 22) and
// BullMQ are installed into a temporary folder.
import { spawn, spawnSync } from "node:child_process"
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs"
import { createRequire } from "node:module"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { pathToFileURL } from "node:url"
import { prepare } from "../scripts/postgres.mjs"
import { aio, compare, root, selfTimed, which } from "./harness.mjs"

const folder = mkdtempSync(join(tmpdir(), "aio-bench-cluster-"))
const children = new Set()
process.on("exit", () => {
  for (const child of children) child.kill(child.spawnfile.endsWith("postgres") ? "SIGQUIT" : "SIGKILL")
  rmSync(folder, { recursive: true, force: true })
})
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => process.exit(1))
const peer = (name) => join(root, "bench/peers", name)
const rounds = Number(process.env["ROUNDS"] ?? 3)

/** Starts a process, and resolves when it has written what `ready` matches. */
const start = (command, args, ready, options = {}) =>
  new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"], ...options })
    children.add(child)
    let said = ""
    const hear = (bytes) => {
      said = (said + bytes).slice(-10_000)
      if (ready.test(said)) resolve({ child, said })
    }
    child.stdout.on("data", hear)
    child.stderr.on("data", hear)
    child.once("close", () => {
      children.delete(child)
      reject(new Error(`${command} ended\n${said}`))
    })
  })
const stop = (child) =>
  new Promise((resolve) => {
    child.once("close", resolve)
    child.kill("SIGTERM")
  })

const startPostgres = async () => {
  const home = "/usr/lib/postgresql"
  const version = existsSync(home) ? readdirSync(home).sort((a, b) => Number(b) - Number(a))[0] : undefined
  if (version === undefined) return undefined
  const bin = (name) => join(home, version, "bin", name)
  const port = 20_000 + (process.pid % 20_000)
  const settings = { max_connections: 100, fsync: "on" }
  const { options, url, words } = prepare({ folder, initdb: bin("initdb"), port, settings })
  await start(bin("postgres"), words, /ready to accept connections/, options)
  return url
}

const startRunner = async (store) => {
  const words = ["runner", "--store", store, "--max-workers", "2", "--health", "0"]
  const { child, said } = await start(process.execPath, [aio, ...words], /at once/, {
    cwd: `${root}/bench/peers`
  })
  return { child, health: /http:\S+/.exec(said)[0] }
}
const withRunners = async (store, n, body) => {
  const runners = await Promise.all(Array.from({ length: n }, () => startRunner(store)))
  const result = await body(runners)
  await Promise.all(runners.map(({ child }) => stop(child)))
  return result
}
/** The folder of installed packages; undefined if they cannot be had. */
const installed = (name, ...packages) => {
  const home = join(folder, name)
  mkdirSync(home)
  writeFileSync(join(home, "package.json"), "{}")
  const words = ["install", "--no-audit", "--no-fund", "--ignore-scripts", ...packages]
  return spawnSync("npm", words, { cwd: home }).status === 0 ? home : undefined
}
const startRedis = async () => {
  const redis = which("redis-server")
  if (redis === undefined) return undefined
  const port = `${40_000 + (process.pid % 20_000)}`
  await start(redis, ["--port", port, "--bind", "127.0.0.1", "--save", ""], /Ready to accept connections/)
  return port
}

const tiny = (store, n, chunk = 1) =>
  selfTimed([process.execPath, peer("cluster.mjs"), "map", store, `${n}`, `${chunk}`])

const url = await startPostgres()
const sqlite = join(folder, "jobs.sqlite")
const redis = await startRedis()
const graphile = url && installed("graphile", "graphile-worker@0.16.6")
const bullmq = redis && installed("bullmq", "bullmq@6.7.0", "ioredis@5.11.1")
/** The words of the peers' processes, if they are there: their submitters, and their workers. */
const peers = {
  "graphile-worker":
    graphile && ((mode, ...more) => [process.execPath, peer("graphile.mjs"), graphile, mode, url, ...more]),
  BullMQ: bullmq && ((mode, ...more) => [process.execPath, peer("bullmq.mjs"), bullmq, mode, redis, ...more])
}
const startWorker = (words) => {
  const [command, ...args] = words("worker")
  const child = spawn(command, args, { stdio: "ignore" })
  children.add(child)
  return child
}
if (url === undefined) console.log("PostgreSQL is not installed: SQLite only")

for (const n of [1, 2, 4]) {
  await withRunners(sqlite, n, async () => {
    const onPostgres = async () => {
      const workers = Object.values(peers).flatMap((words) =>
        words === undefined ? [] : Array.from({ length: n }, () => startWorker(words))
      )
      await compare(
        `5,000 tiny jobs through a store, ${n} runners`,
        [
          { name: "PostgreSQL", run: tiny(url, 5000) },
          ...Object.entries(peers).map(([name, words]) => ({
            name,
            run: words && selfTimed(words("submit", "5000"))
          })),
          { name: "PostgreSQL, chunk 64", run: tiny(url, 5000, 64) },
          { name: "SQLite", run: tiny(sqlite, 5000) },
          { name: "SQLite, chunk 64", run: tiny(sqlite, 5000, 64) }
        ],
        { rounds, targets: { "graphile-worker": 1 } }
      )
      for (const child of workers) child.kill("SIGKILL")
    }
    if (url !== undefined) await withRunners(url, n, onPostgres)
    else {
      const contenders = [{ name: "SQLite", run: tiny(sqlite, 5000) }]
      await compare(`5,000 tiny jobs through a store, ${n} runners`, contenders, { rounds })
    }
  })
}

const latency = (argv) =>
  spawnSync(argv[0], argv.slice(1), { encoding: "utf8" }).stdout.trim().split(" ").map(Number)
console.log("\nstart of a job when the queue is empty, ms")
for (const [name, store] of [
  ["PostgreSQL", url],
  ["SQLite", sqlite]
]) {
  if (store === undefined) continue
  await withRunners(store, 1, async () => {
    const [p50, p99, r50, r99] = latency([process.execPath, peer("cluster.mjs"), "latency", store, "200"])
    console.log(
      `  ${name.padEnd(16)} p50 ${p50}, p99 ${p99}; its result p50 ${r50}, p99 ${r99}  (p50 below 50: ${p50 < 50 ? "yes" : "NO"})`
    )
  })
}
for (const [name, words] of Object.entries(peers)) {
  if (words === undefined) continue
  const child = startWorker(words)
  const [p50, p99] = latency(words("latency", "100"))
  console.log(`  ${name.padEnd(16)} p50 ${p50}, p99 ${p99}`)
  child.kill("SIGKILL")
}

if (url !== undefined) {
  // A run as a submitter makes it; its rows are made by the database.
  const { serialize } = await import("node:v8")
  const { name } = await import("../dist/services/cluster/internal/code.js")
  const args = `${serialize([[1]]).toString("base64")} ${serialize({ context: undefined, timeout: undefined }).toString("base64")}`
  const { version } = name(join(root, "bench/peers"), pathToFileURL(peer("cluster-jobs.mjs")).href).right
  const { Client } = createRequire(join(root, "package.json"))("pg")
  const client = new Client({ connectionString: url })
  await client.connect()
  console.log("\ncost of a job as the queue grows, PostgreSQL, 1 runner")
  let first
  for (const depth of [1000, 100_000, 1_000_000]) {
    await client.query(
      `INSERT INTO aio_runs (id, grp, module, name, version, settings, tries, kept, owner, beat)
       VALUES ($1, 'default', 'cluster-jobs.mjs', 'inc', $2, '{}', 3, 1, '', 0)`,
      [`depth-${depth}`, version]
    )
    // 10,000 more than are left when the measurement ends.
    await client.query(
      `INSERT INTO aio_jobs (run, idx, state, attempt, args) SELECT $1, i, 0, 0, $2 FROM generate_series(0, $3::int - 1) i`,
      [`depth-${depth}`, args, depth + 10_000]
    )
    await client.query("ANALYZE aio_jobs")
    const took = await withRunners(url, 1, async ([{ health }]) => {
      const recorded = async () => (await (await fetch(health)).json()).recorded
      const until = async (n) => {
        for (let i = 0; (await recorded()) < n; i++) {
          if (i === 10_000) throw new Error(`fewer than ${n} jobs are recorded`)
          await new Promise((resolve) => setTimeout(resolve, 20))
        }
        return { n: await recorded(), at: performance.now() }
      }
      const from = await until(2000)
      const to = await until(9000)
      return ((to.at - from.at) * 1000) / (to.n - from.n)
    })
    first ??= took
    const ratio = took / first
    console.log(
      `  ${String(depth).padStart(9)} queued: ${took.toFixed(0)} µs a job, ${ratio.toFixed(2)} of the first  (at most 1.5: ${ratio <= 1.5 ? "yes" : "NO"})`
    )
    await client.query("DELETE FROM aio_runs WHERE id = $1", [`depth-${depth}`])
    await client.query("TRUNCATE aio_jobs")
  }
  await client.end()
}
process.exit(0)
