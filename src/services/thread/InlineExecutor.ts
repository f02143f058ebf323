import { Effect, Layer } from "effect"
import * as Deadline from "../task/Deadline.js"
import { isEffect } from "../task/internal/fiberRuntime.js"
import { notDoneIn } from "../text/Durations.js"
import { Executor } from "./Executor.js"
import { type ExecutorError, JobFailed, JobTimedOut, NotSerializable } from "./ExecutorError.js"
import * as InJob from "./InJob.js"
import { contextOf, settings } from "./internal/settings.js"
import { type Outcome, resolve, toThrown, whereUncloneable } from "./internal/task.js"
import { refused, resultOf, shipped } from "./internal/threads.js"
import type { Job } from "./Job.js"

const outcomeInline = async (call: () => unknown): Promise<Outcome> => {
  try {
    return { _tag: "Returned", value: await call() }
  } catch (error) {
    return { _tag: "Threw", thrown: toThrown(error) }
  }
}

/**
 * Runs jobs on the caller's own thread, one after the other, shipped and copied as in `Executor.layerThreads`: for tests
 * of the computation of a job. A job that blocks does block the caller's thread; an interrupted job is asked to end, and
 * no longer awaited.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<Executor> = Layer.effect(
  Executor,
  Effect.map(Effect.makeSemaphore(1), (thread) => {
    const run = (job: Job<any, any>, args: ReadonlyArray<any>): Effect.Effect<any, ExecutorError> =>
      Effect.withFiberRuntime<any, ExecutorError>((fiber) => {
        const { timeout } = fiber.getFiberRef(settings)
        const result = Effect.gen(function* () {
          const task = yield* shipped(job)
          const context = contextOf(fiber)
          const copies = yield* Effect.try({
            try: () => structuredClone(args, { transfer: args.flatMap(InJob.buffersOf) }),
            catch: (error) => refused(job.name, args, context?.refs, { unsent: error })
          })
          let asked = false
          const host: InJob.Host = {
            cancelled: () => asked,
            context: () => ({
              job: job.name,
              annotations: context?.annotations ?? {},
              span: context?.span,
              refs: context?.refs ?? {}
            })
          }
          const outcome = yield* Effect.promise(() =>
            outcomeInline(async () => {
              const fn = await resolve(task)
              InJob.setHost(host)
              return fn(...copies)
            })
          ).pipe(
            Effect.onInterrupt(() =>
              Effect.sync(() => {
                asked = true
              })
            )
          )
          if (outcome._tag === "Returned" && isEffect(outcome.value)) {
            return yield* Effect.mapError(
              outcome.value as Effect.Effect<unknown, unknown>,
              (error) => new JobFailed({ job: job.name, thrown: toThrown(error) })
            )
          }
          const value = yield* resultOf(job, outcome, timeout)
          return yield* Effect.try({
            try: () => structuredClone(value, { transfer: [...InJob.buffersOf(value)] }),
            catch: (error) =>
              new NotSerializable({
                job: job.name,
                part: "result",
                detail: whereUncloneable(value, "the result", error)
              })
          })
        })
        return timeout === undefined
          ? result
          : Deadline.timeout(result, {
              limit: timeout,
              late: { reason: notDoneIn(timeout), origin: "timeout" },
              onTimeout: () => new JobTimedOut({ job: job.name, after: timeout })
            })
      }).pipe(thread.withPermits(1))
    return Executor.of({ maxWorkers: 1, capacity: Number.POSITIVE_INFINITY, run })
  })
)
