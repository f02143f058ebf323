// npm run test:services [-- words for vitest]: the contract of the network services on real servers, PostgreSQL, Redis, nginx,
// an OpenID issuer and an S3 server, each a process of its own on loopback with its data in a temporary folder, and the page
// in headless Chromium.
import { spawn, spawnSync } from "node:child_process"
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { prepare } from "./postgres.mjs"
import { bin, build, install, root } from "./project.mjs"

const which = (name) => spawnSync("sh", ["-c", `command -v ${name}`], { encoding: "utf8" }).stdout.trim()
const binaries = () => {
  const home = "/usr/lib/postgresql"
  const versions = existsSync(home) ? readdirSync(home).sort((a, b) => Number(b) - Number(a)) : []
  const folder = versions
    .map((version) => join(home, version, "bin"))
    .find((path) => existsSync(join(path, "initdb")))
  const of = (name) => (folder === undefined ? which(name) : join(folder, name))
  return {
    initdb: of("initdb"),
    postgres: of("postgres"),
    redis: which("redis-server"),
    // Not on the PATH of every user.
    nginx: which("nginx") || (existsSync("/usr/sbin/nginx") ? "/usr/sbin/nginx" : ""),
    chromium: which("chromium") || which("chromium-browser") || which("google-chrome")
  }
}
/** Debian's packages. */
const packages = {
  initdb: "postgresql",
  postgres: "postgresql",
  redis: "redis-server",
  nginx: "nginx-light",
  chromium: "chromium"
}

const isRoot = process.getuid?.() === 0
const missing = () =>
  Object.entries(binaries()).flatMap(([name, path]) => (path === "" ? [packages[name]] : []))
if (missing().length > 0 && isRoot && which("apt-get") !== "") {
  const options = {
    stdio: ["ignore", "ignore", "inherit"],
    env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" }
  }
  spawnSync("apt-get", ["update", "-qq"], options)
  spawnSync("apt-get", ["install", "-y", "-qq", "--no-install-recommends", ...new Set(missing())], options)
}
if (missing().length > 0) {
  console.error(`services: not found; install ${[...new Set(missing())].join(", ")}`)
  process.exit(1)
}
install()
build()

const folder = mkdtempSync(join(tmpdir(), "aio-services-"))
const freePort = () =>
  new Promise((resolve) => {
    const server = createServer()
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address()
      server.close(() => resolve(port))
    })
  })

const { chromium, initdb, nginx, postgres, redis } = binaries()

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
  const settings = { max_connections: 30 }
  const { options, url, words } = prepare({ folder, initdb, port: await freePort(), settings })
  await start(postgres, words, /ready to accept connections/, options)
  return { DATABASE_URL: url }
}

const startRedis = async () => {
  const port = await freePort()
  const args = ["--port", port, "--bind", "127.0.0.1", "--save", "", "--requirepass", "redis-password"]
  await start(redis, args.map(String), /Ready to accept connections/)
  return { REDIS_URL: `redis://:redis-password@127.0.0.1:${port}/0` }
}

/** The API of the contract and of the page, as JSON that nginx serves. */
const startNginx = async () => {
  const port = await freePort()
  const file = join(folder, "nginx.conf")
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
    .map((name) => `${name}_temp_path ${join(folder, `nginx-${name}`)};`)
    .join(" ")
  const json = (path, value, status = 200) =>
    `location ${path} { return ${status} '${JSON.stringify(value)}'; }`
  writeFileSync(
    file,
    `daemon off; master_process off; error_log stderr notice; pid ${join(folder, "nginx.pid")};
events {}
http {
  access_log off; default_type application/json; ${temporary}
  server {
    listen 127.0.0.1:${port};
    ${json("= /v1/notes", [{ title: "é" }])}
    ${json("= /v1/users/ada/documents", [{ title: "Note A" }, { title: "Note G" }])}
    ${json("= /v1/users/ada/messages", [{ from: "mary", text: "dinner at eight?" }])}
    ${json("~ ^/v1/users/[^/]+/(documents|messages)$", [])}
    location = /v1/busy { add_header Retry-After 7 always; return 503 '{}'; }
    location = /v1/moved { return 302 /v1/notes; }
    ${json("= /v1/", {})}
    ${json("/", {}, 404)}
  }
}
`
  )
  await start(nginx, ["-c", file, "-e", "stderr"], /using the "\w+" event method/)
  return { API_URL: `http://127.0.0.1:${port}/v1` }
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
    startNginx(),
    startNode("issuer.mjs"),
    startNode("s3.mjs")
  ])
  const child = spawn(
    bin("vitest"),
    ["run", "--config", "vitest.services.config.ts", ...process.argv.slice(2)],
    {
      cwd: root,
      stdio: "inherit",
      env: {
        ...process.env,
        AIO_TEST_SERVICES: JSON.stringify(Object.assign({}, ...settings)),
        AIO_TEST_BINARIES: JSON.stringify({ chromium, initdb, postgres, redis })
      }
    }
  )
  status = await new Promise((resolve) => child.once("close", (code) => resolve(code ?? 1)))
} catch (error) {
  console.error(`services: ${error.message}`)
}
process.exit(status)
