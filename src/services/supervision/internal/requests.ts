import { Deferred, Effect, Either, FiberId } from "effect"
import * as Race from "../../task/Race.js"

// What a running service can be asked: to run again, to start, to stop.

export type Verb = "restart" | "start" | "stop"

interface Request {
  readonly verb: Verb
  readonly reason: string
  /** Done when the request has been taken up: no process of the run before it is left. */
  readonly taken: Deferred.Deferred<void>
}

/** The runs of a service, and what a request does to them. */
export interface Life<A, R> {
  /** The supervised runs until they are over; a request interrupts them. */
  readonly runs: Effect.Effect<A, never, R>
  /** Whether the service stays and waits for a request after this end. */
  readonly stays: (result: A) => Effect.Effect<boolean>
  /** A request is about to end the runs. */
  readonly onAsked: (reason: string) => Effect.Effect<void>
  /** A request has ended the runs. */
  readonly onEnded: (reason: string) => Effect.Effect<void>
  /** A request starts them again. */
  readonly onAgain: Effect.Effect<void>
}

/** The requests to one service. */
export const make = () => {
  const waiting: Array<Request> = []
  let arrived = Deferred.unsafeMake<void>(FiberId.none)
  /** The first request that is not a start of a service that runs; it stays in the list. */
  const first = (running: boolean): Effect.Effect<Request> =>
    Effect.suspend(() => {
      const [request] = waiting
      if (request === undefined) return Effect.zipRight(Deferred.await(arrived), first(running))
      if (!running || request.verb !== "start") return Effect.succeed(request)
      return Effect.zipRight(done, first(running))
    })
  const done = Effect.suspend(() => Deferred.succeed(waiting.shift()!.taken, undefined))
  const doneAll: Effect.Effect<void> = Effect.suspend(() =>
    waiting.length === 0 ? Effect.void : Effect.zipRight(done, doneAll)
  )
  return {
    /** Returns when the request has been taken up, or the service has ended for good. */
    ask: (verb: Verb, reason: string): Effect.Effect<void> =>
      Effect.suspend(() => {
        const taken = Deferred.unsafeMake<void>(FiberId.none)
        waiting.push({ verb, reason, taken })
        const before = arrived
        arrived = Deferred.unsafeMake(FiberId.none)
        return Effect.zipRight(Deferred.succeed(before, undefined), Deferred.await(taken))
      }),
    /** Lives until the runs are over for good. */
    live: <A, R>({ onAgain, onAsked, onEnded, runs, stays }: Life<A, R>): Effect.Effect<A, never, R> =>
      Effect.gen(function* () {
        while (true) {
          const found = yield* Race.first(
            Effect.map(runs, Either.right),
            Effect.flatMap(first(true), (request) => Effect.as(onAsked(request.reason), Either.left(request)))
          )
          if (Either.isLeft(found)) yield* onEnded(found.left.reason)
          else if (!(yield* stays(found.right))) return found.right
          while ((yield* first(false)).verb === "stop") yield* done
          yield* onAgain
          yield* done
        }
      }).pipe(Effect.ensuring(doneAll))
  }
}

/** Why the service takes no request; undefined when it takes one. */
export const problem = (
  name: string,
  services: ReadonlyMap<string, unknown>,
  stopping: boolean,
  outcome: { readonly reason?: string | undefined } | undefined
): string | undefined => {
  if (!services.has(name)) return `unknown name '${name}'; expected one of ${[...services.keys()].join(", ")}`
  if (stopping) return "the services are being stopped"
  return outcome && `${name} has ended for good: ${outcome.reason ?? "exit code 0"}`
}
