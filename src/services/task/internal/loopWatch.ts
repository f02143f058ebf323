import { randomUUID } from "node:crypto"
import { readlinkSync } from "node:fs"
import { createRequire, findSourceMap } from "node:module"
import { basename, dirname } from "node:path"
import { performance } from "node:perf_hooks"
import { clearTimeout, setTimeout } from "node:timers"
import { fileURLToPath } from "node:url"
import { MessageChannel, receiveMessageOnPort, threadId, Worker } from "node:worker_threads"
import { builtFile } from "../../host/BuiltFile.js"
import { type AnyFiber, currentFiber } from "./fiberRuntime.js"
import {
  type Answer,
  clock,
  intervalOf,
  original,
  type Question,
  type Shared,
  words
} from "./loopProtocol.js"
import * as LoopReports from "./loopReports.js"

// The watched side: a timer that beats while the loop turns, what this thread says about itself when the watchdog asks,
// and the reports. Without Effect, so that `effect-asyncio/watch` costs a program little to load.

export interface Options {
  /** Milliseconds. */
  readonly threshold: number
  /** Do not report what blocked while a module was loaded. */
  readonly skipLoading?: boolean
  readonly onReport: (report: LoopReports.Report) => void
  /** Called once if stacks cannot be taken here; stalls are reported all the same, without their places. */
  readonly onUnavailable: (why: string) => void
  /** The watchdog itself writes a line about a loop that is blocked this long. */
  readonly hanging?: Shared["hanging"]
}

export interface Watch {
  /** Resolves when the watchdog looks; what blocked the loop before is not reported. */
  readonly ready: () => Promise<void>
  /** Resolves when all stalls up to now are reported. */
  readonly flush: () => Promise<void>
  /** The same without a turn of the loop: at the exit of the process. */
  readonly flushNow: () => void
  readonly close: () => void
}

/** The most that the exit of the process waits for the watchdog, in milliseconds. */
const longestExit = 500

/** The most that a flush waits for the watchdog, in milliseconds. */
const longestFlush = 5000

/** Milliseconds after which an answer to the watchdog is late: it takes 1 to 20, more on a busy machine. */
const late = 50

/** Calls in a sample. */
const deepest = 100

const here = dirname(fileURLToPath(import.meta.url))
const own = basename(here) === "chunks" ? here : fileURLToPath(new URL("../../../", import.meta.url))

// The watchdog finds the functions that sample by this property. It is there while something is watched.
const name = "effect-asyncio/services/LoopWatch"
const key = Symbol.for(name)
const host = globalThis as { [key]?: Map<string, Sampler> }

type Sampler = (asked: number, lost: number) => string

const register = (sample: Sampler) => {
  const id = randomUUID()
  const samplers = host[key] ?? new Map<string, Sampler>()
  host[key] = samplers.set(id, sample)
  return {
    expression: `globalThis[Symbol.for("${name}")]?.get("${id}")?.`,
    remove: () => {
      samplers.delete(id)
      if (samplers.size === 0) delete host[key]
    }
  }
}

const callSites = (): ReadonlyArray<NodeJS.CallSite> => {
  const { prepareStackTrace, stackTraceLimit } = Error
  const holder: { stack?: unknown } = {}
  Error.stackTraceLimit = deepest
  Error.prepareStackTrace = (_, sites) => sites
  try {
    Error.captureStackTrace(holder, callSites)
    return Array.isArray(holder.stack) ? holder.stack : []
  } finally {
    Error.stackTraceLimit = stackTraceLimit
    Error.prepareStackTrace = prepareStackTrace!
  }
}

// A function of V8 is named by the class of its object: RegExp.test.
const nameOf = (site: NodeJS.CallSite): string | undefined => {
  const name = site.getFunctionName() ?? undefined
  const type = site.getFileName() === null ? site.getTypeName() : null
  return name === undefined || type === null || name.includes(".") ? name : `${type}.${name}`
}

const frameOf = (site: NodeJS.CallSite): LoopReports.Frame => {
  const url = site.getFileName() ?? undefined
  const frame = {
    function: nameOf(site),
    file: url?.startsWith("file:") === true ? fileURLToPath(url) : url,
    line: site.getLineNumber() ?? 1,
    column: site.getColumnNumber() ?? 1
  }
  // Maps that Node itself keeps: of files that tsx translates, and with --enable-source-maps.
  return original(frame, url === undefined ? undefined : findSourceMap(url))
}

type Span = NonNullable<AnyFiber["currentSpan"]>

const requestOf = (fiber: AnyFiber, span: Span | undefined): string | undefined => {
  const request = fiber.currentContext.unsafeMap.get("@effect/platform/HttpServerRequest") as
    | { readonly method: string; readonly url: string }
    | undefined
  if (request !== undefined) return `${request.method} ${request.url}`
  let at = span
  while (at?._tag === "Span") {
    const method = at.kind === "server" ? at.attributes.get("http.request.method") : undefined
    if (method !== undefined) return `${method} ${at.attributes.get("url.path") ?? ""}`
    at = at.parent._tag === "Some" ? at.parent.value : undefined
  }
  return undefined
}

const eventOn = (span: Span | undefined, sample: LoopReports.Sample, blocked: number) => {
  if (span?._tag !== "Span") return
  const { frame } = LoopReports.placeOf(sample, own)
  const now = BigInt(Math.round((performance.timeOrigin + performance.now()) * 1000)) * 1000n
  span.event("event loop blocked", now, {
    "event_loop.blocked_ms": Math.round(blocked),
    ...(frame === undefined
      ? {}
      : {
          "code.function.name": frame.function ?? "(anonymous)",
          "code.file.path": frame.file,
          "code.line.number": frame.line,
          "code.column.number": frame.column
        })
  })
}

// A debugger's breakpoint stops the loop too.
const isDebugged = (): boolean => {
  try {
    return (
      (createRequire(import.meta.url)("node:inspector") as typeof import("node:inspector")).url() !==
      undefined
    )
  } catch {
    return false // a Node without inspector
  }
}

interface Sampled extends LoopReports.Sample {
  /** When a microtask ran after it: the code yields. */
  yielded: number | undefined
}

/** This thread's file of Linux about its time on processors. */
const scheduleOf = (): string | undefined => {
  try {
    return `/proc/${readlinkSync("/proc/thread-self")}/schedstat`
  } catch {
    return undefined
  }
}

// A module is loaded, and its code runs: of no harm while a program starts.
const isLoading = ({ frames }: LoopReports.Sample) =>
  frames.some(({ file }) => file?.startsWith("node:internal/modules/") === true)

export const open = ({
  hanging,
  onReport,
  onUnavailable,
  skipLoading = false,
  threshold
}: Options): Watch => {
  const memory = new SharedArrayBuffer(8)
  const beats = new Int32Array(memory)
  const { port1, port2 } = new MessageChannel()
  const counts = new Map<string, number>()
  const pending = new Map<number, Question>()
  let waiting: Array<() => void> = []
  let asked = 0
  let samples: Array<Sampled> = []
  let last = clock()
  let lastIdle = performance.nodeTiming.idleTime
  let closed = false

  /** Milliseconds since the last beat in which the loop was not idle. */
  const active = (now: number): number => now - last - (performance.nodeTiming.idleTime - lastIdle)

  const sample = (asked: number, lost: number): string => {
    const now = clock()
    const blocked = active(now) - lost
    if (blocked < threshold) return ""
    const fiber = currentFiber()
    const span = fiber?.currentSpan
    const taken: Sampled = {
      // The first two are this function and the inspector's expression.
      frames: callSites().slice(2).map(frameOf),
      fiber: fiber?.id().id,
      span: span?._tag === "Span" ? span.name : undefined,
      request: fiber && requestOf(fiber, span),
      late: now - asked > late,
      yielded: undefined
    }
    queueMicrotask(() => {
      taken.yielded = clock()
    })
    if (samples.length === 0) eventOn(span, taken, blocked)
    samples.push(taken)
    return JSON.stringify(taken)
  }
  const sampler = register(sample)

  const settle = () => {
    if (pending.size > 0) return
    port1.unref()
    for (const resume of waiting) resume()
    waiting = []
  }
  const answered = (answer: Answer) => {
    if ("ready" in answer) {
      if (answer.ready !== undefined) onUnavailable(answer.ready)
      return
    }
    const known = pending.get(answer.id)
    if (known === undefined) return
    pending.delete(answer.id)
    const { blocked, samples, starved } = answer
    if (blocked >= threshold && !(skipLoading && samples.some(isLoading))) {
      const began = performance.timeOrigin + performance.now() - (clock() - known.from)
      const event = starved ? "starved" : "blocked"
      onReport(
        LoopReports.report({ event, duration: blocked, began, thread: threadId, samples, own }, counts)
      )
    }
    settle()
  }

  const turn = (now: number) => {
    samples = []
    last = now
    lastIdle = performance.nodeTiming.idleTime
    Atomics.add(beats, words.beats, 1)
  }
  const beat = () => {
    const now = clock()
    const blocked = active(now)
    const taken = samples
    turn(now)
    if (blocked < threshold || closed || isDebugged()) return
    const question = {
      id: ++asked,
      from: now - blocked,
      to: now,
      yielded: taken[0]?.yielded,
      samples: taken
    }
    pending.set(question.id, question)
    port1.postMessage(question)
  }

  // Without the watchdog's answers.
  const giveUp = () => {
    for (const { from, id, samples, to } of [...pending.values()])
      answered({ id, blocked: to - from, starved: false, samples })
  }
  const stop = (why: string) => {
    if (closed) return
    onUnavailable(why)
    giveUp()
    close()
  }
  let worker: Worker | undefined
  const started = new Promise<void>((resolve) => {
    port1.once("message", () => resolve())
    try {
      worker = new Worker(builtFile("services/task/internal/loopWatchdog.js"), {
        workerData: {
          loopWatch: {
            memory,
            port: port2,
            threshold,
            schedule: scheduleOf(),
            thread: threadId,
            expression: sampler.expression,
            own,
            hanging
          } satisfies Shared
        },
        transferList: [port2],
        name: "LoopWatch",
        // No hooks and preloads of the program in it.
        execArgv: [],
        env: { ...process.env, NODE_OPTIONS: "" }
      })
      worker.unref()
      worker.on("error", (error) => {
        resolve()
        stop(error.message)
      })
    } catch (error) {
      resolve()
      queueMicrotask(() => stop((error as Error).message))
    }
  })
  port1.on("message", answered)
  port1.unref()
  const interval = intervalOf(threshold)
  // While the loop is idle most of the time, half as many beats: each wakes the thread.
  const next = (): NodeJS.Timeout =>
    setTimeout(() => {
      const idle = performance.nodeTiming.idleTime - lastIdle
      rest = idle > interval / 2 ? 2 * interval : interval
      beat()
      if (!closed) timer = next()
    }, rest).unref()
  let rest = interval
  let timer = next()
  const close = () => {
    closed = true
    clearTimeout(timer)
    sampler.remove()
    port1.close()
    void worker?.terminate()
    pending.clear()
    settle()
  }

  return {
    ready: () => {
      port1.ref()
      return started.then(() => {
        settle()
        turn(clock())
      })
    },
    flush: () => {
      beat()
      if (pending.size === 0) return Promise.resolve()
      port1.ref()
      return new Promise((resolve) => {
        const timer = setTimeout(giveUp, longestFlush)
        waiting.push(() => {
          clearTimeout(timer)
          resolve()
        })
      })
    },
    flushNow: () => {
      beat()
      const until = clock() + longestExit
      while (pending.size > 0 && clock() < until) {
        const answers = Atomics.load(beats, words.answers)
        for (let next = receiveMessageOnPort(port1); next !== undefined; next = receiveMessageOnPort(port1)) {
          answered(next.message as Answer)
        }
        if (pending.size > 0) Atomics.wait(beats, words.answers, answers, 50)
      }
    },
    close
  }
}
