import { Schema } from "effect"

const Item = Schema.Struct({ pieces: Schema.Number, cents: Schema.Number })

/** A line of the file. */
export const Order = Schema.Struct({
  id: Schema.Number,
  customer: Schema.Number,
  items: Schema.Array(Item)
})
export type Order = typeof Order.Type

/** What the API knows of a customer. */
export const Customer = Schema.Struct({ name: Schema.String, discount: Schema.Number })

/** What is delivered. */
export interface Invoice {
  readonly order: number
  readonly name: string
  readonly cents: number
}
