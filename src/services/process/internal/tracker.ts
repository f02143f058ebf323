import { closeSync, openSync } from "node:fs"
import * as descendants from "./descendants.js"
import type { Libc } from "./libc.js"
import * as nodeSpawn from "./nodeSpawn.js"
import * as reaper from "./reaper.js"

// Follows what running children start: it walks their descendants again and again, and takes in the orphans that this
// process adopts. A process that left its group, cleared its environment and lost its parent belongs to the tree that it
// was seen in, whose session it has, or whose marker it carries; else to the only tree it can be of. Where several can
// be, it belongs to the last of these.

type Tree = descendants.Tree

export type Tracker = ReturnType<typeof make>

/** Milliseconds from a tree's start to its first walk, and most between two; most that the walks of one turn take. */
const [firstPause, lastPause, budget] = [8, 1000, 2]
/** How long libuv has to reap a child of its own that ended, in milliseconds. */
const libuvTime = 100

/** The children of this process, from a list that stays open. */
const childList = () => {
  const fd = openSync(`/proc/self/task/${process.pid}/children`, "r")
  return { read: () => descendants.pidsIn(descendants.readAll(fd)), close: () => closeSync(fd) }
}

/** How many trackers of this process adopt orphans. */
let adopters = 0

/**
 * Adopts orphans if `libc` is given. `isStarting`: whether a child may run that is not known yet; its marker begins with
 * `markers`.
 */
export const make = (libc: Libc | undefined, markers: string, isStarting: () => boolean) => {
  const trees = new Map<Tree, { at: number; pause: number }>()
  const lost = new Map<number, { readonly start: string; readonly of: Set<Tree> }>()
  const zombies = new Map<number, number>()
  const looks = new Map<number, number>()
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
  /** The trees that an orphan may be of; `"later"` in the moment of its exec, `"starting"` for what is no orphan. */
  const ownersOf = (pid: number): ReadonlyArray<Tree> | "later" | "starting" => {
    const environment = descendants.environmentOf(pid)
    if (environment === undefined) {
      const count = (looks.get(pid) ?? 0) + 1
      looks.set(pid, count)
      if (count <= descendants.mostUncertain) return "later"
    }
    looks.delete(pid)
    const all = [...trees.keys()]
    const owner = all.find(({ marker }) => environment?.includes(marker))
    if (owner !== undefined) return [owner]
    // Until its exec, a child shows the environment of this process, whose memory it shares.
    const isOwn = () =>
      environment?.includes(markers) || environment === descendants.environmentOf(process.pid)
    if (isStarting() && isOwn()) return "starting"
    const ended = all.filter(({ group }) => reaper.hasEnded(group))
    return ended.length > 0 ? ended : all
  }
  /** Reaps an adopted process that has ended; false if it may be the host's, and libuv has not reaped it yet. */
  const reap = (pid: number, isOrphan: boolean): boolean => {
    const since = zombies.get(pid) ?? performance.now()
    zombies.set(pid, since)
    if (!isOrphan && performance.now() - since <= libuvTime) return false
    for (const known of [zombies, lost, looks]) known.delete(pid)
    libc!.reap(pid)
    return true
  }
  /** Takes in the children that this process did not start, and reaps those that have ended. */
  const adopt = (closing = false): boolean => {
    let [all, again] = [true, false]
    for (const pid of children?.read() ?? []) {
      if (isOurs(pid)) continue
      const stat = descendants.statOf(pid)
      if (stat === undefined || stat.session === session) continue // a child that the host has spawned
      const owner = ownerOf(pid, stat)
      if (stat.state === "Z") {
        const isNew = !zombies.has(pid)
        // Its children were adopted when it ended, perhaps after the list was read.
        if (reap(pid, closing || owner !== undefined || lost.has(pid)) || isNew) again = true
      } else if (owner !== undefined) descendants.note(owner, pid, stat)
      else if (lost.get(pid)?.start !== stat.start) {
        const owners = ownersOf(pid)
        if (owners === "later") all = false
        else if (owners === "starting") continue
        else if (owners.length === 1) descendants.note(owners[0]!, pid, stat)
        else lost.set(pid, { start: stat.start, of: new Set(owners) })
      }
    }
    return again ? adopt(closing) && all : all
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
    let next = adopt() ? Number.POSITIVE_INFINITY : begun + firstPause
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
    /** Takes in the orphans that this process adopts, by which every process of a tree is found. */
    get adopt(): descendants.Adopt | undefined {
      return children === undefined ? undefined : adopt
    },
    add: (tree: Tree): void => {
      const at = performance.now() + firstPause
      trees.set(tree, { at, pause: firstPause })
      wakeAt(at)
    },
    /** Its first process was reaped: whether no process of it is left. */
    ended: (tree: Tree): boolean => {
      tree.ended = true
      if (descendants.signalGroup(tree.group, 0)) return false
      const { all, pids } = descendants.strays(tree, children && adopt, isOurs)
      return all && pids.length === 0
    },
    remove: (tree: Tree): void => {
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
    /** Stops; the adopted processes that belong to no tree. */
    close: (): Map<number, string> => {
      adopt(true)
      clearTimeout(timer)
      children?.close()
      if (children !== undefined && --adopters === 0) libc!.adoptOrphans(false)
      children = undefined
      return new Map([...lost].map(([pid, { start }]) => [pid, start]))
    }
  }
}
