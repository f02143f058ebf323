import { describe, expect, it } from "vitest"
import { headersFor, redirected } from "../../../../src/services/download/internal/request.js"

const url = (text: string) => new URL(text)

const all = { rest: undefined, since: undefined }

describe("headersFor", () => {
  const headers = { Authorization: "secret", Cookie: "secret", "X-Trace": "1" }

  it("sends secrets to the request's own origin alone", () => {
    const request = { url: url("https://a.example/f"), headers }
    expect(headersFor(request, url("https://a.example/g"), all)).toMatchObject({
      authorization: "secret",
      cookie: "secret",
      "x-trace": "1"
    })
    const elsewhere = headersFor(request, url("https://b.example/f"), all)
    expect(elsewhere).toMatchObject({ "x-trace": "1" })
    expect(Object.keys(elsewhere)).not.toContain("authorization")
    expect(Object.keys(elsewhere)).not.toContain("cookie")
  })

  it("asks for a file as it is, and for the rest of one only if it is the same version", () => {
    const target = { directory: "d", name: "f" }
    const request = { url: url("https://a.example/f"), target }
    expect(
      headersFor(request, request.url, { ...all, rest: { offset: 7, validator: '"v1"' } })
    ).toMatchObject({
      "accept-encoding": "identity",
      range: "bytes=7-",
      "if-range": '"v1"'
    })
    expect(headersFor({ url: request.url }, request.url, all)["accept-encoding"]).toBe("gzip, deflate, br")
  })

  it("makes basic authorization of the URL's user, with literal percent signs too", () => {
    const { authorization } = headersFor(
      { url: url("https://a:b@a.example/") },
      url("https://a%25:%zz@a.example/"),
      all
    )
    expect(Buffer.from(authorization!.slice("Basic ".length), "base64").toString()).toBe("a%:%zz")
  })
})

describe("redirected", () => {
  const from = url("https://me:secret@a.example/x/f")

  it("keeps user and password within the origin alone", () => {
    expect(redirected(from, "../g", 302).href).toBe("https://me:secret@a.example/g")
    expect(redirected(from, "https://b.example/g", 302).href).toBe("https://b.example/g")
    expect(redirected(from, "https://you@a.example/g", 302).href).toBe("https://you@a.example/g")
  })

  it.each([
    [undefined, "HTTP 302 without a Location"],
    ["http://", "redirected to 'http://', which is not a URL"],
    ["file:///etc/passwd", "redirected to file:, which is not http or https"],
    ["http://a.example/f", "redirected from https down to http://a.example"]
  ])("refuses %s", (location, message) => {
    expect(() => redirected(from, location, 302)).toThrow(message)
  })
})
