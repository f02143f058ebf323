import { assert, describe, it } from "@effect/vitest"
import { Either, FastCheck } from "effect"
import * as StartOrder from "../../../src/services/supervision/StartOrder.js"

const problem = (result: Either.Either<unknown, string>): string =>
  Either.match(result, { onLeft: (error) => error, onRight: () => "none" })

describe("StartOrder", () => {
  it("parses an order, and rejects names that would wait for each other", () => {
    const names = ["web", "db", "cache"]
    assert.deepStrictEqual(
      Either.getOrThrow(StartOrder.parse(["web:db,cache", "cache:db"], names)),
      new Map([
        ["web", new Set(["db", "cache"])],
        ["cache", new Set(["db"])]
      ])
    )
    assert.strictEqual(
      problem(StartOrder.parse(["web"], names)),
      "'web' is not an order; expected WEB:DB, which starts web after db"
    )
    assert.strictEqual(
      problem(StartOrder.parse(["web:dbb"], names)),
      "'web:dbb': unknown name 'dbb'; expected one of web, db, cache"
    )
    assert.strictEqual(
      problem(StartOrder.parse(["web:db", "db:cache", "cache:web"], names)),
      "web waits for db waits for cache waits for web: none of them would ever start"
    )
    assert.strictEqual(
      problem(StartOrder.parse(["db:db"], names)),
      "db waits for db: none of them would ever start"
    )
  })

  it("accepts every order without a ring, and none with a ring", () => {
    const names = ["a", "b", "c", "d", "e", "f"]
    const pair = FastCheck.tuple(FastCheck.nat(5), FastCheck.nat(5)).filter(([x, y]) => x !== y)
    FastCheck.assert(
      FastCheck.property(FastCheck.array(pair, { maxLength: 12 }), (pairs) => {
        const down = pairs.map(([x, y]) => `${names[Math.max(x, y)]}:${names[Math.min(x, y)]}`)
        assert.isTrue(Either.isRight(StartOrder.parse(down, names)))
        if (pairs.length === 0) return
        const [first = ""] = down
        assert.isTrue(Either.isLeft(StartOrder.parse([...down, first.split(":").reverse().join(":")], names)))
      })
    )
  })
})
