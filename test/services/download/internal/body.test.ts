import { describe, expect, it } from "vitest"
import type { Headers } from "../../../../src/services/download/internal/answers.js"
import { readBody } from "../../../../src/services/download/internal/body.js"

const piece = { offset: 3, validator: '"v1"', total: 10 }
const body = (
  status: number,
  headers: Headers,
  more: Partial<Parameters<typeof readBody>[2]> = {}
): ReturnType<typeof readBody> =>
  readBody(status, headers, { endProves: true, names: ["f"], piece: undefined, ranged: false, ...more })
const continued = { piece, ranged: true }

describe("readBody", () => {
  it("gives the length of a whole body, as sent and as saved", () => {
    expect(body(200, { "content-length": "10", etag: '"v1"' })).toMatchObject({
      rest: false,
      validator: '"v1"',
      sent: 10,
      total: 10
    })
    expect(body(200, { "content-length": "10", "content-encoding": "gzip" })).toMatchObject({
      sent: 10,
      total: undefined
    })
  })

  it("needs a provable end if nothing else ends the body", () => {
    const unproved = { endProves: false }
    expect(body(200, {}, unproved)).toBe("end")
    expect(body(200, {})).toMatchObject({ sent: undefined })
    expect(body(200, { "transfer-encoding": "chunked" }, unproved)).toMatchObject({ sent: undefined })
  })

  it("joins the rest on proof, and refuses it without", () => {
    const headers = { etag: '"v1"', "content-range": "bytes 3-9/10", "content-length": "7" }
    expect(body(206, headers, continued)).toMatchObject({ rest: true, sent: 10, total: 10 })
    expect(() => body(206, { ...headers, etag: '"v2"' }, continued)).toThrow("of another version")
    expect(() => body(206, headers)).toThrow("not requested")
  })

  it("takes a 200 in answer to a range only for the same version and length", () => {
    expect(body(200, { etag: '"v1"', "content-length": "10" }, continued)).toMatchObject({ rest: false })
    expect(body(200, { etag: '"v1"', "content-length": "7" }, continued)).toBe("range")
    expect(body(200, { etag: '"v2"', "content-length": "10" }, continued)).toBe("range")
  })

  it("refuses unknown encodings and ranges", () => {
    expect(() => body(200, { "transfer-encoding": "gzip" })).toThrow("Transfer-Encoding 'gzip' is unknown")
    expect(() => body(200, { "content-encoding": "zstd" })).toThrow("Content-Encoding 'zstd' is unknown")
    expect(() => body(200, { "content-range": "bytes 3-9/10" })).toThrow("not that of a whole file")
  })
})
