import { existsSync, readdirSync, readFileSync } from "node:fs"
import { Duration, Effect } from "effect"

// Everything that a child has started: its process group, and whoever has left that (`setsid`) but still carries the
// marker that the child was given in its environment. Who sheds both is found by nobody here; the fork server's
// subreaper ends those when the service closes.

export interface Tree {
  /** The process group, which is the pid of its first process. */
  readonly group: number
  /** Unique text in the environment of everyone who belongs to it. */
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

/** How many pids may have come since the tree's first before all of /proc is read instead of each of them. */
const few = 256

// Whoever descends from the tree's first process has a later pid, and the last pid given out is in /proc/loadavg: so
// after a short job there are a few to look at (10 µs each), and not the machine's every process.
const candidates = (group: number): ReadonlyArray<number> => {
  const last = Number(read("/proc/loadavg").split(" ")[4])
  const since = last - group
  return since >= 0 && since <= few ? Array.from({ length: since }, (_, i) => group + 1 + i) : everyPid()
}

/** Who carries the tree's marker and has left its group. */
const escaped = ({ group, marker }: Tree): ReadonlyArray<number> =>
  linux
    ? candidates(group).filter(
        // Most are gone by now, and an error that is thrown costs ten times a question.
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

/** Signals the whole group; false when nobody is left of it that is ours to signal. */
export const signalGroup = (group: number, signal: NodeJS.Signals | 0): boolean =>
  send(-group, signal) === "sent"

/** Signals all of the tree; false when nobody is left of it. */
export const signalTree = (tree: Tree, signal: NodeJS.Signals | 0): boolean => {
  const inGroup = signalGroup(tree.group, signal)
  return escaped(tree).reduce((sent, pid) => send(pid, signal) === "sent" || sent, inGroup)
}

// Zombies count as members of their group until somebody reaps them; where process 1 of a container does not, the
// group of an ended process would stand for ever.
const onlyZombies = (group: number): boolean =>
  linux &&
  everyPid().every((pid) => {
    const stat = statOf(pid)
    return stat === undefined || stat[2] !== String(group) || stat[0] === "Z" || stat[0] === "X"
  })

// Polled, because only children tell of their end, and a tree has grandchildren in it. Timers of Node's own: the
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

/** The signal to all of the tree, the grace period, KILL; ends when nobody is left. */
export const endTree = (
  tree: Tree,
  grace: Duration.DurationInput,
  signal: NodeJS.Signals = "SIGTERM"
): Effect.Effect<void> =>
  Effect.gen(function* () {
    if (!signalTree(tree, signal)) return
    // What is stopped ends only when it goes on.
    signalTree(tree, "SIGCONT")
    if (yield* gone(tree, Duration.toMillis(grace))) return
    // Once is not enough where somebody is just being forked.
    do signalTree(tree, "SIGKILL")
    while (!(yield* gone(tree, 100)))
  })

/** Processor time so far and memory now, of all in the group; undefined where the platform does not tell. */
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
