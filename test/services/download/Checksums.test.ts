import { describe, expect, it } from "@effect/vitest"
import { Either } from "effect"
import * as Checksums from "../../../src/services/download/Checksums.js"

const hex = (length: number, digit = "a") => digit.repeat(length)
const [md5, sha1, sha256, sha512] = [hex(32), hex(40), hex(64), hex(128)]
const read = (text: string, list = "SUMS") =>
  Either.getOrThrowWith(Checksums.read(text, list), (error) => error)
const of = (text: string, url: string, list?: string, name?: string) => {
  const found = Checksums.find(read(text, list), { url: new URL(url, "https://a.example/"), name })
  return Either.isRight(found) ? `${found.right.algorithm}:${found.right.hex}` : found.left.message
}
const refused = (text: string, list = "SUMS") => {
  const result = Checksums.read(text, list)
  return Either.isLeft(result) ? [result.left.exitCode, result.left.message] : undefined
}

describe("Checksums", () => {
  it.each([
    ["GNU, text", `${sha256}  f\n`, `sha256:${sha256}`],
    ["GNU, binary mark", `${sha512} *f\n`, `sha512:${sha512}`],
    ["GNU, CRLF and upper case", `${sha1.toUpperCase()}  f\r\n`, `sha1:${sha1}`],
    ["BSD", `MD5 (f) = ${md5}\n`, `md5:${md5}`],
    ["BSD with a dash", `SHA-256 (f) = ${sha256}`, `sha256:${sha256}`],
    ["a path in front", `${md5}  ./f`, `md5:${md5}`],
    [
      "lines that are none, as in a signed list",
      `-----BEGIN-----\nHash: x\n\n# f\n${md5}  f\n`,
      `md5:${md5}`
    ],
    [
      "the strongest of several",
      `MD5 (f) = ${md5}\nSHA512 (f) = ${sha512}\nSHA1 (f) = ${sha1}`,
      `sha512:${sha512}`
    ],
    ["an algorithm that is not computed here", `SHA384 (f) = ${hex(96)}\nSHA1 (f) = ${sha1}`, `sha1:${sha1}`]
  ])("reads a list of the form: %s", (_, text, checksum) => {
    expect(of(text, "/f")).toBe(checksum)
  })

  it("reads escaped names as sha256sum writes them, and names with blanks and stars", () => {
    expect(of(`\\${md5}  a\\\\b\\nc`, "/a%5Cb%0Ac")).toBe(`md5:${md5}`)
    expect(of(`${md5}  *a b`, "/*a%20b")).toBe(`md5:${md5}`)
  })

  it("takes the algorithm from the list's name, and a bare checksum for the file of that name", () => {
    expect(of(`${sha256}\n`, "/a.zip", "dir/a.zip.sha256")).toBe(`sha256:${sha256}`)
    expect(of(`${sha1}\n`, "/a.zip", "https://b.example/a.zip.sha1?x")).toBe(`sha1:${sha1}`)
    expect(refused(`${sha1}  f`, "SHA256SUMS")?.[0]).toBe(2)
    expect(refused(`${sha512}  f`, "B2SUMS")).toEqual([
      2,
      "the checksums of B2SUMS: their algorithm is not md5, sha1, sha256 or sha512"
    ])
  })

  it("finds the longest name with which the URL's path ends, then the name of the file", () => {
    const text = `${hex(32, "1")}  f\n${hex(32, "2")}  b/f\n${hex(32, "3")}  mine\n`
    expect(of(text, "/x/f")).toBe(`md5:${hex(32, "1")}`)
    expect(of(text, "/a/b/f")).toBe(`md5:${hex(32, "2")}`)
    expect(of(text, "/b%2Ff")).toBe(`md5:${hex(32, "2")}`)
    expect(of(text, "/other", undefined, "mine")).toBe(`md5:${hex(32, "3")}`)
    expect(of(text, "/xf")).toBe(
      "the checksums of SUMS: https://a.example/xf is not among them; leave it out, or give it a checksum of its own"
    )
  })

  it("refuses two checksums of one name, and a list without any", () => {
    expect(refused(`${md5}  f\n${hex(32, "b")}  f\n`)).toEqual([
      2,
      "the checksums of SUMS: 'f' is in it twice, with two md5 checksums"
    ])
    expect(refused("<html>not found</html>", "https://me:secret@a.example/S")).toEqual([
      2,
      "the checksums of https://a.example/S: no line is a checksum; expected HEX  NAME or SHA256 (NAME) = HEX, with md5, sha1, sha256 or sha512"
    ])
  })
})
