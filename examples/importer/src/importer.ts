import * as Command from "@effect/platform/Command"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import { Effect, Option, Schema, Stream } from "effect"
import * as Executor from "effect-asyncio/services/Executor"
import * as FollowRecords from "effect-asyncio/services/FollowRecords"
import * as Job from "effect-asyncio/services/Job"
import * as MapConcurrent from "effect-asyncio/services/MapConcurrent"
import * as Pacing from "effect-asyncio/services/Pacing"
import * as Processes from "effect-asyncio/services/Processes"
import * as Timers from "effect-asyncio/services/Timers"
import { Customer, type Invoice, Order } from "./Orders.js"
import type { price } from "./price.js"
import { Totals } from "./Totals.js"

export interface Settings {
  /** One order a line, as JSON; it is followed as it grows. */
  readonly file: string
  /** The URL of the API, without a slash at the end. */
  readonly api: string
  /** The command that takes invoices, one a line. */
  readonly deliver: readonly [string, ...Array<string>]
}

const decode = Schema.decodeOption(Schema.parseJson(Order))
const pricing = Job.fromModule<typeof price>(new URL("./price.js", import.meta.url), "price")

/** One order: its customer from the API, its price from a worker thread. */
const invoice = (settings: Settings, order: Order) =>
  Effect.gen(function* () {
    const response = yield* HttpClient.get(`${settings.api}/customers/${order.customer}`)
    const customer = yield* HttpClientResponse.filterStatusOk(response).pipe(
      Effect.flatMap(HttpClientResponse.schemaBodyJson(Customer))
    )
    const cents = yield* Executor.run(pricing, order, customer.discount)
    return { order: order.id, name: customer.name, cents } satisfies Invoice
  })

/** A batch is delivered whole and counted: an interruption waits for its command, which has a time limit. */
const deliver = ({ deliver: [command, ...args] }: Settings, batch: ReadonlyArray<Invoice>) =>
  Effect.gen(function* () {
    const lines = batch.map((one) => `${JSON.stringify(one)}\n`).join("")
    yield* Processes.run(Command.make(command, ...args).pipe(Command.feed(lines)), {
      check: true,
      timeout: "10 seconds"
    })
    const { add } = yield* Totals
    for (const { cents } of batch) yield* add(cents)
  }).pipe(Effect.uninterruptible)

const report = Effect.flatMap(
  Effect.flatMap(Totals, ({ read }) => read),
  (total) => Effect.log(`${total.orders} orders, ${total.cents} cents, ${total.bad} bad lines`)
)

/** Imports the orders of a growing file until it is interrupted. */
export const importOrders = (settings: Settings) =>
  Effect.gen(function* () {
    const totals = yield* Totals
    yield* (yield* Timers.Timers).every("1 minute", report, { name: "report" })
    yield* FollowRecords.follow(settings.file).pipe(
      MapConcurrent.mapConcurrent(
        (line) =>
          Option.match(decode(line), {
            // A bad line costs itself and no other.
            onNone: () =>
              Effect.logWarning("not an order:", line).pipe(
                Effect.zipRight(totals.bad),
                Effect.as(Option.none<Invoice>())
              ),
            onSome: (order) => Effect.asSome(invoice(settings, order))
          }),
        { concurrency: 8 }
      ),
      Stream.filterMap((invoice) => invoice),
      Pacing.batchWithin({ size: 100, within: "1 second" }),
      Stream.runForEach((batch) => deliver(settings, batch))
    )
  }).pipe(Effect.ensuring(report))
