import { Effect } from "effect"
import { checkOptions, countOrInfinity } from "../../text/Numbers.js"

/**
 * Waiting items, taken in order, except that later ones overtake an item whose host is busy. Its feeder bounds it:
 * {@link HostQueue.low} waits until more items are wanted.
 */
export interface HostQueue<A> {
  readonly offer: (items: Iterable<A>) => void
  /** No item follows: takers get undefined when the queue is empty. */
  readonly end: () => void
  /** The next item whose host has a free slot; undefined when none is left. Call `release` when it is done. */
  readonly take: Effect.Effect<A | undefined>
  /** {@link take} for plain code: calls back, perhaps synchronously; the result cancels the request. */
  readonly unsafeTake: (taker: (item: A | undefined) => void) => () => void
  readonly release: (item: A) => void
  /** Waits until fewer than `lowWater` items wait. */
  readonly low: Effect.Effect<void>
  /** The items that wait, in order. */
  readonly rest: () => ReadonlyArray<A>
}

/** `perHost` bounds the taken items of one host; Infinity for no bound. */
export const make = <A>(options: {
  readonly perHost: number
  readonly host: (item: A) => string
  readonly lowWater: number
}): HostQueue<A> => {
  checkOptions(options, { lowWater: countOrInfinity, perHost: countOrInfinity })
  const { host, lowWater, perHost } = options
  let waiting: Array<A> = []
  let first = 0 // items before it are taken: `shift` on a long array would be O(n)
  let ended = false
  const out = new Map<string, number>()
  const takers = new Set<(item: A | undefined) => void>()
  const feeders = new Set<() => void>()

  const remove = (index: number): A => {
    const item = waiting[index]!
    if (index === first) first++
    else waiting.splice(index, 1)
    if (first > 1024 && first * 2 > waiting.length) {
      waiting = waiting.slice(first)
      first = 0
    }
    return item
  }
  const next = (): A | undefined => {
    for (let i = first; i < waiting.length; i++) {
      const name = host(waiting[i]!)
      const busy = out.get(name) ?? 0
      if (busy < perHost) {
        out.set(name, busy + 1)
        return remove(i)
      }
    }
    return undefined
  }
  const hand = () => {
    for (const taker of takers) {
      const item = next()
      if (item === undefined && !(ended && first === waiting.length)) break
      takers.delete(taker)
      taker(item)
    }
    if (waiting.length - first < lowWater) for (const feeder of feeders) feeder()
  }
  const unsafeTake = (taker: (item: A | undefined) => void) => {
    takers.add(taker)
    hand()
    return () => {
      takers.delete(taker)
    }
  }
  return {
    offer: (items) => {
      for (const item of items) waiting.push(item)
      hand()
    },
    end: () => {
      ended = true
      hand()
    },
    release: (item) => {
      const name = host(item)
      const left = (out.get(name) ?? 1) - 1
      if (left === 0) out.delete(name)
      else out.set(name, left)
      hand()
    },
    take: Effect.async((resume) => {
      const untake = unsafeTake((item) => resume(Effect.succeed(item)))
      return Effect.sync(untake)
    }),
    unsafeTake,
    rest: () => waiting.slice(first),
    low: Effect.async((resume) => {
      if (waiting.length - first < lowWater) {
        resume(Effect.void)
        return
      }
      const feeder = () => {
        feeders.delete(feeder)
        resume(Effect.void)
      }
      feeders.add(feeder)
      return Effect.sync(() => feeders.delete(feeder))
    })
  }
}
