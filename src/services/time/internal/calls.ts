import { Cause, Effect, Exit, type Fiber, type FiberRefs, Option } from "effect"
import * as Cancellation from "../../task/Cancellation.js"
import { currentTask } from "../../task/internal/task.js"
import type { Entry } from "./deadlineQueue.js"
import type { Series, Tally } from "./series.js"

// The handles of Timers: one call, a series of calls, and their common base.

/** An entry of the queues. */
export interface Due extends Entry {
  /** Whether the deadline is one of the wall clock. */
  readonly byWall: boolean
  /** Called when it is due and out of its queue. */
  readonly unsafeFire: () => void
  readonly unsafeCancel: (cancellation: Cancellation.Cancellation) => void
}

/** The part of the service that its calls use. */
export interface Host {
  readonly launch: (call: Call<any, any>) => void
  readonly withdraw: (due: Due) => void
  /** Milliseconds since the service was opened. */
  readonly monotonic: () => number
  /** Milliseconds since the epoch. */
  readonly wall: () => number
}

/** Shared by all calls that one fiber requests. */
export interface Asker {
  readonly host: Host
  readonly fiberRefs: FiberRefs.FiberRefs
  readonly byWall: boolean
}

// Fields that few calls have: kept apart, because the garbage collector copies each word of a call twice.
class Rare {
  request: Cancellation.Cancellation | undefined
  listeners: Set<() => void> | undefined
  /** The fiber that runs it, while it runs, unless it is a plain function. */
  fiber: Fiber.RuntimeFiber<any, any> | undefined

  constructor(readonly name: string | undefined) {}
}

/** A call or a series, to be awaited or cancelled. */
export abstract class Pending<A, E> {
  exit: Exit.Exit<A, E> | undefined
  protected rare: Rare | undefined

  constructor(name: string | undefined) {
    this.rare = name === undefined ? undefined : new Rare(name)
  }

  /** The first cancellation. */
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
  /** Whether this fiber runs it. */
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
      const task = fiber.getFiberRef(currentTask)
      // Read first: after the cancellation the running fiber is no longer known.
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

/** An effect that runs once, at its deadline. */
export class Call<A, E> extends Pending<A, E> implements Due {
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

  /** Whether it has ended with a failure that is not a cancellation. */
  get failed(): boolean {
    return this.exit !== undefined && Exit.isFailure(this.exit) && !Cause.isInterruptedOnly(this.exit.cause)
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

/** The handle of a series. */
export class SeriesHandle extends Pending<Tally, never> {
  readonly series: Series<Call<any, any>>

  constructor(
    readonly name: string,
    open: (ended: (tally: Tally) => void) => Series<Call<any, any>>,
    onEnd: (handle: SeriesHandle) => void
  ) {
    super(name)
    this.series = open((tally) => {
      const { request } = this
      this.unsafeEnd(
        request === undefined
          ? Exit.succeed(tally)
          : Exit.failCause(Cause.interrupt(Cancellation.toFiberId(request)))
      )
      onEnd(this)
    })
  }

  get when(): number {
    return this.series.when
  }

  isRunBy(fiber: unknown): boolean {
    for (const call of this.series.active) if (call.isRunBy(fiber)) return true
    return false
  }

  unsafeCancel(cancellation: Cancellation.Cancellation): void {
    if (this.exit !== undefined) return
    this.requestIfFirst(cancellation)
    this.series.unsafeCancel(cancellation)
  }
}
