import type { Writable } from "node:stream"

// The interface of the two ways to start processes: Node itself (direct.ts), or the fork server (forkServer.ts), which is quicker.

/** What to start. */
export interface Request {
  readonly file: string
  readonly args: ReadonlyArray<string>
  readonly cwd: string
  readonly env: Readonly<Record<string, string>>
  /** Whether `env` is added to this process's own, as it was when the first process was started. */
  readonly extendEnv: boolean
  readonly uid: number | undefined
  readonly gid: number | undefined
  readonly stdin: "pipe" | "inherit" | "ignore"
  readonly stdout: "pipe" | "inherit"
  readonly stderr: "pipe" | "inherit"
}

/** The usage of the process and of the children that it waited for: milliseconds, bytes. */
export interface Usage {
  readonly user: number
  readonly system: number
  readonly peakMemory: number
}

export interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly usage: Usage | undefined
  /** Whether it is known that it left no process behind. */
  readonly alone: boolean
}

/** The source of data; it emits none while it is paused. */
export interface Source {
  readonly pause: () => unknown
  readonly resume: () => unknown
}

/** The callbacks of a process: `failed` only; or `started`, then data, and `closed` last. */
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

/** The `code` of a process that was running when the helper that had started it was killed. */
export const lost = "ELOST"

/** A process that was requested. */
export interface Handle {
  /** Closes this process's ends of its pipes. */
  readonly close: () => void
  /** Takes the request back: a process that has not been started yet reports `failed`. */
  readonly withdraw: () => void
}

/** The handle of a process that was never made. */
export const nothing: Handle = { close: () => undefined, withdraw: () => undefined }

/** Makes processes. */
export interface Spawner {
  /** Starts a process in a session of its own. */
  readonly spawn: (request: Request, listener: Listener) => Handle
  /** False when it can no longer start processes. */
  readonly works: () => boolean
  /** Resolves when its helper process is gone. */
  readonly close: () => Promise<void>
}
