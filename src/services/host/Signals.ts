import { closeSync } from "node:fs"
import { constants } from "node:os"
import { isatty } from "node:tty"
import { Context, Effect, Layer, Queue } from "effect"

/**
 * The signals that end a program gracefully. `SIGPIPE` means a closed stdout.
 *
 * @since 0.1.0
 * @category models
 */
export type Name = "SIGINT" | "SIGTERM" | "SIGHUP" | "SIGPIPE"

/**
 * An event from outside the fibers of a program: a signal, or an uncaught error.
 *
 * @since 0.1.0
 * @category events
 */
export type Event =
  | { readonly _tag: "Signal"; readonly name: Name }
  | { readonly _tag: "Uncaught"; readonly error: unknown }

/**
 * The signals of the process as values.
 *
 * @since 0.1.0
 * @category services
 */
export class Signals extends Context.Tag("effect-asyncio/services/Signals")<
  Signals,
  {
    /** Waits for the next event; each goes to one taker, in order. */
    readonly next: Effect.Effect<Event>
    /** The first signal so far, taken or not. */
    readonly first: Effect.Effect<Name | undefined>
  }
>() {}

/**
 * A signal as an {@link Event}.
 *
 * @since 0.1.0
 * @category constructors
 */
export const signal = (name: Name): Event => ({ _tag: "Signal", name })

/**
 * The exit code that a shell reports for a process that this signal ended: 128 and the signal's number.
 *
 * @since 0.1.0
 * @category functions
 */
export const exitCode = (name: Name): number => 128 + constants.signals[name]

const make = Effect.map(Queue.unbounded<Event>(), (queue) => {
  let first: Name | undefined
  return {
    offer: (event: Event) => {
      if (event._tag === "Signal") first ??= event.name
      queue.unsafeOffer(event)
    },
    signals: Signals.of({ next: Queue.take(queue), first: Effect.sync(() => first) })
  }
})

// At its end Node restores the modes of the terminals that it was started with, and aborts where a terminal has hung up;
// it leaves closed descriptors alone.
const closeOnExit = (terminals: ReadonlyArray<number>) => {
  process.once("exit", () => {
    for (const fd of terminals) if (!isatty(fd)) closeSync(fd)
  })
}

/**
 * The signals of this process. The second signal ends the process at once, even while finalizers run: the listener does
 * that itself, because a fiber may wait in an uninterruptible region.
 *
 * There is no listener for SIGPIPE: with one, Node would deliver that signal for any broken pipe or socket, such as a
 * child's stdin. EPIPE of stdout is reported as SIGPIPE instead.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<Signals> = Layer.scoped(
  Signals,
  Effect.gen(function* () {
    const { offer, signals } = yield* make
    const terminals = [0, 1, 2].filter((fd) => isatty(fd))
    let asked = false
    const onSignal = (name: NodeJS.Signals) => {
      if (asked) process.exit(exitCode(name as Name))
      asked = true
      if (name === "SIGHUP") closeOnExit(terminals)
      offer(signal(name as Name))
    }
    const onUncaught = (error: unknown) => offer({ _tag: "Uncaught", error })
    // Without this listener, Node would wrap a reason that is not an Error in an error of its own.
    const onRejection = (reason: unknown) => onUncaught(reason)
    const onStdoutError = (error: NodeJS.ErrnoException) => {
      if (error.code === "EPIPE" || error.code === "ERR_STREAM_DESTROYED") offer(signal("SIGPIPE"))
    }
    const names = ["SIGINT", "SIGTERM", "SIGHUP"] as const
    yield* Effect.acquireRelease(
      Effect.sync(() => {
        for (const name of names) process.on(name, onSignal)
        process.on("uncaughtException", onUncaught)
        process.on("unhandledRejection", onRejection)
        process.stdout.on("error", onStdoutError)
      }),
      () =>
        Effect.sync(() => {
          for (const name of names) process.off(name, onSignal)
          process.off("uncaughtException", onUncaught)
          process.off("unhandledRejection", onRejection)
          process.stdout.off("error", onStdoutError)
        })
    )
    return signals
  })
)

/**
 * The source of the events of {@link layerTest}.
 *
 * @since 0.1.0
 * @category services
 */
export class Source extends Context.Tag("effect-asyncio/services/Signals/Source")<
  Source,
  { readonly send: (event: Event) => Effect.Effect<void> }
>() {}

/**
 * Emits the events that a test sends through {@link Source}.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerTest: Layer.Layer<Signals | Source> = Layer.effectContext(
  Effect.map(make, ({ offer, signals }) =>
    Context.make(Signals, signals).pipe(
      Context.add(Source, { send: (event) => Effect.sync(() => offer(event)) })
    )
  )
)
