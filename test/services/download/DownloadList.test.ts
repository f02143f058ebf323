import { describe, expect, it } from "@effect/vitest"
import { Either } from "effect"
import * as DownloadList from "../../../src/services/download/DownloadList.js"

describe("DownloadList", () => {
  const sum = "ab".repeat(32)
  const checksum = { algorithm: "sha256", hex: sum }
  const url = new URL("https://a.example/x")

  it.each([
    ["https://a.example/x", { url }],
    ["https://a.example/x\tname.txt", { url, name: "name.txt" }],
    [` https://a.example/x \t\tSHA256:${sum.toUpperCase()}`, { url, checksum }],
    [`https://a.example/x\tn\tsha256:${sum}`, { url, name: "n", checksum }]
  ])("parseLine reads a URL, a name and a checksum: %j", (line, request) => {
    expect(DownloadList.parseLine(line)).toEqual(Either.right(request))
  })

  it.each([
    ["ftp://a.example/x", "'ftp://a.example/x' is not a web address; expected http:// or https://"],
    ["nonsense", "'nonsense' is not a URL; expected https://host/path"],
    [
      "https://a.example\t.hidden",
      "'.hidden' is not a file name within the folder; leave out '..', a / in front, leading dots and special characters"
    ],
    [
      "https://a.example\tsha256:xyz",
      "'sha256:xyz' is not a checksum; expected sha256: and 64 hexadecimal digits, sha512: and 128, sha1: and 40, or md5: and 32"
    ],
    ["https://a.example\ta\tb", "'b' is a third field; expected URL, TAB, file name, TAB, checksum"]
  ])("parseLine answers with the problem: %j", (line, problem) => {
    expect(DownloadList.parseLine(line)).toEqual(Either.left(problem))
  })

  it("parseUrl and parseChecksum answer in words", () => {
    expect(Either.getOrThrow(DownloadList.parseUrl("HTTPS://A.example")).href).toBe("https://a.example/")
    expect(Either.isLeft(DownloadList.parseUrl("javascript:alert(1)"))).toBe(true)
    expect(DownloadList.parseChecksum(`sha256:${sum}`)).toEqual(
      Either.right({ algorithm: "sha256", hex: sum })
    )
    expect(Either.isLeft(DownloadList.parseChecksum(`sha1:${sum}`))).toBe(true)
    expect(DownloadList.parseChecksum(`MD5:${"AB".repeat(16)}`)).toEqual(
      Either.right({ algorithm: "md5", hex: "ab".repeat(16) })
    )
  })
})
