import { isMainThread } from "node:worker_threads"
import type { Libc, Reaped } from "./libc.js"

// Reaps the children that libuv does not know. One table for the process, because SIGCHLD is for all of it; only pids in
// the table are waited for: other children are the host's.

interface Entry {
  readonly onEnded: (reaped: Reaped | undefined) => void
  /** Whether it keeps this process alive. */
  readonly holds: boolean
}

const entries = new Map<number, Entry>()
let ended: ReadonlySet<number> = new Set()
let holding = 0
let libc: Libc | undefined
let timer: NodeJS.Timeout | undefined

// A listener for a signal does not keep Node alive, hence the timer; it also finds what no signal reports: a worker
// thread receives none.
const period = isMainThread ? 1000 : 5

const sweep = () => {
  const done: Array<readonly [Entry, Reaped | undefined]> = []
  const pids = new Set<number>()
  for (const [pid, entry] of entries) {
    const reaped = libc!.reap(pid)
    if (reaped === "running") continue
    pids.add(pid)
    forget(pid, entry)
    done.push([entry, reaped === "gone" ? undefined : reaped])
  }
  ended = pids
  for (const [entry, reaped] of done) entry.onEnded(reaped)
  ended = new Set()
}

const forget = (pid: number, { holds }: Entry) => {
  entries.delete(pid)
  if (holds && --holding === 0) timer?.unref()
  if (entries.size > 0) return
  clearInterval(timer)
  timer = undefined
  process.off("SIGCHLD", sweep)
}

/** Calls back when the child has ended; undefined if the host has reaped it. */
export const watch = (
  from: Libc,
  pid: number,
  onEnded: (reaped: Reaped | undefined) => void,
  holds = true
): void => {
  libc = from
  entries.set(pid, { onEnded, holds })
  if (timer === undefined) {
    timer = setInterval(sweep, period).unref()
    process.on("SIGCHLD", sweep)
  }
  setImmediate(sweep) // it may have ended before it was watched
  if (holds && ++holding === 1) timer.ref()
}

/** Whether the pid is a child that is waited for here. */
export const isWatched = (pid: number): boolean => entries.has(pid)

/** The children of the sweep whose callbacks run now. */
export const endedNow = (): ReadonlySet<number> => ended
