import { Cause, Effect, Exit, Fiber, FiberRef, HashMap, Inspectable, Logger, LogLevel, Tracer } from "effect"
import type { JobContext } from "../InJob.js"
import type { LogEntry } from "./protocol.js"
import { crossesSafely, textOf, toThrown } from "./task.js"

// Runs a job that is an Effect on its thread: the only file of a thread that loads Effect, at the first such job.

/** A part of a log entry that cannot be cloned, or may be unreadable where it arrives, becomes text. */
const crossing = (value: unknown): unknown => {
  if (crossesSafely(value)) return value
  return typeof value === "object" ? textOf(value) : Inspectable.toStringUnknown(value, 0)
}

const mostCauses = 16

// Effect prints the causes of causes by recursion, without end if they form a circle.
const manyCauses = (error: unknown): boolean => {
  let at = error
  for (let i = 0; i < mostCauses; i++) {
    if (typeof at !== "object" || at === null) return false
    at = (at as { cause?: unknown }).cause
  }
  return true
}

const withFewCauses = (error: unknown): unknown =>
  manyCauses(error)
    ? new Proxy(error as object, { get: (it, key) => (key === "cause" ? undefined : Reflect.get(it, key)) })
    : error

const pretty = (cause: Cause.Cause<unknown>): string => {
  const limit = Error.stackTraceLimit
  try {
    const shown = Cause.match(cause, {
      onEmpty: cause,
      onFail: (error) => Cause.fail(withFewCauses(error)),
      onDie: (defect) => Cause.die(withFewCauses(defect)),
      onInterrupt: Cause.interrupt,
      onSequential: Cause.sequential,
      onParallel: Cause.parallel
    })
    return Cause.pretty(shown)
  } catch (error) {
    return `a failure that cannot be shown: ${toThrown(error).message}`
  } finally {
    Error.stackTraceLimit = limit // Effect leaves the limit at 1 when an error cannot be read
  }
}

/** The failure as an error whose stack is that of the whole cause. */
const errorOf = (cause: Cause.Cause<unknown>): unknown => {
  const { message, name, value } = toThrown(Cause.squash(cause))
  const failed = Object.assign(new Error(message), typeof value === "object" ? value : undefined)
  const named = name !== "" ? name : Cause.isInterruptedOnly(cause) ? "Interrupted" : "Failure"
  Object.defineProperty(failed, "name", { value: named })
  Object.defineProperty(failed, "stack", { value: pretty(cause) })
  return failed
}

/**
 * Runs the Effect with its caller's annotations and span. The result rejects with its failure; the stack is that of the
 * whole cause.
 */
export const run = (
  job: unknown,
  options: { readonly context: Omit<JobContext, "job">; readonly onLog: (entry: LogEntry) => void }
): { readonly result: Promise<unknown>; readonly interrupt: () => void } => {
  const { annotations, span } = options.context
  const logger = Logger.make<unknown, void>((entry) => {
    options.onLog({
      level: entry.logLevel._tag,
      message: (Array.isArray(entry.message) ? entry.message : [entry.message]).map(crossing),
      annotations: Object.fromEntries(
        Array.from(HashMap.toEntries(entry.annotations), ([key, value]) => [key, crossing(value)])
      ),
      cause: Cause.isEmpty(entry.cause) ? undefined : pretty(entry.cause)
    })
  })
  let effect = Effect.annotateLogs(job as Effect.Effect<unknown, unknown>, annotations)
  if (span !== undefined) effect = Effect.withParentSpan(effect, Tracer.externalSpan(span))
  const fiber = Effect.runFork(
    effect.pipe(
      Effect.provide(Logger.replace(Logger.defaultLogger, logger)),
      // The caller's logger decides which levels are shown.
      Effect.locally(FiberRef.currentMinimumLogLevel, LogLevel.All)
    )
  )
  const result = new Promise<unknown>((resolve, reject) => {
    fiber.addObserver((exit) => {
      if (Exit.isSuccess(exit)) return resolve(exit.value)
      reject(errorOf(exit.cause))
    })
  })
  return { result, interrupt: () => Effect.runFork(Fiber.interruptFork(fiber)) }
}
