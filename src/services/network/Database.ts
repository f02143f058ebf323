import { Context, Data, type Duration, Effect, Layer } from "effect"

// model

/**
 * An order of a user.
 *
 * @since 0.1.0
 * @category models
 */
export interface Order {
  readonly id: number
  readonly item: string
}

// errors

/**
 * The database did not answer a query.
 *
 * @since 0.1.0
 * @category errors
 */
export class DatabaseError extends Data.TaggedError("DatabaseError")<{ readonly reason: string }> {
  override get message() {
    return `database: ${this.reason}`
  }
}

// tag

/**
 * The database of an application server.
 *
 * @since 0.1.0
 * @category services
 */
export class Database extends Context.Tag("effect-asyncio/services/Database")<
  Database,
  {
    /** The orders of the user, the latest first; empty for an unknown user. */
    readonly orders: (user: string) => Effect.Effect<ReadonlyArray<Order>, DatabaseError>
  }
>() {}

/**
 * The content of an embedded database and its behaviour.
 *
 * @since 0.1.0
 * @category models
 */
export interface Embedded {
  readonly orders: Readonly<Record<string, ReadonlyArray<Order>>>
  /** Time that each answer takes. */
  readonly latency: Duration.DurationInput
  /** Answers with this failure instead. */
  readonly down?: string
}

// make

/**
 * A database in memory. Its latency is a time of the current clock.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = ({ down, latency, orders }: Embedded): Context.Tag.Service<Database> => ({
  orders: (user) =>
    Effect.zipRight(
      Effect.sleep(latency),
      down === undefined ? Effect.succeed(orders[user] ?? []) : new DatabaseError({ reason: down })
    )
})

// layers

/**
 * Embedded: some orders of the user `ada`, each answer after 120 ms.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<Database> = Layer.succeed(
  Database,
  make({
    latency: 120,
    orders: {
      ada: [
        { id: 1843, item: "notes on a sketch" },
        { id: 1842, item: "punched cards" },
        { id: 1833, item: "difference engine" }
      ]
    }
  })
)

/**
 * Empty and without latency, except for the given content.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerTest = (given: Partial<Embedded> = {}): Layer.Layer<Database> =>
  Layer.succeed(Database, make({ latency: 0, orders: {}, ...given }))
