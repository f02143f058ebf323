import {
  type Effect,
  Fiber,
  type FiberId,
  type FiberRefs,
  GlobalValue,
  Option,
  type RuntimeFlags
} from "effect"
import * as TaskGroup from "../TaskGroup.js"

// How a person is told of a fiber: by the name of its task or of its own span, and by what it waits for. What leans on
// the inside of FiberRuntime for it is meant to stay here.

export type AnyFiber = Fiber.RuntimeFiber<unknown, unknown>

export interface Span {
  readonly name: string
  readonly _tag: string
  readonly parent?: Option.Option<Span>
}

/** What FiberRuntime has beside its public face (Effect 3.22; without it less is told). */
interface Inner {
  readonly currentSpan?: Span | undefined
  readonly _children?: ReadonlySet<AnyFiber> | null
  readonly _asyncBlockingOn?: FiberId.FiberId | null
  readonly _observers?: ReadonlyArray<(...args: ReadonlyArray<never>) => void>
}

const inner = (fiber: AnyFiber) => fiber as unknown as Inner

/** A fiber that waits for what will never come. */
export interface Waiting {
  /** Its number, as Effect's logs have it. */
  readonly id: number
  /** The name of the task that runs on it, if one does. */
  readonly task: string | undefined
  /** The names of the spans that it is in, the innermost first; those around it too. */
  readonly spans: ReadonlyArray<string>
  /** What it waits for, in words, as far as that is known. */
  readonly waits: string
}

/** What FiberRuntime has beside its public face; but for the first, for the running fiber itself to use. */
export interface Internals {
  /** Its FiberRefs as they stand; `getFiberRefs()` makes a new collection at each call. */
  readonly _fiberRefs: FiberRefs.FiberRefs
  /** Puts back all of them, those unset before included (`Effect.setFiberRefs` leaves these). */
  readonly setFiberRefs: (refs: FiberRefs.FiberRefs) => void
  /** Asks the children it has forked to end, and gives the wait for them; null when there are none. */
  readonly interruptAllChildren: () => Effect.Effect<void> | null
  /** Messages that it has not taken notice of yet: interruptions, above all. */
  readonly _queue: ReadonlyArray<unknown>
  /** Whether an interruption has reached it, within an uninterruptible region too. */
  readonly isInterrupted: () => boolean
  /** Those that wait for its end. */
  readonly _observers: ReadonlyArray<unknown>
  /** Interruption, cooperative yielding and the like, as they stand. */
  currentRuntimeFlags: RuntimeFlags.RuntimeFlags
  /** How much it has done since it last gave way to other fibers. */
  currentOpCount: number
}

/** What a person is to call it. */
export const named = ({ id, spans, task }: Omit<Waiting, "waits">): string => {
  const words = [...(task === undefined ? [] : [task]), ...spans.slice(0, 3).map((span) => `in ${span}`)]
  return `fiber #${id}${words.length === 0 ? "" : ` (${words.join(", ")})`}`
}

/** The spans that the fiber is in, the innermost first; those of its parents too. */
export const spansIn = (fiber: AnyFiber): ReadonlyArray<Span> => {
  const spans: Array<Span> = []
  let at = inner(fiber).currentSpan
  while (at !== undefined && at._tag === "Span") {
    spans.push(at)
    at = at.parent === undefined ? undefined : Option.getOrUndefined(at.parent)
  }
  return spans
}

/** Their names. */
export const spansOf = (fiber: AnyFiber): ReadonlyArray<string> => spansIn(fiber).map(({ name }) => name)

/** The name of the task that runs on this very fiber; what a task forks belongs to it, but is not it. */
export const taskOf = (fiber: AnyFiber): string | undefined => {
  const task = Option.getOrUndefined(fiber.getFiberRef(TaskGroup.currentTask))
  return task !== undefined && (task as { readonly fiber?: AnyFiber }).fiber === fiber ? task.name : undefined
}

/** The fibers that have not ended: roots for which `isOurs`, and what they have forked. */
export const living = (isOurs: (fiber: AnyFiber) => boolean, also: Iterable<AnyFiber> = []) => {
  const found = new Set<AnyFiber>()
  const add = (fiber: AnyFiber) => {
    if (found.has(fiber) || fiber.unsafePoll() !== null) return
    if (isOurs(fiber)) found.add(fiber)
    for (const child of inner(fiber)._children ?? []) add(child)
  }
  for (const fiber of also) add(fiber)
  for (const fiber of Fiber.unsafeRoots()) add(fiber as AnyFiber)
  return Array.from(found).sort((a, b) => a.id().id - b.id().id)
}

/** Those of the fibers that none of the others has forked. */
export const roots = (fibers: ReadonlyArray<AnyFiber>): ReadonlyArray<AnyFiber> => {
  const forked = new Set(fibers.flatMap((fiber) => Array.from(inner(fiber)._children ?? [])))
  return fibers.filter((fiber) => !forked.has(fiber))
}

// Whoever is interested in a fiber's end takes it as an argument. The first of them is the supervisor, and of a fiber
// that none has forked whoever runs it is another.
const isAwaited = (fiber: AnyFiber, all: ReadonlyArray<AnyFiber>) => {
  const interested = (inner(fiber)._observers ?? []).filter((observer) => observer.length > 0).length
  return interested > (fiber === all[0] ? 2 : 1)
}

/**
 * What a fiber waits for, in words, as far as Effect knows. `name` tells of a fiber by its id; `settled` says that all
 * fibers rest, so that it shows whether a fiber's end is waited for.
 */
export const waitOf = (
  fiber: AnyFiber,
  all: ReadonlyArray<AnyFiber>,
  name: (id: number) => string,
  settled: boolean
): string => {
  if (isForever(fiber)) return "for ever (Effect.never)"
  const blockingOn = inner(fiber)._asyncBlockingOn
  const ids = blockingOn === undefined || blockingOn === null ? [] : runtimeIds(blockingOn)
  if (ids.length === 0) return "for a semaphore, a latch, a callback or a promise"
  const words = ids.map(({ id }) => {
    if (id === fiber.id().id) return "a queue, or a Deferred of its own"
    if (!settled) return name(id)
    const other = all.find((one) => one.id().id === id)
    return other !== undefined && isAwaited(other, all)
      ? `the end of ${name(id)}`
      : `a Deferred that ${name(id)} has made`
  })
  return `for ${words.join(", ")}`
}

/** Whether what the fiber waits for was marked so: `Effect.async` takes a mark. */
export const waitsAt = (fiber: AnyFiber, mark: FiberId.FiberId): boolean =>
  inner(fiber)._asyncBlockingOn === mark

const runtimeIds = (id: FiberId.FiberId): ReadonlyArray<FiberId.Runtime> =>
  id._tag === "Composite"
    ? [...runtimeIds(id.left), ...runtimeIds(id.right)]
    : id._tag === "Runtime"
      ? [id]
      : []

// timers that only keep a process alive

const longest = 2 ** 31 - 1

const keeping = GlobalValue.globalValue("effect-asyncio/services/task/fiberRuntime/keeping", () => ({
  open: 0,
  restore: (): void => undefined,
  forever: new WeakMap<AnyFiber, NodeJS.Timeout>()
}))

const isForever = (fiber: AnyFiber): boolean => {
  const timer = keeping.forever.get(fiber) as { readonly _destroyed?: boolean } | undefined
  return timer !== undefined && timer._destroyed !== true
}

/**
 * From here until the function in return is called, an interval of the longest time, which is how `Effect.never` keeps
 * a process alive, is not taken for something that will happen: it does not count as active, and its fiber is known.
 */
export const watchForever = (): (() => void) => {
  if (keeping.open++ === 0) {
    const original = globalThis.setInterval
    const watching = (...args: Parameters<typeof setInterval>) => {
      const timer = original(...args)
      const [, ms] = args
      if (ms === undefined || ms < longest || keeping.open === 0) return timer
      const fiber = Option.getOrUndefined(Fiber.getCurrentFiber())
      if (fiber !== undefined) keeping.forever.set(fiber as AnyFiber, timer)
      return timer.unref()
    }
    const replacement = Object.assign(watching, original) as unknown as typeof setInterval
    globalThis.setInterval = replacement
    keeping.restore = () => {
      // Unless another has put its own in place meanwhile: then ours passes on what it is given.
      if (globalThis.setInterval === replacement) globalThis.setInterval = original
    }
  }
  let open = true
  return () => {
    if (!open) return
    open = false
    if (--keeping.open === 0) keeping.restore()
  }
}
