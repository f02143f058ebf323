import type { TestSpecification } from "vitest/node"
import { BaseSequencer } from "vitest/node"

// Files that take longest first, so that the workers end together: a long file that begins last runs alone. Seconds,
// roughly; the other files take less than three each.
const seconds: Readonly<Record<string, number>> = {
  "services/time/VirtualClock": 1000, // with the next, in workers of their own: see vitest.config.ts
  "testing/Interleave": 999,
  "cli/subprocess": 45,
  "cli/await": 40,
  "faults/executor": 35,
  "faults/processes": 30,
  "cli/loop": 30,
  "cli/run": 25,
  "services/time/CronClockChanges": 20,
  "services/thread/ExecutorWorkers": 20,
  "faults/run": 15,
  manifest: 15,
  "cli/long-running": 14,
  "services/source/Diagnostics": 14,
  "faults/http-command": 10,
  "faults/kills": 12,
  "cli/run-virtual": 11,
  "cli/gather-files": 10,
  "faults/limits": 10,
  "services/process/Processes": 9,
  "faults/follow": 9,
  "services/time/TimersSeries": 8,
  "cli/server": 8,
  "faults/records": 8,
  "cli/gather-network": 7,
  "faults/files": 7,
  "services/stream/MapConcurrent": 7,
  "cli/gather": 6,
  "services/stream/Generators": 6,
  pack: 6,
  docs: 6
}

const weight = ({ moduleId }: TestSpecification): number =>
  seconds[/\/test\/(.*)\.test\.ts$/.exec(moduleId)?.[1] ?? ""] ?? 0

export default class HeavyFirst extends BaseSequencer {
  override async sort(files: Array<TestSpecification>): Promise<Array<TestSpecification>> {
    return (await super.sort(files)).sort((a, b) => weight(b) - weight(a))
  }
}
