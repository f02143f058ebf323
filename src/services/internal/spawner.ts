import { spawn } from "node:child_process"
import type { Writable } from "node:stream"

// How a process is made, behind one interface: by Node itself, or by the fork server, which is quicker.

/** What to start. */
export interface Request {
  readonly file: string
  readonly args: ReadonlyArray<string>
  readonly cwd: string
  readonly env: Readonly<Record<string, string>>
  /** Whether `env` comes on top of this process's own, as that was when the first process was started. */
  readonly extendEnv: boolean
  readonly uid: number | undefined
  readonly gid: number | undefined
  readonly stdin: "pipe" | "inherit" | "ignore"
  readonly stdout: "pipe" | "inherit"
  readonly stderr: "pipe" | "inherit"
}

/** What the process has used, children that it waited for included: milliseconds, bytes. */
export interface Usage {
  readonly user: number
  readonly system: number
  readonly peakMemory: number
}

export interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly usage: Usage | undefined
  /** Whether it is known that it has left nobody behind. */
  readonly alone: boolean
}

/** Where data comes from: while it is paused none does. */
export interface Source {
  readonly pause: () => unknown
  readonly resume: () => unknown
}

/** What is told of a process, in this order: `failed`, or `started`, then data, `closed` last. */
export interface Listener {
  readonly started: (pid: number) => void
  /** There is no process; `code` as in `ENOENT`. */
  readonly failed: (code: string, message: string) => void
  readonly input: (stdin: Writable) => void
  readonly data: (stream: "stdout" | "stderr", chunk: Buffer, from: Source) => void
  /** It has ended; grandchildren may still hold its pipes. */
  readonly exited: (ended: Ended) => void
  /** It has ended and its pipes are closed. */
  readonly closed: () => void
}

export interface Spawner {
  /** Starts a process in a session of its own. The result closes our ends of its pipes. */
  readonly spawn: (request: Request, listener: Listener) => () => void
}

/** Node's own way. `child_process.spawn` stands still while it forks a process of Node's size: 2 ms. */
export const direct: Spawner = {
  spawn: (request, listener) => {
    const { args, cwd, env, extendEnv, file, gid, stderr, stdin, stdout, uid } = request
    const child = spawn(file, args, {
      detached: true,
      cwd,
      env: extendEnv ? { ...process.env, ...env } : { ...env },
      stdio: [stdin, stdout, stderr],
      ...(uid === undefined ? {} : { uid }),
      ...(gid === undefined ? {} : { gid })
    })
    child.once("error", (error: NodeJS.ErrnoException) => listener.failed(error.code ?? "", error.message))
    if (child.pid === undefined) return () => undefined
    listener.started(child.pid)
    // A child that closes its stdin early, or is gone, is no error.
    child.stdin?.on("error", () => undefined)
    if (child.stdin !== null) listener.input(child.stdin)
    for (const stream of ["stdout", "stderr"] as const) {
      const from = child[stream]
      from?.on("data", (chunk: Buffer) => listener.data(stream, chunk, from))
    }
    child.once("exit", (code, signal) => listener.exited({ code, signal, usage: undefined, alone: false }))
    child.once("close", listener.closed)
    return () => {
      for (const stream of [child.stdin, child.stdout, child.stderr]) stream?.destroy()
    }
  }
}
