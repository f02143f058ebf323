import { Context, Effect, Layer, Ref } from "effect"

/** How much was imported. */
export interface Total {
  readonly orders: number
  readonly cents: number
  readonly bad: number
}

/** The totals of this process, which many fibers add to. */
export class Totals extends Context.Tag("importer/Totals")<
  Totals,
  {
    readonly add: (cents: number) => Effect.Effect<void>
    readonly bad: Effect.Effect<void>
    readonly read: Effect.Effect<Total>
  }
>() {}

export const layer = Layer.effect(
  Totals,
  Effect.map(Ref.make<Total>({ orders: 0, cents: 0, bad: 0 }), (total) => ({
    // `Ref.update` is one step. A `get` and a `set` would lose orders: test/orders.test.ts finds that.
    add: (cents: number) =>
      Ref.update(total, (was) => ({ ...was, orders: was.orders + 1, cents: was.cents + cents })),
    bad: Ref.update(total, (was) => ({ ...was, bad: was.bad + 1 })),
    read: Ref.get(total)
  }))
)
