// npm run build: the library (dist/programs, dist/services, dist/testing, with types) and the command (dist/bin).
import { spawnSync } from "node:child_process"
import { existsSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs"
import { builtinModules } from "node:module"
import { join } from "node:path"
import { rolldown } from "rolldown"
import { plugin } from "./guide.mjs"
import { aio, bin, root, run } from "./project.mjs"

// Built beside `dist`, which a rename replaces: an `aio` that starts meanwhile is the old one or the new one.
const dist = join(root, `dist.${process.pid}`)
process.on("exit", () => rmSync(dist, { recursive: true, force: true }))
run(bin("tsc"), ["-p", "tsconfig.build.json", "--outDir", dist])

// "effect" loads all its modules, twice as many as a program needs: what is imported from it is imported from its own module.
const narrow = (_, names) =>
  names
    .split(",")
    .map((name) => name.trim().split(" as "))
    .map(([name, as = name]) => `import * as ${as} from "effect/${name}"`)
    .join("; ")
for (const name of readdirSync(dist, { recursive: true }).filter((name) => name.endsWith(".js"))) {
  const file = join(dist, name)
  const text = readFileSync(file, "utf8")
  const narrowed = text.replace(/^import \{ ([^}]*) \} from "effect"/gm, narrow)
  if (narrowed !== text) writeFileSync(file, narrowed)
}

// undici is never asked for HTTP/2 here; node:http2 and node:tls, which that loads, take 5 ms of a start.
const withoutHttp2 = {
  name: "without-http2",
  transform(code, id) {
    if (!/[\\/]undici[\\/]lib[\\/]dispatcher[\\/]client-h2\.js$/.test(id)) return undefined
    const text = code.replace("require('node:http2')", "{ constants: {} }")
    if (text === code) throw new Error(`${id} does not load node:http2 as expected`)
    return text
  }
}

// One chunk a subcommand, loaded when it is called. Names carry a hash of the content: V8 checks a code cache
// against nothing but the length of the source.
const bundle = await rolldown({
  input: { main: join(root, "src/main.ts") },
  platform: "node",
  preserveEntrySignatures: false,
  plugins: [plugin(root), withoutHttp2],
  // What only one room needs is an optional peer: it is imported when a setting asks for it.
  external: [
    ...builtinModules,
    /^node:/,
    /^tsx/,
    "@libsql/client",
    "pg",
    "pg-connection-string",
    "pg-cursor",
    "ioredis",
    "openid-client",
    "s3mini"
  ],
  logLevel: "warn"
})

/** The modules that every command loads: those of the entry's chunk, and of the chunks that it imports. */
const startModules = async () => {
  const { output } = await bundle.generate({ format: "cjs" })
  const modules = new Set()
  const add = (name) => {
    const chunk = output.find(({ fileName }) => fileName === name)
    for (const id of chunk?.moduleIds ?? []) modules.add(id)
    for (const imported of chunk?.imports ?? []) add(imported)
  }
  add(output.find(({ isEntry }) => isEntry).fileName)
  return modules
}

// One file for what every command loads: twenty take twice as long to open and to read.
const start = await startModules()
const { output } = await bundle.write({
  dir: join(dist, "bin/chunks"),
  format: "cjs",
  minify: true,
  entryFileNames: "[name]-[hash].cjs",
  chunkFileNames: "[name]-[hash].cjs",
  codeSplitting: {
    includeDependenciesRecursively: false,
    groups: [{ debugName: "start", name: (id) => (start.has(id) ? "start" : null) }]
  }
})
// V8 keeps a source with any other character as two bytes each, which take longer to read.
for (const { fileName } of output) {
  const file = join(dist, "bin/chunks", fileName)
  const escaped = (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`
  writeFileSync(file, readFileSync(file, "utf8").replace(/[^\x00-\x7f]/g, escaped))
}
// The worker threads of the demo server: one file, because a thread that loads all of `effect` starts in ten times the time.
const worker = await rolldown({
  input: join(root, "src/commands/server/worker.ts"),
  platform: "node",
  external: [...builtinModules, /^node:/],
  logLevel: "warn"
})
await worker.write({
  file: join(dist, "bin/serverWorker.cjs"),
  format: "cjs",
  minify: true,
  codeSplitting: false
})
const launcher = readFileSync(join(root, "scripts/launcher.cjs"), "utf8")
writeFileSync(
  join(dist, "bin/aio.cjs"),
  launcher.replace("main.cjs", output.find((chunk) => chunk.isEntry).fileName),
  {
    mode: 0o755
  }
)
const old = `${dist}.old`
if (existsSync(join(root, "dist"))) renameSync(join(root, "dist"), old)
renameSync(dist, join(root, "dist"))
rmSync(old, { recursive: true, force: true })

// Fill the code cache, as the first runs on another Node would.
for (const args of [["run"], ["tasks"], ["gather"], ["guide", "--no-run", "run"]]) {
  const { status, stderr } = spawnSync(process.execPath, [aio, ...args], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "pipe"] // on a pipe a command expects work
  })
  if (status !== 0) {
    console.error(`aio ${args.join(" ")}: exit ${status}\n${stderr}`)
    process.exit(1)
  }
}
