import {
  Clock,
  DefaultServices,
  Duration,
  Effect,
  type Fiber,
  FiberId,
  GlobalValue,
  type Scheduler
} from "effect"
import { keptAlive } from "../../task/EventLoop.js"
import { type AnyFiber, waitsAt } from "../../task/internal/fiberRuntime.js"
import * as Waiting from "../../task/internal/waiting.js"
import { type Entry, Heap } from "./deadlineQueue.js"

// The clock of VirtualClock and Interleave: how it jumps, what holds it, and how it detects deadlocks.

interface Sleeper extends Entry {
  /** The number of zero sleeps in a row that led here, with no time passing. */
  readonly depth: number
  /** Woken, or interrupted: see {@link Virtual.first}. */
  readonly isOver: () => boolean
  readonly wake: () => void
}

/** Ended sleepers are removed when there are more than this, or than were left the last time. */
const forgotten = 1024

/** After this many zero sleeps in a row each takes a millisecond, so that time passes in a loop of them. */
const freeTurns = 100

/**
 * Handles that were open before may still wake a fiber, or may have closed and hide newer ones: a deadlock is then
 * reported only after this multiple of the patience, or after this many milliseconds if the patience is zero.
 */
const caution = { times: 20, atLeast: 100 }

// Kinds that may stay open for ever without activity.
const listening = new Set(["TCPServerWrap", "PipeServerWrap", "TTYWrap", "SignalWrap"])
// Work that ends by itself: requests to the system, and child processes. Other kinds may be idle.
const isWork = (kind: string) => kind === "ProcessWrap" || /Req|WriteWrap|ConnectWrap|Request|Job/.test(kind)

const count = (kinds: ReadonlyArray<string>) => {
  const counts = new Map<string, number>()
  for (const kind of kinds) counts.set(kind, (counts.get(kind) ?? 0) + 1)
  return counts
}

// The active resources of stdout and stderr, from which nothing is read.
const writing = () =>
  [process.stdout, process.stderr].map((stream) => {
    const handle = (stream as { readonly _handle?: { readonly constructor: { readonly name: string } } })
      ._handle
    return handle?.constructor.name === "Pipe" ? "PipeWrap" : "TTYWrap"
  })

// The bytes received from outside, if Node reports them (20.18, 22.8 and later).
const arrived = (): number => {
  const { uvMetricsInfo } = performance.nodeTiming as { readonly uvMetricsInfo?: { readonly events: number } }
  return uvMetricsInfo?.events ?? 0
}

/** The real timers with which virtual clocks check again: they wake no fiber. */
const watches = GlobalValue.globalValue("effect-asyncio/services/VirtualClock/watches", () => ({ timers: 0 }))

// Decides whether only the clock's own sleepers remain, so that it may jump.
export class Surroundings {
  /** The number of idle resources of each kind. */
  readonly idle: Map<string, number>
  /** The number of resources of each kind that were open before the program. */
  readonly before: Map<string, number>
  /** The active resources of the last quiet state: if they are unchanged, it is quiet again. */
  quiet: ReadonlyArray<string> = []
  since = 0
  seen = ""

  constructor(
    public patience: number,
    readonly scheduler: Ready
  ) {
    // Node opens stdout and stderr when they are first read.
    void process.stdout
    void process.stderr
    this.before = count(process.getActiveResourcesInfo())
    this.idle = new Map(this.before)
  }

  /**
   * What could still wake a fiber: `"nothing"`; only timers and channels from before: `"hardly"` (a test runner loads
   * modules through a channel of its own); any other resource, even an idle one: `"something"`.
   */
  expects(): "nothing" | "hardly" | "something" {
    if (this.scheduler.ready > 0) return "something"
    const counts = count(process.getActiveResourcesInfo())
    for (const [kind, known] of this.before) this.before.set(kind, Math.min(known, counts.get(kind) ?? 0))
    for (const [kind, found] of counts) {
      const own = kind === "Timeout" ? watches.timers : 0
      if (found - own > (this.before.get(kind) ?? 0)) return "something"
    }
    const silent = count([...writing(), "Immediate", "TTYWrap", "SignalWrap"])
    for (const [kind, found] of counts) {
      const own = kind === "Timeout" ? watches.timers + keptAlive() : 0
      if (found - own > (silent.get(kind) ?? 0)) return "hardly"
    }
    return "nothing"
  }

  /** `"turn"`: a callback is about to run. `"hold"`: real work is active. */
  look(): "quiet" | "turn" | "hold" {
    if (this.scheduler.ready > 0) return "turn"
    const active = process.getActiveResourcesInfo()
    if (active.length === this.quiet.length && active.every((kind, i) => kind === this.quiet[i]))
      return "quiet"
    const counts = count(active)
    let answer: "quiet" | "turn" | "hold" = "quiet"
    for (const [kind, found] of counts) {
      const own = kind === "Timeout" ? watches.timers : 0
      if (listening.has(kind) || found - own <= (this.idle.get(kind) ?? 0)) continue
      if (isWork(kind)) return "hold"
      if (answer !== "hold") answer = kind === "Immediate" ? "turn" : "hold"
    }
    // A closed resource no longer counts as idle, so that a new one is active; a library's timer becomes idle again.
    for (const [kind, known] of this.idle) {
      if (kind !== "Timeout" && (counts.get(kind) ?? 0) < known) this.idle.set(kind, counts.get(kind) ?? 0)
    }
    if (answer === "quiet") {
      this.quiet = active
      this.seen = ""
      return answer
    }
    const now = performance.now()
    const seen = `${this.scheduler.total} ${active}`
    if (seen !== this.seen) {
      this.seen = seen
      this.since = now
    }
    if (now - this.since < this.patience) return answer
    for (const [kind, found] of counts) this.idle.set(kind, Math.max(found, this.idle.get(kind) ?? 0))
    return "quiet"
  }
}

/** Counts the fibers that are ready to run: while there is one, no time passes. */
export interface Ready {
  readonly ready: number
  /** How often a fiber has become ready. */
  readonly total: number
  /** Called when no fiber is ready any more. */
  onRest: () => void
  /** Calls `wake`, which makes sleepers ready. */
  readonly wake: (wake: () => void) => void
}

// Delegates the order to another scheduler.
export class CountingScheduler implements Ready, Scheduler.Scheduler {
  ready = 0
  total = 0
  onRest: () => void = () => undefined
  /** Set while the clock wakes a sleeper: fibers that become ready run at once, because all others wait. */
  waking = false
  woken: Scheduler.Task | undefined

  constructor(readonly inner: Scheduler.Scheduler) {}

  shouldYield(fiber: Fiber.RuntimeFiber<unknown, unknown>): number | false {
    return this.inner.shouldYield(fiber)
  }

  scheduleTask(task: Scheduler.Task, priority: number, fiber?: Fiber.RuntimeFiber<unknown, unknown>): void {
    this.ready++
    this.total++
    const run = () => {
      this.ready--
      task()
      if (this.ready === 0) this.onRest()
    }
    if (this.waking && this.woken === undefined) this.woken = run
    else this.inner.scheduleTask(run, priority, fiber)
  }

  /** Wakes, and first runs the fibers that became ready; the others run in their usual order. */
  wake(wake: () => void): void {
    this.waking = true
    wake()
    this.waking = false
    const { woken } = this
    this.woken = undefined
    woken?.()
  }
}

export class Virtual implements Clock.Clock {
  readonly [Clock.ClockTypeId]: Clock.ClockTypeId = Clock.ClockTypeId
  readonly currentTimeMillis = Effect.sync(() => this.unsafeCurrentTimeMillis())
  readonly currentTimeNanos = Effect.sync(() => this.unsafeCurrentTimeNanos())
  private onDeadlock:
    | ((waiting: ReadonlyArray<Waiting.Waiting>, fibers: ReadonlyArray<AnyFiber>) => void)
    | undefined
  /** Called for each sleep, with its deadline. */
  onSleep: ((fiber: AnyFiber, until: number) => void) | undefined
  private readonly sleepers = new Heap<Sleeper>()
  private readonly endless = new WeakMap<object, Sleeper>()
  private crowd = forgotten
  private asked = 0
  private depth = 0
  private armed = false
  private readonly origin: bigint // of the nanoseconds
  private now = 0 // since the start: small numbers keep their fractions
  private watch: (() => void) | undefined
  private stuck: { readonly total: number; readonly since: number } | undefined

  constructor(
    private readonly start: number,
    private readonly surroundings: Surroundings,
    private readonly scheduler: Ready,
    /** Whether all due sleepers wake at once, for a scheduler that chooses among them. */
    private readonly together = false
  ) {
    this.origin = BigInt(Math.round(start)) * 1_000_000n
    scheduler.onRest = () => {
      if (this.watch === undefined && this.onDeadlock !== undefined) this.arm()
    }
  }

  unsafeCurrentTimeMillis(): number {
    return Math.floor(this.start + this.now)
  }

  unsafeCurrentTimeNanos(): bigint {
    return this.origin + BigInt(Math.round(this.now * 1e6))
  }

  /** Milliseconds since the start, for {@link Timers}: nanoseconds allocate objects at each read. */
  unsafeElapsed(): number {
    return this.now
  }

  // A sleep with a canceler takes 13 steps of Effect, this one 5, which halves the time of a jump. An interrupted sleep is
  // recognised by the wait of its fiber.
  sleep(duration: Duration.Duration): Effect.Effect<void> {
    return Effect.withFiberRuntime((fiber) => {
      const ms = Math.max(0, Duration.toMillis(duration))
      const id = ++this.asked
      const mark = FiberId.runtime(-id, 0)
      return Effect.async<void>((resume) => {
        const stuck = ms === 0 && this.depth >= freeTurns
        const sleeper: Sleeper = {
          // To the nanosecond, so that 0.1 + 0.2 and 0.3 are one deadline.
          deadline: Math.round((this.now + (stuck ? 1 : ms)) * 1e6) / 1e6,
          id,
          place: -1,
          depth: stuck ? freeTurns : ms === 0 ? this.depth + 1 : 0,
          isOver: () => !waitsAt(fiber, mark),
          wake: () => resume(Effect.void)
        }
        this.sleepers.add(sleeper)
        this.arm()
        if (ms === Number.POSITIVE_INFINITY) this.endless.set(fiber, sleeper)
        this.onSleep?.(fiber, this.start + sleeper.deadline)
      }, mark)
    })
  }

  // The first sleeper that still sleeps. Valid only when all fibers wait: a fiber begins to wait a step after its request.
  private first(): Sleeper | undefined {
    const { entries } = this.sleepers
    if (entries.length > this.crowd) {
      for (const sleeper of entries.filter((one) => one.isOver())) this.sleepers.delete(sleeper)
      this.crowd = Math.max(forgotten, 2 * entries.length)
    }
    for (;;) {
      const sleeper = this.sleepers.first
      if (sleeper === undefined || !sleeper.isOver()) return sleeper
      this.sleepers.delete(sleeper)
    }
  }

  private arm(): void {
    if (this.armed) return
    this.armed = true
    setImmediate(this.turn)
  }

  // One sleeper per turn: work that it starts is over before the next one wakes, as with real timers.
  private readonly turn = (): void => {
    this.armed = false
    if (this.sleepers.first === undefined) {
      this.rest()
      return
    }
    const around = this.surroundings.look()
    if (around === "hold") {
      this.armed = true
      later(1, this.turn)
      return
    }
    if (around === "quiet") {
      const sleeper = this.first()
      if (sleeper === undefined || sleeper.deadline === Number.POSITIVE_INFINITY) {
        this.rest()
        return
      }
      this.now = sleeper.deadline
      this.wake(sleeper)
      if (this.together) {
        for (let next = this.first(); next?.deadline === this.now; next = this.first()) this.wake(next)
      }
      if (this.sleepers.first === undefined) return
    }
    this.arm()
  }

  private wake(sleeper: Sleeper): void {
    this.sleepers.delete(sleeper)
    this.depth = sleeper.depth
    this.scheduler.wake(sleeper.wake)
  }

  // No fiber sleeps: only real work can wake one, or it is a deadlock.
  private rest(): void {
    const { patience, scheduler } = this.surroundings
    // A fiber that is ready calls `onRest` when it rests again.
    if (this.onDeadlock === undefined || this.watch !== undefined || scheduler.ready > 0) return
    const expected = this.surroundings.expects()
    const now = performance.now()
    const total = scheduler.total + arrived()
    if (expected === "something" || this.stuck?.total !== total) {
      this.stuck = { total, since: now }
    }
    const silence = expected === "hardly" ? Math.max(patience * caution.times, caution.atLeast) : patience
    const left = this.stuck!.since + silence - now
    if (expected === "something" || left > 0) {
      this.watch = later(Math.max(1, Math.min(left, patience)), () => {
        this.watch = undefined
        if (!this.armed) this.turn()
      })
      return
    }
    this.stuck = undefined
    const fibers = Waiting.living((fiber) => clockOf(fiber) === this)
    this.onDeadlock(this.describe(fibers), fibers)
  }

  private describe(fibers: ReadonlyArray<AnyFiber>): ReadonlyArray<Waiting.Waiting> {
    const told = fibers.map((fiber) => ({
      id: fiber.id().id,
      task: Waiting.taskOf(fiber),
      spans: Waiting.spansOf(fiber)
    }))
    const names = new Map(told.map((one) => [one.id, Waiting.named({ ...one, spans: [] })]))
    const waits = (fiber: AnyFiber) =>
      this.endless.get(fiber)?.isOver() === false
        ? "for ever (a sleep without end)"
        : Waiting.waitOf(fiber, fibers, (id) => names.get(id) ?? `fiber #${id}`, true)
    return told.map((one, i) => ({ ...one, waits: waits(fibers[i]!) }))
  }

  /**
   * Watches for deadlocks from now on: calls back for each one, and again if the program is still deadlocked after the
   * callback has interrupted fibers.
   */
  watchOver(onDeadlock: NonNullable<Virtual["onDeadlock"]>): void {
    this.onDeadlock = onDeadlock
    this.arm()
  }

  /** Stops watching for deadlocks. Sleeping fibers are still woken. */
  close(): void {
    this.onDeadlock = undefined
    this.watch?.()
  }
}

// Runs through an immediate, because a timer counts as active while it runs. Returns a function that cancels it.
const later = (ms: number, look: () => void): (() => void) => {
  let waiting = true
  const done = () => {
    if (waiting) watches.timers--
    waiting = false
  }
  watches.timers++
  const timer = setTimeout(() => {
    done()
    setImmediate(look)
  }, ms)
  return () => {
    done()
    clearTimeout(timer)
  }
}

const clockOf = (fiber: AnyFiber): unknown =>
  fiber.getFiberRef(DefaultServices.currentServices).unsafeMap.get(Clock.Clock.key)
