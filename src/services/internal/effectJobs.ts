import { inspect } from "node:util"
import { Cause, Effect, Exit, Fiber, FiberRef, HashMap, Inspectable, Logger, LogLevel, Tracer } from "effect"
import type { JobContext } from "../InJob.js"
import type { LogEntry } from "./jobProtocol.js"
import { isClonable } from "./jobs.js"

// A job that is an Effect, run on its thread: the only part of a thread's code that loads Effect, when one comes.

/** What of a log entry cannot be cloned goes as text. */
const crossing = (value: unknown): unknown =>
  isClonable(value) ? value : Inspectable.toStringUnknown(value, 0)

/**
 * Runs it with its caller's annotations and span. The result rejects with what it failed with; its stack is that of
 * the whole cause.
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
      cause: Cause.isEmpty(entry.cause) ? undefined : Cause.pretty(entry.cause)
    })
  })
  let effect = Effect.annotateLogs(job as Effect.Effect<unknown, unknown>, annotations)
  if (span !== undefined) effect = Effect.withParentSpan(effect, Tracer.externalSpan(span))
  const fiber = Effect.runFork(
    effect.pipe(
      Effect.provide(Logger.replace(Logger.defaultLogger, logger)),
      // Which levels are shown is for the caller to say.
      Effect.locally(FiberRef.currentMinimumLogLevel, LogLevel.All)
    )
  )
  const result = new Promise<unknown>((resolve, reject) => {
    fiber.addObserver((exit) => {
      if (Exit.isSuccess(exit)) return resolve(exit.value)
      const error = Cause.squash(exit.cause)
      const isError = error instanceof Error
      const thrown = Object.assign(new Error(isError ? error.message : inspect(error)), error)
      const name = isError ? error.name : Cause.isInterruptedOnly(exit.cause) ? "Interrupted" : "Failure"
      Object.defineProperty(thrown, "name", { value: name })
      thrown.stack = Cause.pretty(exit.cause)
      reject(thrown)
    })
  })
  return { result, interrupt: () => Effect.runFork(Fiber.interruptFork(fiber)) }
}
