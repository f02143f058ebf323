import {
  Cause,
  Clock,
  Context,
  Data,
  type DateTime,
  DefaultServices,
  Duration,
  Effect,
  Either,
  Exit,
  Fiber,
  FiberId,
  FiberRef,
  FiberRefs,
  Layer,
  Option,
  Random,
  Runtime,
  type Scope,
  Utils
} from "effect"
import * as Cancellation from "../task/Cancellation.js"
import * as Causes from "../task/Causes.js"
import * as FiberRuntime from "../task/internal/fiberRuntime.js"
import * as TaskGroup from "../task/TaskGroup.js"
import {
  anyCount,
  anyNumber,
  anyTime,
  checkedDuration,
  checkedNumber,
  checkOptions,
  someTime,
  time
} from "../text/Numbers.js"
import * as CivilTime from "./CivilTime.js"
import * as Cron from "./Cron.js"

// model

/** A callback that was asked for (asyncio: `Handle`, `TimerHandle`). */
export interface Handle<out A, out E = never> {
  /** Names it in reports; default `timer N`. */
  readonly name: string
  /**
   * When it is due: milliseconds since the epoch, by the wall clock as it stands. What comes again and again is due next
   * then; after the last time it is Infinity.
   */
  readonly when: number
  /**
   * Before its time: it never runs. While it runs: it is interrupted, and this waits for its clean-up. After its end:
   * nothing. The origin is by default the calling task, or `timers`.
   */
  readonly cancel: (reason: string, options?: { readonly origin?: string }) => Effect.Effect<void>
  /** Whether somebody cancelled it before it had ended. */
  readonly cancelled: Effect.Effect<boolean>
  /** Waits for its end and tells how it came. `Cancellation.fromExit` reads why it was cancelled. */
  readonly await: Effect.Effect<Exit.Exit<A, E>>
}

/** Settings of one callback. */
export interface CallOptions {
  /** For reports; default `timer N`. */
  readonly name?: string | undefined
}

/** A time of day: a `DateTime`, a `Date`, or milliseconds since the epoch. */
export type Time = DateTime.DateTime | Date | number

/** One time of {@link Timers}' `every` and `cron`. */
export interface Tick {
  /** Which run it is, from 1 on. */
  readonly run: number
  /** When it was due, without its jitter; milliseconds since the epoch. */
  readonly at: number
  /** The time of day that it was set for, when a clock change skips that. */
  readonly skipped: string | undefined
}

/** What happens beside the runs themselves. */
export type SeriesEvent =
  | { readonly _tag: "Scheduled"; readonly at: number; readonly skipped: string | undefined }
  /** Runs that do not take place: `count` of them, the first at `at` and the last at `until`. */
  | {
      readonly _tag: "Skipped"
      readonly at: number
      readonly until: number
      readonly count: number
      readonly reason: string
    }

/** How a series has ended: how many runs there were, how many of them failed, and how many did not take place. */
export interface Tally {
  readonly runs: number
  readonly failed: number
  readonly skipped: number
}

/** What is due while the run before goes on; see {@link SeriesOptions}. */
export type Overlap = "skip" | "queueOne" | "queueAll" | "cancelRunning" | "parallel"

/** Settings of what comes again and again. */
export interface SeriesOptions extends CallOptions {
  /**
   * What becomes of a run that is due while the one before goes on. `"skip"`: nothing. `"queueOne"`: it comes right
   * after, but only one may wait. `"queueAll"`: all wait. `"cancelRunning"`: the one before is cancelled, and it comes
   * when that has cleaned up. `"parallel"`: they run beside each other. Default `"skip"`.
   */
  readonly overlap?: Overlap | undefined
  /** How many runs there are at most. Default no limit. */
  readonly times?: number | undefined
  /** Nothing is due after this. Default never. */
  readonly until?: Time | undefined
  /** Each comes later by a random part of this, at most until the next. Default 0. */
  readonly jitter?: Duration.DurationInput | undefined
  /** For the jitter: the same seed gives the same delays. Default: one from Effect's `Random`. */
  readonly seed?: number | undefined
  /**
   * What becomes of runs that were missed: due more than {@link Options.recheck} ago, or more than one at a time,
   * because the machine slept, the clock was set or something blocked the loop. `"none"`: nothing. `"last"`: the last of
   * them runs at once. `"all"`: all do, as far as `overlap` lets them. Default `"none"`.
   */
  readonly catchUp?: "none" | "last" | "all" | undefined
  /** What was due longer ago than this is not caught up with. Default 1 day. */
  readonly window?: Duration.DurationInput | undefined
  /** Is told when the next run is due, and of those that do not take place. */
  readonly observe?: ((event: SeriesEvent) => Effect.Effect<void>) | undefined
}

/** Settings of `cron`. */
export interface CronOptions extends SeriesOptions {
  /** Whose clock it goes by. Default: that of the machine. */
  readonly zone?: DateTime.TimeZone | undefined
}

/** Settings of `every`. */
export interface EveryOptions extends CronOptions {
  /**
   * On full intervals of the wall clock in the zone, as `Cron.aligned` has them. Default false: counted from now, by the
   * monotonic clock.
   */
  readonly align?: boolean | undefined
}

/** What to run again and again: an effect, or one for each tick. */
export type Body<A, E, R> = Effect.Effect<A, E, R> | ((tick: Tick) => Effect.Effect<A, E, R>)

/** Settings of the service. */
export interface Options {
  /** Told of each callback that fails (asyncio: `loop.call_exception_handler`). Default: logs an error. */
  readonly report?: ((failure: TimerFailed) => Effect.Effect<void>) | undefined
  /**
   * How long the wall clock may have been set, or the machine asleep, before `callAt` takes notice. Default 1 minute.
   */
  readonly recheck?: Duration.DurationInput | undefined
}

// errors

/** A callback failed. For the report: nobody else is stopped by it. */
export class TimerFailed extends Data.TaggedError("TimerFailed")<{
  readonly timer: string
  readonly cause: Cause.Cause<unknown>
}> {
  override get message() {
    return `${this.timer} failed: ${Causes.headline(this.cause)}`
  }
}

// tag

/**
 * Effects that run later, in the scope of the service (asyncio: `loop.call_soon`, `call_later`, `call_at`).
 *
 * Each runs as a fiber of its own, with the services and FiberRefs of the one who asked, and never inline: what is due
 * already runs on the next turn. What is due at the same time is begun in order of request. Closing the service's
 * scope cancels the callbacks that are left and waits for the clean-up of those that run.
 */
export class Timers extends Context.Tag("effect-asyncio/services/Timers")<
  Timers,
  {
    /** On the next turn. */
    readonly callSoon: <A, E, R>(
      effect: Effect.Effect<A, E, R>,
      options?: CallOptions
    ) => Effect.Effect<Handle<A, E>, never, R>
    /** After a delay by the monotonic clock, of any length; zero and less is `callSoon`. */
    readonly callLater: <A, E, R>(
      delay: Duration.DurationInput,
      effect: Effect.Effect<A, E, R>,
      options?: CallOptions
    ) => Effect.Effect<Handle<A, E>, never, R>
    /**
     * {@link callLater} for code that is no effect: the callback of a library, or a loop that asks for very many. What it
     * runs has the FiberRefs of the fiber that calls this, or those of the service where no fiber does.
     */
    readonly unsafeCallLater: <A, E>(
      delay: Duration.DurationInput,
      effect: Effect.Effect<A, E>,
      options?: CallOptions
    ) => Handle<A, E>
    /** At a time by the wall clock, whose changes it follows; one that is past is `callSoon`. */
    readonly callAt: <A, E, R>(
      time: Time,
      effect: Effect.Effect<A, E, R>,
      options?: CallOptions
    ) => Effect.Effect<Handle<A, E>, never, R>
    /**
     * Every interval, first after one has passed. It is anchored: how long a run takes, and how late it begins, moves
     * none of those that follow. A run that fails is reported, and the others come nevertheless. Dies when the interval
     * is not more than zero.
     */
    readonly every: <A, E, R>(
      interval: Duration.DurationInput,
      body: Body<A, E, R>,
      options?: EveryOptions
    ) => Effect.Effect<Handle<Tally>, never, R>
    /**
     * At the times of a cron expression, by the rule of Debian's cron where the clock changes; see `Cron.parse` and
     * `Cron.next`. Fails when it cannot be read or never fires.
     */
    readonly cron: <A, E, R>(
      expression: string | Cron.Rule,
      body: Body<A, E, R>,
      options?: CronOptions
    ) => Effect.Effect<Handle<Tally>, Cron.InvalidCron, R>
  }
>() {}

// make

/**
 * What waits in a {@link Heap}: first by deadline, then by id.
 * @internal
 */
export interface Entry {
  readonly deadline: number
  readonly id: number
  /** Where it is, kept by the heap; -1 when it is in none. */
  place: number
}

const isBefore = (a: Entry, b: Entry) => a.deadline < b.deadline || (a.deadline === b.deadline && a.id < b.id)

/**
 * A binary heap that also gives up entries from its middle, so that what was cancelled takes no memory.
 * @internal
 */
export class Heap<T extends Entry> {
  readonly entries: Array<T> = []

  get first(): T | undefined {
    return this.entries[0]
  }

  add(entry: T): void {
    this.rise(entry, this.entries.length)
  }

  delete(entry: T): boolean {
    const at = entry.place
    if (at < 0) return false
    entry.place = -1
    const last = this.entries.pop()!
    if (last === entry) return true
    if (at > 0 && isBefore(last, this.entries[(at - 1) >> 1]!)) this.rise(last, at)
    else this.sink(last, at)
    return true
  }

  private rise(entry: T, from: number): void {
    let at = from
    while (at > 0) {
      const above = (at - 1) >> 1
      const parent = this.entries[above]!
      if (!isBefore(entry, parent)) break
      this.put(parent, at)
      at = above
    }
    this.put(entry, at)
  }

  private sink(entry: T, from: number): void {
    let at = from
    for (;;) {
      let below = 2 * at + 1
      if (below >= this.entries.length) break
      if (below + 1 < this.entries.length && isBefore(this.entries[below + 1]!, this.entries[below]!)) below++
      const child = this.entries[below]!
      if (!isBefore(child, entry)) break
      this.put(child, at)
      at = below
    }
    this.put(entry, at)
  }

  private put(entry: T, at: number): void {
    this.entries[at] = entry
    entry.place = at
  }
}

/**
 * A {@link Heap} for timers that mostly come in order, as those with one and the same delay do: who is due after all
 * others stands at the end of a line, which costs a tenth of a place in the heap.
 */
class Line<T extends Entry> {
  private readonly heap = new Heap<T>()
  /** In order, with a hole where one was taken out of the middle. Their place is below -1: -2 less their number. */
  private line: Array<T | undefined> = []
  private base = 0 // the number of the first in there
  private head = 0
  private holes = 0
  private last = Number.NEGATIVE_INFINITY

  get first(): T | undefined {
    const a = this.line[this.head]
    const b = this.heap.first
    return a === undefined || (b !== undefined && isBefore(b, a)) ? b : a
  }

  get entries(): ReadonlyArray<T> {
    return [...this.line.filter((entry) => entry !== undefined), ...this.heap.entries]
  }

  add(entry: T): void {
    if (this.head === this.line.length) this.clear()
    if (entry.deadline < this.last) this.heap.add(entry)
    else {
      this.last = entry.deadline
      entry.place = -2 - this.base - this.line.length
      this.line.push(entry)
    }
  }

  delete(entry: T): void {
    if (entry.place >= -1) {
      this.heap.delete(entry)
      return
    }
    const index = -2 - entry.place - this.base
    if (index < 0) return // it was taken with all others
    this.line[index] = undefined
    entry.place = -1
    if (index === this.head && this.holes === 0) this.head++
    else {
      this.holes++
      while (this.head < this.line.length && this.line[this.head] === undefined) {
        this.head++
        this.holes--
      }
    }
    if (this.head > 1024 && this.head * 2 > this.line.length) {
      this.line = this.line.slice(this.head)
      this.base += this.head
      this.head = 0
    }
    if (this.holes > 64 && this.holes * 2 > this.line.length - this.head) this.pack()
  }

  /** All, in order, when all are due by then and none was taken out; they keep places that are none any more. */
  takeAll(deadline: number): Array<T> | undefined {
    const { head, holes, last, line } = this
    if (head > 0 || holes > 0 || line.length === 0 || last > deadline || this.heap.first !== undefined) return
    this.clear()
    return line as Array<T>
  }

  private clear(): void {
    this.base += this.line.length
    this.line = []
    this.head = 0
    this.holes = 0
    this.last = Number.NEGATIVE_INFINITY
  }

  private pack(): void {
    const line: Array<T | undefined> = []
    this.base += this.line.length
    for (let i = this.head; i < this.line.length; i++) {
      const entry = this.line[i]
      if (entry === undefined) continue
      entry.place = -2 - this.base - line.length
      line.push(entry)
    }
    this.line = line
    this.head = 0
    this.holes = 0
  }
}

/** What `setTimeout`, and so `Effect.sleep`, can wait for at once: 2^31-1 ms; beyond, it never wakes. */
const longest = 2 ** 31 - 1

/** So many callbacks are begun before I/O and other timers have a turn; one that was asked for as it was due counts more. */
const startsPerTurn = 2048
const turnCost = 32

// What is in the heaps.
interface Due extends Entry {
  /** Whether the deadline is one of the wall clock. */
  readonly byWall: boolean
  /** It is due, and out of its heap. */
  readonly unsafeFire: () => void
  readonly unsafeCancel: (cancellation: Cancellation.Cancellation) => void
}

// The part of the service that its handles know.
interface Host {
  readonly launch: (call: Call<any, any>) => void
  readonly nextId: () => number
  readonly add: (due: Due) => void
  readonly withdraw: (due: Due) => void
  readonly monotonic: () => number
  readonly wall: () => number
  readonly ended: (series: Series) => void
  /** Runs it beside everything else, with these FiberRefs. */
  readonly tell: (effect: Effect.Effect<void>, fiberRefs: FiberRefs.FiberRefs) => void
  /** In milliseconds. */
  readonly recheck: number
}

// A fiber that runs callbacks, and the one that it runs; or it sleeps until the first deadline.
interface Worker {
  call: Call<any, any> | undefined
  fiber: Fiber.RuntimeFiber<void> | undefined
}

// What few of very many calls have: kept apart, because each word of a call is moved twice before it is old.
class Rare {
  request: Cancellation.Cancellation | undefined
  listeners: Set<() => void> | undefined
  /** The fiber that runs it, for as long as it does, if it is more than one plain function. */
  fiber: Fiber.RuntimeFiber<any, any> | undefined

  constructor(readonly name: string | undefined) {}
}

// What is the same for all that one fiber asks for.
interface Asker {
  readonly host: Host
  readonly fiberRefs: FiberRefs.FiberRefs
  readonly byWall: boolean
}

// What both kinds of handle are: somebody may wait for its end, or cancel it.
abstract class Pending<A, E> {
  exit: Exit.Exit<A, E> | undefined
  protected rare: Rare | undefined

  constructor(name: string | undefined) {
    this.rare = name === undefined ? undefined : new Rare(name)
  }

  get request(): Cancellation.Cancellation | undefined {
    return this.rare?.request
  }

  protected requestIfFirst(cancellation: Cancellation.Cancellation): void {
    this.rare ??= new Rare(undefined)
    this.rare.request ??= cancellation
  }

  onEnd(listener: () => void): void {
    this.rare ??= new Rare(undefined)
    this.rare.listeners ??= new Set()
    this.rare.listeners.add(listener)
  }

  abstract unsafeCancel(cancellation: Cancellation.Cancellation): void
  /** Whether it is this fiber that runs it. */
  abstract isRunBy(fiber: unknown): boolean

  unsafeEnd(exit: Exit.Exit<A, E>): void {
    this.exit = exit
    if (this.rare?.listeners === undefined) return
    for (const listener of this.rare.listeners) listener()
    this.rare.listeners = undefined
  }

  get cancelled() {
    return Effect.sync(() => this.request !== undefined)
  }

  get await(): Effect.Effect<Exit.Exit<A, E>> {
    return Effect.async((resume) => {
      if (this.exit !== undefined) return resume(Effect.succeed(this.exit))
      const listener = () => resume(Effect.succeed(this.exit!))
      this.onEnd(listener)
      return Effect.sync(() => this.rare?.listeners?.delete(listener))
    })
  }

  cancel(reason: string, options?: { readonly origin?: string }): Effect.Effect<void> {
    return Effect.withFiberRuntime((fiber) => {
      const task = fiber.getFiberRef(TaskGroup.currentTask)
      // Once it has been cancelled, it is not known any more who runs it.
      const itself = this.isRunBy(fiber)
      this.unsafeCancel({
        reason,
        origin: options?.origin ?? (Option.isSome(task) ? task.value.name : "timers")
      })
      // A callback that cancels itself cannot wait for its own end.
      return itself ? Effect.void : Effect.asVoid(this.await)
    })
  }
}

class Call<A, E> extends Pending<A, E> implements Handle<A, E>, Due {
  place = -1

  constructor(
    readonly asker: Asker,
    readonly id: number,
    name: string | undefined,
    readonly effect: Effect.Effect<A, E>,
    readonly deadline: number
  ) {
    super(name)
  }

  get byWall(): boolean {
    return this.asker.byWall
  }

  get when(): number {
    const { byWall, host } = this.asker
    return byWall ? this.deadline : Math.round(host.wall() + this.deadline - host.monotonic())
  }

  get name(): string {
    return this.rare?.name ?? `timer ${this.id}`
  }

  unsafeFire(): void {
    this.asker.host.launch(this)
  }

  unsafeBegin(fiber: Fiber.RuntimeFiber<any, any>): void {
    this.rare ??= new Rare(undefined)
    this.rare.fiber = fiber
  }

  override unsafeEnd(exit: Exit.Exit<A, E>): void {
    if (this.rare !== undefined) this.rare.fiber = undefined
    super.unsafeEnd(exit)
  }

  isRunBy(fiber: unknown): boolean {
    return (this.rare?.fiber as unknown) === fiber
  }

  unsafeCancel(cancellation: Cancellation.Cancellation): void {
    if (this.exit !== undefined) return
    this.requestIfFirst(cancellation)
    const by = Cancellation.toFiberId(cancellation)
    const fiber = this.rare?.fiber
    if (fiber !== undefined) {
      fiber.unsafeInterruptAsFork(by)
      return
    }
    this.asker.host.withdraw(this)
    this.unsafeEnd(Exit.failCause(Cause.interrupt(by)))
  }
}

/** The times of a series, by one of the two clocks. */
interface Plan {
  readonly byWall: boolean
  /** Whether it keeps to times of day when the wall clock is put back. */
  readonly fixed: boolean
  readonly after: (time: number) => { readonly at: number; readonly skipped?: string | undefined } | undefined
  /** How many there are after the first time and until the second. */
  readonly count: (time: number, until: number) => number
}

interface Planned {
  /** By the clock of the plan, without jitter. */
  readonly time: number
  /** Milliseconds since the epoch. */
  readonly at: number
  readonly skipped: string | undefined
  /** By the clock of the plan, with the jitter. */
  readonly deadline: number
}

class Series extends Pending<Tally, never> implements Handle<Tally>, Due {
  place = -1
  id = 0
  deadline = Number.POSITIVE_INFINITY
  readonly byWall: boolean
  private readonly asker: Asker
  private next: Planned | undefined
  private readonly active = new Set<Call<any, any>>()
  private queue: Array<Tick> = []
  private accepted = 0
  private readonly tally = { runs: 0, failed: 0, skipped: 0 }
  private readonly overlap: Overlap
  private readonly times: number
  private readonly until: number
  private readonly jitter: number
  private readonly window: number
  private readonly random: Utils.PCGRandom

  constructor(
    readonly host: Host,
    readonly plan: Plan,
    readonly body: Body<any, any, never>,
    readonly options: SeriesOptions,
    seed: number,
    readonly fiberRefs: FiberRefs.FiberRefs
  ) {
    super(options.name ?? `timer ${host.nextId()}`)
    this.byWall = plan.byWall
    this.asker = { host, fiberRefs, byWall: plan.byWall }
    checkOptions(options, { times: anyCount, jitter: time, seed: anyNumber, window: time })
    if (options.until !== undefined)
      checkedNumber("until", epochOf(options.until), { ...anyNumber, infinite: true })
    this.overlap = options.overlap ?? "skip"
    this.times = options.times ?? Number.POSITIVE_INFINITY
    this.until = options.until === undefined ? Number.POSITIVE_INFINITY : epochOf(options.until)
    this.jitter = Duration.toMillis(options.jitter ?? 0)
    this.window = Duration.toMillis(options.window ?? "1 day")
    this.random = new Utils.PCGRandom(options.seed ?? seed)
    this.schedule(this.planned(this.now()))
    this.settle()
  }

  get name(): string {
    return this.rare!.name!
  }

  get when(): number {
    return this.next?.at ?? Number.POSITIVE_INFINITY
  }

  isRunBy(fiber: unknown): boolean {
    for (const call of this.active) if (call.isRunBy(fiber)) return true
    return false
  }

  private now(): number {
    return this.byWall ? this.host.wall() : this.host.monotonic()
  }

  private tell(event: SeriesEvent): void {
    const { observe } = this.options
    if (observe === undefined) return
    const observed = Effect.catchAllCause(
      Effect.suspend(() => observe(event)),
      (cause) => Effect.logError(`observe of ${this.name} failed`, cause)
    )
    this.host.tell(observed, this.fiberRefs)
  }

  private planned(after: number): Planned | undefined {
    return this.placed(this.plan.after(after))
  }

  private placed(found: ReturnType<Plan["after"]>): Planned | undefined {
    if (found === undefined) return undefined
    const { at: time, skipped } = found
    const at = this.byWall ? time : Math.round(this.host.wall() + time - this.host.monotonic())
    if (at > this.until) return undefined
    let deadline = time
    if (this.jitter > 0) {
      const following = this.plan.after(time)?.at ?? Number.POSITIVE_INFINITY
      deadline += Math.floor(this.random.number() * Math.min(this.jitter, following - time))
    }
    return { time, at, skipped, deadline }
  }

  private schedule(next: Planned | undefined): void {
    this.next = this.accepted < this.times && this.request === undefined ? next : undefined
    if (this.next === undefined) return
    const { at, deadline, skipped } = this.next
    this.deadline = deadline
    this.id = this.host.nextId()
    this.host.add(this)
    this.tell({ _tag: "Scheduled", at, skipped })
  }

  private between(start: number, end: number): Array<Planned> {
    const found: Array<Planned> = []
    for (let one = this.planned(start); one !== undefined && one.time <= end; one = this.planned(one.time)) {
      found.push(one)
    }
    return found
  }

  /** The last ones from then until the end, so many at least if there are; a month of seconds is not walked through. */
  private lastOnes(start: number, end: number, count: number): Array<Planned> {
    for (let span = this.host.recheck; ; span *= 8) {
      const from = Math.max(start, end - span)
      const found = this.between(from, end)
      if (found.length >= count || from === start) return found
    }
  }

  /** What else is due by now. Of what will be missed, the last is enough: the newest may go on waiting, or run. */
  private overdue(first: number, now: number): Array<Planned> {
    const begin = now - Math.max(this.window, this.host.recheck)
    if (this.options.catchUp !== "all") return this.lastOnes(first, now, 3)
    return [
      ...(begin > first ? this.lastOnes(first, begin, 1).slice(-1) : []),
      ...this.between(Math.max(first, begin), now)
    ]
  }

  unsafeFire(): void {
    const { catchUp = "none" } = this.options
    const { recheck } = this.host
    const now = this.now()
    const first = this.next!
    const following = this.plan.after(first.time)
    const onTime = following === undefined || following.at > now
    const due = onTime ? [first] : [first, ...this.overdue(first.time, now)]
    const newest = due.at(-1)!
    // It may have its jitter still before it.
    const next = onTime
      ? this.placed(following)
      : newest.deadline > now
        ? due.pop()
        : this.planned(newest.time)
    const last = due.at(-1)
    const isMissed = (one: Planned) => {
      const late = now - one.deadline
      if (catchUp === "none") return one !== last || late > recheck
      return (catchUp === "last" && one !== last) || late > Math.max(this.window, recheck)
    }
    const missed = due.filter(isMissed)
    if (missed.length > 0) {
      // They follow each other, and those in the middle need not be among them.
      const [from, until] = [missed[0]!, missed.at(-1)!]
      const count = from === until ? 1 : 1 + this.plan.count(from.time, until.time)
      this.skip(from.at, "its time was missed", until.at, count)
    }
    this.next = undefined
    for (const one of due) if (!isMissed(one) && this.accepted < this.times) this.accept(one)
    this.schedule(next)
    this.settle()
  }

  /** The wall clock was put back: what follows real time does so from here. */
  unsafeReplan(): void {
    if (this.plan.fixed || this.place === -1) return
    this.host.withdraw(this)
    this.schedule(this.planned(this.now()))
    this.settle()
  }

  private accept({ at, skipped }: Planned): void {
    const { overlap } = this
    const tick: Tick = { run: this.accepted + 1, at, skipped }
    if (overlap === "parallel" || (this.active.size === 0 && this.queue.length === 0)) {
      this.accepted++
      this.start(tick)
    } else if (overlap === "skip") {
      this.skip(at, "the run before is still going on")
    } else if (overlap === "queueOne" && this.queue.length > 0) {
      this.skip(at, "another run is waiting already")
    } else if (overlap !== "cancelRunning") {
      this.accepted++
      this.queue.push(tick)
    } else {
      const [waiting] = this.queue
      if (waiting === undefined) this.accepted++
      else this.skip(waiting.at, "the next run is due")
      this.queue = [{ ...tick, run: waiting?.run ?? tick.run }]
      for (const call of this.active) call.unsafeCancel({ reason: "the next run is due", origin: this.name })
    }
  }

  private skip(at: number, reason: string, until = at, count = 1): void {
    this.tally.skipped += count
    this.tell({ _tag: "Skipped", at, until, count, reason })
  }

  private start(tick: Tick): void {
    this.tally.runs++
    const call = new Call<any, any>(
      this.asker,
      this.host.nextId(),
      `${this.name}, run ${tick.run}`,
      bodyOf(this.body, tick),
      this.now()
    )
    this.active.add(call)
    call.onEnd(() => {
      this.active.delete(call)
      if (Exit.isFailure(call.exit!) && !Cause.isInterruptedOnly(call.exit.cause)) this.tally.failed++
      const next = this.active.size === 0 ? this.queue.shift() : undefined
      if (next === undefined) this.settle()
      else this.start(next)
    })
    this.host.launch(call)
  }

  unsafeCancel(cancellation: Cancellation.Cancellation): void {
    if (this.exit !== undefined) return
    this.requestIfFirst(cancellation)
    this.next = undefined
    this.queue = []
    this.host.withdraw(this)
    for (const call of this.active) call.unsafeCancel(cancellation)
    this.settle()
  }

  /** Ends it when nothing more can come. */
  private settle(): void {
    if (this.exit !== undefined || this.next !== undefined || this.active.size > 0) return
    const { request } = this
    this.unsafeEnd(
      request === undefined
        ? Exit.succeed({ ...this.tally })
        : Exit.failCause(Cause.interrupt(Cancellation.toFiberId(request)))
    )
    this.host.ended(this)
  }
}

// A tag is an effect and a function.
const bodyOf = <A, E>(body: Body<A, E, never>, tick: Tick): Effect.Effect<A, E> =>
  Effect.isEffect(body) || typeof body !== "function" ? body : Effect.suspend(() => body(tick))

const epochOf = (time: Time): number =>
  typeof time === "number" ? time : time instanceof Date ? time.getTime() : time.epochMillis

/** Opens the service in the current scope. See {@link layer}. */
export const make = (options: Options = {}): Effect.Effect<Timers["Type"], never, Scope.Scope> =>
  Effect.gen(function* () {
    const clock = yield* Effect.clock
    const runtime = yield* Effect.runtime()
    const report =
      options.report ?? ((failure: TimerFailed) => Effect.logError(failure.message, failure.cause))
    const recheck = Math.max(1, Duration.toMillis(checkedDuration("recheck", options.recheck ?? "1 minute")))

    // Milliseconds since here: small numbers keep fractions of a microsecond, those since the epoch do not.
    // The live clock's nanoseconds are three new objects at each look.
    const [origin, begun] = [clock.unsafeCurrentTimeNanos(), performance.now()]
    const isLive = clock === Context.get(DefaultServices.liveServices, Clock.Clock)
    const virtual = clock as { readonly unsafeElapsed?: () => number }
    const monotonic = isLive
      ? () => performance.now() - begun
      : virtual.unsafeElapsed !== undefined
        ? () => virtual.unsafeElapsed!()
        : () => Number(clock.unsafeCurrentTimeNanos() - origin) / 1e6
    const wall = () => clock.unsafeCurrentTimeMillis()
    const runtimeOf = (fiberRefs: FiberRefs.FiberRefs) => {
      const context = Option.getOrThrow(FiberRefs.get(fiberRefs, FiberRef.currentContext))
      return Runtime.make({ context, fiberRefs, runtimeFlags: runtime.runtimeFlags })
    }
    const later = new Line<Due>() // by the monotonic clock
    const at = new Line<Due>() // by the wall clock
    const series = new Set<Series>()
    let calls = 0
    let closing: Cancellation.Cancellation | undefined
    let whenIdle: (() => void) | undefined

    // For how many milliseconds it has still to wait.
    const waitOf = (due: Due) => due.deadline - (due.byWall ? wall() : monotonic())
    // The first of both heaps.
    const first = (): Due | undefined => {
      const a = later.first
      const b = at.first
      if (a === undefined || b === undefined) return a ?? b
      const waitA = waitOf(a)
      const waitB = waitOf(b)
      return waitA < waitB || (waitA === waitB && a.id < b.id) ? a : b
    }

    // What is due waits here for a fiber. One fiber runs one callback after the other, bare, and another is made only
    // when all others wait: a fiber for each costs ten times as much (`npm run bench -- timers`). Each is a task
    // of its own nevertheless: FiberRefs, children, failure and cancellation are its own.
    let ready: Array<Call<any, any>> = []
    let taken = 0
    let live = 0 // callbacks in there or running
    let draining = false
    let started = 0 // since I/O had a turn
    const workers = new Set<Worker>()
    const scheduler = FiberRefs.getOrDefault(runtime.fiberRefs, FiberRef.currentScheduler)

    const launch = (call: Call<any, any>) => {
      if (closing !== undefined) return call.unsafeCancel(closing)
      live++
      ready.push(call)
      if (!awake) drainSoon()
    }
    const drainSoon = () => {
      if (draining) return
      draining = true
      scheduler.scheduleTask(drain, 0)
    }
    const drain = () => {
      while (taken < ready.length && started < startsPerTurn) startWorker()
      if (taken < ready.length) setImmediate(drainAnew)
      else draining = false
    }
    const drainAnew = () => {
      started = 0
      drain()
    }
    const take = (): Call<any, any> | undefined => {
      while (taken < ready.length && started < startsPerTurn) {
        started++
        const call = ready[taken++]!
        if (taken === ready.length) {
          ready = []
          taken = 0
        }
        if (call.exit === undefined) return call
        ended() // it was cancelled meanwhile
      }
      return undefined
    }
    const ended = () => {
      live--
      if (live === 0) whenIdle?.()
    }
    const told = (call: Call<any, any>, cause: Cause.Cause<unknown>): Effect.Effect<void> =>
      Cause.isInterruptedOnly(cause)
        ? Effect.void
        : Effect.uninterruptible(
            Effect.catchAllCause(
              Effect.suspend(() => report(new TimerFailed({ timer: call.name, cause }))),
              (broken) =>
                Effect.logError(`the report of ${call.name} failed`, Cause.sequential(cause, broken))
            )
          )

    const startWorker = (begin?: Effect.Effect<void>) => {
      const worker: Worker = { call: undefined, fiber: undefined }
      let nap = begin // while it sleeps
      let outcome: Exit.Exit<any, any> | undefined // of the callback, while its children and its report are waited for
      let retired = false
      const finish = (exit: Exit.Exit<any, any>) => {
        const call = worker.call!
        worker.call = undefined
        outcome = undefined
        // An interruption that comes too late for this one must not meet the next.
        if (call.request !== undefined || FiberRuntime.hasMessages(worker.fiber!)) retired = true
        // A plain function may have cancelled itself, through a fiber of its own.
        if (call.exit === undefined) call.unsafeEnd(exit)
        ended()
      }
      const work = Effect.withFiberRuntime<void>((fiber) => {
        const own = FiberRuntime.refsOf(fiber)
        const flags = FiberRuntime.flagsOf(fiber)
        worker.fiber = fiber
        if (nap !== undefined) asleep = worker
        let current: Effect.Effect<unknown, unknown> = nap ?? Effect.void
        const next = () => {
          if (outcome !== undefined || nap !== undefined) return true
          if (retired) return false
          const call = take()
          if (call === undefined) {
            nap = asleep === undefined ? pause() : undefined
            if (nap === undefined) return false
            asleep = worker
            current = nap
            if (FiberRuntime.refsOf(fiber) !== own) FiberRuntime.setRefs(fiber, own)
            return true
          }
          worker.call = call
          const { fiberRefs } = call.asker
          if (FiberRuntime.refsOf(fiber) !== fiberRefs) FiberRuntime.setRefs(fiber, fiberRefs)
          // Or else it would give way between one and the next, and the next fiber begin out of order.
          FiberRuntime.resetOpCount(fiber)
          FiberRuntime.setFlags(fiber, flags)
          current = call.effect
          return true
        }
        // What needs no interpreter is run here, in half of the time: it can neither fork nor be cancelled.
        const nextThatWaits = () => {
          while (next()) {
            if (outcome !== undefined || nap !== undefined) return true
            const compute = FiberRuntime.thunkOf(current)
            if (compute === undefined) {
              worker.call!.unsafeBegin(fiber)
              return true
            }
            let value: unknown
            try {
              value = compute()
            } catch (error) {
              current = Effect.die(error)
              return true
            }
            finish(exitOf(value))
          }
          return false
        }
        const exitOf = (value: unknown) => (value === undefined ? Exit.void : Exit.succeed(value))
        const step = (value: unknown) => {
          if (nap !== undefined) {
            nap = undefined
            if (asleep === worker) wakeUp()
            else retired = true
            return
          }
          if (outcome !== undefined) return finish(outcome)
          const children = FiberRuntime.interruptChildren(fiber)
          if (children === null) return finish(exitOf(value))
          outcome = exitOf(value)
          current = children
        }
        // A handler around each would cost as much as the rest: a success is what the loop's step is given, and a
        // failure ends the loop, which then starts again.
        const loop: Effect.Effect<void> = Effect.matchCauseEffect(
          Effect.whileLoop({ while: nextThatWaits, body: () => current, step }),
          {
            onSuccess: () => Effect.void,
            onFailure: (cause) => {
              if (worker.call === undefined) return Effect.failCause(cause as Cause.Cause<never>)
              if (outcome === undefined) {
                outcome = Exit.failCause(cause)
                current = Effect.zipRight(
                  told(worker.call, cause),
                  Effect.suspend(() => FiberRuntime.interruptChildren(fiber) ?? Effect.void)
                )
              } else finish(outcome)
              return loop
            }
          }
        )
        return loop
      })
      workers.add(worker)
      // It runs as far as it can at once.
      const fiber = Runtime.runFork(runtime, work)
      fiber.addObserver((exit) => {
        workers.delete(worker)
        const { call } = worker
        // Only an interruption ends it in the middle of a callback.
        if (call !== undefined) {
          const cause = Exit.isFailure(exit) ? exit.cause : Cause.empty
          const end = () => finish(outcome ?? Exit.failCause(cause))
          if (outcome !== undefined || Cause.isInterruptedOnly(cause)) end()
          else Runtime.runFork(runtimeOf(call.asker.fiberRefs), told(call, cause)).addObserver(end)
        }
        if (asleep === worker) {
          // Interrupted from outside, by one that had its fiber from a callback: another has to sleep.
          asleep = undefined
          stale = true
          if (closing === undefined) arm()
        }
        if (taken < ready.length) drainSoon()
      })
    }

    // One fiber sleeps until the first deadline; when another call comes first, it is replaced. It runs what is due
    // itself and sleeps again: a fiber for each would be most of what a tick costs. If it is held up by what it runs,
    // another sleeps in its place.
    let asleep: Worker | undefined
    let aim: Due | undefined // what it sleeps for
    let stale = false // whether it sleeps for something else
    let firing = false
    let awake = false // it has been woken, and may still sleep again

    const arm = () => {
      if (firing || awake) return
      if (first() === aim && !stale) return
      asleep?.fiber?.unsafeInterruptAsFork(FiberId.none)
      asleep = undefined
      const nap = pause()
      if (nap !== undefined) startWorker(nap)
    }

    // Until the first deadline, if there is one.
    const pause = (): Effect.Effect<void> | undefined => {
      stale = false
      aim = first()
      if (aim === undefined || aim.deadline === Number.POSITIVE_INFINITY) return undefined
      const rechecks = at.first !== undefined && at.first.deadline < Number.POSITIVE_INFINITY
      // Whole milliseconds, because setTimeout cuts off the rest.
      const ms = Math.min(Math.max(0, Math.ceil(waitOf(aim))), rechecks ? recheck : longest, longest)
      const sleeps = clock.sleep(Duration.millis(ms))
      // TestClock's zero is no turn.
      return ms === 0 ? Effect.zipRight(Effect.yieldNow(), sleeps) : sleeps
    }

    const wakeUp = () => {
      asleep = undefined
      aim = undefined
      started = 0
      awake = true
      scheduler.scheduleTask(settle, 0)
      lookAtWall()
      run()
    }

    // What was woken has ended, sleeps again or is held up.
    const settle = () => {
      awake = false
      if (taken < ready.length) drainSoon()
      arm()
    }

    // How far the wall clock is ahead of the monotonic one: less than before when somebody has put it back.
    let ahead = wall() - monotonic()
    const lookAtWall = () => {
      const now = wall() - monotonic()
      const back = ahead - now > 1000
      ahead = now
      if (back) for (const one of series) if (one.byWall) one.unsafeReplan()
    }

    const run = () => {
      firing = true
      // One look at the clocks for all that is due by now, as asyncio does it.
      const now = monotonic()
      const today = wall()
      // Of calls alone that are all due, none need be looked at: a third of the time of very many.
      if (series.size === 0 && at.first === undefined && taken === ready.length && closing === undefined) {
        const all = later.takeAll(now) as Array<Call<any, any>> | undefined
        if (all !== undefined) {
          ready = all
          taken = 0
          live += all.length
          if (!awake) drainSoon()
        }
      }
      for (;;) {
        const a = later.first
        const b = at.first
        const waitA = a === undefined ? Number.POSITIVE_INFINITY : a.deadline - now
        const waitB = b === undefined ? Number.POSITIVE_INFINITY : b.deadline - today
        if (waitA > 0 && waitB > 0) break
        const isA = waitA < waitB || (waitA === waitB && a!.id < b!.id)
        const due = isA ? a! : b!
        lineOf(due).delete(due)
        due.unsafeFire()
      }
      firing = false
      arm()
    }

    const lineOf = (due: Due) => (due.byWall ? at : later)
    const host: Host = {
      launch,
      monotonic,
      wall,
      recheck,
      nextId: () => ++calls,
      add: (due) => {
        const line = lineOf(due)
        line.add(due)
        if (line.first !== due) return
        // The first by the wall clock matters even behind others: it asks for rechecks.
        if (due.byWall) stale = true
        arm()
      },
      withdraw: (due) => {
        lineOf(due).delete(due)
        // Or else a clock that jumps from deadline to deadline would stop at one that is no more.
        if (due === aim && closing === undefined) arm()
      },
      ended: (ended) => series.delete(ended),
      tell: (effect, fiberRefs) => {
        Runtime.runFork(runtimeOf(fiberRefs), effect)
      }
    }

    let asker: Asker = { host, fiberRefs: runtime.fiberRefs, byWall: false }
    const request = <A, E>(
      effect: Effect.Effect<A, E>,
      byWall: boolean,
      wait: number,
      callOptions: CallOptions | undefined
    ): Call<A, E> => {
      const fiber = FiberRuntime.currentFiber()
      // To the nanosecond, so that 0.1 + 0.2 and 0.3 are one deadline.
      const deadline = byWall ? wall() + wait : Math.round((monotonic() + wait) * 1e6) / 1e6
      const fiberRefs = fiber === undefined ? runtime.fiberRefs : FiberRuntime.refsOf(fiber)
      // Mostly it is who asked before.
      if (asker.fiberRefs !== fiberRefs || asker.byWall !== byWall) asker = { host, fiberRefs, byWall }
      const call = new Call<A, E>(asker, ++calls, callOptions?.name, effect, deadline)
      if (closing !== undefined) call.unsafeCancel(closing)
      else if (wait > 0) host.add(call)
      else {
        lineOf(call).add(call)
        started += turnCost - 1
        run()
      }
      return call
    }

    yield* Effect.addFinalizer((exit) =>
      Effect.suspend(() => {
        closing = Cancellation.fromExit(exit)[0] ?? { reason: "the timers were closed", origin: "timers" }
        const sleeper = asleep?.fiber
        for (const one of [...series, ...later.entries, ...at.entries, ...ready.slice(taken)]) {
          one.unsafeCancel(closing)
        }
        for (const { call } of workers) call?.unsafeCancel(closing)
        arm()
        const idle = Effect.async<void>((resume) => {
          whenIdle = () => resume(Effect.void)
          if (live === 0) whenIdle()
        })
        return Effect.zipRight(idle, sleeper === undefined ? Effect.void : Fiber.await(sleeper))
      })
    )

    const begin = <A, E, R>(plan: Plan, body: Body<A, E, R>, seriesOptions: SeriesOptions = {}) =>
      Effect.flatMap(Random.nextInt, (seed) =>
        Effect.withFiberRuntime<Handle<Tally>, never, R>((fiber) => {
          // What it requires is in the FiberRefs.
          const each = body as Body<A, E, never>
          const made = new Series(host, plan, each, seriesOptions, seed, FiberRuntime.refsOf(fiber))
          if (closing !== undefined) made.unsafeCancel(closing)
          else if (made.exit === undefined) series.add(made)
          return Effect.succeed(made)
        })
      )
    const byRule = (rule: Cron.Rule, zone: DateTime.TimeZone = CivilTime.local()): Plan => ({
      byWall: true,
      fixed: rule.fixed,
      after: (after) => Cron.next(rule, { after, zone }),
      count: (after, until) => Cron.count(rule, { after, until, zone })
    })
    const anchored = (interval: number): Plan => {
      const anchor = monotonic()
      return {
        byWall: false,
        fixed: true,
        after: (time) => {
          // A little more, because what is rounded to the nanosecond may be before its place.
          const passed = Math.floor((time - anchor) / interval + 1e-9)
          return { at: Math.round((anchor + (passed + 1) * interval) * 1e6) / 1e6 }
        },
        count: (time, until) => Math.round((until - time) / interval)
      }
    }

    const unsafeCallLater: Timers["Type"]["unsafeCallLater"] = (delay, effect, callOptions) => {
      // Less than zero is at once.
      const wait =
        typeof delay === "number" && delay > 0
          ? delay
          : Duration.toMillis(checkedDuration("delay", delay, anyTime))
      return request(effect, false, Math.max(0, wait), callOptions)
    }
    // What it requires is in the FiberRefs.
    const callLater: Timers["Type"]["callLater"] = (delay, effect, callOptions) =>
      Effect.sync(() => unsafeCallLater(delay, effect as Effect.Effect<any, any>, callOptions))
    return Timers.of({
      callSoon: (effect, callOptions) => callLater(0, effect, callOptions),
      callLater,
      unsafeCallLater,
      callAt: (time, effect, callOptions) =>
        Effect.suspend(() => {
          const wait = epochOf(time) - wall()
          return Number.isNaN(wait)
            ? Effect.dieMessage("callAt: the time is not a number; give milliseconds or a valid Date")
            : Effect.succeed(
                request(effect as Effect.Effect<any, any>, wait > 0, Math.max(0, wait), callOptions)
              )
        }),
      every: (interval, body, everyOptions = {}) =>
        Effect.suspend(() => {
          const ms = Duration.toMillis(checkedDuration("interval", interval, someTime))
          const plan =
            everyOptions.align === true ? byRule(Cron.aligned(ms), everyOptions.zone) : anchored(ms)
          return begin(plan, body, everyOptions)
        }),
      cron: (expression, body, cronOptions = {}) =>
        Effect.suspend(() => {
          const parsed =
            typeof expression === "string" ? Cron.parse(expression) : Either.right<Cron.Rule>(expression)
          return Either.isLeft(parsed)
            ? Effect.fail(new Cron.InvalidCron({ message: parsed.left }))
            : begin(byRule(parsed.right, cronOptions.zone), body, cronOptions)
        })
    })
  })

// layers

/**
 * The service for as long as the layer's scope. It takes the clock that is current when the layer is built.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import * as Timers from "effect-asyncio/services/Timers"
 *
 * export const program = Effect.gen(function* () {
 *   const timers = yield* Timers.Timers
 *   const handle = yield* timers.callLater("5 seconds", Effect.log("five seconds later"), { name: "reminder" })
 *   yield* handle.cancel("nobody is here any more")
 * }).pipe(Effect.provide(Timers.layer))
 * ```
 */
export const layer: Layer.Layer<Timers> = Layer.scoped(Timers, make())

/** {@link layer} with settings. */
export const layerWith = (options: Options): Layer.Layer<Timers> => Layer.scoped(Timers, make(options))

// waiting

/**
 * `Effect.sleep` without its limits: it also wakes from delays beyond 2^31-1 ms, and one of zero or less takes a turn on
 * every clock, so that a loop around it starves nobody. Needs no service but the clock.
 */
export const sleep = (duration: Duration.DurationInput): Effect.Effect<void> => {
  if (typeof duration !== "number" || Number.isNaN(duration)) {
    return Effect.suspend(() => sleep(Duration.toMillis(checkedDuration("duration", duration, anyTime))))
  }
  const ms = duration
  if (ms <= 0) return Effect.zipRight(Effect.yieldNow(), Effect.sleep(0))
  if (ms === Number.POSITIVE_INFINITY) return Effect.never
  return ms <= longest
    ? Effect.sleep(ms)
    : Effect.zipRight(
        Effect.sleep(longest),
        Effect.suspend(() => sleep(ms - longest))
      )
}
