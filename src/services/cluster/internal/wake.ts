import { Effect, Redacted, type Scope } from "effect"
import { nativeImport } from "../../source/NativeImport.js"
import type * as Store from "../Store.js"

// Waiting until something may have changed in the store: a notification of PostgreSQL, or the next poll. A poll alone is
// right, only later: the connection that listens may be dead without a sign.

interface Client {
  readonly connect: () => Promise<void>
  readonly query: (text: string) => Promise<unknown>
  readonly end: () => Promise<void>
  readonly on: (event: string, listener: (about: { readonly payload?: string }) => void) => void
}

/** Milliseconds between two polls: of a file, and beside notifications. */
export const polls = { sqlite: 25, pg: 1000 }

const reconnect = 1000

export interface Wake {
  /** Wakes all that wait. */
  readonly now: () => void
  /** Waits for a wake-up since the last wait, or for the next poll. */
  readonly wait: Effect.Effect<void>
}

/** Listens in the current scope; the connection is made anew when it breaks. */
export const make = (
  location: Store.Location,
  channel: string,
  onPayload?: (payload: string) => void
): Effect.Effect<Wake, never, Scope.Scope> =>
  Effect.gen(function* () {
    const poll = polls[location._tag === "Sqlite" ? "sqlite" : "pg"]
    let due = false
    let resume: (() => void) | undefined
    const now = () => {
      due = true
      resume?.()
    }
    if (location._tag === "Postgres") {
      const driver: string = "pg" // comes with @effect/sql-pg; without types of its own
      const pg = yield* Effect.promise(() => nativeImport(driver))
      yield* Effect.acquireRelease(
        Effect.sync(() => {
          let client: Client | undefined
          let closed = false
          let timer: NodeJS.Timeout | undefined
          const connect = () => {
            if (closed) return
            const made: Client = new pg.default.Client({
              connectionString: Redacted.value(location.url).href,
              connectionTimeoutMillis: 5000,
              keepAlive: true,
              application_name: "effect-asyncio"
            })
            client = made
            const again = () => {
              if (client !== made) return
              client = undefined
              void made.end().catch(() => undefined)
              if (!closed) timer = setTimeout(connect, reconnect)
            }
            made.on("error", again)
            made.on("end", again)
            made.on("notification", ({ payload = "" }) => {
              onPayload?.(payload)
              now()
            })
            made
              .connect()
              .then(() => made.query(`LISTEN "${channel}"`))
              .then(now, again)
          }
          connect()
          return () => {
            closed = true
            clearTimeout(timer)
            void client?.end().catch(() => undefined)
          }
        }),
        (close) => Effect.sync(close)
      )
    }
    const wait = Effect.async<void>((done) => {
      const over = () => {
        clearTimeout(timer)
        resume = undefined
        due = false
        done(Effect.void)
      }
      const timer = setTimeout(over, poll)
      if (due) return over()
      resume = over
      return Effect.sync(() => {
        clearTimeout(timer)
        resume = undefined
      })
    })
    return { now, wait }
  })
