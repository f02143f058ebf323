import { Data, Effect } from "effect"
import { codes } from "../host/ExitCodes.js"
import { checkOptions, count, countOrNone } from "../text/Numbers.js"
import { plural } from "../text/Plural.js"

// model

/**
 * Settings of {@link make}.
 *
 * @since 0.1.0
 * @category options
 */
export interface Options {
  /** The name of what is called, for messages. */
  readonly name: string
  /** How many calls run at once. Default 10. */
  readonly concurrency?: number | undefined
  /** How many calls wait for their turn; further ones are refused. Default 100. */
  readonly queue?: number | undefined
}

/**
 * A limit on the calls to one service.
 *
 * @since 0.1.0
 * @category models
 */
export interface Bulkhead {
  /** Runs the effect in its turn, first come first served, or fails with {@link BulkheadFull} without running it. */
  readonly limit: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E | BulkheadFull, R>
  /** How many calls run and wait now. */
  readonly usage: Effect.Effect<{ readonly running: number; readonly waiting: number }>
}

// errors

/**
 * A call was refused because too many run and wait already.
 *
 * @since 0.1.0
 * @category errors
 */
export class BulkheadFull extends Data.TaggedError("BulkheadFull")<{
  readonly name: string
  readonly concurrency: number
  readonly queue: number
}> {
  readonly exitCode = codes.failed
  /** The sentence without the name. */
  get reason() {
    return `${plural(this.concurrency, "call")} running and ${this.queue} waiting already`
  }
  override get message() {
    return `${this.name}: ${this.reason}`
  }
}

// make

interface Ticket {
  granted: boolean
  resume: (() => void) | undefined
}

/**
 * Makes a limit that keeps a slow service from taking all connections and all memory: at most `concurrency` calls run, at
 * most `queue` wait, further ones are refused at once. An interrupted call gives up its place. Dies with a `RangeError` when
 * a setting is out of range.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import * as Bulkhead from "effect-asyncio/services/Bulkhead"
 *
 * export const program = Effect.gen(function* () {
 *   const bulkhead = yield* Bulkhead.make({ name: "database", concurrency: 2, queue: 10 })
 *   yield* bulkhead.limit(Effect.log("a query"))
 * })
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options): Effect.Effect<Bulkhead> =>
  Effect.sync(() => {
    checkOptions(options, { concurrency: count, queue: countOrNone })
    const { concurrency = 10, name, queue = 100 } = options
    let running = 0
    const waiting = new Set<Ticket>()

    const release = Effect.sync(() => {
      const [next] = waiting
      if (next === undefined) {
        running--
        return
      }
      waiting.delete(next)
      next.granted = true
      next.resume?.()
    })

    const turn = (ticket: Ticket) =>
      Effect.async<void>((resume) => {
        if (ticket.granted) resume(Effect.void)
        else ticket.resume = () => resume(Effect.void)
      })

    return {
      limit: <A, E, R>(effect: Effect.Effect<A, E, R>) =>
        Effect.uninterruptibleMask((restore): Effect.Effect<A, E | BulkheadFull, R> => {
          if (running < concurrency) {
            running++
            return Effect.ensuring(restore(effect), release)
          }
          if (waiting.size >= queue) return new BulkheadFull({ name, concurrency, queue })
          const ticket: Ticket = { granted: false, resume: undefined }
          waiting.add(ticket)
          // A turn that is granted while the fiber is being interrupted is passed on.
          return Effect.matchCauseEffect(restore(turn(ticket)), {
            onFailure: (cause) =>
              Effect.zipRight(
                Effect.suspend(() => (waiting.delete(ticket) ? Effect.void : release)),
                Effect.failCause(cause)
              ),
            onSuccess: () => Effect.ensuring(restore(effect), release)
          })
        }),
      usage: Effect.sync(() => ({ running, waiting: waiting.size }))
    }
  })
