import {
  Cause,
  Context,
  Data,
  type DateTime,
  Duration,
  Effect,
  Exit,
  Fiber,
  FiberId,
  FiberRef,
  FiberRefs,
  Layer,
  Option,
  Runtime,
  type Scope
} from "effect"
import * as Cancellation from "./Cancellation.js"
import * as Causes from "./Causes.js"
import * as TaskGroup from "./TaskGroup.js"

// model

/** A callback that was asked for (asyncio: `Handle`, `TimerHandle`). */
export interface Handle<out A, out E = never> {
  /** Names it in reports; default `timer N`. */
  readonly name: string
  /** When it is due: milliseconds since the epoch, by the wall clock as it stood when it was asked for. */
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
    /** At a time by the wall clock, whose changes it follows; one that is past is `callSoon`. */
    readonly callAt: <A, E, R>(
      time: Time,
      effect: Effect.Effect<A, E, R>,
      options?: CallOptions
    ) => Effect.Effect<Handle<A, E>, never, R>
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
  /** Its index in the heap, kept by the heap; -1 when it is in none. */
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

/** What `setTimeout`, and so `Effect.sleep`, can wait for at once: 2^31-1 ms; beyond, it never wakes. */
const longest = 2 ** 31 - 1

/** What is started before I/O and other timers have a turn: so many callbacks, or so much of them in small turns. */
const startsPerTurn = 2048
const turnCost = 32

// What FiberRuntime has beside its public face: its FiberRefs as they stand. `getFiberRefs()` makes a new collection at
// each call, which is most of the price of a timer.
interface Inner {
  readonly _fiberRefs: FiberRefs.FiberRefs
}

// The part of the service that its handles know.
interface Host {
  readonly fork: <A, E>(call: Call<A, E>) => Fiber.RuntimeFiber<Exit.Exit<A, E>>
  readonly withdraw: (call: Call<any, any>) => void
}

class Call<A, E> implements Handle<A, E>, Entry {
  place = -1
  fiber: Fiber.RuntimeFiber<Exit.Exit<A, E>> | undefined
  exit: Exit.Exit<A, E> | undefined
  request: Cancellation.Cancellation | undefined
  listeners: Set<() => void> | undefined

  constructor(
    readonly host: Host,
    readonly id: number,
    readonly given: string | undefined,
    readonly effect: Effect.Effect<A, E>,
    readonly fiberRefs: FiberRefs.FiberRefs,
    readonly when: number,
    readonly deadline: number,
    /** Whether the deadline is one of the wall clock. */
    readonly byWall: boolean
  ) {}

  get name(): string {
    return this.given ?? `timer ${this.id}`
  }

  unsafeCancel(cancellation: Cancellation.Cancellation): void {
    if (this.exit !== undefined) return
    this.request ??= cancellation
    const by = Cancellation.toFiberId(cancellation)
    if (this.fiber !== undefined) {
      this.fiber.unsafeInterruptAsFork(by)
      return
    }
    this.host.withdraw(this)
    this.unsafeEnd(Exit.failCause(Cause.interrupt(by)))
  }

  unsafeEnd(exit: Exit.Exit<A, E>): void {
    this.exit = exit
    for (const listener of this.listeners ?? []) listener()
    this.listeners = undefined
  }

  get cancelled() {
    return Effect.sync(() => this.request !== undefined)
  }

  get await(): Effect.Effect<Exit.Exit<A, E>> {
    return Effect.async((resume) => {
      if (this.exit !== undefined) return resume(Effect.succeed(this.exit))
      const listener = () => resume(Effect.succeed(this.exit!))
      this.listeners ??= new Set()
      this.listeners.add(listener)
      return Effect.sync(() => this.listeners?.delete(listener))
    })
  }

  cancel(reason: string, options?: { readonly origin?: string }): Effect.Effect<void> {
    return Effect.withFiberRuntime((fiber) => {
      const task = fiber.getFiberRef(TaskGroup.currentTask)
      this.unsafeCancel({
        reason,
        origin: options?.origin ?? (Option.isSome(task) ? task.value.name : "timers")
      })
      // A callback that cancels itself cannot wait for its own end.
      return (this.fiber as unknown) === fiber ? Effect.void : Effect.asVoid(this.await)
    })
  }
}

/** Opens the service in the current scope. See {@link layer}. */
export const make = (options: Options = {}): Effect.Effect<Timers["Type"], never, Scope.Scope> =>
  Effect.gen(function* () {
    const clock = yield* Effect.clock
    const runtime = yield* Effect.runtime()
    const report =
      options.report ?? ((failure: TimerFailed) => Effect.logError(failure.message, failure.cause))
    const recheck = Math.max(1, Duration.toMillis(options.recheck ?? "1 minute"))

    // Milliseconds since here: small numbers keep fractions of a microsecond, those since the epoch do not.
    const origin = clock.unsafeCurrentTimeNanos()
    const monotonic = () => Number(clock.unsafeCurrentTimeNanos() - origin) / 1e6
    const later = new Heap<Call<any, any>>() // by the monotonic clock
    const at = new Heap<Call<any, any>>() // by the wall clock
    const running = new Set<Call<any, any>>()
    let calls = 0
    let closing: Cancellation.Cancellation | undefined
    let whenIdle: (() => void) | undefined

    // The first of both heaps, and for how many milliseconds it has still to wait.
    const first = (): readonly [call: Call<any, any> | undefined, wait: number] => {
      const a = later.first
      const b = at.first
      const waitA = a === undefined ? Number.POSITIVE_INFINITY : a.deadline - monotonic()
      const waitB = b === undefined ? Number.POSITIVE_INFINITY : b.deadline - clock.unsafeCurrentTimeMillis()
      const isA = waitA < waitB || (waitA === waitB && (b === undefined || (a !== undefined && a.id < b.id)))
      return isA ? [a, waitA] : [b, waitB]
    }

    const launch = (call: Call<unknown, unknown>) => {
      running.add(call)
      call.fiber = host.fork(call)
      // An observer and not `onExit`: one that is cancelled before its first step has no `onExit`.
      call.fiber.addObserver((exit) => {
        running.delete(call)
        call.unsafeEnd(Exit.flatten(exit))
        if (running.size === 0) whenIdle?.()
      })
    }

    // One fiber sleeps until the first deadline; when another call comes first, it is replaced.
    let wakeUp: Fiber.RuntimeFiber<void> | undefined
    let aim: Call<any, any> | undefined // what it sleeps for
    let started = 0 // since I/O had a turn

    const arm = () => {
      const [call, wait] = first()
      if (call === aim) return
      wakeUp?.unsafeInterruptAsFork(FiberId.none)
      wakeUp = undefined
      aim = call
      if (call === undefined || wait === Number.POSITIVE_INFINITY) return
      const rechecks = at.first !== undefined && at.first.deadline < Number.POSITIVE_INFINITY
      // Whole milliseconds, because setTimeout cuts off the rest.
      const ms = Math.min(Math.max(0, Math.ceil(wait)), rechecks ? recheck : longest, longest)
      // TestClock's zero is no turn.
      const pause = Effect.zipRight(
        ms === 0 ? Effect.yieldNow() : Effect.void,
        clock.sleep(Duration.millis(ms))
      )
      const awake = Effect.sync(() => {
        if (aim !== call) return
        aim = undefined
        started = 0
        run()
      })
      wakeUp = Runtime.runFork(runtime, Effect.zipRight(pause, awake))
    }

    const run = () => {
      for (let [call, wait] = first(); call !== undefined && wait <= 0; [call, wait] = first()) {
        if (started >= startsPerTurn) break
        started++
        heapOf(call).delete(call)
        launch(call)
      }
      arm()
    }

    const heapOf = (call: Call<any, any>) => (call.byWall ? at : later)
    const host: Host = {
      fork: (call) => {
        const context = Option.getOrThrow(FiberRefs.get(call.fiberRefs, FiberRef.currentContext))
        const fiberRefs = call.fiberRefs
        const { runtimeFlags } = runtime
        const told = (exit: Exit.Exit<unknown, unknown>) =>
          Exit.isFailure(exit) && !Cause.isInterruptedOnly(exit.cause)
            ? Effect.catchAllCause(
                report(new TimerFailed({ timer: call.name, cause: exit.cause })),
                (broken) => Effect.logError(`the report of ${call.name} failed`, broken)
              )
            : Effect.void
        // The fiber itself does not fail, nobody joins it. What breaks in the clean-up of a cancelled one is told too.
        const body = Effect.uninterruptible(Effect.tap(Effect.exit(Effect.interruptible(call.effect)), told))
        return Runtime.runFork(Runtime.make({ context, fiberRefs, runtimeFlags }), body, { immediate: false })
      },
      withdraw: (call) => {
        heapOf(call).delete(call)
        // Or else a clock that jumps from deadline to deadline would stop at one that is no more.
        if (call === aim && closing === undefined) arm()
      }
    }

    const request = <A, E, R>(
      effect: Effect.Effect<A, E, R>,
      byWall: boolean,
      wait: number,
      callOptions: CallOptions | undefined
    ): Effect.Effect<Handle<A, E>, never, R> =>
      Effect.withFiberRuntime((fiber) => {
        const { _fiberRefs } = fiber as unknown as Inner
        const now = monotonic()
        const when = clock.unsafeCurrentTimeMillis() + wait
        // To the nanosecond, so that 0.1 + 0.2 and 0.3 are one deadline.
        const deadline = byWall ? when : Math.round((now + wait) * 1e6) / 1e6
        const call = new Call<A, E>(
          host,
          ++calls,
          callOptions?.name,
          // What it requires is in the FiberRefs.
          effect as Effect.Effect<A, E>,
          _fiberRefs,
          when,
          deadline,
          byWall
        )
        if (closing !== undefined) call.unsafeCancel(closing)
        else {
          heapOf(call).add(call)
          if (wait === 0) {
            started += turnCost
            run()
          } else if (call.place === 0) {
            // The first by the wall clock matters even behind others: it asks for rechecks.
            if (byWall) aim = undefined
            arm()
          }
        }
        return Effect.succeed(call)
      })

    yield* Effect.addFinalizer((exit) =>
      Effect.suspend(() => {
        closing = Cancellation.fromExit(exit)[0] ?? { reason: "the timers were closed", origin: "timers" }
        const asleep = wakeUp
        for (const call of [...later.entries, ...at.entries, ...running]) call.unsafeCancel(closing)
        arm()
        const idle = Effect.async<void>((resume) => {
          whenIdle = () => resume(Effect.void)
          if (running.size === 0) whenIdle()
        })
        return Effect.zipRight(idle, asleep === undefined ? Effect.void : Fiber.await(asleep))
      })
    )

    const callLater: Timers["Type"]["callLater"] = (delay, effect, callOptions) =>
      request(effect, false, Math.max(0, Duration.toMillis(delay)), callOptions)
    return Timers.of({
      callSoon: (effect, callOptions) => callLater(0, effect, callOptions),
      callLater,
      callAt: (time, effect, callOptions) =>
        Effect.suspend(() => {
          const when =
            typeof time === "number" ? time : time instanceof Date ? time.getTime() : time.epochMillis
          const wait = when - clock.unsafeCurrentTimeMillis()
          if (Number.isNaN(wait)) {
            return Effect.dieMessage("callAt: the time is not a number; give milliseconds or a valid Date")
          }
          return wait > 0 ? request(effect, true, wait, callOptions) : callLater(0, effect, callOptions)
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
  const ms = Duration.toMillis(duration)
  if (ms <= 0) return Effect.zipRight(Effect.yieldNow(), Effect.sleep(0))
  if (ms === Number.POSITIVE_INFINITY) return Effect.never
  return ms <= longest
    ? Effect.sleep(ms)
    : Effect.zipRight(
        Effect.sleep(longest),
        Effect.suspend(() => sleep(ms - longest))
      )
}
