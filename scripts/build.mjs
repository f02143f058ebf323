// npm run build: the library (dist/programs, dist/services, dist/testing, with types) and the command (dist/bin).
import { spawnSync } from "node:child_process"
import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs"
import { builtinModules } from "node:module"
import { join } from "node:path"
import { rolldown } from "rolldown"
import { plugin } from "./guide.mjs"
import { aio, bin, root, run } from "./project.mjs"

// Built beside `dist`, which a rename replaces: an `aio` that starts meanwhile is the old one or the new one.
const dist = join(root, `dist.${process.pid}`)
process.on("exit", () => rmSync(dist, { recursive: true, force: true }))
run(bin("tsc"), ["-p", "tsconfig.build.json", "--outDir", dist])

// One chunk a subcommand, loaded when it is called. Names carry a hash of the content: V8 checks a code cache
// against nothing but the length of the source.
const bundle = await rolldown({
  input: { main: join(root, "src/main.ts") },
  platform: "node",
  plugins: [plugin(root)],
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
const { output } = await bundle.write({
  dir: join(dist, "bin/chunks"),
  format: "cjs",
  minify: true,
  entryFileNames: "[name]-[hash].cjs",
  chunkFileNames: "[name]-[hash].cjs"
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
for (const args of [["run"], ["tasks"], ["gather"], ["guide"]]) {
  const { status, stderr } = spawnSync(process.execPath, [aio, ...args], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "pipe"] // on a pipe a command expects work
  })
  if (status !== 0) {
    console.error(`aio ${args.join(" ")}: exit ${status}\n${stderr}`)
    process.exit(1)
  }
}
