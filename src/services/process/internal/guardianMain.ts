import { readFileSync } from "node:fs"
import {
  type Ending,
  end,
  environmentOf,
  mostUncertain,
  note,
  statOf,
  type Tree,
  visit
} from "./descendants.js"

// What the guardian becomes when the tool is gone: ends the trees that were running, each by its own stop signal and
// grace period, as its marker says: `PREFIX ID,SIGNAL,GRACE;`. Input: variables of the shell,
// `aio_tree_ID='GROUP MARKER PID:START…'`. Its word is the prefix.

const prefix = process.argv[2] ?? ""
const trees = new Set<string>()
let looking = true
let left = 0
let last = 0

const endTree = (tree: Tree) => {
  const [, signal, grace] = tree.marker.slice(0, -1).split(",")
  const how: Ending = { signal: signal as NodeJS.Signals, grace: Number(grace) }
  trees.add(tree.marker)
  left++
  last = Math.max(last, how.grace)
  end(tree, how, () => {
    left--
    if (left === 0 && !looking) process.exit()
  })
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
  endTree({ group: Number(group), marker: marker!, seen, ended })
}

// Processes that were just being started when the tool was killed; in the moment of an exec one shows no marker. Until
// its exec, a child of the tool holds the pipe of the guardian open, so none is missed.
const markers = new RegExp(`${prefix.replace(/[^\w-]/g, "\\$&")}\\d+,SIG\\w+,\\d+;`)
const look = (before: number) => {
  let all = true
  const visited = visit(0, (pid) => {
    const environment = environmentOf(pid)
    if (environment === undefined) all = false
    const [marker] = markers.exec(environment ?? "") ?? []
    const stat = statOf(pid)
    if (marker === undefined || stat === undefined || trees.has(marker)) return
    const tree: Tree = { group: stat.session, marker, seen: new Map(), ended: true }
    note(tree, pid, stat)
    endTree(tree)
  })
  looking = !(all && visited) && before < mostUncertain
  if (looking) setTimeout(look, 40, before + 1)
  else if (left === 0) process.exit()
  // Bounded, because a zombie that is never reaped would stay for ever.
  else setTimeout(() => process.exit(), Math.min(last + 2000, 2 ** 31 - 1)).unref()
}
look(0)
