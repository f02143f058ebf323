// npm run test:peers [-- --effect VERSION --platform VERSION]: the contract with Effect, and the tests of tasks, clocks and
// interleavings, on the lowest and on the newest versions of the peers that package.json allows and the registry has,
// each in a temporary folder. A pair that is installed here is left to npm test. With --effect: on that pair alone.
import { spawnSync } from "node:child_process"
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { parseArgs } from "node:util"
import { root, run } from "./project.mjs"

const { values } = parseArgs({ options: { effect: { type: "string" }, platform: { type: "string" } } })
const read = (path) => JSON.parse(readFileSync(join(root, path), "utf8"))
const { dependencies, devDependencies, peerDependencies: allPeers } = read("package.json")
const names = ["effect", "@effect/platform"]
/** Without the optional ones, which these tests do not need. */
const peerDependencies = Object.fromEntries(names.map((name) => [name, allPeers[name]]))

/** What the registry has within the range, the lowest first. */
const published = (name) => {
  const { status, stdout, stderr } = spawnSync(
    "npm",
    ["view", `${name}@${peerDependencies[name]}`, "version", "--json"],
    { encoding: "utf8" }
  )
  const found = status === 0 && stdout.trim() !== "" ? [JSON.parse(stdout)].flat() : []
  if (found.length === 0) {
    console.error(`peers: no version of ${name} within '${peerDependencies[name]}' was found\n${stderr}`)
    process.exit(1)
  }
  const numbers = (version) => version.split(/[.-]/).map(Number)
  return found
    .filter((version) => !version.includes("-"))
    .sort((a, b) => {
      const [one, other] = [numbers(a), numbers(b)]
      return one[0] - other[0] || one[1] - other[1] || one[2] - other[2]
    })
}

const here = names.map((name) => read(`node_modules/${name}/package.json`).version)
const asked = [values.effect ?? here[0], values.platform ?? here[1]]
const isAsked = values.effect !== undefined || values.platform !== undefined
const [effects, platforms] = isAsked ? [] : names.map(published)
const pairs = isAsked ? [asked] : [0, -1].map((end) => [effects.at(end), platforms.at(end)])
const distinct = [...new Map(pairs.map((pair) => [pair.join(), pair])).values()]

const tests = [
  "test/services/task/internal/fiberRuntime.contract.test.ts",
  "test/services/task/TaskGroup.test.ts",
  "test/services/task/WorkerFibers.test.ts",
  "test/services/task/Unobserved.test.ts",
  "test/services/time/Timers.test.ts",
  "test/services/time/TimersSeries.test.ts",
  "test/services/time/VirtualClock.test.ts",
  "test/testing"
]
// What those tests need of what is installed here.
const tools = ["@effect/platform-node", "@effect/vitest", "@types/node", "vitest"]

for (const [effect, platform] of distinct) {
  const pair = `effect ${effect}, @effect/platform ${platform}`
  if (!isAsked && effect === here[0] && platform === here[1]) {
    console.error(`peers: ${pair}: installed here, and tested by npm test`)
    continue
  }
  console.error(`peers: ${pair}`)
  const folder = mkdtempSync(join(tmpdir(), "aio-peers-"))
  process.on("exit", () => rmSync(folder, { recursive: true, force: true }))
  for (const path of ["src", "test", "scripts", "vitest.config.ts", "tsconfig.json", "package.json"])
    cpSync(join(root, path), join(folder, path), { recursive: true })
  writeFileSync(
    join(folder, "package.json"),
    JSON.stringify({
      name: "effect-asyncio-peers",
      private: true,
      type: "module",
      peerDependencies,
      dependencies: { ...dependencies, effect, "@effect/platform": platform },
      devDependencies: Object.fromEntries(tools.map((name) => [name, devDependencies[name]]))
    })
  )
  const quiet = ["--no-audit", "--no-fund", "--loglevel=error", "--prefer-offline"]
  run("npm", ["install", "--no-package-lock", ...quiet], { cwd: folder })
  const { version } = JSON.parse(readFileSync(join(folder, "node_modules/effect/package.json"), "utf8"))
  if (version !== effect) {
    console.error(`peers: npm has installed effect ${version} instead of ${effect}`)
    process.exit(1)
  }
  run(process.execPath, [join(folder, "node_modules/vitest/vitest.mjs"), "run", ...tests], { cwd: folder })
}
