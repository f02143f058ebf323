import { deserialize, serialize } from "node:v8"
import type { JobContext } from "../InJob.js"
import type { Outcome, Task, Thrown } from "./jobs.js"

// What executors and their threads (or child processes) say to each other. Orders and reports of one thread keep their
// order; what has to be known without waiting for the other side is in shared memory.
//
// A message may arrive and be unreadable (its value is nested too deep for the stack of the other side). Which order it
// belongs to is known from the order of the messages alone: see `unread` below and `onUnread` in jobPool.ts. For that,
// everything but arguments and results is made so that it can always be read.

/** To a thread: the task that it is to know by this number from now on; below `base` it may forget. */
export interface Define {
  readonly define: number
  readonly task: Task
  readonly name: string
  readonly base: number
}

/** To a thread: run this. */
export interface Order {
  readonly id: number
  /** The place of this order in `Control.places`. */
  readonly place: number
  /** The number under which the thread knows the task. */
  readonly task: number
  /** The arguments; of a chunk, the inputs of its items. */
  readonly args: ReadonlyArray<unknown>
  readonly chunk: boolean
  readonly context: Omit<JobContext, "job"> | undefined
}

/** To a thread: the order with this id is asked to end. For those who wait; those who compute poll. */
export interface Ask {
  readonly ask: number
}

export type Message = Define | Order | Ask

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
  /** Nothing more comes. */
  | { readonly end: true }
  | { readonly broken: Thrown }
  /** An error outside of a job's promise; the thread ends. */
  | { readonly uncaught: Thrown }
  /** It was taken back; its place is free. */
  | { readonly id: number; readonly skipped: number }
  /** The message with this number, counted from 1, could not be read. */
  | { readonly unread: number; readonly detail: string }
  | { readonly id: number; readonly value: unknown; readonly ms: number }
  | { readonly id: number; readonly outcome: Outcome; readonly ms: number }
  /** Of a chunk: an item that is not plain. */
  | { readonly id: number; readonly item: number; readonly outcome: Outcome; readonly ms: number }
  /**
   * Of a chunk: all have settled. The result of each item that is plain, {@link apart} in the place of the others, and
   * the milliseconds of each.
   */
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

/** Stands among the plain results of a chunk for one that came in a message of its own. */
export const apart: ReadonlyArray<never> = []

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
   * Results of the chunk under way: elements of a JSON array, `{}` for undefined and `[]` for what is not plain. Read
   * only when the thread has ended in the middle; otherwise they come with the end of the chunk.
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

/** What the log has room for at least: `[],` for each item. */
export const logReserve = 3 * longestChunk

// A child process gets bytes in an envelope of Node's own: a message that Node itself cannot read ends the process that
// reads it, and one of 2 GiB is cut wrong.
const mostBytes = 2 ** 31 - 2 ** 16

/** A message to or from a child process. Throws what cannot be cloned, and what is too large. */
export const encode = (message: Message | Report): Uint8Array => {
  const bytes = serialize(message)
  if (bytes.length > mostBytes) {
    throw new RangeError(
      `it has ${(bytes.length / 2 ** 30).toFixed(2)} GiB as a message; between processes less than 2 GiB can be sent`
    )
  }
  return bytes
}

/** Throws what cannot be read. */
export const decode = (bytes: Uint8Array): unknown => deserialize(bytes)

/** More output than this and the job waits until some has been taken. */
export const outputBehind = 1024 * 1024
