import { assert, describe, it } from "@effect/vitest"
import { Either, FastCheck } from "effect"
import * as Procfile from "../../../src/services/supervision/Procfile.js"

const problem = (result: Either.Either<unknown, Procfile.ProcfileError | string>): string =>
  Either.match(result, {
    onLeft: (error) => (typeof error === "string" ? error : error.message),
    onRight: () => "none"
  })

describe("Procfile", () => {
  it("reads a file's lines and then the words", () => {
    const text = "# services\n\nweb: node server.js --url http://x:1/\r\n  db :  redis-server\n"
    assert.deepStrictEqual(
      Either.getOrThrow(Procfile.read(["w.1=echo a=b", "x_y= sleep 1 "], { path: "Procfile", text })),
      [
        { name: "web", command: "node server.js --url http://x:1/" },
        { name: "db", command: "redis-server" },
        { name: "w.1", command: "echo a=b" },
        { name: "x_y", command: "sleep 1" }
      ]
    )
    assert.deepStrictEqual(Either.getOrThrow(Procfile.read([])), [])
  })

  it("says what is wrong and where", () => {
    const file = (text: string) => problem(Procfile.read([], { path: "P", text }))
    assert.strictEqual(
      file("a: b\nnonsense"),
      "P, line 2: 'nonsense' has no ':'; write NAME: COMMAND, like web: python3 -m http.server"
    )
    assert.strictEqual(file("\n: b"), "P, line 2: the name is missing before the command")
    assert.strictEqual(file("a b: c"), "P, line 1: 'a b' is no name; use letters, digits, '_', '-' and '.'")
    assert.strictEqual(file("a:"), "P, line 1: a has no command")
    assert.strictEqual(
      problem(Procfile.read(["a=y"], { path: "P", text: "#\na: x" })),
      "'a=y': the name a is taken already (P, line 2); names must differ"
    )
    assert.strictEqual(
      problem(Procfile.read(["sleep 1"])),
      "'sleep 1': it has no name; write NAME='COMMAND', like web='python3 -m http.server'"
    )
  })

  it("reads who waits for whom, and finds those that would wait for each other", () => {
    const names = ["web", "db", "cache"]
    assert.deepStrictEqual(
      Either.getOrThrow(Procfile.after(["web:db,cache", "cache:db"], names)),
      new Map([
        ["web", new Set(["db", "cache"])],
        ["cache", new Set(["db"])]
      ])
    )
    assert.strictEqual(
      problem(Procfile.after(["web"], names)),
      "'web' is no order; write WEB:DB, and web starts after db"
    )
    assert.strictEqual(
      problem(Procfile.after(["web:dbb"], names)),
      "'web:dbb' names dbb, which is none of web, db, cache"
    )
    assert.strictEqual(
      problem(Procfile.after(["web:db", "db:cache", "cache:web"], names)),
      "web waits for db waits for cache waits for web: none of them would ever start"
    )
    assert.strictEqual(
      problem(Procfile.after(["db:db"], names)),
      "db waits for db: none of them would ever start"
    )
  })

  it("accepts every order that goes one way, and none that goes round", () => {
    const names = ["a", "b", "c", "d", "e", "f"]
    const pair = FastCheck.tuple(FastCheck.nat(5), FastCheck.nat(5)).filter(([x, y]) => x !== y)
    FastCheck.assert(
      FastCheck.property(FastCheck.array(pair, { maxLength: 12 }), (pairs) => {
        const down = pairs.map(([x, y]) => `${names[Math.max(x, y)]}:${names[Math.min(x, y)]}`)
        assert.isTrue(Either.isRight(Procfile.after(down, names)))
        if (pairs.length === 0) return
        const [first = ""] = down
        assert.isTrue(Either.isLeft(Procfile.after([...down, first.split(":").reverse().join(":")], names)))
      })
    )
  })
})
