import type { TestSpecification } from "vitest/node"
import { BaseSequencer } from "vitest/node"

// Files that take longest first, so that the workers end together: a long file that begins last runs alone. Seconds,
// roughly; the other files take less each.
const seconds: Readonly<Record<string, number>> = {
  "services/time/VirtualClock": 1000, // with the next, in workers of their own: see vitest.config.ts
  "testing/Interleave": 999,
  "commands/examples": 95,
  "faults/processes": 72,
  pack: 62,
  "faults/serverAbuse": 61,
  "faults/executor": 60,
  "faults/limits": 56,
  "cli/run": 37,
  "faults/kills": 36,
  "services/process/Processes": 33,
  "faults/run": 30,
  "faults/await": 28,
  "services/thread/ExecutorWorkers": 27,
  "cli/long-running": 25,
  "cli/subprocess": 24,
  "cli/durable": 24,
  "cli/loop": 23,
  "cli/await": 23,
  "faults/follow": 23,
  "cli/run-options": 22,
  "faults/jobs": 21,
  "services/source/Diagnostics": 21,
  "services/task/LoopWatch": 20,
  "cli/server": 19,
  "faults/outputs": 18,
  "faults/server": 17,
  "cli/executor": 16,
  "services/time/CronClockChanges": 15,
  "programs/RunMain": 14,
  manifest: 14,
  "faults/durable": 12,
  "services/cluster/ClusterExecutor": 12,
  "faults/records": 11,
  "cli/gather-network": 11,
  "commands/matrix": 11,
  "parity/parity": 10,
  "services/stream/MapConcurrent": 10,
  docs: 9,
  "cli/gather": 9
}

const weight = ({ moduleId }: TestSpecification): number =>
  seconds[/\/test\/(.*)\.test\.ts$/.exec(moduleId)?.[1] ?? ""] ?? 0

export default class HeavyFirst extends BaseSequencer {
  override async sort(files: Array<TestSpecification>): Promise<Array<TestSpecification>> {
    return (await super.sort(files)).sort((a, b) => weight(b) - weight(a))
  }
}
