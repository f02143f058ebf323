import type { Order } from "./Orders.js"

// Runs on a worker thread: it computes, and would block the event loop.

/** The price of an order in cents, after a discount in percent. */
export const price = (order: Order, discount: number): number => {
  let cents = 0
  for (const { pieces, cents: each } of order.items) cents += pieces * each
  return Math.round(cents * (1 - discount / 100))
}
