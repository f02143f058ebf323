// npm run test:services [-- words for vitest]: the contract of the network services on real servers, PostgreSQL, Redis, an
// OpenID issuer and an S3 server, each a process of its own on loopback with its data in a temporary folder.
import { spawn, spawnSync } from "node:child_process"
import { chownSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { bin, install, root } from "./project.mjs"

const which = (name) => spawnSync("sh", ["-c", `command -v ${name}`], { encoding: "utf8" }).stdout.trim()
const binaries = () => {
  const home = "/usr/lib/postgresql"
  const versions = existsSync(home) ? readdirSync(home).sort((a, b) => Number(b) - Number(a)) : []
  const folder = versions
    .map((version) => join(home, version, "bin"))
    .find((path) => existsSync(join(path, "initdb")))
  const of = (name) => (folder === undefined ? which(name) : join(folder, name))
  return { initdb: of("initdb"), postgres: of("postgres"), redis: which("redis-server") }
}

const isRoot = process.getuid?.() === 0
const missing = () => Object.entries(binaries()).filter(([, path]) => path === "")
if (missing().length > 0 && isRoot && which("apt-get") !== "") {
  const options = {
    stdio: ["ignore", "ignore", "inherit"],
    env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" }
  }
  spawnSync("apt-get", ["update", "-qq"], options)
  spawnSync(
    "apt-get",
    ["install", "-y", "-qq", "--no-install-recommends", "postgresql", "redis-server"],
    options
  )
}
if (missing().length > 0) {
  console.error(
    `services: ${missing()
      .map(([name]) => name)
      .join(" and ")} not found; install postgresql and redis-server`
  )
  process.exit(1)
}
install()

const folder = mkdtempSync(join(tmpdir(), "aio-services-"))
// PostgreSQL refuses to run as root.
const id = (flag) => Number(spawnSync("id", [flag, "nobody"], { encoding: "utf8" }).stdout)
const user = isRoot ? { uid: id("-u"), gid: id("-g") } : {}

const freePort = () =>
  new Promise((resolve) => {
    const server = createServer()
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address()
      server.close(() => resolve(port))
    })
  })

const { initdb, postgres, redis } = binaries()

const children = []
/** Starts a server and waits for the output that says that it is ready. */
const start = (command, args, ready, options = {}) =>
  new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"], cwd: folder, ...options })
    children.push(child)
    let said = ""
    const hear = (bytes) => {
      said = (said + bytes).slice(-10_000)
      const found = ready.exec(said)
      if (found !== null) resolve(found)
    }
    child.stdout.on("data", hear)
    child.stderr.on("data", hear)
    child.once("error", reject)
    child.once("close", (code) => reject(new Error(`${command} ended with ${code}\n${said}`)))
  })

const stop = () => {
  // At once. PostgreSQL ends its own processes on QUIT, and leaves them behind on KILL.
  for (const child of children) child.kill(child.spawnfile === postgres ? "SIGQUIT" : "SIGKILL")
  rmSync(folder, { recursive: true, force: true })
}
process.on("exit", stop)
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => process.exit(1))

const startPostgres = async () => {
  const data = join(folder, "postgres")
  mkdirSync(data, { mode: 0o700 })
  if (isRoot) {
    chownSync(folder, user.uid, user.gid)
    chownSync(data, user.uid, user.gid)
  }
  const made = spawnSync(initdb, ["-D", data, "-U", "aio", "-A", "trust", "-E", "UTF8", "--locale=C", "-N"], {
    ...user,
    cwd: folder,
    encoding: "utf8"
  })
  if (made.status !== 0) throw new Error(`initdb: ${made.stderr}`)
  const port = await freePort()
  const settings = {
    listen_addresses: "127.0.0.1",
    port,
    unix_socket_directories: data,
    fsync: "off",
    max_connections: 30
  }
  const args = Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`])
  await start(postgres, ["-D", data, ...args], /ready to accept connections/, user)
  return { DATABASE_URL: `postgres://aio@127.0.0.1:${port}/postgres` }
}

const startRedis = async () => {
  const port = await freePort()
  const args = ["--port", port, "--bind", "127.0.0.1", "--save", "", "--requirepass", "redis-password"]
  await start(redis, args.map(String), /Ready to accept connections/)
  return { REDIS_URL: `redis://:redis-password@127.0.0.1:${port}/0` }
}

const startNode = async (file) => {
  const [, settings] = await start(
    process.execPath,
    [join(root, "test/network/servers", file)],
    /^(\{.*\})$/m,
    {
      cwd: root,
      env: { ...process.env, AIO_FOLDER: folder }
    }
  )
  return JSON.parse(settings)
}

let status = 1
try {
  const settings = await Promise.all([
    startPostgres(),
    startRedis(),
    startNode("issuer.mjs"),
    startNode("s3.mjs")
  ])
  const child = spawn(
    bin("vitest"),
    ["run", "--config", "vitest.services.config.ts", ...process.argv.slice(2)],
    {
      cwd: root,
      stdio: "inherit",
      env: { ...process.env, AIO_TEST_SERVICES: JSON.stringify(Object.assign({}, ...settings)) }
    }
  )
  status = await new Promise((resolve) => child.once("close", (code) => resolve(code ?? 1)))
} catch (error) {
  console.error(`services: ${error.message}`)
}
process.exit(status)
