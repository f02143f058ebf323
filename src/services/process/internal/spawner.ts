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

/** The `code` of a process that was running when who had started it was killed. */
export const lost = "ELOST"

/** A process that was asked for. */
export interface Handle {
  /** Closes our ends of its pipes. */
  readonly close: () => void
  /** It is not wanted any more: where it has not been started yet it `failed`. */
  readonly withdraw: () => void
}

/** Of what has never been. */
export const nothing: Handle = { close: () => undefined, withdraw: () => undefined }

export interface Spawner {
  /** Starts a process in a session of its own. */
  readonly spawn: (request: Request, listener: Listener) => Handle
  /** False when it cannot start anything any more. */
  readonly works: () => boolean
  /** Resolves when what helps it is gone. */
  readonly close: () => Promise<void>
}
