import { type ChildProcess, fork } from "node:child_process"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { MessageChannel, receiveMessageOnPort, Worker } from "node:worker_threads"
import * as Guarded from "../../process/Guarded.js"
import * as Protocol from "./protocol.js"
import { type Task, type Thrown, toThrown } from "./task.js"

// A thread or a child process that runs the jobs of an executor, behind one interface.

export interface UnitOptions {
  readonly entry: string
  /** Bytes of heap; undefined: Node's default. */
  readonly maxMemory: number | undefined
  readonly initializer: Task | undefined
  readonly report: (report: Protocol.Report) => void
  /** Called instead of `report` for a report that cannot be read. */
  readonly unread: (error: unknown) => void
  /** The unit has ended, after its last report. `memory`: its heap was full. */
  readonly gone: (end: {
    readonly code: number | null
    readonly signal: NodeJS.Signals | null
    readonly memory: boolean
    readonly thrown: Thrown | undefined
  }) => void
}

export interface Unit {
  /** Throws if the message cannot be cloned. Returns the number of the message, counted from 1. */
  readonly send: (message: Protocol.Define | Protocol.Order, transfer: ReadonlyArray<any>) => number
  /** Asks the running order, or one item of it (-1: all), to end. */
  readonly ask: (id: number, item: number) => void
  /** Undefined if there is no shared memory. */
  readonly control: Protocol.Control | undefined
  /** Terminates the unit; `gone` follows. */
  readonly kill: () => void
  /** Whether the unit keeps this process alive. */
  readonly hold: (on: boolean) => void
}

/** Milliseconds between the end of the channel to a child process and its SIGKILL. */
const channelGrace = 1000

/** Most reports that are read before timers and I/O have a turn. */
const atOnce = 64

/** A worker thread. */
export const thread = (options: UnitOptions): Unit => {
  const memory = new SharedArrayBuffer(Protocol.controlSize)
  const control = Protocol.control(memory)
  const { port1, port2 } = new MessageChannel()
  const worker = new Worker(options.entry, {
    workerData: { memory, port: port2, initializer: options.initializer },
    transferList: [port2],
    ...(options.maxMemory === undefined
      ? {}
      : { resourceLimits: { maxOldGenerationSizeMb: Math.max(1, options.maxMemory / 2 ** 20) } })
  })
  let thrown: Thrown | undefined
  let full = false
  let sent = 0
  const receive = (report: Protocol.Report) => {
    if ("stream" in report) {
      Atomics.sub(control.words, Protocol.words.output, report.text.length)
      Atomics.notify(control.words, Protocol.words.output)
    }
    options.report(report)
  }
  /** Reads the next report; false when there is none. */
  const receiveNext = (): boolean => {
    let more: { message: Protocol.Report } | undefined
    try {
      more = receiveMessageOnPort(port1)
    } catch (error) {
      options.unread(error)
      return true
    }
    if (more === undefined) return false
    receive(more.message)
    return true
  }
  port1.on("message", (first: Protocol.Report) => {
    receive(first)
    // Further reports are read without an event for each: a third of the time.
    for (let i = 0; i < atOnce && receiveNext(); i++);
  })
  port1.on("messageerror", options.unread)
  worker.on("error", (error: Error & { code?: string }) => {
    if (error.code === "ERR_WORKER_OUT_OF_MEMORY") full = true
    else thrown = toThrown(error)
  })
  worker.on("exit", (code) => {
    while (receiveNext());
    port1.close()
    options.gone({ code, signal: null, memory: full, thrown })
  })
  return {
    send: (message, transfer) => {
      port1.postMessage(message, transfer as Array<any>)
      return ++sent
    },
    ask: (id, item) => {
      Atomics.store(control.words, Protocol.words.askedItem, item)
      Atomics.store(control.words, Protocol.words.asked, id)
      port1.postMessage({ ask: id } satisfies Protocol.Ask)
      sent++
    },
    control,
    kill: () => void worker.terminate(),
    hold: (on) => {
      if (on) {
        worker.ref()
        port1.ref()
      } else {
        worker.unref()
        port1.unref()
      }
    }
  }
}

/** A child process: a crash, even of native code, ends nothing else. */
export const childProcess = (options: UnitOptions): Unit => {
  const folder = mkdtempSync(join(tmpdir(), "aio-executor-"))
  const asked = join(folder, "asked")
  let full = false
  let failed: Thrown | undefined
  let over = false
  let sent = 0
  const guarded = Guarded.make()
  const child: ChildProcess = fork(
    options.entry,
    [asked, options.initializer === undefined ? "" : JSON.stringify(options.initializer)],
    {
      env: { ...process.env, ...guarded.env },
      serialization: "advanced",
      detached: true, // a Ctrl-C at the terminal is for the executor only
      stdio: ["ignore", "ignore", "pipe", "ipc"],
      ...(options.maxMemory === undefined
        ? {}
        : {
            execArgv: [
              ...process.execArgv,
              `--max-old-space-size=${Math.max(8, Math.round(options.maxMemory / 2 ** 20))}`
            ]
          })
    }
  )
  if (child.pid !== undefined) guarded.started(child.pid)
  // Only native code writes here; V8 reports a full heap this way.
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    if (text.includes("JavaScript heap out of memory")) full = true
  })
  child.on("message", (bytes: Uint8Array) => {
    let report: Protocol.Report
    try {
      report = Protocol.decode(bytes) as Protocol.Report
    } catch (error) {
      return options.unread(error)
    }
    options.report(report)
  })
  let cut: NodeJS.Timeout | undefined
  const gone = (code: number | null, signal: NodeJS.Signals | null) => {
    if (over) return
    over = true
    clearTimeout(cut)
    rmSync(folder, { recursive: true, force: true })
    guarded.ended(() => options.gone({ code, signal, memory: full, thrown: failed }))
  }
  child.on("error", (error) => {
    failed = toThrown(error)
    if (child.pid === undefined) gone(null, null)
  })
  child.on("close", gone)
  // A process that closed its channel and lives on would never report.
  child.on("disconnect", () => {
    if (!over) cut = setTimeout(guarded.kill, channelGrace)
  })
  return {
    send: (message) => {
      child.send(Protocol.encode(message))
      return ++sent
    },
    ask: (id, item) => {
      writeFileSync(asked, `${id} ${item}`)
      if (!child.connected) return
      child.send(Protocol.encode({ ask: id }))
      sent++
    },
    control: undefined,
    kill: guarded.kill,
    hold: (on) => {
      const stderr = child.stderr as { ref?: () => void; unref?: () => void } | null
      if (on) {
        child.ref()
        child.channel?.ref()
        stderr?.ref?.()
      } else {
        child.unref()
        child.channel?.unref()
        stderr?.unref?.()
      }
    }
  }
}
