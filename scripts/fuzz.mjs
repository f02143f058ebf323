// npm run fuzz [-- NAME … --seconds N --runs N --seed S]: runs fuzz/NAME.fuzz.ts, or all of them, each model for N seconds
// (default 60) or N cases. Words that begin with --reporter or --outputFile go to vitest.
import { spawnSync } from "node:child_process"
import { parseArgs } from "node:util"
import { bin, build, install, root } from "./project.mjs"

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    seconds: { type: "string", default: "60" },
    runs: { type: "string" },
    seed: { type: "string" },
    reporter: { type: "string", multiple: true, default: [] },
    outputFile: { type: "string" }
  }
})
if (
  !(Number(values.seconds) > 0) ||
  !(Number(values.runs ?? 1) > 0) ||
  (values.seed !== undefined && !Number.isSafeInteger(Number(values.seed)))
) {
  console.error("fuzz: --seconds and --runs expect a number above 0, --seed a whole number")
  process.exit(2)
}
install()
build()
const { status } = spawnSync(
  bin("vitest"),
  [
    "run",
    "--config",
    "vitest.fuzz.config.ts",
    ...positionals.map((name) => `fuzz/${name}.fuzz.ts`),
    ...values.reporter.map((name) => `--reporter=${name}`),
    ...(values.outputFile === undefined ? [] : [`--outputFile=${values.outputFile}`])
  ],
  {
    cwd: root,
    stdio: "inherit",
    env: {
      ...process.env,
      FUZZ_SECONDS: values.seconds,
      ...(values.runs === undefined ? {} : { FUZZ_RUNS: values.runs }),
      ...(values.seed === undefined ? {} : { FUZZ_SEED: values.seed })
    }
  }
)
process.exitCode = status ?? 1
