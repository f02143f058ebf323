import { existsSync, readdirSync, readFileSync } from "node:fs"
import { Duration, Effect } from "effect"

// A child and everything that it has started: its process group, and processes outside of the group (`setsid`) that
// carry the child's marker in their environment. A process that leaves the group and clears its environment cannot be
// found here; the fork server's subreaper kills it when the service closes.

/** How the processes of one child are found. */
export interface Tree {
  /** The process group, which is the pid of its first process. */
  readonly group: number
  /** Unique text in the environment of each of its processes. */
  readonly marker: string
}

/** The environment variable that carries markers: a tree within a tree carries both. */
export const variable = "AIO_PROCESS"

const linux = process.platform === "linux"

const read = (file: string): string => {
  try {
    return readFileSync(file, "latin1")
  } catch {
    return "" // gone, or another user's
  }
}

const everyPid = () =>
  readdirSync("/proc")
    .filter((entry) => /^\d+$/.test(entry))
    .map(Number)

/** Fields of /proc/PID/stat from the state on (`man 5 proc`); the name before them may hold blanks and brackets. */
const statOf = (pid: number): ReadonlyArray<string> | undefined => {
  const stat = read(`/proc/${pid}/stat`)
  return stat === "" ? undefined : stat.slice(stat.lastIndexOf(")") + 2).split(" ")
}

/** Most pids since the tree's first that are checked one by one; beyond, all of /proc is read. */
const few = 256

// After a short job only a few pids are checked (10 µs each) and not all of the machine: descendants have a later pid
// than the tree's first process, and /proc/loadavg has the last one in use.
const candidates = (group: number): ReadonlyArray<number> => {
  const last = Number(read("/proc/loadavg").split(" ")[4])
  const since = last - group
  return since >= 0 && since <= few ? Array.from({ length: since }, (_, i) => group + 1 + i) : everyPid()
}

/** The processes that carry the tree's marker and have left its group. */
const escaped = ({ group, marker }: Tree): ReadonlyArray<number> =>
  linux
    ? candidates(group).filter(
        // Most are gone by now, and a thrown error costs ten times as much as a check.
        (pid) =>
          existsSync(`/proc/${pid}`) &&
          read(`/proc/${pid}/environ`).includes(marker) &&
          statOf(pid)?.[2] !== String(group)
      )
    : []

const send = (to: number, signal: NodeJS.Signals | 0): "sent" | "gone" | "denied" => {
  try {
    process.kill(to, signal)
    return "sent"
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM" ? "denied" : "gone"
  }
}

/** Signals the whole group; false when no process of it is left that this process may signal. */
export const signalGroup = (group: number, signal: NodeJS.Signals | 0): boolean =>
  send(-group, signal) === "sent"

/** Signals all of the tree; false when no process of it is left. */
export const signalTree = (tree: Tree, signal: NodeJS.Signals | 0): boolean => {
  const inGroup = signalGroup(tree.group, signal)
  return escaped(tree).reduce((sent, pid) => send(pid, signal) === "sent" || sent, inGroup)
}

// Zombies are members of their group until they are reaped; where process 1 of a container does not reap, the group of
// an ended process would exist for ever.
const onlyZombies = (group: number): boolean =>
  linux &&
  everyPid().every((pid) => {
    const stat = statOf(pid)
    return stat === undefined || stat[2] !== String(group) || stat[0] === "Z" || stat[0] === "X"
  })

// Polls, because the kernel reports only the end of children, and a tree has grandchildren. Uses Node's timers: the
// processes are real whatever clock the program runs on.
const gone = (tree: Tree, within: number): Effect.Effect<boolean> =>
  Effect.async((resume) => {
    const deadline = performance.now() + within
    let timer: NodeJS.Timeout | undefined
    const poll = (pause: number) => {
      const group = signalGroup(tree.group, 0) && !(pause > 8 && onlyZombies(tree.group))
      if (!group && escaped(tree).length === 0) return resume(Effect.succeed(true))
      const left = deadline - performance.now()
      if (left <= 0) return resume(Effect.succeed(false))
      timer = setTimeout(() => poll(Math.min(50, pause * 2)), Math.min(pause, left))
    }
    poll(1)
    return Effect.sync(() => clearTimeout(timer))
  })

/** Sends the signal to all of the tree, waits for the grace period, sends KILL; ends when no process is left. */
export const endTree = (
  tree: Tree,
  grace: Duration.DurationInput,
  signal: NodeJS.Signals = "SIGTERM"
): Effect.Effect<void> =>
  Effect.gen(function* () {
    if (!signalTree(tree, signal)) return
    // A stopped process must continue in order to end.
    signalTree(tree, "SIGCONT")
    if (yield* gone(tree, Duration.toMillis(grace))) return
    // Repeated, because a process that is just being forked misses the signal.
    do signalTree(tree, "SIGKILL")
    while (!(yield* gone(tree, 100)))
  })

/** Processor time so far and memory now, of all in the group; undefined if the platform does not report it. */
export const usageOf = ({ group }: Tree) => {
  if (!linux) return undefined
  const sum = { user: 0, system: 0, memory: 0, peakMemory: 0 }
  let found = false
  for (const pid of everyPid()) {
    const stat = statOf(pid)
    if (stat === undefined || stat[2] !== String(group)) continue
    found = true
    // utime, stime, and those of children waited for, in ticks of 10 ms: Linux shows USER_HZ, which is 100
    sum.user += (Number(stat[11]) + Number(stat[13])) * 10
    sum.system += (Number(stat[12]) + Number(stat[14])) * 10
    const status = read(`/proc/${pid}/status`)
    const kib = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(status)?.[1] ?? 0)
    sum.memory += kib("VmRSS") * 1024
    sum.peakMemory += kib("VmHWM") * 1024
  }
  return found ? sum : undefined
}
