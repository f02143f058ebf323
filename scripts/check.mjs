// npm run check: types, lint, format and import cycles, Effect diagnostics (floating effects are errors), that imports
// between the house's folders run one way, and that library code leaves alone what is not ours.
import { spawnSync } from "node:child_process"
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { problems } from "./imports.mjs"
import { patchesIn, privateNamesIn } from "./privateNames.mjs"
import { bin, root, run } from "./project.mjs"

run(bin("tsc"), ["-p", "tsconfig.json"])
run(bin("biome"), ["check", "--error-on-warnings", "."])

// A tsconfig that the diagnostics do not understand checks 0 files and calls it success: count them.
const { stdout, status } = spawnSync(
  bin("effect-tsgo"),
  ["diagnostics", "--project", join(root, "tsconfig.json"), "--strict"],
  { encoding: "utf8", cwd: root }
)
if (status !== 0 || !/Checked [1-9]\d* files out of/.test(stdout)) {
  console.error(stdout)
  process.exit(1)
}

const src = join(root, "src")
const wrong = [...problems(src), ...privateNamesIn(src), ...patchesIn(src)]
const runs = readdirSync(join(root, "src/programs"))
  .filter((file) => file !== "Run.ts")
  .filter((file) =>
    /Effect\.(run[A-Z]\w+|provide)\b|\bprocess\.|\bDate\b|\bset(Timeout|Interval|Immediate)\b/.test(
      readFileSync(join(root, "src/programs", file), "utf8").replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, "")
    )
  )
  .map((file) => `src/programs/${file} runs, provides or touches the process; programs only describe`)
if (wrong.length + runs.length > 0) {
  console.error([...wrong, ...runs].join("\n"))
  process.exit(1)
}
