import { brotliCompressSync, gzipSync } from "node:zlib"
import { describe, expect, it } from "vitest"
import { cut, download, ok, send, small, tag } from "../support/HttpAnswers.js"

// What a server sends is read up to a limit, and waited for no longer than it is wanted.
describe("a body without bound", () => {
  // The failure is known at the head.
  it.each([
    ["404", send("404 Not Found", ["Content-Length: 1000000"], "some"), "status: HTTP 404 Not Found"],
    [
      "404 without length",
      send("404 Not Found", ["Connection: close"], "some"),
      "status: HTTP 404 Not Found"
    ],
    ["a redirect", send("302 Found", ["Location: /g", "Content-Length: 1000000"], "some"), "finished"],
    [
      "a redirect to nowhere",
      send("302 Found", ["Location: http://", "Content-Length: 1000000"], "some"),
      /^redirect: /
    ],
    ["a 416", [cut([tag]), send("416 No", ["Content-Length: 1000000"], "some"), ok([])], "finished"]
  ])("a body that never ends is not waited for: %s", async (_title, step, expected) => {
    const steps = [step].flat()
    const { outcome } = await download(
      [(request) => (request.path === "/g" ? ok([]) : steps[Math.min(request.nth, steps.length) - 1]!)],
      { attempts: 2, session: { stallTimeout: 60_000 } }
    )
    if (typeof expected === "string") expect(outcome).toBe(expected)
    else expect(outcome).toMatch(expected)
  })

  describe("limits", () => {
    const bomb = gzipSync(Buffer.alloc(2 ** 21))
    it("maxSize holds for a known length, an unknown one, and a decoded body", async () => {
      const outcomes = [
        ok([]),
        ok(["Connection: close"], small, "fin"),
        ok(["Content-Encoding: gzip"], bomb),
        ok(["Content-Encoding: br"], brotliCompressSync(Buffer.alloc(2 ** 21)))
      ].map((answer) => download([answer], { maxSize: 1000 }))
      expect((await Promise.all(outcomes)).map(({ outcome }) => outcome)).toEqual([
        "too-large: 2.0 KiB, more than 1000 B",
        ...["too-large: more than 1000 B", "too-large: more than 1000 B", "too-large: more than 1000 B"]
      ])
    })

    it("a body that is decoded has a limit if none is set", async () => {
      const member = gzipSync(Buffer.alloc(2 ** 24), { level: 1 })
      const body = Buffer.concat(Array.from({ length: 65 }, () => member))
      const { outcome } = await download([ok(["Content-Encoding: gzip"], body)], { save: false })
      expect(outcome).toBe("too-large: more than 1.0 GiB when decoded; a larger maximum size permits more")
    })
  })
})
