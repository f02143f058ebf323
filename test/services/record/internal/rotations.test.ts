import { assert, describe, it } from "@effect/vitest"
import * as rotations from "../../../../src/services/record/internal/rotations.js"

const rotated: ReadonlyArray<readonly [base: string, names: string, others: string]> = [
  [
    "log",
    "log.1 log.23 log-20261127 log-20261127-1764201600 log.2026-11-27 log.2026-11-27T10:00:00Z log_1 log.old log-bak log1 log.1.2",
    "log logs logger.1 log.js log-util.mjs log.json log.lock log.swp blog.1 .log.1 catalog.1"
  ],
  [
    "app.log",
    "app.log.1 app.log-20261127 app.1.log app-20261127.log app.2026-11-27.log app-2026-11-27.log app_20261127.log",
    "app.log app-error.log app-1.log app1.log app.log.tmp application.log app.txt app2.log.1 app-error-20261127.log"
  ],
  ["web1.log", "web1.log.1 web1.2026-11-27.log", "web2.log web2.log.1 web.log.1 web2.2026-11-27.log"]
]

describe("rotations", () => {
  it.each(rotated)("recognises the names that rotation gives to %s", (base, names, others) => {
    for (const name of names.split(" ")) assert.isTrue(rotations.isRotated(name, base), name)
    for (const name of others.split(" ")) assert.isFalse(rotations.isRotated(name, base), name)
  })

  it("takes names like one that rotation has given, with other numbers", () => {
    for (const [name, known, base, expected] of [
      ["app-1.log", "app-2.log", "app.log", true],
      ["app-10.log", "app-2.log", "app.log", true],
      ["app-error-1.log", "app-2.log", "app.log", false],
      ["bpp-1.log", "app-2.log", "app.log", false],
      ["app.log", "app-2.log", "app.log", false],
      ["app-1.log", "app.log.1", "app.log", false],
      ["log.b2", "log.b1", "log", true],
      ["log.b", "log.a", "log", false]
    ] as const) {
      assert.strictEqual(rotations.isAlike(name, known, base), expected, name)
    }
  })

  it("recognises names between two targets of a link", () => {
    const is = (name: string) => rotations.isBetween(name, "web1.2026-11-27.log", "web1.2026-11-29.log")
    assert.isTrue(is("web1.2026-11-28.log"))
    for (const name of ["web2.2026-11-28.log", "web1.2026-10-28.log", "web1.log", "web1.2026-11-28.log.gz"]) {
      assert.isFalse(is(name), name)
    }
  })

  it("orders numbers downwards and dates upwards, and recognises compressed files", () => {
    const sorted = (base: string, ...names: ReadonlyArray<string>) =>
      names.toSorted((a, b) => rotations.compare(a, b, base))
    assert.deepStrictEqual(sorted("log", "log.1", "log.10", "log.9"), ["log.10", "log.9", "log.1"])
    assert.deepStrictEqual(sorted("log", "log-20261127", "log-20261126"), ["log-20261126", "log-20261127"])
    assert.strictEqual(rotations.uncompressed("log.1.gz"), "log.1")
    assert.strictEqual(rotations.uncompressed("log.1.zst"), "log.1")
    assert.isUndefined(rotations.uncompressed("log.1"))
  })
})
