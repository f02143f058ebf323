import type { TestSpecification } from "vitest/node"
import { BaseSequencer } from "vitest/node"

// Files that take longest first, so that the workers end together: a long file that begins last runs alone. Seconds,
// roughly; the other files take less each.
const seconds: Readonly<Record<string, number>> = {
  "services/time/VirtualClock": 1000, // with the next, in workers of their own: see vitest.config.ts
  "testing/Interleave": 999,
  "faults/kills": 78,
  "faults/processes": 63,
  "faults/workflows": 62,
  "faults/executor": 58,
  "commands/examples": 58,
  "cli/subprocess-cluster": 46,
  "faults/jobs": 44,
  "services/process/Processes": 40,
  "faults/limits": 40,
  "faults/serverAbuse": 36,
  "cli/long-running": 36,
  "faults/await": 35,
  "cli/run": 35,
  "faults/run": 32,
  "cli/await": 28,
  "cli/subprocess": 27,
  "faults/cluster": 26,
  "cli/executor": 26,
  "services/task/LoopWatch": 25,
  pack: 25,
  "cli/loop": 24,
  "cli/server": 23,
  "services/thread/ExecutorWorkers": 22,
  "services/source/Diagnostics": 22,
  manifest: 21,
  "faults/follow": 21,
  "cli/gather-cluster": 20,
  "faults/outputs": 19,
  "services/thread/TypedJob": 18,
  "cli/durable": 18,
  notOurs: 17,
  "services/cluster/ClusterDownloader": 15,
  "faults/files": 15,
  "faults/durable": 15,
  "services/cluster/ClusterExecutor": 14,
  "faults/http-command": 14,
  "faults/crowd": 14,
  "commands/matrix": 14,
  "cli/run-options": 13,
  "services/time/CronClockChanges": 12,
  "programs/RunMain": 12,
  "parity/parity": 12,
  "faults/serverLimits": 12,
  "faults/http-resume": 12,
  "cli/run-virtual": 12,
  "services/http/Blocking": 11,
  "faults/terminals": 11,
  docs: 11,
  "cli/cluster": 11,
  "programs/ServerCompare": 10,
  "cli/gather-split": 10,
  "cli/gather-network": 10,
  "faults/server": 9,
  "faults/ports": 9,
  "cli/gather-place": 9,
  "cli/gather": 9,
  "services/http/LoadDriver": 8,
  "faults/records": 8,
  "commands/App": 8,
  "cli/tasks": 8,
  "cli/network": 8
}

const weight = ({ moduleId }: TestSpecification): number =>
  seconds[/\/test\/(.*)\.test\.ts$/.exec(moduleId)?.[1] ?? ""] ?? 0

export default class HeavyFirst extends BaseSequencer {
  override async sort(files: Array<TestSpecification>): Promise<Array<TestSpecification>> {
    return (await super.sort(files)).sort((a, b) => weight(b) - weight(a))
  }
}
