import type { Readable, Writable } from "node:stream"
import { Deferred, Duration, Effect, type Fiber, FiberId, Option, Stream } from "effect"
import { CommandLost, InputFailed, type ProcessError } from "../ProcessError.js"
import { type Exited, exitCodeOf, type Usage } from "../ProcessOutcome.js"
import type * as Backend from "./backend.js"
import type { Tree } from "./descendants.js"
import type { Start } from "./starts.js"

// The life of one child: it waits, is started or is not, ends, and its output and input end. Its next step depends on all
// of these, so they are one record.

export interface Child extends Start {
  /** Undefined until it is started. */
  tree: Tree | undefined
  /** How its first process has ended. */
  ended: Backend.Ended | undefined
  /** Whether it is known that no process of its tree is left. */
  alone: boolean
  /** Whether `exit` is decided. */
  settled: boolean
  /** Done when there is a process; fails if there is none. */
  readonly started: Deferred.Deferred<void, ProcessError>
  /** Done when its first process has ended, or with `exit`. */
  readonly leader: Deferred.Deferred<void>
  /** Its end, or its error. */
  readonly exit: Deferred.Deferred<Exited, ProcessError>
  feeding: Fiber.RuntimeFiber<void> | undefined
  /** The fibers of `onOutput` that still take output. */
  readonly taking: Set<Fiber.RuntimeFiber<void>>
  /** This process's ends of its pipes. */
  readonly streams: Array<Readable | Writable>
  /** Its first process, unless that has ended, and those of its pipes that are open. */
  open: number
  /** Nanoseconds since it was asked for. */
  readonly age: () => bigint
}

export const make = (spawn: (child: Child) => void, age: () => bigint): Child => {
  const child: Child = {
    spawn: () => spawn(child),
    withdrawn: false,
    tree: undefined,
    ended: undefined,
    alone: false,
    settled: false,
    started: Deferred.unsafeMake(FiberId.none),
    leader: Deferred.unsafeMake(FiberId.none),
    exit: Deferred.unsafeMake(FiberId.none),
    feeding: undefined,
    taking: new Set(),
    streams: [],
    open: 1,
    age
  }
  return child
}

/** Usage as callers see it. */
export const usageOf = (used: Backend.Usage | undefined): Option.Option<Usage> =>
  Option.map(Option.fromNullable(used), ({ peakMemory, system, user }) => ({
    user: Duration.millis(user),
    system: Duration.millis(system),
    peakMemory
  }))

export const exitedOf = (child: Child, { code, signal, usage }: Backend.Ended): Exited => ({
  exitCode: exitCodeOf(code, signal),
  signal: signal ?? undefined,
  duration: Duration.nanos(child.age()),
  usage: usageOf(usage)
})

/** Gives the child its outcome, unless it has one. */
export const settle = (child: Child, outcome: Effect.Effect<Exited, ProcessError>): void => {
  child.settled = true
  Deferred.unsafeDone(child.exit, outcome)
  Deferred.unsafeDone(child.started, Effect.asVoid(outcome))
  Deferred.unsafeDone(child.leader, Effect.void)
}

/** One of its pipes is closed, or its first process has ended: it is over with the last of these. */
export const closed = (child: Child): void => {
  if (--child.open === 0) settle(child, Effect.succeed(exitedOf(child, child.ended!)))
}

/** Its first process has ended; `command` is for the error where the host has reaped it. */
export const ended = (child: Child, how: Backend.Ended | undefined, command: () => string): void => {
  child.ended = how ?? { code: 0, signal: null, usage: undefined }
  if (how === undefined) {
    const detail = "another part of this program has reaped it"
    settle(child, Effect.fail(new CommandLost({ command: command(), detail })))
  }
  Deferred.unsafeDone(child.leader, Effect.void)
  closed(child)
}

/** Whether it is finished: it has ended, left no process behind, and all its output is taken. */
export const isOver = (child: Child): boolean =>
  child.alone && child.settled && child.taking.size === 0 && child.feeding === undefined

type Fork = (effect: Effect.Effect<void>) => Fiber.RuntimeFiber<void>

/** Gives output to `onOutput`; the pipe is paused while the returned effect runs. */
export const take = (
  child: Child,
  from: Readable,
  onOutput: () => Effect.Effect<void, ProcessError> | undefined,
  fork: Fork
): void => {
  if (child.settled) return
  let wait: Effect.Effect<void, ProcessError> | undefined
  try {
    wait = onOutput()
  } catch (error) {
    wait = Effect.die(error)
  }
  if (wait === undefined) return
  from.pause()
  const fiber = fork(
    Effect.matchCause(wait, {
      onSuccess: () => void from.resume(),
      onFailure: (cause) => settle(child, Effect.failCause(cause))
    })
  )
  child.taking.add(fiber)
  fiber.addObserver(() => void child.taking.delete(fiber))
}

/** Writes the input to its stdin. A write fails once the child has closed it, which ends the input. */
export const feed = (
  child: Child,
  command: string,
  stdin: Writable,
  input: Stream.Stream<Uint8Array, unknown>
): Effect.Effect<void> =>
  Stream.runForEachWhile(input, (bytes) =>
    Effect.async<boolean>((resume) => {
      stdin.write(bytes, (error) => resume(Effect.succeed(error == null)))
    })
  ).pipe(
    Effect.matchCause({
      onSuccess: () => void stdin.end(),
      onFailure: (cause) => settle(child, Effect.fail(new InputFailed({ command, cause })))
    })
  )
