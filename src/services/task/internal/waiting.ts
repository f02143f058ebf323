import { Fiber, type FiberId, Option, type Tracer } from "effect"
import { type AnyFiber, blockedOn, childrenOf, exitObserversOf, isForever } from "./fiberRuntime.js"
import { currentTask } from "./task.js"

// Describes a fiber in reports: by the name of its task or of its own span, and by its wait.

/**
 * A fiber whose wait will never end.
 *
 * @since 0.1.0
 * @category models
 */
export interface Waiting {
  /** Its number, as in Effect's logs. */
  readonly id: number
  /** The name of the task that runs on it, if any. */
  readonly task: string | undefined
  /** The names of its spans, the innermost first, including those of its parents. */
  readonly spans: ReadonlyArray<string>
  /** A description of its wait, as far as Effect knows it. */
  readonly waits: string
}

/** Its name in reports. */
export const named = ({ id, spans, task }: Omit<Waiting, "waits">): string => {
  const words = [...(task === undefined ? [] : [task]), ...spans.slice(0, 3).map((span) => `in ${span}`)]
  return `fiber #${id}${words.length === 0 ? "" : ` (${words.join(", ")})`}`
}

/** The spans of the fiber, the innermost first, including those of its parents. */
export const spansIn = (fiber: AnyFiber): ReadonlyArray<Tracer.Span> => {
  const spans: Array<Tracer.Span> = []
  let at: Tracer.AnySpan | undefined = fiber.currentSpan
  while (at !== undefined && at._tag === "Span") {
    spans.push(at)
    at = at.parent === undefined ? undefined : Option.getOrUndefined(at.parent)
  }
  return spans
}

/** Their names. */
export const spansOf = (fiber: AnyFiber): ReadonlyArray<string> => spansIn(fiber).map(({ name }) => name)

/** The name of the task that runs on this fiber; a fiber that a task forked is not the task. */
export const taskOf = (fiber: AnyFiber): string | undefined => {
  const task = Option.getOrUndefined(fiber.getFiberRef(currentTask))
  return task !== undefined && (task as { readonly fiber?: AnyFiber }).fiber === fiber ? task.name : undefined
}

/** The fibers that have not ended: the roots for which `isOurs` holds, and their descendants. */
export const living = (isOurs: (fiber: AnyFiber) => boolean, also: Iterable<AnyFiber> = []) => {
  const found = new Set<AnyFiber>()
  const add = (fiber: AnyFiber) => {
    if (found.has(fiber) || fiber.unsafePoll() !== null) return
    if (isOurs(fiber)) found.add(fiber)
    for (const child of childrenOf(fiber)) add(child)
  }
  for (const fiber of also) add(fiber)
  for (const fiber of Fiber.unsafeRoots()) add(fiber as AnyFiber)
  return Array.from(found).sort((a, b) => a.id().id - b.id().id)
}

/** The fibers that none of the others has forked. */
export const roots = (fibers: ReadonlyArray<AnyFiber>): ReadonlyArray<AnyFiber> => {
  const forked = new Set(fibers.flatMap((fiber) => Array.from(childrenOf(fiber))))
  return fibers.filter((fiber) => !forked.has(fiber))
}

// The supervisor's observer does not count, nor does the runner's on the first fiber, a root.
const isAwaited = (fiber: AnyFiber, all: ReadonlyArray<AnyFiber>) =>
  exitObserversOf(fiber) > (fiber === all[0] ? 2 : 1)

/**
 * Describes the wait of a fiber, as far as Effect knows it. `name` returns a fiber's name by its id; `settled` means that
 * all fibers wait, so that observers show whether a fiber is awaited.
 */
export const waitOf = (
  fiber: AnyFiber,
  all: ReadonlyArray<AnyFiber>,
  name: (id: number) => string,
  settled: boolean
): string => {
  if (isForever(fiber)) return "for ever (Effect.never)"
  const mark = blockedOn(fiber)
  const ids = mark === null ? [] : runtimeIds(mark)
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

const runtimeIds = (id: FiberId.FiberId): ReadonlyArray<FiberId.Runtime> =>
  id._tag === "Composite"
    ? [...runtimeIds(id.left), ...runtimeIds(id.right)]
    : id._tag === "Runtime"
      ? [id]
      : []
