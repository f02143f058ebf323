// What the scripts share: where things are, what is stale, how to run a step. Node's own modules only, because
// nothing may be installed yet.
import { spawnSync } from "node:child_process"
import { createHash } from "node:crypto"
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync
} from "node:fs"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"

export const root = dirname(dirname(fileURLToPath(import.meta.url)))
export const aio = join(root, "dist/bin/aio.cjs")
export const bin = (name) => join(root, "node_modules/.bin", name)

const files = (path) => {
  const full = join(root, path)
  if (!existsSync(full)) return []
  if (!statSync(full).isDirectory()) return [full]
  return readdirSync(full, { recursive: true })
    .map((name) => join(full, name))
    .filter((name) => statSync(name).isFile())
    .sort()
}

const fingerprint = (paths) => {
  const hash = createHash("sha256").update(process.version)
  for (const file of paths.flatMap(files)) hash.update(file).update(readFileSync(file))
  return hash.digest("hex")
}

/** Runs the step when one of its inputs has changed since it last succeeded, or its result is not there. */
const whenStale = (stamp, inputs, step) => {
  const file = join(root, stamp)
  const wanted = fingerprint(inputs)
  if (existsSync(file) && readFileSync(file, "utf8") === wanted) return false
  step()
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, fingerprint(inputs))
  return true
}

/** Runs a command, its output to stderr so that stdout stays the caller's; ends this process where it fails. */
export const run = (command, args, options = {}) => {
  const { status, signal, error } = spawnSync(command, args, {
    cwd: root,
    stdio: ["ignore", process.stderr, process.stderr],
    ...options
  })
  if (error) console.error(`${command}: ${error.message}`)
  if (status !== 0) process.exit(status ?? (signal === "SIGINT" ? 130 : 1))
}

/**
 * The Effect diagnostics: not in the lock file, where npm would have to name its builds for every platform, and installed apart,
 * because npm would change what the lock file has put beside them.
 */
const installAnalyser = (quiet) => {
  const apart = join(root, "node_modules/.cache/analyser")
  run("npm", ["install", "--prefix", apart, ...quiet, "@effect/tsgo@0.45.0"])
  for (const path of ["@effect/tsgo", ".bin/effect-tsgo"])
    symlinkSync(join(apart, "node_modules", path), join(root, "node_modules", path))
}

export const install = () =>
  whenStale(
    "node_modules/.effect-asyncio",
    ["package.json", "package-lock.json", "scripts/project.mjs"],
    () => {
      console.error("installing (once)…")
      const quiet = ["--no-audit", "--no-fund", "--loglevel=error"]
      run("npm", ["ci", ...quiet])
      installAnalyser(quiet)
    }
  )

export const build = () =>
  whenStale(
    "dist/.effect-asyncio",
    [
      "src",
      "package-lock.json",
      "tsconfig.json",
      "tsconfig.build.json",
      "scripts/build.mjs",
      "scripts/launcher.cjs",
      "scripts/guide.mjs",
      "docs"
    ],
    () => {
      console.error("building (what is stale)…")
      run(process.execPath, [join(root, "scripts/build.mjs")])
    }
  )
