import { readdirSync, readFileSync, readlinkSync } from "node:fs"
import { type Adopt, everyPid, statOf, strays, type Tree } from "./descendants.js"

// Whether a process of a tree listens on a TCP port, by Linux's tables of sockets and the descriptors of each process.

/** Of a listening socket, in the column `st` of /proc/net/tcp (`man 5 proc`). */
const listenState = "0A"

/** The inodes of the sockets that listen on the port, in this process's network; undefined without these tables. */
const inodesOf = (port: number): ReadonlySet<string> | undefined => {
  const found = new Set<string>()
  let tables = 0
  for (const file of ["/proc/net/tcp", "/proc/net/tcp6"]) {
    try {
      const [, ...rows] = readFileSync(file, "latin1").split("\n")
      tables++
      for (const row of rows) {
        const [, local = "", , state, , , , , , inode = ""] = row.trim().split(/\s+/)
        if (state === listenState && Number.parseInt(local.split(":")[1]!, 16) === port) found.add(inode)
      }
    } catch {
      // no /proc, or a system without IPv6
    }
  }
  return tables === 0 ? undefined : found
}

/** Whether the process holds one of the sockets; undefined if its descriptors cannot be read. */
const holds = (pid: number, sockets: ReadonlySet<string>): boolean | undefined => {
  const folder = `/proc/${pid}/fd`
  try {
    return readdirSync(folder).some((fd) => {
      try {
        return sockets.has(/^socket:\[(\d+)\]$/.exec(readlinkSync(`${folder}/${fd}`))?.[1] ?? "")
      } catch {
        return false // closed meanwhile
      }
    })
  } catch {
    return statOf(pid) === undefined ? false : undefined
  }
}

/** Whether a process of the tree listens on the TCP port; undefined where the system does not show it. */
export const listens = (tree: Tree, port: number, adopt: Adopt | undefined): boolean | undefined => {
  const sockets = inodesOf(port)
  if (sockets === undefined) return undefined
  if (sockets.size === 0) return false
  const group = everyPid().filter((pid) => statOf(pid)?.group === tree.group)
  const answers = [...group, ...strays(tree, adopt).pids].map((pid) => holds(pid, sockets))
  return answers.includes(true) ? true : answers.includes(undefined) ? undefined : false
}
