import { performance } from "node:perf_hooks"
import { isEffect } from "../../task/internal/fiberRuntime.js"
import * as InJob from "../InJob.js"
import {
  apart,
  type Control,
  logReserve,
  type Message,
  type Order,
  offered,
  outputBehind,
  type Report,
  revoked,
  taken,
  words
} from "./protocol.js"
import {
  isThenable,
  type JobFunction,
  type Outcome,
  resolve,
  type Task,
  toThrown,
  whereUncloneable,
  whyUnread
} from "./task.js"

// The thread's (or child process's) side of an executor: runs orders one at a time and reports.

/** The channel to the executor. */
export interface Line {
  /** Throws if the report cannot be cloned. */
  readonly post: (report: Report, transfer?: ReadonlyArray<any>) => void
  /** Shared memory; a child process has none. */
  readonly control: Control | undefined
  /** Whether this order (and this item of it) is asked to end, if there is no shared memory. */
  readonly isAsked: (id: number, item: number) => boolean
  /** Ends the thread once all posted reports are on their way. */
  readonly end: () => void
}

export interface Runner {
  readonly receive: (message: Message) => void
  /** A message arrived that cannot be read. */
  readonly unread: (error: unknown) => void
}

const nothing: Omit<InJob.JobContext, "job"> = { annotations: {}, span: undefined, refs: {} }

/** Starts taking orders when the initializer has run. */
export const make = (line: Line, initializer: Task | undefined): Runner => {
  const { control, post } = line
  const functions = new Map<number, JobFunction>()
  const tasks = new Map<number, { readonly task: Task; readonly name: string }>()
  const later: Array<Order> = [] // orders that arrived while a job waited for something
  let busy = false
  let current: Order | undefined
  let item = -1
  let interrupt: (() => void) | undefined // of a job that is an Effect

  InJob.setHost({
    cancelled: () => {
      if (current === undefined) return false
      if (control === undefined) return line.isAsked(current.id, item)
      if (Atomics.load(control.words, words.asked) !== current.id) return false
      const asked = Atomics.load(control.words, words.askedItem)
      return asked === -1 || asked === item
    },
    context: () => ({
      job: current === undefined ? "" : (tasks.get(current.task)?.name ?? ""),
      ...nothing,
      ...current?.context
    })
  })

  // Output goes back in order with everything else, and no faster than the executor reads it, as through a pipe.
  const print = (stream: "stdout" | "stderr", text: string) => {
    post({ id: current?.id ?? 0, stream, text })
    if (control === undefined) return
    const { words: shared } = control
    let behind = Atomics.add(shared, words.output, text.length) + text.length
    while (behind > outputBehind) {
      Atomics.wait(shared, words.output, behind)
      behind = Atomics.load(shared, words.output)
    }
  }
  for (const stream of ["stdout", "stderr"] as const) {
    process[stream].write = (chunk: string | Uint8Array, ...rest: ReadonlyArray<unknown>): boolean => {
      print(stream, typeof chunk === "string" ? chunk : Buffer.from(chunk).toString())
      const callback = rest.find((word) => typeof word === "function") as (() => void) | undefined
      if (callback !== undefined) process.nextTick(callback)
      return true
    }
  }

  const broke = (error: unknown) => {
    post({ uncaught: toThrown(error) })
    line.end()
  }
  process.on("uncaughtException", broke)
  process.on("unhandledRejection", broke)

  const threw = (error: unknown): Outcome => ({ _tag: "Threw", thrown: toThrown(error) })
  const uncloneable = (value: unknown, error: unknown): Outcome => ({
    _tag: "Uncloneable",
    detail: whereUncloneable(value, "the result", error)
  })

  const begin = (order: Order) => {
    current = order
    busy = true
    if (control === undefined) return
    Atomics.store(control.words, words.item, -1)
    Atomics.store(control.words, words.logged, 0)
    Atomics.store(control.words, words.settled, 0)
    Atomics.store(control.begun, 0, process.hrtime.bigint())
    Atomics.store(control.words, words.running, order.id)
  }
  const ended = () => {
    current = undefined
    busy = false
    if (control !== undefined) Atomics.store(control.words, words.running, 0)
  }
  // Callbacks that an asynchronous job left behind run in a turn of their own before the next job begins.
  const endedLater = () => {
    ended()
    if (later.length === 0) return
    busy = true
    setImmediate(() => {
      busy = false
      while (!busy && later.length > 0) start(later.shift()!)
    })
  }

  const settle = (id: number, value: unknown, ms: number) => {
    try {
      post({ id, value, ms }, InJob.buffersOf(value))
    } catch (error) {
      post({ id, outcome: uncloneable(value, error), ms })
    }
  }

  /** Awaits a promise; runs an Effect. */
  const awaited = async (value: unknown, order: Order): Promise<unknown> => {
    const given = await value
    if (!isEffect(given)) return given
    const { run } = await import("./effectTask.js")
    const running = run(given, {
      context: { ...nothing, ...order.context },
      onLog: (log) => post({ id: order.id, log })
    })
    interrupt = running.interrupt
    if (order === current && InJob.cancelled()) running.interrupt()
    return running.result.finally(() => {
      interrupt = undefined
    })
  }

  const call = (order: Order, fn: JobFunction) => {
    const started = performance.now()
    try {
      const value = fn(...order.args)
      if (!isThenable(value) && !isEffect(value)) {
        settle(order.id, value, performance.now() - started)
        return ended()
      }
      awaited(value, order).then(
        (value) => {
          settle(order.id, value, performance.now() - started)
          endedLater()
        },
        (error) => {
          post({ id: order.id, outcome: threw(error), ms: performance.now() - started })
          endedLater()
        }
      )
    } catch (error) {
      post({ id: order.id, outcome: threw(error), ms: performance.now() - started })
      ended()
    }
  }

  /** Appends a plain value to the log; false if the value is not plain or the log is full. */
  const logged = ({ log, words: shared }: Control, value: unknown): boolean => {
    let text: string
    if (typeof value === "number") {
      if (!Number.isFinite(value) || Object.is(value, -0)) return false
      text = String(value)
    } else if (typeof value === "string") {
      if (value.length > 1024) return false
      text = JSON.stringify(value)
    } else if (typeof value === "boolean" || value === null) text = String(value)
    else if (value === undefined) text = "{}"
    else return false
    const at = shared[words.logged]!
    if (at + 3 * text.length + 1 > log.length - logReserve) return false
    Atomics.store(shared, words.logged, at + log.write(`${text},`, at))
    return true
  }
  const loggedApart = ({ log, words: shared }: Control) => {
    const at = shared[words.logged]!
    Atomics.store(shared, words.logged, at + log.write("[],", at))
  }

  // The items of a chunk settle one by one in memory that outlives the thread: an item that ends its thread loses no
  // result of the items before it.
  const callAll = async (order: Order, fn: JobFunction) => {
    const { args, id } = order
    const plain: Array<unknown> = []
    const times = new Float64Array(args.length)
    const started = performance.now()
    let before = started
    for (let i = 0; i < args.length; i++) {
      item = i
      if (control !== undefined) {
        Atomics.store(control.begun, 0, process.hrtime.bigint())
        Atomics.store(control.words, words.item, i)
      }
      let outcome: Outcome
      try {
        const value = fn(args[i])
        outcome = {
          _tag: "Returned",
          value: isThenable(value) || isEffect(value) ? await awaited(value, order) : value
        }
      } catch (error) {
        outcome = threw(error)
      }
      const now = performance.now()
      const ms = now - before
      times[i] = ms
      before = now
      if (control !== undefined && outcome._tag === "Returned" && logged(control, outcome.value)) {
        plain.push(outcome.value)
      } else {
        if (control !== undefined) loggedApart(control)
        plain.push(apart)
        try {
          post(
            { id, item: i, outcome, ms },
            outcome._tag === "Returned" ? InJob.buffersOf(outcome.value) : undefined
          )
        } catch (error) {
          post({ id, item: i, outcome: uncloneable((outcome as { value: unknown }).value, error), ms })
        }
      }
      if (control !== undefined) {
        control.times[i] = ms
        Atomics.store(control.words, words.settled, i + 1)
      }
    }
    item = -1
    post({ id, plain, times, ms: before - started })
    endedLater()
  }

  const start = (order: Order) => {
    if (control !== undefined) {
      const place = words.places + order.place
      if (Atomics.compareExchange(control.words, place, offered, taken) === revoked) {
        return post({ id: order.id, skipped: order.place })
      }
    }
    begin(order)
    const known = functions.get(order.task)
    const go = (fn: JobFunction) => (order.chunk ? void callAll(order, fn) : call(order, fn))
    if (known !== undefined) return go(known)
    const failed = (error: unknown) => {
      if (order.chunk) return go(() => Promise.reject(error))
      post({ id: order.id, outcome: threw(error), ms: 0 })
      endedLater()
    }
    try {
      const found = resolve(tasks.get(order.task)!.task)
      const keep = (fn: JobFunction) => {
        functions.set(order.task, fn)
        go(fn)
      }
      if (typeof found === "function") return keep(found)
      found
        .then((fn) => {
          keep(fn)
          if (!busy) endedLater() // orders that arrived meanwhile
        })
        .catch(failed)
    } catch (error) {
      failed(error)
    }
  }

  const runInitializer = async (task: Task) => awaited((await resolve(task))(), {} as Order)
  if (initializer === undefined) post({ ready: true })
  else {
    runInitializer(initializer).then(
      () => post({ ready: true }),
      (error) => {
        post({ broken: toThrown(error) })
        line.end()
      }
    )
  }

  let received = 0
  return {
    receive: (message) => {
      received++
      if ("ask" in message) {
        if (current?.id === message.ask) interrupt?.()
        return
      }
      if ("define" in message) {
        tasks.set(message.define, message)
        for (const known of tasks.keys()) {
          if (known >= message.base) break // they came in order
          tasks.delete(known)
          functions.delete(known)
        }
        return
      }
      if (busy || later.length > 0) later.push(message)
      else start(message)
    },
    unread: (error) => post({ unread: ++received, detail: whyUnread(error) })
  }
}
