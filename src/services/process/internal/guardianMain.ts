import { existsSync, readdirSync, readFileSync } from "node:fs"
import { type Ending, end, note, statOf, type Tree } from "./descendants.js"

// What the guardian becomes when the tool is gone: ends the trees that were running, each by its own stop signal and
// grace period, as its marker says: `PREFIX ID,SIGNAL,GRACE;`. Input: variables of the shell,
// `aio_tree_ID='GROUP MARKER PID:START…'`. Its word is the prefix.

const prefix = process.argv[2] ?? ""
const trees = new Map<string, Ending & { readonly tree: Tree }>()

const add = (tree: Tree) => {
  const [, signal, grace] = tree.marker.slice(0, -1).split(",")
  trees.set(tree.marker, { tree, signal: signal as NodeJS.Signals, grace: Number(grace), complete: false })
}

for (const [, words] of readFileSync(0, "latin1").matchAll(/^aio_tree_\d+='?([^'\n]*)'?$/gm)) {
  const [group, marker, ...strays] = words!.split(" ")
  const seen = new Map(
    strays.map((stray) => {
      const [pid, start] = stray.split(":")
      return [Number(pid), start!] as const
    })
  )
  const leader = statOf(Number(group))
  const ended = leader === undefined || leader.session !== Number(group)
  add({ group: Number(group), marker: marker!, seen, ended })
}

// Processes that were just being started when the tool was killed.
const markers = new RegExp(`${prefix.replace(/[^\w-]/g, "\\$&")}\\d+,SIG\\w+,\\d+;`)
const running = existsSync("/proc") ? readdirSync("/proc") : []
for (const pid of running.filter((entry) => /^\d+$/.test(entry))) {
  try {
    const [marker] = markers.exec(readFileSync(`/proc/${pid}/environ`, "latin1")) ?? []
    const stat = statOf(Number(pid))
    if (marker === undefined || stat === undefined || trees.has(marker)) continue
    const tree: Tree = { group: stat.session, marker, seen: new Map(), ended: true }
    note(tree, Number(pid), stat)
    add(tree)
  } catch {
    // gone, or another user's
  }
}

let left = trees.size
let last = 0
for (const { tree, ...how } of trees.values()) {
  last = Math.max(last, how.grace)
  end(tree, how, () => {
    left--
    if (left === 0) process.exit()
  })
}
// Bounded, because a zombie that is never reaped would stay for ever.
setTimeout(() => process.exit(), Math.min(last + 2000, 2 ** 31 - 1)).unref()
