import { constants } from "node:os"
import { Context, Effect, Layer, Queue } from "effect"

/** The signals that end a program in order. `SIGPIPE` stands for a stdout that nobody reads any more. */
export type Name = "SIGINT" | "SIGTERM" | "SIGHUP" | "SIGPIPE"

/** What reaches a program from outside its fibers: a signal, or an error that no fiber and no promise has caught. */
export type Event =
  | { readonly _tag: "Signal"; readonly name: Name }
  | { readonly _tag: "Uncaught"; readonly error: unknown }

/** The process's signals as values. */
export class Signals extends Context.Tag("effect-asyncio/services/Signals")<
  Signals,
  {
    /** Waits for the next event; each is given to one taker, in order. */
    readonly next: Effect.Effect<Event>
    /** The first signal so far, whether it has been taken or not. */
    readonly first: Effect.Effect<Name | undefined>
  }
>() {}

/** A signal as an {@link Event}. */
export const signal = (name: Name): Event => ({ _tag: "Signal", name })

/** What a shell reports for a process that this signal ended: 128 and the signal's number. */
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

/**
 * The process's own. The second signal ends the process at once, whatever finalizers are doing: its listener decides
 * that, because a fiber may be waiting in a region that cannot be interrupted.
 *
 * There is no listener for SIGPIPE: Node ignores that signal until somebody listens, and from then on any broken
 * pipe or socket of the process, say a child's stdin, would end it. It is told from stdout's own EPIPE instead.
 */
export const layer: Layer.Layer<Signals> = Layer.scoped(
  Signals,
  Effect.gen(function* () {
    const { offer, signals } = yield* make
    let asked = false
    const onSignal = (name: NodeJS.Signals) => {
      if (asked) process.exit(exitCode(name as Name))
      asked = true
      offer(signal(name as Name))
    }
    const onUncaught = (error: unknown) => offer({ _tag: "Uncaught", error })
    // Node would make an error of its own of a reason that is no Error, and hide the reason in it.
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

/** Where {@link layerTest}'s events come from. */
export class Source extends Context.Tag("effect-asyncio/services/Signals/Source")<
  Source,
  { readonly send: (event: Event) => Effect.Effect<void> }
>() {}

/** Gives the events that a test sends through {@link Source}. */
export const layerTest: Layer.Layer<Signals | Source> = Layer.effectContext(
  Effect.map(make, ({ offer, signals }) =>
    Context.make(Signals, signals).pipe(
      Context.add(Source, { send: (event) => Effect.sync(() => offer(event)) })
    )
  )
)
