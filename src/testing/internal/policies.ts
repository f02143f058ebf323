import { PCGRandom } from "effect/Utils"
import type { Policy, Switch, Thread } from "./explorer.js"

// The policies of Interleave's strategies, which choose the next fiber, and the seeds that name them.

/** The usual order: no fiber is held up, and the one that has been ready for longest runs. */
export const plain: Policy = { hold: () => undefined, pick: (_, ready) => ready[0]! }

const rates = [0, 1 / 64, 1 / 16, 1 / 4]

/** Holds fibers up with a probability that is drawn for each run; the next fiber is drawn. */
const randomly = (seed: number): Policy => {
  const draw = new PCGRandom(seed)
  const one = (ready: ReadonlyArray<Thread>) => ready[draw.integer(ready.length)]!
  const rate = rates[draw.integer(rates.length)]!
  return {
    hold: (_, ready) => (rate > 0 && draw.number() < rate ? one(ready) : undefined),
    pick: (_, ready) => one(ready)
  }
}

/**
 * Probabilistic concurrency testing (Burckhardt et al., ASPLOS 2010): each fiber has a random priority, the highest runs,
 * and at `depth - 1` of the `steps` the running one falls below all others. It finds a bug that needs d ordering
 * constraints in at least 1 of n · k^(d-1) runs, with n fibers of k steps in all.
 */
const prioritised = (seed: number, depth: number, steps: number): Policy => {
  const draw = new PCGRandom(seed)
  const changes = new Set(Array.from({ length: depth - 1 }, () => 1 + draw.integer(Math.max(1, steps))))
  let at = 0
  let low = 0
  const highest = (ready: ReadonlyArray<Thread>) =>
    ready.reduce((best, one) => (one.priority > best.priority ? one : best))
  // A fiber that yields falls below all others: a polling one would otherwise starve them.
  const fall = (thread: Thread) => {
    thread.priority = --low
  }
  return {
    hold: (running, ready) => {
      if (changes.has(++at)) fall(running)
      const best = highest(ready)
      return best.priority > running.priority ? best : undefined
    },
    pick: (_, ready) => highest(ready),
    onStart: (thread) => {
      thread.priority = 1 + draw.number()
    },
    onYield: fall
  }
}

const key = (fiber: string, step: number, stop: number, held: boolean) =>
  `${fiber}@${step}.${stop}${held ? "!" : ""}`

/** The usual order except for these switches. A switch that is not possible is skipped. */
export const guided = (switches: ReadonlyArray<Switch>): Policy => {
  const given = new Map(switches.map((one) => [key(one.fiber, one.step, one.stop, one.held), one.to]))
  const find = (path: string | undefined, ready: ReadonlyArray<Thread>) =>
    path === undefined ? undefined : ready.find((one) => one.path === path)
  return {
    hold: (running, ready) => find(given.get(key(running.path, running.steps, 0, true)), ready),
    pick: (stopped, ready) =>
      find(given.get(key(stopped.path, stopped.steps, stopped.stop, false)), ready) ?? ready[0]!
  }
}

/** The usual order; records every place where another fiber could run. */
export const noting = (places: Array<Switch>): Policy => ({
  hold: (running, ready) => {
    for (const { path: to } of ready) {
      places.push({ fiber: running.path, step: running.steps, stop: 0, held: true, to })
    }
    return undefined
  },
  pick: (stopped, ready) => {
    for (const { path: to } of ready.slice(1)) {
      places.push({ fiber: stopped.path, step: stopped.steps, stop: stopped.stop, held: false, to })
    }
    return ready[0]!
  }
})

// seeds

/** Replays a run: how its order was drawn. */
export type Seed =
  | { readonly kind: "plain" }
  | { readonly kind: "random"; readonly seed: number }
  | { readonly kind: "pct"; readonly seed: number; readonly depth: number; readonly choices: number }

/** As text, for `Interleave.replay`. */
export const writeSeed = (seed: Seed): string =>
  seed.kind === "plain"
    ? "plain"
    : seed.kind === "random"
      ? `random/${seed.seed}`
      : `pct/${seed.seed}/${seed.depth}/${seed.choices}`

export const readSeed = (text: string): Seed | undefined => {
  if (text === "plain") return { kind: "plain" }
  const random = /^random\/(-?\d+)$/.exec(text)
  if (random !== null) return { kind: "random", seed: Number(random[1]) }
  const pct = /^pct\/(-?\d+)\/(\d+)\/(\d+)$/.exec(text)
  if (pct === null) return undefined
  return { kind: "pct", seed: Number(pct[1]), depth: Number(pct[2]), choices: Number(pct[3]) }
}

export const policyOf = (seed: Seed): Policy =>
  seed.kind === "plain"
    ? plain
    : seed.kind === "random"
      ? randomly(seed.seed)
      : prioritised(seed.seed, seed.depth, seed.choices)

/** The seed of the program's random numbers in that run. */
export const numberOf = (seed: Seed): number => (seed.kind === "plain" ? 0 : seed.seed)
