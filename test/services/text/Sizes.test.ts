import { describe, expect, it } from "@effect/vitest"
import { Either, FastCheck } from "effect"
import * as Sizes from "../../../src/services/text/Sizes.js"

const right = <A>(value: A) => Either.right(value)
const problem = (either: Either.Either<number, string>) => Either.getOrThrow(Either.flip(either))

describe("Sizes", () => {
  describe("size", () => {
    it.each([
      ["0", 0],
      ["1000", 1000],
      ["1000B", 1000],
      ["500K", 512_000],
      ["2m", 2_097_152],
      ["1.5GiB", 1_610_612_736],
      ["1KiB", 1024],
      ["1KB", 1000],
      ["10mb", 10_000_000],
      ["2.3GB", 2_300_000_000],
      ["1 TB", 1_000_000_000_000],
      ["1 TiB", 1_099_511_627_776],
      ["0.1K", 102],
      ["9007199254740991", Number.MAX_SAFE_INTEGER]
    ])("reads %j as %d bytes", (text, bytes) => {
      expect(Sizes.size(text)).toEqual(right(bytes))
    })

    it.each(["", "big", "-1", "1X", "1KK", "1,5K", "K", "1Ki", "1iB", "1e3", "٣", "1_000", "1KiBB"])(
      "refuses %j",
      (text) => {
        expect(problem(Sizes.size(text))).toBe(
          `'${text}' is not a size; expected bytes, or a size like 500K, 2M or 1G`
        )
      }
    )
  })

  it.each(["9007199254740992", "8192T", `${"9".repeat(400)}`])(
    "refuses %j, which no number holds exactly",
    (text) => {
      expect(problem(Sizes.size(text))).toBe(`size '${text}' is too large; the largest is 8191 TiB`)
    }
  )

  describe("sizeFrom", () => {
    it.each([
      ["64", 4 * 1024 ** 2, "'64' is 64 bytes; expected 4 MiB or more, like 64M"],
      [" 1 ", 4096, "'1' is 1 byte; expected 4 KiB or more, like 1M"],
      ["0", 4096, "'0' is 0 bytes; expected 4 KiB or more"],
      ["50", 100, "'50' is 50 bytes; expected 100 B or more, like 50K"],
      ["1K", 4096, "'1K' is 1 KiB; expected 4 KiB or more"],
      ["1.5K", 4096, "'1.5K' is 1536 B; expected 4 KiB or more"]
    ])("refuses %j below %d bytes", (text, least, message) => {
      expect(problem(Sizes.sizeFrom(least)(text))).toBe(message)
    })

    it("accepts the floor itself, and reports what is not a size", () => {
      expect(Sizes.sizeFrom(4096)("4K")).toEqual(right(4096))
      expect(problem(Sizes.sizeFrom(4096)("big"))).toContain("'big' is not a size")
    })
  })

  it.prop("shows sizes that it reads back unrounded", [FastCheck.maxSafeNat()], ([n]) => {
    expect(Sizes.size(Sizes.formatGiven(n))).toEqual(right(n))
  })

  it.each([
    [0, "0 B"],
    [1023, "1023 B"],
    [1024, "1.0 KiB"],
    [10_240, "10 KiB"],
    [1_572_864, "1.5 MiB"],
    [1024 ** 4 * 5000, "5000 TiB"]
  ])("shows %d bytes as %s", (bytes, text) => {
    expect(Sizes.formatSize(bytes)).toBe(text)
  })

  it.prop("reads back whole KiB", [FastCheck.nat(100_000)], ([n]) => {
    expect(Sizes.size(`${n}K`)).toEqual(right(n * 1024))
  })
})
