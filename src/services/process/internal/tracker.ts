import { closeSync, openSync, readSync } from "node:fs"
import * as descendants from "./descendants.js"
import type { Libc } from "./libc.js"
import * as nodeSpawn from "./nodeSpawn.js"
import * as reaper from "./reaper.js"

// Follows what running children start: it walks their descendants again and again, and takes in the orphans that this
// process adopts. A process that left its group, cleared its environment and lost its parent belongs to the tree that it
// was seen in, whose session it has, or whose marker it carries; else to the only tree it can be of. Where several can
// be, it belongs to the last of these.

type Tree = descendants.Tree

export interface Tracker {
  /** Whether every process of a tree is found by its parents, because orphans are adopted. */
  readonly complete: boolean
  readonly add: (tree: Tree) => void
  /** Its first process was reaped: whether no process of it is left. */
  readonly ended: (tree: Tree) => boolean
  readonly remove: (tree: Tree) => void
  /** Stops; the adopted processes that belong to no tree. */
  readonly close: () => ReadonlyMap<number, string>
}

/** Milliseconds from a tree's start to its first walk, and most between two; most that the walks of one turn take. */
const [firstPause, lastPause, budget] = [8, 1000, 2]
/** How long libuv has to reap a child of its own that ended, in milliseconds. */
const libuvTime = 100

/** The children of this process, from a list that stays open. */
const childList = () => {
  const fd = openSync(`/proc/self/task/${process.pid}/children`, "r")
  let buffer = Buffer.alloc(4096)
  const read = (): ReadonlyArray<number> => {
    const size = readSync(fd, buffer, 0, buffer.length, 0)
    if (size < buffer.length) return buffer.toString("latin1", 0, size).split(" ").filter(Boolean).map(Number)
    buffer = Buffer.alloc(buffer.length * 2)
    return read()
  }
  return { read, close: () => closeSync(fd) }
}

/** How many trackers of this process adopt orphans. */
let adopters = 0

/** Adopts orphans if `libc` is given. `isStarting`: whether a child may run that is not known yet. */
export const make = (libc: Libc | undefined, isStarting: () => boolean): Tracker => {
  const trees = new Map<Tree, { at: number; pause: number }>()
  const lost = new Map<number, { readonly start: string; readonly of: Set<Tree> }>()
  const zombies = new Map<number, number>()
  let children: ReturnType<typeof childList> | undefined
  if (libc?.adoptOrphans(true) === true) {
    try {
      children = childList()
      adopters++
    } catch {
      libc.adoptOrphans(false) // without the kernel's list, what is adopted could not be found and reaped
    }
  }
  const session = descendants.statOf(process.pid)?.session
  const isOurs = (pid: number) => reaper.isWatched(pid) || nodeSpawn.running.has(pid)

  const ownerOf = (pid: number, { session, start }: { readonly session: number; readonly start: string }) =>
    [...trees.keys()].find(
      ({ group, seen }) => seen.get(pid) === start || group === session || seen.has(session)
    )
  const ownersOf = (pid: number): ReadonlyArray<Tree> => {
    const all = [...trees.keys()]
    const owner = all.find((tree) => descendants.environmentOf(pid)?.includes(tree.marker))
    if (owner !== undefined) return [owner]
    const ended = all.filter(({ group }) => reaper.endedNow().has(group))
    return ended.length > 0 ? ended : all
  }
  /** Takes in the children that this process did not start. Those that have ended are reaped. */
  const adopt = (closing = false) => {
    for (const pid of children?.read() ?? []) {
      if (isOurs(pid)) continue
      const stat = descendants.statOf(pid)
      if (stat === undefined || stat.session === session) continue // a child that the host has spawned
      const owner = ownerOf(pid, stat)
      if (stat.state === "Z") {
        const since = zombies.get(pid) ?? performance.now()
        // It may be the host's, and libuv has not reaped it yet.
        const ours = closing || owner !== undefined || lost.has(pid)
        if (ours || performance.now() - since > libuvTime) {
          zombies.delete(pid)
          lost.delete(pid)
          libc!.reap(pid)
        } else zombies.set(pid, since)
      } else if (owner !== undefined) descendants.note(owner, pid, stat)
      else if (lost.get(pid)?.start !== stat.start && !isStarting()) {
        const owners = ownersOf(pid)
        if (owners.length === 1) descendants.note(owners[0]!, pid, stat)
        else lost.set(pid, { start: stat.start, of: new Set(owners) })
      }
    }
  }

  let timer: NodeJS.Timeout | undefined
  let wakes = Number.POSITIVE_INFINITY
  const wakeAt = (at: number) => {
    if (at >= wakes) return
    clearTimeout(timer)
    wakes = at
    timer = setTimeout(tick, Math.max(1, at - performance.now())).unref()
  }
  const tick = () => {
    const begun = performance.now()
    wakes = Number.POSITIVE_INFINITY
    adopt()
    let next = Number.POSITIVE_INFINITY
    for (const [tree, due] of trees) {
      const now = performance.now()
      if (due.at <= now && now - begun < budget) {
        descendants.walk(tree)
        due.pause = Math.min(lastPause, due.pause * 2)
        due.at = now + due.pause
      }
      next = Math.min(next, due.at)
    }
    if (trees.size > 0) wakeAt(next)
  }

  return {
    get complete() {
      return children !== undefined
    },
    add: (tree) => {
      const at = performance.now() + firstPause
      trees.set(tree, { at, pause: firstPause })
      wakeAt(at)
    },
    ended: (tree) => {
      tree.ended = true
      adopt()
      if (descendants.signalGroup(tree.group, 0)) return false
      const { all, pids } = descendants.strays(tree, children !== undefined, isOurs)
      return all && pids.length === 0
    },
    remove: (tree) => {
      if (children !== undefined && tree.seen.size > 0) adopt()
      trees.delete(tree)
      for (const [pid, { of, start }] of lost) {
        if (!of.delete(tree) || of.size !== 1) continue
        lost.delete(pid)
        for (const owner of of) {
          const stat = descendants.statOf(pid)
          if (stat?.start === start) descendants.note(owner, pid, stat)
        }
      }
      if (trees.size > 0) return
      clearTimeout(timer)
      wakes = Number.POSITIVE_INFINITY
    },
    close: () => {
      adopt(true)
      clearTimeout(timer)
      children?.close()
      if (children !== undefined && --adopters === 0) libc!.adoptOrphans(false)
      children = undefined
      return new Map([...lost].map(([pid, { start }]) => [pid, start]))
    }
  }
}
