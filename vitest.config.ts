import { fileURLToPath } from "node:url"
import { defineConfig } from "vitest/config"
import { plugin } from "./scripts/guide.mjs"
import HeavyFirst from "./test/support/HeavyFirst.js"

const clocks = [
  "test/services/task/internal/fiberRuntime.contract.test.ts",
  "test/services/time/VirtualClock.test.ts",
  "test/testing/**/*.test.ts"
]
const compiler = ["test/services/source/internal/typescript.contract.test.ts"]
const slowCompiler = ["test/services/source/Diagnostics.test.ts"]

// Processes that are killed or stopped, and others that notice: most of their time is waiting.
const kills = [
  "test/cli/subprocess-cluster.test.ts",
  "test/faults/cluster.test.ts",
  "test/faults/durable.test.ts",
  "test/faults/jobs.test.ts",
  "test/faults/kills.test.ts",
  "test/faults/workflows.test.ts"
]
const slow = [
  "test/faults/**/*.test.ts",
  "test/cli/await.test.ts",
  "test/cli/*cluster.test.ts",
  "test/cli/durable.test.ts",
  "test/cli/gather-network.test.ts",
  "test/cli/long-running.test.ts",
  "test/cli/run-virtual.test.ts",
  "test/cli/run-options.test.ts",
  "test/cli/server.test.ts",
  "test/commands/examples.test.ts",
  "test/commands/matrix.test.ts",
  "test/docs.test.ts",
  "test/pack.test.ts",
  "test/notOurs.test.ts",
  "test/programs/RunMain.test.ts",
  "test/services/http/LoadDriver.test.ts",
  "test/services/task/LoopWatch.test.ts",
  "test/services/thread/ExecutorWorkers.test.ts",
  "test/services/time/CronClockChanges.test.ts",
  "test/programs/ServerCompare.test.ts"
]
// On servers that a script of their own starts: `npm run test:services`.
const services = ["test/**/*.services.test.ts"]

export default defineConfig({
  // What the guide's pages are made of, as in the bundle.
  plugins: [plugin(fileURLToPath(new URL(".", import.meta.url)))],
  test: {
    // A project's tests start in workers of their own. Virtual clocks look at the open handles of their process, and
    // handles that earlier files left would count as idle. TypeScript's API does not load where tsx is registered, as it
    // is after a test that ran a person's TypeScript.
    projects: [
      { extends: true, test: { name: "clocks", include: clocks } },
      { extends: true, test: { name: "compiler", include: compiler } },
      {
        extends: true,
        test: {
          name: "all",
          include: ["test/**/*.test.ts"],
          exclude: [...clocks, ...compiler, ...slow, ...slowCompiler, ...services]
        }
      },
      // What goes wrong outside, in hundreds of real processes, what waits for servers, runners and worker threads, and what is
      // true of every example, zone or entry point: not part of `npm test` but of `npm run test:slow`.
      { extends: true, test: { name: "slow", include: slow, exclude: kills } },
      { extends: true, test: { name: "slow-kills", include: kills } },
      { extends: true, test: { name: "slow-compiler", include: slowCompiler } }
    ],
    sequence: { sequencer: HeavyFirst },
    testTimeout: 60_000,
    hookTimeout: 60_000,
    slowTestThreshold: 250,
    // Modules are loaded once for each worker, not once for each file: that halves the time of short files. A test
    // puts back what it changes in the process (environment, working directory, listeners).
    isolate: false,
    // Vitest's default is one worker less than there are processors; most of the time here is spent waiting.
    maxWorkers: "100%",
    minWorkers: 1
  }
})
