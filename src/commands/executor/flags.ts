import * as Flag from "../kernel/Flag.js"
import * as Flags from "../kernel/Flags.js"

/** The least heap in which a thread starts. */
const leastMemory = 4 * 1024 * 1024

export const flags = {
  jobs: Flag.withText(
    Flags.jobs,
    "threads at most: a number, a share of the processors, or so many more",
    "100%"
  ),
  argFile: Flags.argFile,
  format: Flags.format(["lines", "null", "ndjson", "json"]),
  nul: Flags.nul,
  maxLine: Flags.maxLine,
  unordered: Flags.unordered,
  timeout: Flag.withText(Flags.timeout, "time limit of a job; time in the queue does not count"),
  retries: Flags.retries(0),
  chunk: Flag.withDefault(
    Flags.count(1, 1024)("chunk", "items that go to a thread at a time, for jobs of some microseconds"),
    1
  ),
  maxMemory: Flags.size(leastMemory)("max-memory", "heap of each thread; an item that needs more fails"),
  grace: Flag.withText(Flags.grace("1s"), "time between asking a job to end and ending its thread"),
  onFailure: Flags.onFailure(["cancel", "continue"], "cancel"),
  processes: Flag.toggle("processes", "child processes instead of threads, for code that may crash"),
  cluster: Flags.cluster,
  group: Flags.group,
  code: Flags.code,
  storage: Flags.storage,
  run: Flags.run,
  tries: Flags.tries,
  progress: Flags.progress,
  ...Flags.reporting
}

export type Config = Flag.Values<typeof flags>

/** What is wrong with options that go to runners, or belong to them. */
export const clusterProblem = ({
  cluster,
  code,
  group,
  jobs,
  maxMemory,
  processes,
  run,
  storage,
  tries
}: Config): string | undefined => {
  if (cluster !== undefined) {
    const [own] = [
      ["--jobs", jobs !== undefined],
      ["--max-memory", maxMemory !== undefined],
      ["--processes", processes]
    ].find(([, given]) => given) ?? [undefined]
    return own === undefined
      ? undefined
      : `${own} is for this process; with --cluster the runners have it: aio runner ${own}`
  }
  const [given] =
    Object.entries({ group, code, storage, run, tries }).find(([, value]) => value !== undefined) ?? []
  return given === undefined ? undefined : `--${given} applies to --cluster STORE only`
}
