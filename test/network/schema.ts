import { Effect, Either, Layer } from "effect"
import * as Store from "../../src/services/cluster/Store.js"
import { settings } from "./settings.js"

// A store on the PostgreSQL of the suite, each in a schema of its own.

/** The URL of its database. */
export const url = settings["DATABASE_URL"] ?? ""
export const parse = (text: string): Store.Location => Either.getOrThrow(Store.parse(text))

let schemas = 0

/** A schema that `made` makes, and the URL of a store in it. */
export const inSchema = () => {
  const name = `test_${process.pid}_${++schemas}`
  const made = Effect.flatMap(Store.open(parse(url), []), ({ use }) =>
    use((sql) => sql`CREATE SCHEMA ${sql(name)}`)
  )
  return { made: Effect.scoped(made), url: `${url}?options=${encodeURIComponent(`-c search_path=${name}`)}` }
}

/** A store with these tables, in a schema that is made for it. */
export const fresh = (tables: ReadonlyArray<Store.Tables>) => {
  const { made, url } = inSchema()
  return Layer.unwrapEffect(Effect.as(made, Store.layer(parse(url), tables)))
}
