import { closeSync, existsSync, openSync, readdirSync, readSync } from "node:fs"

// A child and everything that it has started: its process group, and processes that have left the group (`setsid`). They
// are found by their parents, as long as the parents live; by the child's marker in their environment; and as orphans of
// this process, if it adopts orphans. This file imports no package: the guardian's program loads it too.

/** How the processes of one child are found. */
export interface Tree {
  /** The process group, which is the pid of its first process. */
  readonly group: number
  /** Unique text in the environment of each of its processes. */
  readonly marker: string
  /** The descendants found so far: start times by pid, because pids are reused. */
  readonly seen: Map<number, string>
  /** Whether its first process was reaped: the pid may be another's. */
  ended: boolean
  /** Called for each descendant that is found outside of the group, at each look. */
  readonly onStray?: ((pid: number, start: string) => void) | undefined
}

/** The environment variable that carries markers: a tree within a tree carries both. */
export const variable = "AIO_PROCESS"

const linux = process.platform === "linux"

/** Read into again and again: `readFileSync` would allocate 64 KiB for each file of /proc, whose sizes are not known. */
let buffer = Buffer.alloc(16 * 1024)

/** All of an open file of /proc, from its beginning. */
export const readAll = (fd: number): string => {
  let size = 0
  for (;;) {
    const more = readSync(fd, buffer, size, buffer.length - size, size)
    if (more === 0) return buffer.toString("latin1", 0, size)
    size += more
    if (size === buffer.length) buffer = Buffer.concat([buffer, Buffer.alloc(size)])
  }
}
const read = (file: string): string => {
  let fd: number | undefined
  try {
    fd = openSync(file, "r")
    return readAll(fd)
  } catch {
    return "" // gone, or another user's
  } finally {
    if (fd !== undefined) closeSync(fd)
  }
}
const list = (folder: string): ReadonlyArray<string> => {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}
/** The pids of the machine; none without /proc. */
export const everyPid = (): ReadonlyArray<number> =>
  list("/proc")
    .filter((entry) => /^\d+$/.test(entry))
    .map(Number)

interface Stat {
  readonly state: string
  readonly parent: number
  readonly group: number
  readonly session: number
  readonly start: string
  readonly isKernelThread: boolean
  /** Processor time in ticks of 10 ms, with that of reaped children: Linux shows USER_HZ, which is 100. */
  readonly user: number
  readonly system: number
}

/** /proc/PID/stat (`man 5 proc`); the name in it may hold blanks and brackets. */
export const statOf = (pid: number): Stat | undefined => {
  const stat = linux ? read(`/proc/${pid}/stat`) : ""
  if (stat === "") return undefined
  const [state, ...fields] = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
  const at = (index: number) => Number(fields[index])
  return {
    state: state!,
    parent: at(0),
    group: at(1),
    session: at(2),
    start: fields[18]!,
    isKernelThread: (at(5) & 0x200000) !== 0,
    user: at(10) + at(12),
    system: at(11) + at(13)
  }
}
/** What the machine runs now. */
const everyStat = () =>
  everyPid().flatMap((pid) => {
    const stat = statOf(pid)
    return stat === undefined ? [] : [{ pid, ...stat }]
  })
/** Whether processes that leave their group can be found: where there is /proc. */
export const canFollow = (): boolean => statOf(process.pid) !== undefined

const isZombie = ({ state }: Stat) => state === "Z" || state === "X"

/** The pids in a list of the kernel's. */
export const pidsIn = (text: string) => text.split(" ").filter(Boolean).map(Number)
let listsChildren: boolean | undefined
/** A function that gives the children of a process: from the kernel's list, or from the parents of all processes. */
const childrenNow = (): ((pid: number) => ReadonlyArray<number>) => {
  listsChildren ??= existsSync(`/proc/self/task/${process.pid}/children`)
  if (listsChildren) {
    return (pid) =>
      list(`/proc/${pid}/task`).flatMap((thread) => pidsIn(read(`/proc/${pid}/task/${thread}/children`)))
  }
  const all = everyStat()
  return (of) => all.flatMap(({ parent, pid }) => (parent === of ? [pid] : []))
}

/** Adds a descendant to the tree; false if it is known already or gone. */
export const note = (tree: Tree, pid: number, stat = statOf(pid)): boolean => {
  if (stat === undefined || tree.seen.get(pid) === stat.start) return false
  tree.seen.set(pid, stat.start)
  if (stat.group !== tree.group) tree.onStray?.(pid, stat.start)
  return true
}

/** Finds the descendants of all that is known of the tree, and forgets what is gone. */
export const walk = (tree: Tree): void => {
  const childrenOf = childrenNow()
  const queue = tree.ended ? [] : [tree.group]
  for (const [pid, start] of tree.seen) {
    const stat = statOf(pid)
    if (stat?.start !== start) {
      tree.seen.delete(pid)
      continue
    }
    queue.push(pid)
    if (stat.group !== tree.group) tree.onStray?.(pid, start) // it may have left the group since it was found
  }
  for (const pid of queue) {
    for (const child of childrenOf(pid)) if (note(tree, child)) queue.push(child)
  }
}

/** Most pids since the tree's first that are checked one by one; beyond, all of /proc is read. */
const few = 256
/** How often at most the pids are looked at that are new since the last look. */
const mostLooks = 16

/** The last pid in use. */
const lastPid = () => Number(read("/proc/loadavg").split(" ")[4])

/**
 * Visits the processes that may descend from `group` (0: all), then those that were started meanwhile: one that was
 * about to be visited may have forked and ended. False if there are always more.
 */
export const visit = (group: number, visitor: (pid: number) => void): boolean => {
  let from = group
  for (let look = 0; look < mostLooks; look++) {
    const last = lastPid()
    const since = last - from
    if (since === 0 || Number.isNaN(last)) return true // no news, or no /proc
    // After a short job a few pids are checked, 10 µs each, and not all of the machine: descendants have a later pid.
    if (from > 0 && since > 0 && since <= few) {
      for (let pid = from + 1; pid <= last; pid++) if (existsSync(`/proc/${pid}`)) visitor(pid)
    } else for (const pid of everyPid()) visitor(pid)
    from = last
  }
  return false
}

/**
 * The environment of a process, empty if it cannot be read; undefined in the moment of an exec, when the old program's
 * memory is gone and the new one's words and environment are not there yet.
 */
export const environmentOf = (pid: number): string | undefined => {
  const environment = read(`/proc/${pid}/environ`)
  if (environment !== "") return environment
  if (read(`/proc/${pid}/cmdline`) !== "") return read(`/proc/${pid}/environ`)
  const stat = statOf(pid)
  return stat === undefined || isZombie(stat) || stat.isKernelThread ? "" : undefined
}

/**
 * Finds the processes that carry the marker and are not in the group; `skip` are known to be others'. False if the next
 * look may find more.
 */
const scan = (tree: Tree, skip: (pid: number) => boolean): boolean => {
  let all = true
  const visitor = (pid: number) => {
    if (tree.seen.has(pid) || skip(pid)) return
    const environment = environmentOf(pid)
    if (environment === undefined) all = false
    if (environment?.includes(tree.marker) !== true) return
    const stat = statOf(pid)
    if (stat !== undefined && stat.group !== tree.group) note(tree, pid, stat)
  }
  return !linux || (visit(tree.group, visitor) && all)
}

/** The living processes among those found of the tree that are not in its group. */
const living = (tree: Tree): ReadonlyArray<number> =>
  [...tree.seen].flatMap(([pid, start]) => {
    const stat = statOf(pid)
    return stat === undefined || stat.start !== start || stat.group === tree.group || isZombie(stat)
      ? []
      : [pid]
  })

/** Takes in the orphans that this process adopts; false if the next look may find more. */
export type Adopt = () => boolean

const nothing = () => false

/**
 * The living processes of the tree outside of its group, and whether these are all. With `adopt` all are known by their
 * parents, and no environment is read.
 */
export const strays = (tree: Tree, adopt: Adopt | undefined, skip: (pid: number) => boolean = nothing) => {
  if (!tree.ended || tree.seen.size > 0) walk(tree)
  const before = living(tree)
  const all = adopt === undefined ? scan(tree, skip) : adopt()
  const pids = living(tree)
  // One that lived before the look and not after it may have forked between.
  return { pids, all: all && (pids.length > 0 || before.length === 0) }
}

const send = (to: number, signal: NodeJS.Signals | 0): boolean => {
  try {
    process.kill(to, signal)
    return true
  } catch {
    return false // gone, or not ours to signal
  }
}

/** Signals the whole group; false when no process of it is left that this process may signal. */
export const signalGroup = (group: number, signal: NodeJS.Signals | 0): boolean =>
  group > 0 && send(-group, signal)

/** Signals all of the tree; false when no process of it is left. */
export const signalTree = (tree: Tree, signal: NodeJS.Signals | 0, adopt?: Adopt): boolean => {
  const inGroup = signalGroup(tree.group, signal)
  return strays(tree, adopt).pids.reduce((sent, pid) => send(pid, signal) || sent, inGroup)
}

// Zombies are members of their group until they are reaped; where process 1 of a container does not reap, the group of
// an ended process would exist for ever. Without /proc no process is seen, and the group counts as alive.
const onlyZombies = (group: number): boolean => {
  for (let before = ""; ; ) {
    const all = everyStat()
    const members = all.filter((stat) => stat.group === group)
    if (all.length === 0 || !members.every(isZombie)) return false
    // One that has ended since the pids were listed may have forked before.
    const pids = members.map(({ pid }) => pid).join(" ")
    if (pids === before) return true
    before = pids
  }
}

/** Looks in a row, about a second, after which a process that shows no environment is another's. */
export const mostUncertain = 25

/** When KILL counts as done where /proc does not tell a zombie from a process, in milliseconds after it. */
const untilDead = 1000

/** How a tree is ended; `grace` in milliseconds; `adopt` where this process adopts orphans. */
export interface Ending {
  readonly signal: NodeJS.Signals
  readonly grace: number
  readonly adopt?: Adopt | undefined
}

/**
 * Sends the signal to all of the tree, waits for the grace period, sends KILL; calls back when no process is left.
 * Returns a function that gives up. Polls, because the kernel reports only the end of children; by Node's timers,
 * because the processes are real whatever clock the program runs on.
 */
export const end = (tree: Tree, { adopt, grace, signal }: Ending, onGone: () => void): (() => void) => {
  const deadline = performance.now() + grace
  const asked = new Set<number>()
  let uncertain = 0
  let killed = Number.POSITIVE_INFINITY
  let timer: NodeJS.Timeout | undefined
  const ask = (pid: number) => {
    if (asked.has(pid)) return
    asked.add(pid)
    send(pid, signal)
    send(pid, "SIGCONT") // a stopped process must continue in order to end
  }
  const round = (pause: number) => {
    // The group first: a process that leaves it after this look is found outside of it by the next.
    const group = signalGroup(tree.group, 0) && !(pause > 8 && onlyZombies(tree.group))
    const { all, pids: members } = strays(tree, adopt)
    if (!group && members.length === 0 && (all || ++uncertain > mostUncertain)) return onGone()
    const now = performance.now()
    const left = deadline - now
    if (now - killed > untilDead && !canFollow()) return onGone()
    if (left <= 0) killed = Math.min(killed, now)
    // Each round, because a process that is just being forked misses the signal.
    for (const pid of group ? [-tree.group, ...members] : members) {
      if (left > 0) ask(pid)
      else send(pid, "SIGKILL")
    }
    timer = setTimeout(
      () => round(Math.min(50, pause * 2)),
      left > 0 ? Math.min(pause, left) : Math.min(pause, 8)
    )
  }
  round(1)
  return () => clearTimeout(timer)
}

/** Processor time so far and memory now, of all of the tree; undefined if the platform does not report it. */
export const usageOf = (tree: Tree) => {
  const all = everyStat().filter(
    ({ group, pid, start }) => group === tree.group || tree.seen.get(pid) === start
  )
  const sum = { user: 0, system: 0, memory: 0, peakMemory: 0 }
  for (const { pid, system, user } of all) {
    sum.user += user * 10
    sum.system += system * 10
    const status = read(`/proc/${pid}/status`)
    const kib = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(status)?.[1] ?? 0)
    sum.memory += kib("VmRSS") * 1024
    sum.peakMemory += kib("VmHWM") * 1024
  }
  return all.length > 0 ? sum : undefined
}
