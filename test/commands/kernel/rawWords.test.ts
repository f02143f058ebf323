import { describe, expect, it } from "vitest"
import { rawWords } from "../../../src/commands/kernel/rawWords.js"

describe("rawWords", () => {
  const commandLine = Buffer.from("node\0aio\0a\xff\0b\0", "latin1")
  it.each<readonly [string, ReadonlyArray<string>, () => Buffer, ReadonlyArray<string>]>([
    ["gives bytes back that Node has replaced", ["a\ufffd", "b"], () => commandLine, ["a\udcff", "b"]],
    ["reads nothing where nothing was replaced", ["a", "b"], () => expect.unreachable(), ["a", "b"]],
    ["keeps words that are not those of the process", ["\ufffd", "c"], () => commandLine, ["\ufffd", "c"]],
    [
      "keeps words where there are fewer",
      Array(9).fill("\ufffd"),
      () => commandLine,
      Array(9).fill("\ufffd")
    ],
    [
      "keeps words where the system does not have them",
      ["\ufffd"],
      () => {
        throw new Error("no /proc")
      },
      ["\ufffd"]
    ]
  ])("%s", (_, words, read, expected) => {
    expect(rawWords(words, read)).toEqual(expected)
  })
})
