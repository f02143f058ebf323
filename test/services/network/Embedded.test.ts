import { describe, expect, it } from "@effect/vitest"
import { Effect, Fiber, Option, TestClock } from "effect"
import * as Apis from "../../../src/services/network/Apis.js"
import * as Cache from "../../../src/services/network/Cache.js"
import * as Database from "../../../src/services/network/Database.js"
import * as OAuth from "../../../src/services/network/OAuth.js"
import * as Storage from "../../../src/services/network/Storage.js"

// The embedded stand-ins for what an application server asks over the network.

describe("Database", () => {
  it.effect("answers after its latency, with nothing for a user that it does not know", () =>
    Effect.gen(function* () {
      const { orders } = yield* Database.Database
      const ada = yield* Effect.fork(orders("ada"))
      const bob = yield* Effect.fork(orders("bob"))
      yield* TestClock.adjust("119 millis")
      expect(yield* Fiber.poll(ada)).toEqual(Option.none())
      yield* TestClock.adjust("1 millis")
      expect((yield* Fiber.join(ada)).map(({ id }) => id)).toEqual([1843, 1842, 1833])
      expect(yield* Fiber.join(bob)).toEqual([])
    }).pipe(Effect.provide(Database.layer))
  )

  it.effect("fails when it is down", () =>
    Effect.gen(function* () {
      const { orders } = yield* Database.Database
      expect((yield* Effect.flip(orders("ada"))).message).toBe("database: connection refused")
    }).pipe(Effect.provide(Database.layerTest({ down: "connection refused" })))
  )
})

describe("Cache", () => {
  it.effect("keeps a value until its time to live is over, and not longer", () =>
    Effect.gen(function* () {
      const cache = yield* Cache.Cache
      yield* cache.set("token", "abc", "1 minute")
      yield* cache.set("name", "ada")
      yield* TestClock.adjust("59999 millis")
      expect(yield* cache.get("token")).toEqual(Option.some("abc"))
      yield* TestClock.adjust("1 millis")
      expect(yield* cache.get("token")).toEqual(Option.none())
      expect(yield* cache.get("name")).toEqual(Option.some("ada"))
      expect(yield* cache.get("visits:ada")).toEqual(Option.some("41"))
    }).pipe(Effect.provide(Cache.layerTest({ entries: { "visits:ada": "41" } })))
  )

  it.effect("fails when it is down, and keeps nothing", () =>
    Effect.gen(function* () {
      const cache = yield* Cache.Cache
      expect((yield* Effect.flip(cache.set("a", "b"))).message).toBe("cache: READONLY")
      expect((yield* Effect.flip(cache.get("a"))).reason).toBe("READONLY")
    }).pipe(Effect.provide(Cache.layerTest({ down: "READONLY" })))
  )
})

describe("OAuth", () => {
  it.effect("returns known accounts and fails for unknown users", () =>
    Effect.gen(function* () {
      const { account } = yield* OAuth.OAuth
      expect(yield* account("ada")).toEqual({ email: "a@b", scopes: [] })
      expect((yield* Effect.flip(account("bob"))).message).toBe("oauth: no account for bob")
    }).pipe(Effect.provide(OAuth.layerTest({ accounts: { ada: { email: "a@b", scopes: [] } } })))
  )
})

describe("Storage", () => {
  it.effect("lists by prefix in the order of the keys, and returns stored files", () =>
    Effect.gen(function* () {
      const storage = yield* Storage.Storage
      const bytes = new Uint8Array([1, 2, 3])
      yield* storage.put("ada/b", bytes)
      yield* storage.put("ada/a", new Uint8Array(2))
      yield* storage.put("adam", new Uint8Array(1))
      bytes.fill(0) // the caller goes on using its own
      expect(yield* storage.list("ada/")).toEqual([
        { key: "ada/a", size: 2 },
        { key: "ada/b", size: 3 }
      ])
      expect(yield* storage.get("ada/b")).toEqual(Option.some(new Uint8Array([1, 2, 3])))
      expect(yield* storage.get("none")).toEqual(Option.none())
    }).pipe(Effect.provide(Storage.layerTest()))
  )

  it.effect("fails when it is down", () =>
    Effect.gen(function* () {
      const storage = yield* Storage.Storage
      expect((yield* Effect.flip(storage.list(""))).message).toBe("storage: SlowDown")
    }).pipe(Effect.provide(Storage.layerTest({ down: "SlowDown" })))
  )
})

describe("Apis", () => {
  it.effect("answers each in its own time; one that is down leaves the other alone", () =>
    Effect.gen(function* () {
      const apis = yield* Apis.Apis
      const drive = yield* Effect.fork(Effect.flip(apis.documents("ada")))
      const chat = yield* Effect.fork(apis.unread("ada"))
      yield* TestClock.adjust("10 millis")
      expect((yield* Fiber.join(drive)).message).toBe("drive: 503")
      expect(yield* Fiber.poll(chat)).toEqual(Option.none())
      yield* TestClock.adjust("10 millis")
      expect(yield* Fiber.join(chat)).toEqual([{ from: "mary", text: "hi" }])
    }).pipe(
      Effect.provide(
        Apis.layerTest({
          latency: { drive: 10, chat: 20 },
          down: { drive: "503" },
          unread: { ada: [{ from: "mary", text: "hi" }] }
        })
      )
    )
  )
})
