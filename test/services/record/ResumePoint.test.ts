import { describe, expect, it } from "@effect/vitest"
import { Either } from "effect"
import * as ResumePoint from "../../../src/services/record/ResumePoint.js"

describe("ResumePoint.followPlace and inputPlace", () => {
  const digest = { bytes: 3, sha256: "0".repeat(64) }
  const file = { device: "1", inode: "2", position: 3, given: 0, head: digest, tail: digest }
  const place = { index: 1, line: 1, format: "lines", file }
  const input = { index: 1, line: 1, position: 2, format: "lines", head: digest }
  const counts = [-1, 0.5, 1e300, "1", null, undefined]
  const digests = [null, {}, { ...digest, bytes: 4097 }, { ...digest, bytes: -1 }, { ...digest, sha256: "0" }]

  it("accept a place that was written, of the same format", () => {
    expect(ResumePoint.followPlace("lines")(place)).toEqual(Either.right(place))
    expect(ResumePoint.inputPlace(input)).toEqual(Either.right(input))
    expect(ResumePoint.followPlace("null")(place)).toEqual(Either.left("it is of records as lines, not null"))
  })

  it("refuse other shapes, in one sentence", () => {
    const wrongPlaces = [
      ...[undefined, null, 1, "x", [], {}, { ...place, file: null }, { ...place, format: "csvs" }],
      ...counts.flatMap((count) => [
        { ...place, index: count },
        { ...place, line: count },
        { ...place, file: { ...file, position: count } },
        { ...place, file: { ...file, given: count } }
      ]),
      ...digests.flatMap((wrong) => [
        { ...place, file: { ...file, head: wrong } },
        { ...place, file: { ...file, tail: wrong } }
      ]),
      ...["", "../2", "-1", 2, "1".repeat(21)].map((inode) => ({ ...place, file: { ...file, inode } }))
    ]
    for (const wrong of wrongPlaces) {
      const answer = ResumePoint.followPlace("lines")(wrong)
      expect(Either.isLeft(answer) && answer.left, JSON.stringify(wrong)).toMatch(/remove it to start over$/)
    }
    const wrongInputs = [
      ...[undefined, null, 1, [], {}],
      ...counts.flatMap((count) => [
        { ...input, index: count },
        { ...input, line: count },
        { ...input, position: count }
      ]),
      ...digests.map((head) => ({ ...input, head }))
    ]
    for (const wrong of wrongInputs)
      expect(Either.isLeft(ResumePoint.inputPlace(wrong)), JSON.stringify(wrong)).toBe(true)
  })
})
