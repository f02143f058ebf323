import { openSync, readFileSync, readSync, statSync, writeSync } from "node:fs"
import type { Session } from "node:inspector"
import { SourceMap, type SourceMapPayload } from "node:module"
import { dirname, resolve } from "node:path"
import { workerData } from "node:worker_threads"
import { encode } from "../../host/EventLine.js"
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

// The watchdog: a thread that looks at the beats of another one. When they stay away, it lets the inspector run the
// other's function `sample` on top of whatever runs there: V8 does that at the next call or turn of a loop. Nothing is
// paused and no debugger is enabled. Without Effect, which would take longer to load than many programs run.

// source maps

const largest = 64 * 2 ** 20

const marker = "\n//# sourceMappingURL="

const mapOf = (file: string): SourceMap | undefined => {
  try {
    if (statSync(file).size > largest) return undefined
    const text = readFileSync(file, "utf8")
    const at = text.lastIndexOf(marker)
    if (at < 0) return undefined
    const url = text
      .slice(at + marker.length)
      .split("\n", 1)[0]!
      .trim()
    const inline = /^data:application\/json[^,]*?(;base64)?,(.*)$/.exec(url)
    const json =
      inline === null
        ? readFileSync(resolve(dirname(file), decodeURIComponent(url)), "utf8")
        : inline[1] === undefined
          ? decodeURIComponent(inline[2]!)
          : Buffer.from(inline[2]!, "base64").toString()
    return new SourceMap(JSON.parse(json) as SourceMapPayload)
  } catch {
    return undefined // without its map a place is one of the built file
  }
}

const maps = new Map<string, SourceMap | undefined>()

const mapped = (frame: LoopReports.Frame): LoopReports.Frame => {
  const { file } = frame
  if (file === undefined || file.startsWith("node:")) return frame
  if (!maps.has(file)) maps.set(file, mapOf(file))
  return original(frame, maps.get(file))
}

const mappedSample = (sample: LoopReports.Sample): LoopReports.Sample => ({
  ...sample,
  frames: sample.frames.map(mapped)
})

// the inspector

type Ask = (expression: string, onAnswer: (answer: unknown) => void) => void

const post = (session: Session, method: string, params: object, onResult?: (result: any) => void) =>
  session.post(method, params, (_: Error | null, result: unknown) => onResult?.(result))

const evaluate = (expression: string) => ({ expression, returnByValue: true, silent: true })

/** Evaluates in the main thread. A session for each question: an open one holds the process at its exit. */
const askMain =
  (make: () => Session): Ask =>
  (expression, onAnswer) => {
    const session = make()
    session.connectToMainThread()
    post(session, "Runtime.evaluate", evaluate(expression), (answer) => {
      session.disconnect()
      onAnswer(answer?.result?.value)
    })
  }

/** Evaluates in all worker threads, by way of the main thread; the one that is watched has an answer. */
const askWorkers =
  (make: () => Session): Ask =>
  (expression, onAnswer) => {
    const session = make()
    session.connectToMainThread()
    session.on("NodeWorker.attachedToWorker", ({ params }) => {
      const message = JSON.stringify({ id: 1, method: "Runtime.evaluate", params: evaluate(expression) })
      post(session, "NodeWorker.sendMessageToWorker", { sessionId: params.sessionId, message })
    })
    session.on("NodeWorker.receivedMessageFromWorker", ({ params }) => {
      const value = JSON.parse(params.message)?.result?.result?.value
      if (value === undefined) return
      session.disconnect()
      onAnswer(value)
    })
    post(session, "NodeWorker.enable", { waitForDebuggerOnStart: false })
  }

// the watch

/** Milliseconds that a timer may be late before the process counts as suspended. */
const late = 50

/** Reads how many milliseconds a thread has waited for a processor so far; 0 where that is not known. */
const waits = (file: string | undefined): (() => number) => {
  try {
    if (file === undefined) return () => 0
    const descriptor = openSync(file, "r")
    const bytes = Buffer.alloc(80)
    return () => {
      try {
        const length = readSync(descriptor, bytes, 0, bytes.length, 0)
        return Number(bytes.toString("latin1", 0, length).split(" ")[1]) / 1e6
      } catch {
        return 0 // the thread has ended
      }
    }
  } catch {
    return () => 0
  }
}

const watch = (shared: Shared, ask: Ask | undefined) => {
  const { expression, hanging, own, port, thread, threshold } = shared
  const memory = new Int32Array(shared.memory)
  // Twice per threshold: each look wakes a thread.
  const interval = 2 * intervalOf(threshold)
  const waited = waits(shared.schedule)
  // Time in which the thread could not run, by looks.
  const losses: Array<{ readonly from: number; readonly to: number; readonly lost: number }> = []
  let lastLook = clock()
  let lastCpu = process.cpuUsage()
  let lastWait = waited()
  let seen = 0
  let stuck = 0
  let lost = 0
  let next = threshold
  let asking = false
  let noticed = 0
  let hung = false
  let samples: Array<LoopReports.Sample> = []

  const look = () => {
    const now = clock()
    const gap = now - lastLook
    const cpu = process.cpuUsage()
    const wait = waited()
    const used = (cpu.user - lastCpu.user + cpu.system - lastCpu.system) / 1e3
    // Late, and the process has not run in the meantime: SIGSTOP, a suspended machine. A busy machine is late too.
    const suspended = gap > interval + late && used < gap / 4 ? gap - interval : 0
    const without = Math.min(gap, Math.max(suspended, wait - lastWait))
    if (without > 0) losses.push({ from: lastLook, to: now, lost: without })
    if (losses.length > 1000) losses.splice(0, 500)
    stuck += gap - without
    lost += without
    lastLook = now
    lastCpu = cpu
    lastWait = wait
    const beats = Atomics.load(memory, words.beats)
    if (beats !== seen) {
      seen = beats
      stuck = 0
      lost = 0
      next = threshold
      hung = false
      samples = []
    } else if (seen > 0 && stuck >= next && !asking) {
      noticed = now
      asking = ask !== undefined
      ask?.(`${expression}(${now},${lost})`, (answer) => {
        asking = false
        if (typeof answer !== "string" || answer === "") return
        samples.push(JSON.parse(answer) as LoopReports.Sample)
        next = stuck * 2
      })
    }
    if (hanging !== undefined && seen > 0 && !hung && stuck >= hanging.after) {
      hung = true
      const report = LoopReports.report(
        {
          event: "hanging",
          duration: stuck,
          began: Date.now() - stuck,
          thread,
          samples: samples.map(mappedSample),
          own
        },
        new Map()
      )
      const line = hanging.json
        ? encode(LoopReports.event(report))
        : `LoopWatch: ${LoopReports.text(report, hanging.cwd)}`
      try {
        writeSync(hanging.descriptor, `${line}\n`)
      } catch {
        // its reader has gone
      }
    }
  }
  /** Milliseconds between two times in which the thread could run. */
  const running = (from: number, to: number): number => {
    let time = to - from
    for (const one of losses) {
      time -= Math.min(one.lost, Math.max(0, Math.min(one.to, to) - Math.max(one.from, from)))
    }
    return time
  }
  port.on("message", ({ from, id, samples, to, yielded }: Question) => {
    look()
    port.postMessage({
      id,
      // What this thread has not noticed itself was shorter, or neither of the two had a processor.
      blocked: noticed >= from ? running(from, to) : 0,
      starved: yielded !== undefined && running(yielded, to) > threshold,
      samples: samples.map(mappedSample)
    } satisfies Answer)
    Atomics.add(memory, words.answers, 1)
    Atomics.notify(memory, words.answers)
  })
  setInterval(look, interval)
}

const start = async (shared: Shared) => {
  let ask: Ask | undefined
  let missing: string | undefined
  try {
    const { Session } = await import("node:inspector")
    ask = (shared.thread === 0 ? askMain : askWorkers)(() => new Session())
  } catch (error) {
    missing = (error as Error).message
  }
  watch(shared, ask)
  shared.port.postMessage({ ready: missing } satisfies Answer)
}

if ((workerData as { readonly loopWatch?: Shared } | null)?.loopWatch !== undefined) {
  void start((workerData as { readonly loopWatch: Shared }).loopWatch)
}
