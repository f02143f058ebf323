import { Effect, Layer } from "effect"
import { checkOptions, count } from "../text/Numbers.js"
import { Executor } from "./Executor.js"
import type { ExecutorError } from "./ExecutorError.js"
import type { Job } from "./Job.js"

/**
 * Answers jobs by effects instead of running them: for tests in virtual time, where a job takes as long as its
 * answer sleeps. At most `maxWorkers` (default: no limit) answers run at once; the others queue.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import * as ExecutorTest from "effect-asyncio/services/ExecutorTest"
 *
 * export const layer = ExecutorTest.layer((job, [url]) => Effect.delay(Effect.succeed(`${job} ${url}`), "2 seconds"))
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (
  answer: (job: string, args: ReadonlyArray<any>) => Effect.Effect<unknown, ExecutorError>,
  options?: { readonly maxWorkers?: number | undefined }
): Layer.Layer<Executor> =>
  Layer.effect(
    Executor,
    Effect.map(Effect.makeSemaphore(options?.maxWorkers ?? Number.MAX_SAFE_INTEGER), (threads) => {
      checkOptions(options ?? {}, { maxWorkers: count })
      const run = (
        { name }: Job<any, unknown>,
        args: ReadonlyArray<any>
      ): Effect.Effect<any, ExecutorError> => threads.withPermits(1)(Effect.suspend(() => answer(name, args)))
      return Executor.of({
        maxWorkers: options?.maxWorkers ?? 64,
        capacity: Number.POSITIVE_INFINITY,
        run
      })
    })
  )
