import {
  Cause,
  Effect,
  type Exit,
  Fiber,
  FiberRef,
  GlobalValue,
  Option,
  Queue,
  RuntimeFlags,
  Supervisor
} from "effect"

// Everything here that leans on Supervisor and on the inside of FiberRuntime is meant to stay here.

/** A fiber that failed while nobody was waiting for it, and whose outcome nobody has asked for since. */
export interface Lost {
  /** The fiber's number, as Effect's logs have it. */
  readonly fiber: number
  /** The span that it was forked in. */
  readonly span: string | undefined
  readonly cause: Cause.Cause<unknown>
}

/** Watches the fibers that a program forks. */
export interface Unobserved {
  /** Runs the effect so that all that it forks is watched. */
  readonly watch: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  /**
   * Waits for a loss that is final before the program is: its fiber has been garbage-collected, so that nobody can
   * join it any more (asyncio's "Task exception was never retrieved").
   */
  readonly next: Effect.Effect<Lost>
  /** Takes all that has been lost until now. */
  readonly take: Effect.Effect<ReadonlyArray<Lost>>
}

type AnyFiber = Fiber.RuntimeFiber<unknown, unknown>

// A property is cheaper than a WeakMap: with 100,000 fibers alive, that costs a µs each in garbage collections.
const parentOf = Symbol("effect-asyncio/services/Unobserved/parent")

/** What FiberRuntime has beside its public face (Effect 3.22; a fiber without it is not watched). */
interface Inner {
  [parentOf]?: Inner | undefined
  readonly currentRuntimeFlags: RuntimeFlags.RuntimeFlags
  readonly currentSpan?: { readonly name: string } | undefined
  readonly _observers?: ReadonlyArray<(...args: ReadonlyArray<never>) => void>
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
    const inner = fiber as unknown as Inner
    const lost: Lost = { fiber: fiber.id().id, span: inner.currentSpan?.name, cause: exit.cause }
    this.lost.add(lost)
    this.collected.register(fiber, lost)
    // Join, await and poll of an ended fiber read this field; so does the fiber itself, for a message that comes late.
    Object.defineProperty(fiber, "_exitValue", {
      get: () => {
        if (Option.getOrUndefined(Fiber.getCurrentFiber()) !== fiber) this.lost.delete(lost)
        return exit
      }
    })
  }
}

// Whoever is interested in a fiber's outcome takes it as an argument; observers that only strike the fiber off the
// list of its parent or scope take none. The first one is the supervisor's. A parent that is ending waits for its
// children and drops what they give.
const isObserved = (observers: NonNullable<Inner["_observers"]>, parent: Inner | undefined): boolean => {
  const ending = parent !== undefined && RuntimeFlags.windDown(parent.currentRuntimeFlags)
  let interested = ending ? -2 : -1
  for (const observer of observers) if (observer.length > 0) interested++
  return interested > 0
}

const watching = GlobalValue.globalValue("effect-asyncio/services/Unobserved/watching", () =>
  FiberRef.unsafeMake<Watch | undefined>(undefined)
)

// Every copy of `effect` in a process has its own FiberRef for the supervisor: one that is set here is not seen by
// fibers that are forked with the `effect` of a user's file. But all start from the one Supervisor.none, so that one
// gets eyes. It tells of each fiber of the process; which are watched, and by whom, their FiberRefs say.
const open = () => {
  Object.assign(Supervisor.none, {
    onStart(_context: unknown, _effect: unknown, parent: Option.Option<Inner>, fiber: Inner) {
      if (Option.isSome(parent)) fiber[parentOf] = parent.value
    },
    // Called as the last of the fiber's observers, before the list of them is cleared.
    onEnd(exit: Exit.Exit<unknown, unknown>, fiber: AnyFiber) {
      const inner = fiber as unknown as Inner
      const parent = inner[parentOf]
      inner[parentOf] = undefined
      if (exit._tag === "Success" || Cause.isInterruptedOnly(exit.cause)) return
      const watch = fiber.getFiberRef(watching)
      if (watch === undefined || inner._observers === undefined || isObserved(inner._observers, parent))
        return
      watch.add(fiber, exit)
    }
  })
}

/**
 * Makes a watch. Watched fibers cost 2 to 3 % more to fork and join (50,000 empty ones, the least CPU time of 8 rounds
 * each way: 29.6 and 30.1 µs a fiber by `fork` and `join`, 69 and 71 by `forEach`). A fiber in a `FiberSet`,
 * `FiberMap` or `FiberHandle` counts as observed by it.
 */
export const make: Effect.Effect<Unobserved> = Effect.map(Queue.unbounded<Lost>(), (collected) => {
  const watch = new Watch((lost) => collected.unsafeOffer(lost))
  return {
    watch: (effect) =>
      Effect.suspend(() => {
        GlobalValue.globalValue("effect-asyncio/services/Unobserved/open", open)
        return Effect.locally(effect, watching, watch)
      }),
    next: Queue.take(collected),
    take: Effect.map(Queue.takeAll(collected), (found) => {
      const lost = [...found, ...watch.lost]
      watch.lost.clear()
      return lost
    })
  }
})
