import { Fiber, Option, type Scheduler } from "effect"
import type { AnyFiber } from "../../services/task/internal/fiberRuntime.js"
import type { Ready } from "../../services/time/internal/virtualTime.js"

// The scheduler of Interleave: it tracks every fiber of a program, runs one at a time, and decides at each step which one
// runs next.

/**
 * A place where another fiber runs next than in the usual order.
 *
 * @since 0.1.0
 * @category models
 */
export interface Switch {
  /** The fiber that stopped: the numbers of its ancestors and its own, in order of forking (`0.2.1`). */
  readonly fiber: string
  /** The number of steps that it had made. */
  readonly step: number
  /** How often it had run since without making a step, only to handle a message. */
  readonly stop: number
  /** Whether it was held up although it was ready. */
  readonly held: boolean
  /** The fiber that ran in its place. */
  readonly to: string
}

/** One fiber as the scheduler sees it. */
export class Thread {
  steps = 0
  stop = 0
  /** Resumptions after it was held up: not counted, so that a step always has the same number. */
  resuming = 0
  held = false
  pending = false
  forked = 0
  priority = 0
  span: unknown
  /** Its own outermost span, which names it in reports. */
  own: string | undefined
  task: string | undefined

  constructor(
    readonly path: string,
    readonly fiber: AnyFiber | undefined
  ) {}
}

/** Decides for a run. Both are called only if there is a choice. */
export interface Policy {
  /** The ready thread to run in place of the running one, which is then held up; undefined to let that one run on. */
  readonly hold: (running: Thread, ready: ReadonlyArray<Thread>) => Thread | undefined
  /** The thread to run when the running one has stopped; the first has been ready for longest. */
  readonly pick: (stopped: Thread, ready: ReadonlyArray<Thread>) => Thread
  readonly onStart?: (thread: Thread) => void
  readonly onYield?: (thread: Thread) => void
}

/** Observes a run, in order. */
export interface Watcher {
  /** A thread runs. */
  readonly goes: (thread: Thread) => void
  readonly forks: (thread: Thread) => void
  readonly step: (thread: Thread) => void
  /** It has stopped: held up, yielding, waiting or at its end. */
  readonly stops: (thread: Thread) => void
}

/** Most fibers that run in a row before promises get a turn, and before timers and I/O get one. */
const batch = 32
const batches = 64

// A yield without priority: with one, Effect makes five steps more of it.
const noPriority = undefined as unknown as number

export class Explorer implements Ready, Scheduler.Scheduler {
  ready = 0
  total = 0
  onRest: () => void = () => undefined
  /** All steps of all threads. */
  steps = 0
  /** The number of them at which other threads were ready. */
  choices = 0
  readonly switches: Array<Switch> = []
  readonly threads: Array<Thread> = []
  private readonly known = new WeakMap<object, Thread>()
  private readonly waiting: Array<Thread> = []
  private readonly tasks: Array<Scheduler.Task> = []
  private running: Thread
  private inTask = false
  private armed = false
  private drained = 0
  private next: Thread | undefined
  private abandoned = false
  private readonly outside = new Thread("?", undefined)

  constructor(
    public policy: Policy,
    readonly maxSteps: number,
    /** Called at each multiple of this. */
    readonly onTooMany: () => void,
    readonly watcher?: Watcher
  ) {
    this.running = this.outside
  }

  threadOf(fiber: AnyFiber): Thread {
    let thread = this.known.get(fiber)
    if (thread === undefined) {
      // The running fiber has forked it; outside of any fiber the host of the run has.
      const by = Option.getOrUndefined(Fiber.getCurrentFiber())
      const parent = this.inTask ? ((by && this.known.get(by)) ?? this.running) : this.outside
      const path = parent === this.outside ? `${parent.forked++}` : `${parent.path}.${parent.forked++}`
      thread = new Thread(path, fiber)
      this.known.set(fiber, thread)
      this.threads.push(thread)
      this.policy.onStart?.(thread)
      this.watcher?.forks(thread)
    }
    return thread
  }

  /** Called by every fiber before each of its steps. */
  shouldYield(fiber: Fiber.RuntimeFiber<unknown, unknown>): number | false {
    const thread = this.threadOf(fiber)
    if (thread.resuming > 0) {
      thread.resuming--
      return false
    }
    thread.steps++
    thread.stop = 0
    if (++this.steps % this.maxSteps === 0) this.onTooMany()
    if (this.abandoned) return noPriority
    this.watcher?.step(thread)
    if (this.waiting.length === 0 || this.next !== undefined) return false
    this.choices++
    const to = this.policy.hold(thread, this.waiting)
    if (to === undefined) return false
    this.switches.push({ fiber: thread.path, step: thread.steps, stop: 0, held: true, to: to.path })
    thread.held = true
    thread.resuming = 2
    this.next = to
    return noPriority
  }

  scheduleTask(task: Scheduler.Task, _priority: number, fiber?: Fiber.RuntimeFiber<unknown, unknown>): void {
    if (this.abandoned) return
    const thread = fiber === undefined ? this.outside : this.threadOf(fiber)
    if (this.inTask && thread === this.running && !thread.held) this.policy.onYield?.(thread)
    thread.pending = true
    this.ready++
    this.total++
    this.waiting.push(thread)
    this.tasks.push(task)
    this.arm()
  }

  wake(wake: () => void): void {
    wake()
  }

  /** Runs no further fiber: for fibers that neither end nor can be interrupted. */
  abandon(): void {
    this.abandoned = true
    this.waiting.length = 0
    this.tasks.length = 0
    this.ready = 0
  }

  private arm(): void {
    if (this.armed) return
    this.armed = true
    if (++this.drained % batches === 0) setImmediate(this.drain)
    else queueMicrotask(this.drain)
  }

  private readonly drain = (): void => {
    for (let i = 0; i < batch && this.waiting.length > 0; i++) this.go(this.choose())
    this.armed = false
    if (this.waiting.length > 0) this.arm()
    else this.onRest()
  }

  private choose(): number {
    const { next, running, waiting } = this
    this.next = undefined
    if (waiting.length === 1) return 0
    if (next !== undefined) {
      const at = waiting.indexOf(next)
      if (at >= 0) return at
    }
    const chosen = this.policy.pick(running, waiting)
    if (chosen !== waiting[0]) {
      const { path: fiber, steps: step, stop } = running
      this.switches.push({ fiber, step, stop, held: false, to: chosen.path })
    }
    return waiting.indexOf(chosen)
  }

  private go(at: number): void {
    const [thread] = this.waiting.splice(at, 1) as [Thread]
    const [task] = this.tasks.splice(at, 1) as [Scheduler.Task]
    thread.pending = false
    thread.held = false
    this.running = thread
    this.watcher?.goes(thread)
    this.inTask = true
    this.ready--
    const before = thread.steps
    try {
      task()
    } finally {
      this.inTask = false
    }
    if (thread.steps === before) thread.stop++
    this.watcher?.stops(thread)
  }
}
