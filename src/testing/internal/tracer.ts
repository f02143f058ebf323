import { Cause, Exit, Logger } from "effect"
import type { AnyFiber } from "../../services/task/internal/fiberRuntime.js"
import * as Waiting from "../../services/task/internal/waiting.js"
import type * as VirtualTime from "../../services/time/internal/virtualTime.js"
import type { Explorer, Thread, Watcher } from "./explorer.js"

// Describes a run in reports: a line for each stretch of one fiber.

/**
 * The actions of one fiber until another runs.
 *
 * @since 0.1.0
 * @category models
 */
export interface Step {
  /** The name of its task, or of its own outermost span; else `main` or `fiber N`. */
  readonly fiber: string
  /** When it began to run, in milliseconds of virtual time. */
  readonly time: number
  /** The fibers that it started, the spans that it entered, what it logged; in order. */
  readonly did: ReadonlyArray<string>
  /** Why it stopped. */
  readonly stopped: string
}

export class Tracer implements Watcher {
  explorer: Explorer | undefined
  clock: VirtualTime.Virtual | undefined
  private readonly steps: Array<{
    readonly thread: Thread
    readonly time: number
    readonly made: number
    readonly did: Array<string | Thread>
    stopped: string
  }> = []
  private readonly spans = new WeakSet<object>()
  private readonly until = new WeakMap<object, number>()
  private open = true

  readonly logger = Logger.make(({ message }) => {
    const words = (Array.isArray(message) ? message : [message]).map(String).join(" ")
    if (this.open) this.steps.at(-1)?.did.push(JSON.stringify(words))
  })

  readonly sleeps = (fiber: AnyFiber, until: number) => {
    this.until.set(fiber, until)
  }

  goes(thread: Thread): void {
    if (!this.open) return
    const last = this.steps.at(-1)
    const time = this.clock!.unsafeCurrentTimeMillis()
    if (last?.thread === thread && last.time === time) return
    this.steps.push({ thread, time, made: thread.steps, did: [], stopped: "" })
  }

  forks(thread: Thread): void {
    for (const span of Waiting.spansIn(thread.fiber!)) this.spans.add(span)
    if (this.open) this.steps.at(-1)?.did.push(thread)
  }

  step(thread: Thread): void {
    const fiber = thread.fiber!
    thread.task ??= Waiting.taskOf(fiber)
    for (const span of Waiting.spansIn(fiber)) {
      if (this.spans.has(span)) break
      this.spans.add(span)
      thread.own ??= span.name
      if (this.open) this.steps.at(-1)?.did.push(span.name)
    }
  }

  stops(thread: Thread): void {
    const last = this.steps.at(-1)
    if (!this.open || last === undefined) return
    const exit = thread.fiber?.unsafePoll() ?? null
    // It only handled a message, and still waits.
    if (exit === null && last.made === thread.steps && last.did.length === 0) this.steps.pop()
    else last.stopped = this.why(thread, exit)
  }

  private why(thread: Thread, exit: Exit.Exit<unknown, unknown> | null): string {
    if (exit !== null) {
      return Exit.isSuccess(exit) ? "ends" : Cause.isInterruptedOnly(exit.cause) ? "is cancelled" : "fails"
    }
    if (thread.held) return "is held up"
    if (thread.pending) return "lets others go on"
    const fiber = thread.fiber!
    const until = this.until.get(fiber)
    this.until.delete(fiber)
    if (until !== undefined)
      return until === Number.POSITIVE_INFINITY ? "sleeps for ever" : `sleeps until ${until} ms`
    const all = this.explorer!.threads.flatMap((one) => one.fiber ?? [])
    return `waits ${Waiting.waitOf(fiber, all, (id) => `\0${id}\0`, false)}`
  }

  /** Stops recording: only clean-up follows. */
  close(): void {
    // The ending fiber has not stopped yet.
    const last = this.steps.at(-1)
    if (last !== undefined) last.stopped = this.why(last.thread, last.thread.fiber?.unsafePoll() ?? null)
    this.open = false
  }

  result(): ReadonlyArray<Step> {
    const threads = this.explorer!.threads
    const plain = threads.map((one, i) => one.task ?? one.own ?? (i === 0 ? "main" : `fiber ${i}`))
    const names = new Map<Thread, string>()
    const ids = new Map<string, string>()
    for (const [i, thread] of threads.entries()) {
      const name = plain[i]!
      const same = plain.filter((one) => one === name).length
      const which = plain.slice(0, i + 1).filter((one) => one === name).length
      names.set(thread, same === 1 ? name : `${name} (${which})`)
      if (thread.fiber !== undefined) ids.set(String(thread.fiber.id().id), names.get(thread)!)
    }
    const told = (text: string) =>
      text.replace(/\0(\d+)\0/g, (_, id: string) => ids.get(id) ?? `fiber #${id}`)
    return this.steps.map(({ did, stopped, thread, time }) => ({
      fiber: names.get(thread) ?? "?",
      time,
      did: did
        .map((one) => (typeof one === "string" ? one : `starts ${names.get(one)}`))
        .filter((one) => one !== thread.own),
      stopped: told(stopped)
    }))
  }
}
