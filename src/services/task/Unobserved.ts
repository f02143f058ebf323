import {
  Cause,
  type Context,
  Effect,
  Exit,
  FiberRef,
  GlobalValue,
  Option,
  Queue,
  RuntimeFlags,
  Supervisor
} from "effect"
import {
  type AnyFiber,
  exitObserversOf,
  flagsOf,
  onExitRead,
  parentOf,
  setParent
} from "./internal/fiberRuntime.js"

/**
 * A fiber that failed while no fiber awaited it, and whose outcome has not been read since.
 *
 * @since 0.1.0
 * @category models
 */
export interface Lost {
  /** The fiber's number, as in Effect's logs. */
  readonly fiber: number
  /** The span in which it was forked. */
  readonly span: string | undefined
  readonly cause: Cause.Cause<unknown>
}

/**
 * Watches the fibers that a program forks.
 *
 * @since 0.1.0
 * @category models
 */
export interface Unobserved {
  /** Runs the effect so that all fibers that it forks are watched. */
  readonly watch: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  /**
   * Waits for a failed fiber that can no longer be joined, because it was garbage-collected (asyncio's "Task exception was
   * never retrieved").
   */
  readonly next: Effect.Effect<Lost>
  /** Takes all unobserved failures so far. */
  readonly take: Effect.Effect<ReadonlyArray<Lost>>
}

class Watch {
  readonly lost = new Set<Lost>()
  private readonly collected: FinalizationRegistry<Lost>

  constructor(onCollected: (lost: Lost) => void) {
    this.collected = new FinalizationRegistry((lost) => {
      if (this.lost.delete(lost)) onCollected(lost)
    })
  }

  add(fiber: AnyFiber, exit: Exit.Failure<unknown, unknown>) {
    const { currentSpan } = fiber
    const span = currentSpan?._tag === "Span" ? currentSpan.name : undefined
    const lost: Lost = { fiber: fiber.id().id, span, cause: exit.cause }
    this.lost.add(lost)
    this.collected.register(fiber, lost)
    onExitRead(fiber, exit, () => this.lost.delete(lost))
  }
}

// The supervisor's own observer does not count. A parent that is ending awaits its children and drops their results.
const isObserved = (fiber: AnyFiber, parent: AnyFiber): boolean =>
  exitObserversOf(fiber) > (RuntimeFlags.windDown(flagsOf(parent)) ? 2 : 1)

const watching = GlobalValue.globalValue("effect-asyncio/services/Unobserved/watching", () =>
  FiberRef.unsafeMake<Watch | undefined>(undefined)
)

// FiberRefs hold the watch of a fiber. A fiber without a parent (`Runtime.runFork`) is not watched: its caller holds it,
// and may observe it after its end.
const started = (parent: Option.Option<AnyFiber>, fiber: AnyFiber) => {
  if (Option.isSome(parent)) setParent(fiber, parent.value)
}

// The last observer that the fiber calls, before it clears the list.
const ended = (exit: Exit.Exit<unknown, unknown>, fiber: AnyFiber) => {
  const parent = parentOf(fiber)
  if (parent === undefined) return
  setParent(fiber, undefined)
  if (Exit.isSuccess(exit) || Cause.isInterruptedOnly(exit.cause)) return
  const watch = fiber.getFiberRef(watching)
  if (watch !== undefined && !isObserved(fiber, parent)) watch.add(fiber, exit)
}

class Observer extends Supervisor.AbstractSupervisor<void> {
  readonly value = Effect.void
  override onStart<A, E, R>(
    _context: Context.Context<R>,
    _effect: Effect.Effect<A, E, R>,
    parent: Option.Option<AnyFiber>,
    fiber: AnyFiber
  ) {
    started(parent, fiber)
  }
  override onEnd<A, E>(exit: Exit.Exit<A, E>, fiber: AnyFiber) {
    ended(exit, fiber)
  }
}
const observer = new Observer()

const everyCopy = GlobalValue.globalValue("effect-asyncio/services/Unobserved/everyCopy", () => ({
  on: false
}))

/**
 * Lets {@link Unobserved.watch} see the fibers of every copy of `effect` in this process, those of a user's file included;
 * for a process with no other purpose (`aio`). Each copy has its own FiberRef for the supervisor, but all start from the
 * one `Supervisor.none`, whose hooks this replaces, for good. Without it a watch sees the fibers of its own copy, by a
 * supervisor of the watched effect alone.
 *
 * @since 0.1.0
 * @category effects
 */
export const watchEveryCopy: Effect.Effect<void> = Effect.sync(() => {
  if (everyCopy.on) return
  everyCopy.on = true
  Object.assign(Supervisor.none, {
    onStart: (_context: unknown, _effect: unknown, parent: Option.Option<AnyFiber>, fiber: AnyFiber) =>
      started(parent, fiber),
    onEnd: ended
  })
})

/**
 * Makes a watch. Watched fibers cost 2 to 3 % more to fork and join (50,000 empty ones, the least CPU time of 8 rounds
 * each way: 29.6 and 30.1 µs a fiber by `fork` and `join`, 69 and 71 by `forEach`). A fiber in a `FiberSet`,
 * `FiberMap` or `FiberHandle` counts as observed by it.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make: Effect.Effect<Unobserved> = Effect.map(Queue.unbounded<Lost>(), (collected) => {
  const watch = new Watch((lost) => collected.unsafeOffer(lost))
  return {
    watch: (effect) =>
      Effect.flatMap(FiberRef.get(watching), (outer) => {
        const watched = Effect.locally(effect, watching, watch)
        // Within another watch the supervisor is already installed; a second one would report each failure twice.
        return everyCopy.on || outer !== undefined ? watched : Effect.supervised(watched, observer)
      }),
    next: Queue.take(collected),
    take: Effect.map(Queue.takeAll(collected), (found) => {
      const lost = [...found, ...watch.lost]
      watch.lost.clear()
      return lost
    })
  }
})
