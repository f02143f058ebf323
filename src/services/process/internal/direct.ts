import { type ChildProcessByStdio, spawn } from "node:child_process"
import type { Socket } from "node:net"
import type { Writable } from "node:stream"
import * as RawText from "../../text/RawText.js"
import { nothing, type Spawner } from "./spawner.js"

// Starts processes by Node: `child_process.spawn` blocks for 2 ms while it forks a process of Node's size. A shell reads
// the ids of running groups from a pipe. When the pipe closes because this process was killed, it ends the remaining
// groups and, if there is a /proc, all processes that carry the marker.
const watchdog = `
grace=$1 marker=$2 groups=" "
while read -r what group; do
  case $what in
    +) groups="$groups$group " ;;
    -) set -- $groups; groups=" "; for one; do [ "$one" = "$group" ] || groups="$groups$one "; done ;;
  esac
done
escaped() { grep -lsF -- "$marker" /proc/[0-9]*/environ | cut -d / -f 3; }
all() {
  for group in $groups; do kill -s "$1" -- "-$group"; done
  for pid in $(escaped); do kill -s "$1" "$pid"; done
}
left() {
  for group in $groups; do kill -s 0 -- "-$group" && return 0; done
  [ -n "$(escaped)" ]
}
all TERM
all CONT
waited=0
# Bounded, because zombies that are never reaped stay for ever.
while left && [ "$waited" -lt $((grace + 2000)) ]; do
  [ "$waited" -lt "$grace" ] || all KILL
  sleep 0.1
  waited=$((waited + 100))
done
`

/** Starts processes by Node; `marker` is in the environment of all, `grace` is the time in ms from TERM to KILL. */
export const open = (grace: number, marker: string): Spawner => {
  let watching: ChildProcessByStdio<Writable, null, null> | undefined
  const watch = () => {
    const child = spawn("/bin/sh", ["-c", watchdog, "aio watchdog", String(grace), marker], {
      detached: true, // a Ctrl-C of the terminal is for this process to handle
      stdio: ["pipe", "ignore", "ignore"]
    })
    child.on("error", () => undefined)
    child.once("exit", () => {
      if (watching === child) watching = undefined
    })
    if (child.pid === undefined) return undefined // no shell or no descriptors, no watchdog
    child.stdin.on("error", () => undefined)
    child.unref()
    ;(child.stdin as unknown as Socket).unref()
    return child
  }
  return {
    spawn: (request, listener) => {
      const { args, cwd, env, extendEnv, file, gid, stderr, stdin, stdout, uid } = request
      if ([file, ...args, ...Object.values(env)].some(RawText.isRaw)) {
        throw new Error("Node starts only commands whose words and environment are UTF-8")
      }
      watching ??= watch()
      const child = spawn(file, args, {
        detached: true,
        cwd,
        env: extendEnv ? { ...process.env, ...env } : { ...env },
        stdio: [stdin, stdout, stderr],
        ...(uid === undefined ? {} : { uid }),
        ...(gid === undefined ? {} : { gid })
      })
      child.once("error", (error: NodeJS.ErrnoException) => listener.failed(error.code ?? "", error.message))
      if (child.pid === undefined) return nothing
      watching?.stdin.write(`+ ${child.pid}\n`)
      listener.started(child.pid)
      // A child that closes its stdin early, or is gone, is not an error.
      child.stdin?.on("error", () => undefined)
      if (child.stdin !== null) listener.input(child.stdin)
      for (const stream of ["stdout", "stderr"] as const) {
        const from = child[stream]
        from?.on("data", (chunk: Buffer) => listener.data(stream, chunk, from))
      }
      child.once("exit", (code, signal) => listener.exited({ code, signal, usage: undefined, alone: false }))
      child.once("close", listener.closed)
      let open = true
      const close = () => {
        if (!open) return
        open = false
        for (const stream of [child.stdin, child.stdout, child.stderr]) stream?.destroy()
        watching?.stdin.write(`- ${child.pid}\n`)
      }
      return { ...nothing, close }
    },
    works: () => true,
    close: async () => {
      if (watching === undefined || watching.exitCode !== null || watching.signalCode !== null) return
      watching.ref()
      const gone = new Promise((resolve) => watching!.once("exit", resolve))
      watching.stdin.end()
      await gone
    }
  }
}
