import type { Cancellation } from "../../task/Cancellation.js"
import type { Entry } from "./deadlineQueue.js"

// A series of runs: when the next one is due, and the policies for overlapping and missed runs. A state machine over the
// times of a plan: it uses neither fibers nor clocks, only its host.

/**
 * One time of a series.
 *
 * @since 0.1.0
 * @category models
 */
export interface Tick {
  /** The number of the run, from 1. */
  readonly run: number
  /** When it was due, without its jitter; milliseconds since the epoch. */
  readonly at: number
  /** The time of day of the rule, if a clock change skips it. */
  readonly skipped: string | undefined
}

/**
 * An event of a series, other than the runs themselves.
 *
 * @since 0.1.0
 * @category events
 */
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

/**
 * The result of a series: how many runs there were, how many of them failed, and how many did not take place.
 *
 * @since 0.1.0
 * @category models
 */
export interface Tally {
  readonly runs: number
  readonly failed: number
  readonly skipped: number
}

/**
 * The policy for a run that is due while the previous one still runs.
 *
 * @since 0.1.0
 * @category models
 */
export type Overlap = "skip" | "queueOne" | "queueAll" | "cancelRunning" | "parallel"

/** The times of a series, by one of the two clocks. */
export interface Plan {
  readonly byWall: boolean
  /** Whether it keeps times of day when the wall clock is set back. */
  readonly fixed: boolean
  readonly after: (time: number) => { readonly at: number; readonly skipped?: string | undefined } | undefined
  /** The number of times after `time` and until `until`. */
  readonly count: (time: number, until: number) => number
}

/** Its settings; durations are milliseconds, as is `until`, since the epoch. */
export interface Settings {
  /** The origin of its cancellations. */
  readonly name: string
  readonly overlap: Overlap
  /** Whether the first run is due at once. */
  readonly now: boolean
  readonly times: number
  readonly until: number
  readonly jitter: number
  readonly catchUp: "none" | "last" | "all"
  readonly window: number
  /** A run that was due longer ago than this is missed. */
  readonly recheck: number
  /** For the jitter: from 0 to less than 1. */
  readonly random: () => number
}

/** One run, as the series sees it. */
export interface Run {
  /** Once it has ended: whether it failed and was not cancelled. */
  readonly failed: boolean
  onEnd(listener: () => void): void
  unsafeCancel(cancellation: Cancellation): void
}

/** The actions of a series. */
export interface Host<R extends Run> {
  readonly monotonic: () => number
  readonly wall: () => number
  readonly nextId: () => number
  /** Fires it at its deadline, by the clock of its plan. */
  readonly add: (series: Series<R>) => void
  readonly withdraw: (series: Series<R>) => void
  readonly runOf: (tick: Tick) => R
  readonly launch: (run: R) => void
  readonly tell: (event: SeriesEvent) => void
  /** Called at the end of the series. */
  readonly ended: (tally: Tally) => void
}

/** A time of a series that has been planned. */
export interface Planned {
  /** By the clock of the plan, without jitter. */
  readonly time: number
  /** Milliseconds since the epoch. */
  readonly at: number
  readonly skipped: string | undefined
  /** By the clock of the plan, with the jitter. */
  readonly deadline: number
}

/** What a series has come to, for one that continues another: see `DueRuns`. */
export interface Restored<R> {
  readonly next: Planned | undefined
  /** How many runs have been started or wait. */
  readonly accepted: number
  readonly queue: ReadonlyArray<Tick>
  readonly active: Iterable<R>
}

export class Series<R extends Run> implements Entry {
  place = -1
  id = 0
  deadline = Number.POSITIVE_INFINITY
  readonly byWall: boolean
  /** The runs in progress. */
  readonly active = new Set<R>()
  private next: Planned | undefined
  private queue: Array<Tick> = []
  private accepted = 0
  private stopped = false
  private over = false
  private readonly tally = { runs: 0, failed: 0, skipped: 0 }

  constructor(
    private readonly host: Host<R>,
    private readonly plan: Plan,
    private readonly settings: Settings,
    restored?: Restored<R>
  ) {
    this.byWall = plan.byWall
    if (restored !== undefined) {
      this.next = restored.next
      this.accepted = restored.accepted
      this.queue = [...restored.queue]
      for (const run of restored.active) this.active.add(run)
      return
    }
    const now = this.now()
    this.schedule(settings.now ? this.placed({ at: now }) : this.planned(now))
    this.settle()
  }

  /** When the next run is due, in milliseconds since the epoch; Infinity after the last one. */
  get when(): number {
    return this.next?.at ?? Number.POSITIVE_INFINITY
  }

  /** For a {@link Restored} one. */
  get state(): Omit<Restored<R>, "active"> {
    return { next: this.next, accepted: this.accepted, queue: this.queue }
  }

  private now(): number {
    return this.byWall ? this.host.wall() : this.host.monotonic()
  }

  private planned(after: number): Planned | undefined {
    return this.placed(this.plan.after(after))
  }

  private placed(found: ReturnType<Plan["after"]>): Planned | undefined {
    if (found === undefined) return undefined
    const { at: time, skipped } = found
    const { jitter, random, until } = this.settings
    const at = this.byWall ? time : Math.round(this.host.wall() + time - this.host.monotonic())
    if (at > until) return undefined
    let deadline = time
    if (jitter > 0) {
      const following = this.plan.after(time)?.at ?? Number.POSITIVE_INFINITY
      deadline += Math.floor(random() * Math.min(jitter, following - time))
    }
    return { time, at, skipped, deadline }
  }

  private schedule(next: Planned | undefined): void {
    this.next = this.accepted < this.settings.times && !this.stopped ? next : undefined
    if (this.next === undefined) return
    const { at, deadline, skipped } = this.next
    this.deadline = deadline
    this.id = this.host.nextId()
    this.host.add(this)
    this.host.tell({ _tag: "Scheduled", at, skipped })
  }

  private between(start: number, end: number): Array<Planned> {
    const found: Array<Planned> = []
    for (let one = this.planned(start); one !== undefined && one.time <= end; one = this.planned(one.time)) {
      found.push(one)
    }
    return found
  }

  /** The last times until the end, at least `count` if there are; it does not walk through a month of seconds. */
  private lastOnes(start: number, end: number, count: number): Array<Planned> {
    for (let span = this.settings.recheck; ; span *= 8) {
      const from = Math.max(start, end - span)
      const found = this.between(from, end)
      if (found.length >= count || from === start) return found
    }
  }

  /** Further times that are due by now. Of missed ones the last is enough: the newest may still wait, or run. */
  private overdue(first: number, now: number): Array<Planned> {
    const begin = now - Math.max(this.settings.window, this.settings.recheck)
    if (this.settings.catchUp !== "all") return this.lastOnes(first, now, 3)
    return [
      ...(begin > first ? this.lastOnes(first, begin, 1).slice(-1) : []),
      ...this.between(Math.max(first, begin), now)
    ]
  }

  /** Called when it is due and out of its queue. */
  unsafeFire(): void {
    const { catchUp, recheck, window } = this.settings
    const now = this.now()
    const first = this.next!
    const following = this.plan.after(first.time)
    const onTime = following === undefined || following.at > now
    const due = onTime ? [first] : [first, ...this.overdue(first.time, now)]
    const newest = due.at(-1)!
    // Its jitter may not have passed yet.
    const next = onTime
      ? this.placed(following)
      : newest.deadline > now
        ? due.pop()
        : this.planned(newest.time)
    const last = due.at(-1)
    const isMissed = (one: Planned) => {
      const late = now - one.deadline
      if (catchUp === "none") return one !== last || late > recheck
      return (catchUp === "last" && one !== last) || late > Math.max(window, recheck)
    }
    const missed = due.filter(isMissed)
    if (missed.length > 0) {
      // Missed times are consecutive, and those in the middle may be left out.
      const [from, until] = [missed[0]!, missed.at(-1)!]
      const count = from === until ? 1 : 1 + this.plan.count(from.time, until.time)
      this.skip(from.at, "its time was missed", until.at, count)
    }
    this.next = undefined
    for (const one of due) if (!isMissed(one) && this.accepted < this.settings.times) this.accept(one)
    this.schedule(next)
    this.settle()
  }

  /** The wall clock was set back: a rule that follows real time continues from the new time. */
  unsafeReplan(): void {
    if (this.plan.fixed || this.place === -1) return
    this.host.withdraw(this)
    this.schedule(this.planned(this.now()))
    this.settle()
  }

  private accept({ at, skipped }: Planned): void {
    const { name, overlap } = this.settings
    const tick: Tick = { run: this.accepted + 1, at, skipped }
    if (overlap === "parallel" || (this.active.size === 0 && this.queue.length === 0)) {
      this.accepted++
      this.start(tick)
    } else if (overlap === "skip") {
      this.skip(at, "the previous run is still running")
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
      for (const run of this.active) run.unsafeCancel({ reason: "the next run is due", origin: name })
    }
  }

  private skip(at: number, reason: string, until = at, count = 1): void {
    this.tally.skipped += count
    this.host.tell({ _tag: "Skipped", at, until, count, reason })
  }

  private start(tick: Tick): void {
    this.tally.runs++
    const run = this.host.runOf(tick)
    this.active.add(run)
    run.onEnd(() => {
      this.active.delete(run)
      if (run.failed) this.tally.failed++
      const next = this.active.size === 0 ? this.queue.shift() : undefined
      if (next === undefined) this.settle()
      else this.start(next)
    })
    this.host.launch(run)
  }

  /** Ends it: runs in progress are cancelled, and no other starts. */
  unsafeCancel(cancellation: Cancellation): void {
    if (this.over) return
    this.stopped = true
    this.next = undefined
    this.queue = []
    this.host.withdraw(this)
    for (const run of this.active) run.unsafeCancel(cancellation)
    this.settle()
  }

  /** Ends it when no further run can start. */
  private settle(): void {
    if (this.over || this.next !== undefined || this.active.size > 0) return
    this.over = true
    this.host.ended({ ...this.tally })
  }
}
