import { Clock, Deferred, Duration, Effect, Fiber, type Scope } from "effect"
import { checkedDuration } from "../../text/Numbers.js"
import type { ProcessError } from "../ProcessError.js"
import type { Exited } from "../ProcessOutcome.js"
import { type Child, exitedOf, settle } from "./child.js"
import * as descendants from "./descendants.js"

// How children are ended, and what is waited for.

/** The part of `Processes.StartOptions` for this module. */
export interface Stopping {
  readonly stopSignal?: NodeJS.Signals | undefined
  readonly grace?: Duration.DurationInput | undefined
  readonly onLingering?: ((left: number, pid: number) => Effect.Effect<void>) | undefined
}

/** From the stop signal to KILL, unless the caller says otherwise. */
export const graceDefault = "5 seconds"

/** How long a process may take to end, in milliseconds, before it counts as lingering. */
const lingers = 1000
/** How long a release waits, in milliseconds, for pipes to close when no process is left to write. */
const lastWords = 500
/** How long the tree of a first process that has ended may still write, in milliseconds, with `until: "leader"`. */
const wordsAfterLeader = 200

const killers = new Set<() => void>()
const killAll = () => {
  for (const kill of killers) kill()
}
/**
 * Calls `kill` when this process ends without its finalizers (a second signal, process.exit) while the scope is open. One
 * listener for all, because Node warns of more than ten.
 */
export const atExit = (kill: () => void): Effect.Effect<void, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => {
      if (killers.size === 0) process.on("exit", killAll)
      killers.add(kill)
    }),
    () =>
      Effect.sync(() => {
        killers.delete(kill)
        if (killers.size === 0) process.off("exit", killAll)
      })
  )

/** Runs an effect that ends a process, and calls `onLingering` when it takes longer than a second by `sleep`. */
export const reporting = (
  pid: number,
  { grace = graceDefault, onLingering }: Stopping,
  sleep: (ms: number) => Effect.Effect<void>,
  ending: Effect.Effect<void>
): Effect.Effect<void> => {
  const left = Duration.toMillis(checkedDuration("grace", grace)) - lingers
  if (onLingering === undefined || left <= 0) return ending
  const report = Effect.zipRight(sleep(lingers), onLingering(left, pid))
  return Effect.flatMap(Effect.fork(Effect.interruptible(report)), (reporter) =>
    Effect.zipRight(ending, Fiber.interrupt(reporter))
  )
}

/** The machine's clock: processes are real whatever clock the program runs on. */
const real = Clock.make()
const pause = (ms: number) => real.sleep(Duration.millis(ms))

/** Waits at most `ms` milliseconds. */
const within = (ms: number, effect: Effect.Effect<unknown, unknown>): Effect.Effect<unknown> =>
  Effect.raceFirst(Effect.interruptible(Effect.exit(effect)), Effect.interruptible(pause(ms)))

/** `withdraw` takes a start back that waits; `forget` is called for a child of which no process is left. */
export const make = (on: {
  readonly grace: Duration.DurationInput
  readonly adopt: () => descendants.Adopt | undefined
  readonly withdraw: (child: Child) => void
  readonly forget: (child: Child) => void
}) => {
  /** Ends all of the tree; waits until no process of it is left. */
  const endTree = (
    tree: descendants.Tree,
    { grace = on.grace, onLingering, stopSignal: signal = "SIGTERM" }: Stopping
  ): Effect.Effect<void> =>
    reporting(
      tree.group,
      { grace, onLingering },
      pause,
      Effect.async((resume) => {
        const how = { signal, grace: Duration.toMillis(grace), adopt: on.adopt() }
        return Effect.sync(descendants.end(tree, how, () => resume(Effect.void)))
      })
    )
  const finish = (child: Child, options: Stopping) =>
    Effect.gen(function* () {
      if (!child.alone) yield* endTree(child.tree!, options)
      child.alone = true
      // An unreachable process may hold the pipes for ever.
      yield* within(lastWords, Deferred.await(child.exit))
      on.forget(child)
      const killed = { code: null, signal: "SIGKILL", usage: undefined } as const
      settle(child, Effect.succeed(exitedOf(child, child.ended ?? killed)))
    })
  return {
    endTree,
    /** Ends a child that is not over, wherever it is in its life, and takes its output to the last byte. */
    release: (child: Child, options: Stopping): Effect.Effect<void> =>
      Effect.gen(function* () {
        if (child.tree === undefined && !child.settled) {
          on.withdraw(child)
          yield* Effect.exit(Deferred.await(child.started))
        }
        if (child.feeding !== undefined) yield* Fiber.interrupt(child.feeding)
        if (child.tree === undefined) return
        yield* finish(child, options)
        const { grace = on.grace } = options
        if (child.taking.size > 0) yield* within(Duration.toMillis(grace), Fiber.awaitAll(child.taking))
        yield* Fiber.interruptAll(child.taking)
      }),
    /** Waits for the first process of the tree, then for the end of the rest. */
    untilLeader: (child: Child, options: Stopping): Effect.Effect<Exited, ProcessError> =>
      Effect.gen(function* () {
        yield* Deferred.await(child.leader)
        yield* within(wordsAfterLeader, Deferred.await(child.exit))
        if (!child.settled) yield* finish(child, options)
        return yield* Deferred.await(child.exit)
      })
  }
}
