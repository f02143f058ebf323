import { Worker } from "node:worker_threads"
import type { FromWorker, Target, ToWorker } from "./blockingProtocol.js"

// Worker threads, each held by one request at a time; requests beyond that wait in order. The first one shows whether the
// app can be loaded; the others start when it is ready.

export interface Thread {
  readonly post: (message: ToWorker) => void
  /** Called for each message of the request that holds the thread; `gone` if the thread has ended under it. */
  listen: (message: FromWorker | { readonly type: "gone"; readonly code: number }) => void
}

/** A request's place: in the queue, then with its thread. */
export interface Ticket {
  thread: Thread | undefined
  /** Called when the ticket gets its thread, or why it gets none. */
  readonly granted: (refused?: Refused) => void
}

export interface Refused {
  readonly message: string
  readonly isUsage: boolean
}

interface Unit extends Thread {
  readonly worker: Worker
  ready: boolean
  /** The request has left, and the handler still runs. */
  left: boolean
  /** The handler has ended. */
  free: boolean
}

const nothing = () => undefined

export const make = (entry: string, target: Target | undefined, size: number) => {
  const units = new Set<Unit>()
  const idle: Array<Unit> = []
  const queue: Array<Ticket> = []
  let closed = false

  const grant = (unit: Unit, ticket: Ticket) => {
    unit.left = false
    ticket.thread = unit
    ticket.granted()
  }
  const settle = (unit: Unit) => {
    unit.listen = nothing
    const next = queue.shift()
    if (next === undefined) idle.push(unit)
    else grant(unit, next)
  }
  const start = () => {
    const worker = new Worker(entry, { workerData: target })
    const unit: Unit = {
      worker,
      ready: false,
      left: false,
      free: true,
      listen: nothing,
      post: (message) => {
        if (message.type === "request") unit.free = false
        worker.postMessage(message)
      }
    }
    units.add(unit)
    worker.on("message", (message: FromWorker) => {
      if (message.type === "ready") {
        unit.ready = true
        settle(unit)
        while (units.size < size) start()
      } else if (message.type === "refused") {
        for (const ticket of queue.splice(0)) ticket.granted(message)
      } else if (message.type === "done") {
        unit.free = true
        unit.listen(message)
        if (unit.left) settle(unit)
      } else unit.listen(message)
    })
    worker.on("messageerror", nothing)
    worker.on("error", nothing) // `exit` follows
    worker.on("exit", (code) => {
      units.delete(unit)
      const at = idle.indexOf(unit)
      if (at >= 0) idle.splice(at, 1)
      unit.listen({ type: "gone", code })
      if (closed) return
      // A thread that has never been ready will not be so the next time.
      if (unit.ready) start()
      else
        for (const ticket of queue.splice(0))
          ticket.granted({ message: `its thread ended with ${code}`, isUsage: false })
    })
  }
  return {
    /** Takes a thread, now or when one is free. */
    take: (ticket: Ticket) => {
      const unit = idle.pop()
      if (unit !== undefined) return grant(unit, ticket)
      queue.push(ticket)
      if (units.size === 0) start()
    },
    /** The request is over: its thread is free as soon as the handler has ended. */
    leave: (ticket: Ticket) => {
      const unit = ticket.thread as Unit | undefined
      if (unit === undefined) {
        const at = queue.indexOf(ticket)
        if (at >= 0) queue.splice(at, 1)
        return
      }
      unit.left = true
      unit.listen = nothing
      if (!units.has(unit)) return
      if (unit.free) settle(unit)
      else unit.post({ type: "cancel" })
    },
    counts: () => {
      const threads = [...units].filter(({ ready }) => ready).length
      return { threads, busy: threads - idle.length, queued: queue.length }
    },
    close: async () => {
      closed = true
      await Promise.all([...units].map(({ worker }) => worker.terminate()))
    }
  }
}

export type Pool = ReturnType<typeof make>
