import type { JobContext } from "../InJob.js"
import type { Outcome, Task, Thrown } from "./jobs.js"

// What executors and their threads (or child processes) say to each other. Orders and reports of one thread keep their
// order; what has to be known without waiting for the other side is in shared memory.

/** To a thread: run this. */
export interface Order {
  readonly id: number
  /** The place of this order in `Control.places`. */
  readonly place: number
  /** The number under which the thread knows the task, and the task where it does not yet; below `base` it may forget. */
  readonly task: number
  readonly define: { readonly task: Task; readonly name: string; readonly base: number } | undefined
  /** The arguments; of a chunk, the inputs of its items. */
  readonly args: ReadonlyArray<unknown>
  readonly chunk: boolean
  readonly context: Omit<JobContext, "job"> | undefined
}

/** To a thread: the order with this id is asked to end. For those who wait; those who compute poll. */
export interface Ask {
  readonly ask: number
}

/** A log entry of a job that is an Effect. */
export interface LogEntry {
  readonly level: string
  readonly message: ReadonlyArray<unknown>
  readonly annotations: Readonly<Record<string, unknown>>
  readonly cause: string | undefined
}

/** From a thread. */
export type Report =
  | { readonly ready: true }
  | { readonly broken: Thrown }
  /** An error outside of a job's promise; the thread ends. */
  | { readonly uncaught: Thrown }
  /** It was taken back; its place is free. */
  | { readonly id: number; readonly skipped: number }
  | { readonly id: number; readonly value: unknown; readonly ms: number }
  | { readonly id: number; readonly outcome: Outcome; readonly ms: number }
  /** Of a chunk: an item that is not plain. */
  | { readonly id: number; readonly item: number; readonly outcome: Outcome; readonly ms: number }
  /** Of a chunk: all have settled. The plain results, and the milliseconds of each item. */
  | {
      readonly id: number
      readonly plain: ReadonlyArray<unknown>
      readonly times: Float64Array
      readonly ms: number
    }
  | { readonly id: number; readonly stream: "stdout" | "stderr"; readonly text: string }
  | { readonly id: number; readonly log: LogEntry }

/** How many orders a thread may have at a time; all but the one under way can be taken back. */
export const depth = 16

/** An order's place: it is the thread's to take, has been taken, or has been taken back. */
export const offered = 1
export const taken = 2
export const revoked = 3

/** Items of one chunk. */
export const longestChunk = 1024

/** Memory that a thread and its executor share. */
export interface Control {
  /** See the indexes below. */
  readonly words: Int32Array
  /** When the order, or the item of a chunk, was begun: `process.hrtime`, nanoseconds. */
  readonly begun: BigInt64Array
  /** Milliseconds of each item of the chunk under way. */
  readonly times: Float64Array
  /**
   * Results of the chunk under way, as far as they are plain: elements of a JSON array. Read only when the thread has
   * ended in the middle; otherwise they come with the end of the chunk.
   */
  readonly log: Buffer
}

export const words = {
  /** The id of the order that is asked to end, and the item of it that is (-1: all). */
  asked: 0,
  askedItem: 1,
  /** Bytes of output that the executor has not taken yet. */
  output: 2,
  /** The id of the order under way, and the item of it. */
  running: 3,
  item: 4,
  /** Items of the chunk under way that have settled, and bytes of the log. */
  settled: 5,
  logged: 6,
  places: 8
} as const

const begunAt = 4 * (8 + depth)
const logAt = begunAt + 8 + longestChunk * 8
const logSize = 64 * 1024

export const controlSize = logAt + logSize

export const control = (memory: SharedArrayBuffer): Control => ({
  words: new Int32Array(memory, 0, 8 + depth),
  begun: new BigInt64Array(memory, begunAt, 1),
  times: new Float64Array(memory, begunAt + 8, longestChunk),
  log: Buffer.from(memory, logAt, logSize)
})

/** More output than this and the job waits until some has been taken. */
export const outputBehind = 1024 * 1024
