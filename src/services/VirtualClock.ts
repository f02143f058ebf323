import { Clock, Duration, Effect, type Fiber, FiberRef, Layer, type Scheduler } from "effect"
import { dual } from "effect/Function"
import * as EventLoop from "./EventLoop.js"
import * as Timers from "./Timers.js"

// model

/** Settings of a virtual clock. */
export interface Options {
  /** Its first time, in milliseconds since the epoch. Default 0. */
  readonly start?: number | undefined
  /**
   * For how long, in real time, open sockets, workers and real timers may hold the clock while nothing happens. Longer
   * silence is taken for idleness: a kept-alive connection, the timer within `Effect.never`. Default 100 ms.
   */
  readonly patience?: Duration.DurationInput | undefined
}

// make

interface Sleeper extends Timers.Entry {
  /** How many zero sleeps led here, one out of the other, with no time passing. */
  readonly depth: number
  readonly wake: () => void
}

/** After so many zero sleeps in a row each takes a millisecond, as in real time: so a loop of them has an end. */
const freeTurns = 100

// What may stand open for ever without any work going on.
const listening = new Set(["TCPServerWrap", "PipeServerWrap", "TTYWrap", "SignalWrap"])
// Work that ends by itself: requests to the system, and child processes. What else there is may be idle.
const isWork = (kind: string) => kind === "ProcessWrap" || /Req|WriteWrap|ConnectWrap|Request|Job/.test(kind)

// Tells whether all is quiet but for the clock's own sleepers: whether it may jump.
class Surroundings {
  /** Of each kind of resource, how many are known to be idle. */
  readonly idle = new Map<string, number>()
  /** What was found active when last all was quiet: to find the same again is to know. */
  quiet: ReadonlyArray<string> = []
  since = 0
  seen = ""

  constructor(
    readonly patience: number,
    readonly scheduler: CountingScheduler
  ) {
    for (const kind of process.getActiveResourcesInfo()) this.idle.set(kind, (this.idle.get(kind) ?? 0) + 1)
  }

  /** `"turn"`: something is about to run. `"hold"`: something real is on its way. */
  look(): "quiet" | "turn" | "hold" {
    if (this.scheduler.ready > 0) return "turn"
    const active = process.getActiveResourcesInfo()
    if (active.length === this.quiet.length && active.every((kind, i) => kind === this.quiet[i]))
      return "quiet"
    const counts = new Map<string, number>()
    for (const kind of active) counts.set(kind, (counts.get(kind) ?? 0) + 1)
    let answer: "quiet" | "turn" | "hold" = "quiet"
    for (const [kind, count] of counts) {
      if (listening.has(kind) || count <= (this.idle.get(kind) ?? 0)) continue
      if (isWork(kind)) return "hold"
      if (answer !== "hold") answer = kind === "Immediate" ? "turn" : "hold"
    }
    // What was closed does not excuse the next. But a timer was `Effect.never` once and will be again.
    for (const [kind, count] of this.idle) {
      if (kind !== "Timeout" && (counts.get(kind) ?? 0) < count) this.idle.set(kind, counts.get(kind) ?? 0)
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
    for (const [kind, count] of counts) this.idle.set(kind, Math.max(count, this.idle.get(kind) ?? 0))
    return "quiet"
  }
}

// Knows which fibers are ready to run: while there is one, no time passes.
class CountingScheduler implements Scheduler.Scheduler {
  ready = 0
  total = 0
  constructor(readonly inner: Scheduler.Scheduler) {}

  shouldYield(fiber: Fiber.RuntimeFiber<unknown, unknown>): number | false {
    return this.inner.shouldYield(fiber)
  }

  scheduleTask(task: Scheduler.Task, priority: number, fiber?: Fiber.RuntimeFiber<unknown, unknown>): void {
    this.ready++
    this.total++
    this.inner.scheduleTask(
      () => {
        this.ready--
        task()
      },
      priority,
      fiber
    )
  }
}

class Virtual implements Clock.Clock {
  readonly [Clock.ClockTypeId]: Clock.ClockTypeId = Clock.ClockTypeId
  readonly currentTimeMillis = Effect.sync(() => this.unsafeCurrentTimeMillis())
  readonly currentTimeNanos = Effect.sync(() => this.unsafeCurrentTimeNanos())
  private readonly sleepers = new Timers.Heap<Sleeper>()
  private asked = 0
  private depth = 0
  private armed = false
  private now = 0 // since the start: small numbers keep their fractions

  constructor(
    private readonly start: number,
    private readonly surroundings: Surroundings
  ) {}

  unsafeCurrentTimeMillis(): number {
    return Math.floor(this.start + this.now)
  }

  unsafeCurrentTimeNanos(): bigint {
    return BigInt(Math.round(this.start)) * 1_000_000n + BigInt(Math.round(this.now * 1e6))
  }

  sleep(duration: Duration.Duration): Effect.Effect<void> {
    return Effect.async((resume) => {
      const ms = Math.max(0, Duration.toMillis(duration))
      const stuck = ms === 0 && this.depth >= freeTurns
      const sleeper: Sleeper = {
        // To the nanosecond, so that 0.1 + 0.2 and 0.3 are one deadline.
        deadline: Math.round((this.now + (stuck ? 1 : ms)) * 1e6) / 1e6,
        id: ++this.asked,
        place: -1,
        depth: stuck ? freeTurns : ms === 0 ? this.depth + 1 : 0,
        wake: () => resume(Effect.void)
      }
      this.sleepers.add(sleeper)
      this.arm()
      return Effect.sync(() => this.sleepers.delete(sleeper))
    })
  }

  private arm(): void {
    if (this.armed || this.sleepers.first === undefined) return
    this.armed = true
    setImmediate(this.turn)
  }

  // One sleeper a turn: what it sets going is over before the next one wakes, as with real timers.
  private readonly turn = (): void => {
    this.armed = false
    const sleeper = this.sleepers.first
    if (sleeper === undefined || sleeper.deadline === Number.POSITIVE_INFINITY) return
    const around = this.surroundings.look()
    if (around === "hold") {
      this.armed = true
      // By way of an immediate, because a timer counts as active while it runs.
      setTimeout(() => setImmediate(this.turn), 1)
      return
    }
    if (around === "quiet") {
      this.sleepers.delete(sleeper)
      this.now = sleeper.deadline
      this.depth = sleeper.depth
      sleeper.wake()
    }
    this.arm()
  }
}

const make = (options: Options = {}) =>
  Effect.gen(function* () {
    // What the surroundings have just set up (the timer by which a runtime stays alive) is none of the program's.
    yield* EventLoop.nextTurn
    const scheduler = new CountingScheduler(yield* FiberRef.get(FiberRef.currentScheduler))
    const patience = Duration.toMillis(options.patience ?? "100 millis")
    return { clock: new Virtual(options.start ?? 0, new Surroundings(patience, scheduler)), scheduler }
  })

/**
 * Runs the effect in virtual time: whenever all its fibers wait, the clock jumps to the next deadline. See
 * {@link layer} for what holds it.
 *
 * @example
 * ```ts
 * import { Clock, Effect } from "effect"
 * import * as VirtualClock from "effect-asyncio/services/VirtualClock"
 *
 * // 86400000, at once
 * export const program = Clock.currentTimeMillis.pipe(Effect.delay("1 day"), VirtualClock.run())
 * ```
 */
export const run: {
  (options?: Options): <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  <A, E, R>(effect: Effect.Effect<A, E, R>, options?: Options): Effect.Effect<A, E, R>
} = dual(
  (args) => Effect.isEffect(args[0]),
  <A, E, R>(effect: Effect.Effect<A, E, R>, options?: Options): Effect.Effect<A, E, R> =>
    Effect.flatMap(make(options), ({ clock, scheduler }) =>
      Effect.withScheduler(Effect.withClock(effect, clock), scheduler)
    )
)

// layers

/** {@link layer} with settings. */
export const layerWith = (options: Options): Layer.Layer<never> =>
  Layer.scopedDiscard(
    Effect.flatMap(make(options), ({ clock, scheduler }) =>
      Effect.zipRight(
        Effect.withClockScoped(clock),
        Effect.locallyScoped(FiberRef.currentScheduler, scheduler)
      )
    )
  )

/**
 * A clock that nobody moves (trio's autojump): its time stands still while a fiber runs, and jumps to the next deadline
 * when every fiber waits. Equal deadlines come in order of request, one after the other. It starts at the epoch. A
 * sleep of zero is a turn that takes no time, but after a hundred in a row each takes 1 ms.
 *
 * Real work holds it: system requests (files, names, connecting, writing) and child processes until they are done; open
 * sockets, workers and real timers until {@link Options.patience} has passed in silence. So an answer that takes a
 * server longer than that comes late in virtual time, and so does a promise that keeps nothing open. What was open
 * before the clock was made does not hold it, nor do listening servers.
 *
 * Give it to a layer that keeps time (`Timers.layer`) with `Layer.provideMerge`, not beside it.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import * as VirtualClock from "effect-asyncio/services/VirtualClock"
 *
 * export const program = Effect.sleep("30 days").pipe(Effect.provide(VirtualClock.layer))
 * ```
 */
export const layer: Layer.Layer<never> = layerWith({})
