import { Clock, Effect, Exit, Fiber, FiberRef, Runtime } from "effect"
import type { ExecutorError } from "../ExecutorError.js"
import type { Job, Settled } from "../Job.js"
import type { AnyFiber } from "./settings.js"

// How a map over many inputs runs a job without a fiber for each input.

/** Cancels the inputs; calls back when they no longer run. */
export type Cancel = (onGone: () => void) => void

/**
 * Takes settings and context from the fiber, once, and returns a function that runs the job for some inputs, one after
 * the other on one thread, in one message (at most 1024). It calls back when all inputs have settled.
 */
export type Starter = <Input, A>(
  fiber: AnyFiber,
  job: Job<[Input], A>
) => (inputs: ReadonlyArray<Input>, onSettled: (settled: ReadonlyArray<Settled<A>>) => void) => Cancel

interface Runs {
  readonly run: <Args extends ReadonlyArray<any>, A>(
    job: Job<Args, A>,
    args: Args
  ) => Effect.Effect<A, ExecutorError>
}

// In a map and not on the service: a fake, or a service made from another by `{ ...executor, run }`, needs no starter.
const starters = new WeakMap<Runs, Starter>()

export const register = <S extends Runs>(executor: S, starter: Starter): S => {
  starters.set(executor, starter)
  return executor
}

/** Runs effects where the fiber would: with its console, loggers and annotations. */
export const forkLike = (fiber: AnyFiber) =>
  Runtime.runFork(
    Runtime.make({
      context: fiber.getFiberRef(FiberRef.currentContext),
      fiberRefs: fiber.getFiberRefs(),
      runtimeFlags: Runtime.defaultRuntime.runtimeFlags
    })
  )

const startEffects =
  ({ run }: Runs): Starter =>
  (fiber, job) => {
    const fork = forkLike(fiber)
    return (inputs, onSettled) => {
      const all = Effect.forEach(inputs, (input) =>
        Effect.gen(function* () {
          const began = yield* Clock.currentTimeNanos
          const result = yield* Effect.either(run(job, [input]))
          return { result, run: Number((yield* Clock.currentTimeNanos) - began) / 1e6 }
        })
      )
      const running = fork(all)
      let cancelled = false
      running.addObserver((exit) => {
        if (!cancelled && Exit.isSuccess(exit)) onSettled(exit.value)
      })
      return (onGone) => {
        cancelled = true
        running.addObserver(() => onGone())
        fork(Fiber.interruptFork(running))
      }
    }
  }

/** The starter of an executor; of one that has none, its `run` as effects. */
export const starterOf = (executor: Runs): Starter => starters.get(executor) ?? startEffects(executor)
