import type { Readable, Writable } from "node:stream"

// The interface of the two ways to start a process: libc's posix_spawn (posixSpawn.ts), and Node (nodeSpawn.ts).

/** What to start. */
export interface Request {
  readonly file: string
  readonly args: ReadonlyArray<string>
  readonly cwd: string
  readonly env: Readonly<Record<string, string>>
  /** Whether `env` is added to this process's own environment, as it is now. */
  readonly extendEnv: boolean
  readonly uid: number | undefined
  readonly gid: number | undefined
  readonly stdin: "pipe" | "inherit" | "ignore"
  readonly stdout: "pipe" | "inherit" | "ignore"
  readonly stderr: "pipe" | "inherit" | "ignore"
  /** It does not keep this process alive. */
  readonly background?: boolean | undefined
}

/** The usage of a process and of the children that it waited for: milliseconds, bytes. */
export interface Usage {
  readonly user: number
  readonly system: number
  readonly peakMemory: number
}

export interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly usage: Usage | undefined
}

/** A process that runs, with this process's ends of its pipes. */
export interface Spawned {
  readonly pid: number
  readonly stdin: Writable | undefined
  readonly stdout: Readable | undefined
  readonly stderr: Readable | undefined
}

/** The callbacks of a start: `started` and, once, `exited`; or `failed` only, with a code as in `ENOENT`. */
export interface Listener {
  readonly started: (spawned: Spawned) => void
  readonly failed: (code: string, message: string) => void
  /** The process has ended; others may still hold its pipes. Undefined if the host has reaped it itself. */
  readonly exited: (ended: Ended | undefined) => void
}

export interface Backend {
  readonly name: "posix_spawn" | "node"
  /** Starts a process in a session of its own. May throw for words that no process can have. */
  readonly spawn: (request: Request, listener: Listener) => void
}
