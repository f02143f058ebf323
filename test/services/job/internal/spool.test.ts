import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import * as spool from "../../../../src/services/job/internal/spool.js"

const read = (spool: spool.Spool) => {
  const parts: Array<Uint8Array> = []
  return Effect.map(
    spool.drain((bytes) => Effect.sync(() => void parts.push(bytes))),
    () => Buffer.concat(parts).toString()
  )
}

describe("Spool", () => {
  it.scopedLive("returns the written bytes, from memory and from a file", () =>
    Effect.gen(function* () {
      const make = yield* spool.make({ memory: 10 })
      const [small, large, third] = [make(), make(), make()]
      small.write(Buffer.from("12345"))
      large.write(Buffer.from("abc"))
      large.write(Buffer.from("defghijk")) // beyond: to a file, what was there first
      large.write(Buffer.from("lm"))
      third.write(Buffer.from("67890")) // the file's memory is free again
      expect([small.size(), large.size()]).toEqual([5, 13])
      expect(yield* read(large)).toBe("abcdefghijklm")
      expect([yield* read(small), yield* read(third)]).toEqual(["12345", "67890"])
      const long = make()
      const block = Buffer.alloc(100_000, "x")
      for (let i = 0; i < 5; i++) long.write(block)
      expect((yield* read(long)).length).toBe(500_000)
    })
  )
})
