import { Context, Effect, Layer } from "effect"
import * as Neighbour from "./Neighbour.js"

/**
 * The neighbours of an application server, each with a circuit breaker, a bulkhead and last answers of its own, which all
 * requests share.
 *
 * @since 0.1.0
 * @category services
 */
export class Neighbours extends Context.Tag("effect-asyncio/services/Neighbours")<
  Neighbours,
  {
    /** The neighbour of this name; an unknown name is a defect. */
    readonly get: (name: string) => Effect.Effect<Neighbour.Neighbour>
    readonly all: ReadonlyArray<Neighbour.Neighbour>
  }
>() {}

/**
 * Settings of {@link layer}.
 *
 * @since 0.1.0
 * @category options
 */
export interface Options {
  /** The policy of all, unless one of its own says otherwise. */
  readonly policy?: Neighbour.Policy | undefined
  readonly policies?: Readonly<Record<string, Neighbour.Policy>> | undefined
}

/**
 * Neighbours of these names. Dies with a `RangeError` when a setting of a policy is out of range.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (names: ReadonlyArray<string>, options: Options = {}): Layer.Layer<Neighbours> =>
  Layer.effect(
    Neighbours,
    Effect.map(
      Effect.forEach(names, (name) =>
        Neighbour.make(name, { ...options.policy, ...options.policies?.[name] })
      ),
      (all) => ({
        all,
        get: (name) => {
          const found = all.find((one) => one.name === name)
          return found === undefined ? Effect.dieMessage(`no neighbour '${name}'`) : Effect.succeed(found)
        }
      })
    )
  )
