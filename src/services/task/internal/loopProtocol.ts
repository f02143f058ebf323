import type { SourceMap } from "node:module"
import { dirname, resolve } from "node:path"
import { fileURLToPath } from "node:url"
import type { MessagePort } from "node:worker_threads"
import type { Frame, Sample } from "./loopReports.js"

// What a watched thread and its watchdog say to each other.

/** What a thread and its watchdog share. */
export interface Shared {
  readonly memory: SharedArrayBuffer
  readonly port: MessagePort
  /** Milliseconds. */
  readonly threshold: number
  /** The thread that is watched; 0 is the main thread. */
  readonly thread: number
  /** Where Linux counts how long the thread has waited for a processor. */
  readonly schedule: string | undefined
  /**
   * The function that samples it, in the watched thread. Its arguments: the time at which it is asked, and milliseconds
   * since the last beat in which the thread could not run.
   */
  readonly expression: string
  /** Code below this folder belongs to LoopWatch. */
  readonly own: string
  /** Write a line to the descriptor when the loop is still blocked after `after` milliseconds. */
  readonly hanging:
    | { readonly after: number; readonly json: boolean; readonly cwd: string; readonly descriptor: 1 | 2 }
    | undefined
}

/** Words of the shared memory: beats of the watched thread, and answers of the watchdog. */
export const words = { beats: 0, answers: 1 }

/** A stall as the watched thread saw it; times in milliseconds of {@link clock}. */
export interface Question {
  readonly id: number
  readonly from: number
  readonly to: number
  /** When the code that blocked first let other code run, before the loop turned. */
  readonly yielded: number | undefined
  readonly samples: ReadonlyArray<Sample>
}

export type Answer =
  | { readonly ready: string | undefined }
  | {
      readonly id: number
      /** Milliseconds of the stall in which the thread could run. */
      readonly blocked: number
      /** It went on for longer than the threshold after other code had run. */
      readonly starved: boolean
      /** With places in sources. */
      readonly samples: ReadonlyArray<Sample>
    }

/** Milliseconds of the machine's monotonic clock, the same for all threads. */
export const clock = (): number => {
  const [seconds, nanos] = hrtime()
  return seconds * 1e3 + nanos / 1e6
}
// A test's fake timers replace it later.
const { hrtime } = process

/** Milliseconds between two beats. */
export const intervalOf = (threshold: number): number => Math.min(250, Math.max(5, threshold / 4))

/** The frame's place in the source that its file was made of. */
export const original = (frame: Frame, map: SourceMap | undefined): Frame => {
  const { column, file, line } = frame
  const entry = map?.findEntry(line - 1, column - 1)
  if (file === undefined || entry === undefined || !("originalSource" in entry)) return frame
  const { originalColumn, originalLine, originalSource } = entry
  return {
    function: frame.function,
    file: originalSource.startsWith("file:")
      ? fileURLToPath(originalSource)
      : resolve(dirname(file), originalSource),
    line: originalLine + 1,
    column: originalColumn + 1
  }
}
