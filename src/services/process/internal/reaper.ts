import { isMainThread } from "node:worker_threads"
import type { Ended } from "./backend.js"
import type { Libc } from "./libc.js"

// Reaps the children that libuv does not know. One table for the process, because SIGCHLD is for all of it; only pids in
// the table are waited for: other children are the host's.

interface Entry {
  readonly onEnded: (how: Ended | undefined) => void
  /** Whether it keeps this process alive. */
  readonly holds: boolean
}

const entries = new Map<number, Entry>()
/** Those that were reaped, and whose callbacks are not done. */
const ended = new Map<number, () => void>()
let holding = 0
let libc: Libc | undefined
let timer: NodeJS.Timeout | undefined

// A listener for a signal does not keep Node alive, hence the timer; it also finds what no signal reports: a worker
// thread receives none.
const period = isMainThread ? 1000 : 5

/** How long the callbacks of one turn take, in milliseconds: those of many that end at once are spread over turns. */
const budget = 1
let resuming = false

const callBack = () => {
  resuming = false
  const begun = performance.now()
  for (const [pid, onEnded] of ended) {
    onEnded()
    ended.delete(pid)
    if (performance.now() - begun >= budget) break
  }
  resuming = ended.size > 0
  if (resuming) setImmediate(callBack)
}

const sweep = () => {
  for (const [pid, entry] of entries) {
    const reaped = libc!.reap(pid)
    if (reaped === "running") continue
    forget(pid, entry)
    ended.set(pid, () => entry.onEnded(reaped === "gone" ? undefined : reaped))
  }
  if (!resuming) callBack()
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
export const watch = (from: Libc, pid: number, onEnded: Entry["onEnded"], holds: boolean): void => {
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

/** Whether the child was reaped, and its callback is not done. */
export const hasEnded = (pid: number): boolean => ended.has(pid)
