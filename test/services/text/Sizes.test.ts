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
      ["1 TB", 1_099_511_627_776],
      ["0.1K", 102]
    ])("reads %j as %d bytes", (text, bytes) => {
      expect(Sizes.size(text)).toEqual(right(bytes))
    })

    it.each(["", "big", "-1", "1X", "1KK", "1,5K", "K"])("refuses %j", (text) => {
      expect(problem(Sizes.size(text))).toBe(
        `'${text}' is not a size; expected bytes, or a size like 500K, 2M or 1G`
      )
    })
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
