import type { Socket } from "node:net"
import type { Writable } from "node:stream"
import { builtFile } from "../../host/BuiltFile.js"
import type { Backend } from "./backend.js"
import type { Tree } from "./descendants.js"

// Ends the children of a tool that was killed. The guardian is a shell that reads from a pipe what runs: it takes a
// megabyte, and less than a millisecond to start. The pipe closes when this process is gone, however that came; then the
// shell becomes guardianMain.ts, which ends what is left.

const script = `
trap '' HUP INT TERM
while read -r what id rest; do
  case $what in
    +) eval "aio_tree_$id=\\$rest" ;;
    s) eval "aio_tree_$id=\\"\\$aio_tree_$id \\$rest\\"" ;;
    -) unset "aio_tree_$id" ;;
  esac
done
set | exec "$@"
`

/** The guardian looks at what runs this often, in milliseconds; most jobs are over within, and found by the marker. */
const shortest = 50

interface How {
  readonly signal: NodeJS.Signals
  /** Milliseconds. */
  readonly grace: number
}

/** The marker of a tree, from which the guardian learns how to end it. */
export const markerOf = (markers: string, id: number, { grace, signal }: How): string =>
  `${markers}${id},${signal},${Math.round(grace)};`

/** A prefix of markers that no other process has. */
export const prefix = (): string =>
  `${process.pid}-${Date.now().toString(36)}-${Math.random().toString(36).slice(2)}.`

export type Guardian = ReturnType<typeof make>

/** Its trees have markers of {@link markerOf} with this prefix. */
export const make = (backend: () => Backend, markers: string) => {
  const trees = new Set<Tree>()
  /** The trees that the guardian knows, and what it knows of their descendants. */
  const known = new Map<Tree, Set<string>>()
  let resident: { readonly pid: number; readonly to: Writable } | undefined
  const waiting: Array<() => void> = []
  let starting = false
  let closing = false
  let onGone: (() => void) | undefined
  let timer: NodeJS.Timeout | undefined

  const idOf = ({ marker }: Tree) => marker.slice(markers.length, marker.indexOf(","))
  const write = (text: string) => void (text !== "" && resident?.to.write(text))
  const flush = () => {
    timer = undefined
    let text = ""
    for (const tree of known.keys()) {
      if (trees.has(tree)) continue
      known.delete(tree)
      text += `- ${idOf(tree)}\n`
    }
    for (const tree of trees) {
      if (known.has(tree)) continue
      const seen = [...tree.seen].map(([pid, start]) => `${pid}:${start}`)
      known.set(tree, new Set(seen))
      text += `+ ${idOf(tree)} ${[tree.group, tree.marker, ...seen].join(" ")}\n`
    }
    write(text)
  }
  const changed = () => {
    timer ??= setTimeout(flush, shortest).unref()
  }
  /** Starts the guardian, unless it runs, and calls back when it runs or cannot be started. */
  const begin = (then?: () => void) => {
    if (resident !== undefined || closing) return then?.()
    if (then !== undefined) waiting.push(then)
    if (starting) return
    starting = true
    const ready = () => {
      starting = false
      for (const one of waiting.splice(0)) one()
    }
    const words = [builtFile("services/process/internal/guardianMain.js"), markers]
    const path = process.env["LD_LIBRARY_PATH"]
    backend().spawn(
      {
        file: "/bin/sh",
        args: ["-c", script, "aio guardian", process.execPath, ...words],
        cwd: "/", // it keeps no file system busy
        env: path === undefined ? {} : { LD_LIBRARY_PATH: path },
        extendEnv: false,
        uid: undefined,
        gid: undefined,
        stdin: "pipe",
        stdout: "ignore",
        stderr: "ignore",
        background: true
      },
      {
        started: ({ pid, stdin }) => {
          stdin!.on("error", () => undefined)
          ;(stdin as Socket).unref()
          resident = { pid, to: stdin! }
          known.clear()
          flush()
          if (closing) process.kill(pid, "SIGKILL")
          ready()
        },
        failed: ready, // no shell, no guardian
        exited: () => {
          resident?.to.destroy()
          resident = undefined
          onGone?.()
          if (trees.size > 0) begin()
        }
      }
    )
  }
  return {
    begin,
    add: (tree: Tree): void => {
      trees.add(tree)
      changed()
    },
    /** A descendant outside of its tree's group. */
    stray: (tree: Tree, pid: number, start: string): void => {
      const [told, found] = [known.get(tree), `${pid}:${start}`]
      if (told === undefined || told.has(found)) return
      told.add(found)
      write(`s ${idOf(tree)} ${found}\n`)
    },
    remove: (tree: Tree): void => {
      trees.delete(tree)
      changed()
    },
    /** Ends the guardian; resolves when it is gone. */
    close: () =>
      new Promise<void>((resolve) => {
        closing = true
        clearTimeout(timer)
        if (resident === undefined && !starting) return resolve()
        const keepsAlive = setInterval(() => undefined, 1000)
        onGone = () => {
          clearInterval(keepsAlive)
          resolve()
        }
        if (resident !== undefined) process.kill(resident.pid, "SIGKILL")
      })
  }
}
