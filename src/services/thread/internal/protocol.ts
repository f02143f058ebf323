import { deserialize, serialize } from "node:v8"
import type { JobContext } from "../InJob.js"
import type { Outcome, Task, Thrown } from "./task.js"

// The messages between an executor and its threads (or child processes). Orders and reports of one thread keep their
// order; what one side must know without waiting for the other is in shared memory.
//
// A message may arrive and be unreadable (its value is nested too deep for the stack of the other side). Only the order
// of the messages shows which order it belongs to: see `unread` below and `onUnread` in pool.ts. So everything except
// arguments and results is made such that it can always be read.

/** To a thread: the task has this number from now on; tasks below `base` may be forgotten. */
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

/** To a thread: the order with this id is asked to end. For jobs that wait; jobs that compute poll shared memory. */
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
  /** No report follows. */
  | { readonly end: true }
  | { readonly broken: Thrown }
  /** An error outside of a job's promise; the thread ends. */
  | { readonly uncaught: Thrown }
  /** The order was taken back and skipped; its place is free. */
  | { readonly id: number; readonly skipped: number }
  /** The message with this number, counted from 1, could not be read. */
  | { readonly unread: number; readonly detail: string }
  | { readonly id: number; readonly value: unknown; readonly ms: number }
  | { readonly id: number; readonly outcome: Outcome; readonly ms: number }
  /** Of a chunk: an item whose result is not plain. */
  | { readonly id: number; readonly item: number; readonly outcome: Outcome; readonly ms: number }
  /**
   * Of a chunk: all items have settled. The plain results, {@link apart} in the place of each other one, and the
   * milliseconds of each item.
   */
  | {
      readonly id: number
      readonly plain: ReadonlyArray<unknown>
      readonly times: Float64Array
      readonly ms: number
    }
  | { readonly id: number; readonly stream: "stdout" | "stderr"; readonly text: string }
  | { readonly id: number; readonly log: LogEntry }

/** Most orders of one thread at a time; all but the running one can be taken back. */
export const depth = 16

/** States of an order's place: offered to the thread, taken by it, or taken back by the executor. */
export const offered = 1
export const taken = 2
export const revoked = 3

/** Stands among the plain results of a chunk for a result that was reported in a message of its own. */
export const apart: ReadonlyArray<never> = []

/** Most items of one chunk. */
export const longestChunk = 1024

/** Memory that a thread and its executor share. */
export interface Control {
  /** See the indexes below. */
  readonly words: Int32Array
  /** When the order, or the item of a chunk, began: `process.hrtime`, nanoseconds. */
  readonly begun: BigInt64Array
  /** Milliseconds of each item of the running chunk. */
  readonly times: Float64Array
  /**
   * Results of the running chunk: elements of a JSON array, `{}` for undefined and `[]` for a result that is not plain.
   * Read only when the thread ended in the middle; otherwise the report of the chunk has them.
   */
  readonly log: Buffer
}

export const words = {
  /** The id of the order that is asked to end, and its item (-1: all). */
  asked: 0,
  askedItem: 1,
  /** Characters of output that the executor has not read yet. */
  output: 2,
  /** The id of the running order, and its item. */
  running: 3,
  item: 4,
  /** Settled items of the running chunk, and bytes of the log. */
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

/** Bytes of the log that are kept free: `[],` for each item. */
export const logReserve = 3 * longestChunk

// A child process receives bytes within a message of Node's: a message that Node itself cannot read ends the receiving
// process, and Node cuts one of 2 GiB wrongly.
const mostBytes = 2 ** 31 - 2 ** 16

/** A message to or from a child process. Throws if it cannot be cloned or is too large. */
export const encode = (message: Message | Report): Uint8Array => {
  const bytes = serialize(message)
  if (bytes.length > mostBytes) {
    throw new RangeError(
      `it has ${(bytes.length / 2 ** 30).toFixed(2)} GiB as a message; between processes less than 2 GiB can be sent`
    )
  }
  return bytes
}

/** Throws if the bytes cannot be read. */
export const decode = (bytes: Uint8Array): unknown => deserialize(bytes)

/** Characters of unread output at which the job waits until the executor has read some. */
export const outputBehind = 1024 * 1024
