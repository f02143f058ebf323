import { gzipSync } from "node:zlib"
import { FastCheck as fc } from "effect"
import { describe, expect, it } from "vitest"
import { cases, wrong } from "../../fuzz/ResumeModel.js"
import {
  broke,
  chunked,
  cut,
  download,
  type Fields,
  from,
  longer,
  now,
  ok,
  old,
  rest,
  type Step,
  send,
  small,
  tag,
  te,
  v1,
  v2
} from "../support/HttpAnswers.js"
import type { Answer, Request } from "../support/ScriptedServer.js"

// What servers do wrong when a part of a file is continued, one line a case.
describe("the rest of a file", () => {
  // A part is there; then the server answers the request for the rest.
  const dated = [`Date: ${now}`, `Last-Modified: ${old}`]
  const young = [`Date: ${now}`, `Last-Modified: ${now}`] // may be written again within its second
  const weak = 'ETag: W/"v1"'
  /** The whole file, and to a range, the rest of it. */
  const whole = (fields: Fields) => (request: Request) =>
    request.headers["range"] === undefined ? ok(fields, v1) : rest(fields)(request)
  const resumes: ReadonlyArray<
    readonly [
      title: string,
      steps: ReadonlyArray<Step>,
      file: Buffer | undefined,
      more: {
        readonly reasons?: ReadonlyArray<string>
        readonly requests?: number
        readonly continued?: boolean
        readonly outcome?: string
      }
    ]
  > = [
    ["206 with proof", [cut([tag]), rest([tag])], v1, { continued: true, requests: 2 }],
    ["206 with a date for proof", [cut(dated), rest(dated)], v1, { continued: true, requests: 2 }],
    [
      "206 with proof, dropped, and again",
      [cut([tag]), (request) => cut206(request, 50_000), rest([tag])],
      v1,
      { continued: true, reasons: ["dropped", "dropped"] }
    ],
    [
      "206 with proof and a word that is no encoding",
      [cut([tag]), rest([tag, "Content-Encoding: UTF-8"])],
      v1,
      { continued: true }
    ],
    // No proof, no join.
    [
      "206 without a validator, of another version",
      [cut([tag]), rest([], v2), ok([], v2)],
      v2,
      { reasons: ["dropped", "range"] }
    ],
    [
      "206 without a validator, of the same version",
      [cut([tag]), rest([]), ok([tag], v1)],
      v1,
      { reasons: ["dropped", "range"] }
    ],
    [
      "206 with a weak tag",
      [cut([tag]), rest(['ETag: W/"v1"'], v2), ok([], v2)],
      v2,
      { reasons: ["dropped", "range"] }
    ],
    [
      "206 with a tag without quotes",
      [cut([tag]), rest(["ETag: v1"], v2), ok([], v2)],
      v2,
      { reasons: ["dropped", "range"] }
    ],
    [
      "206 with another tag",
      [cut([tag]), rest(['ETag: "v2"'], v2), ok([], v2)],
      v2,
      { reasons: ["dropped", "range"] }
    ],
    [
      "206 with two tags",
      [cut([tag]), rest([tag, 'ETag: "v2"'], v2), ok([], v2)],
      v2,
      { reasons: ["dropped", "range"] }
    ],
    [
      "206 with a date where there was a tag",
      [cut([tag, ...dated]), rest(dated, v2), ok([], v2)],
      v2,
      { reasons: ["dropped", "range"] }
    ],
    ["206 without the date", [cut(dated), rest([], v2), ok([], v2)], v2, { reasons: ["dropped", "range"] }],
    [
      "206 with the date, without its own",
      [cut(dated), rest([`Last-Modified: ${old}`], v2), ok([], v2)],
      v2,
      { reasons: ["dropped", "range"] }
    ],
    [
      "206 with another date",
      [cut(dated), rest([`Date: ${now}`, `Last-Modified: ${new Date(0).toUTCString()}`], v2), ok([], v2)],
      v2,
      { reasons: ["dropped", "range"] }
    ],
    [
      "206 of a length untold",
      [cut([tag]), rest([tag], v1, (n) => `bytes ${n}-299999/*`), ok([tag], v1)],
      v1,
      { reasons: ["dropped", "range"] }
    ],
    [
      "206 of another length",
      [cut([tag]), rest([tag], longer), ok(['ETag: "v3"'], longer)],
      longer,
      { reasons: ["dropped", "range"] }
    ],
    [
      "206 without Content-Range",
      [cut([tag]), rest([tag], v1, () => undefined), ok([tag], v1)],
      v1,
      { reasons: ["dropped", "range"] }
    ],
    [
      "206 of no range",
      [cut([tag]), rest([tag], v1, () => "bytes */300000"), ok([tag], v1)],
      v1,
      { reasons: ["dropped", "range"] }
    ],
    ["a body that is always short", [cut([tag], v1, 0)], undefined, { outcome: broke }],
    [
      "206 that begins later",
      [cut([tag]), rest([tag], v1, (n) => `bytes ${n + 1}-299999/300000`), ok([tag], v1)],
      v1,
      { reasons: ["dropped", "range"] }
    ],
    [
      "206 in several parts",
      [
        cut([tag]),
        send("206 Partial Content", [tag, "Content-Type: multipart/byteranges; boundary=x"], "--x--"),
        ok([tag], v1)
      ],
      v1,
      { reasons: ["dropped", "range"] }
    ],
    [
      "206, compressed",
      [cut([tag]), rest([tag, "Content-Encoding: gzip"]), ok([tag], v1)],
      v1,
      { reasons: ["dropped", "range"] }
    ],
    [
      "nothing of a length untold is continued",
      [ok([te, tag], chunked(v1.subarray(0, 100_000), ""), "fin"), ok([tag], v1)],
      v1,
      { requests: 2 }
    ],
    // 200 in answer to a range.
    ["200 with the same version", [cut([tag]), ok([tag], v1)], v1, { requests: 2 }],
    [
      "200 with Content-Range of all",
      [cut([tag]), ok([tag, "Content-Range: bytes 0-299999/300000"], v1)],
      v1,
      { requests: 2 }
    ],
    ["nothing of a weak tag is continued", [cut([weak]), whole([weak])], v1, { requests: 2 }],
    ["nothing of a date of now is continued", [cut(young), whole(young)], v1, { requests: 2 }],
    [
      "200 with the rest alone",
      [
        cut([tag]),
        (request) =>
          ok([tag, `Content-Range: bytes ${from(request)}-299999/300000`], v1.subarray(from(request))),
        ok([tag], v1)
      ],
      v1,
      { requests: 3 }
    ],
    [
      "200 with the rest alone, and no word of it",
      [cut([tag]), (request) => ok([tag], v1.subarray(from(request))), ok([tag], v1)],
      v1,
      { requests: 3 }
    ],
    [
      "200 with the rest alone, without a validator",
      [cut([tag]), (request) => ok([], v1.subarray(from(request))), ok([tag], v1)],
      v1,
      { requests: 3 }
    ],
    [
      "200 with the rest alone, of another version",
      [cut([tag]), (request) => ok(['ETag: "v2"'], v2.subarray(from(request))), ok(['ETag: "v2"'], v2)],
      v2,
      { requests: 3 }
    ],
    [
      "200 with the rest alone, in chunks",
      [cut([tag]), (request) => ok([tag, te], chunked(v1.subarray(from(request)))), ok([tag], v1)],
      v1,
      { requests: 3 }
    ],
    [
      "200 with the rest alone, always",
      [
        cut([tag]),
        (request) =>
          ok(
            [tag, `Content-Range: bytes ${from(request) || 7}-299999/300000`],
            v1.subarray(from(request) || 7)
          )
      ],
      undefined,
      { outcome: "range: Content-Range 'bytes 7-299999/300000' is not that of a whole file" }
    ],
    ["200 with another version", [cut([tag]), ok(['ETag: "v2"'], v2)], v2, { requests: 3 }],
    [
      "200 with gzip and the same tag",
      [cut([tag]), ok([tag, "Content-Encoding: gzip"], gzipSync(v1))],
      v1,
      { requests: 3 }
    ],
    // One strong validator, one length.
    [
      "one tag, two lengths, at first",
      [cut([tag], v1, 0), ok([tag], longer)],
      undefined,
      { outcome: 'range: "v1" stood for 300000 bytes, and stands for 310000 now' }
    ],
    [
      "one tag, two lengths, in chunks",
      [cut([tag], v1, 0), ok([tag, te], chunked(longer))],
      undefined,
      { outcome: 'range: "v1" stood for 300000 bytes, and stands for 310000 now' }
    ],
    [
      "one tag, two lengths, compressed",
      [cut([tag], v1, 0), ok([tag, "Content-Encoding: gzip"], gzipSync(longer))],
      undefined,
      { outcome: 'range: "v1" stood for 300000 bytes, and stands for 310000 now' }
    ],
    ["one weak tag, two lengths", [cut(['ETag: W/"v1"'], v1, 0), ok(['ETag: W/"v1"'], longer)], longer, {}],
    // What fails only with a Range.
    ...[304, 400, 401, 403, 404, 405, 406, 412, 413, 418, 431, 500, 501, 505].map(
      (status) =>
        [
          `${status} to a range`,
          [cut([tag]), send(`${status} No`, [], "no"), ok([tag], v1)],
          v1,
          { requests: 3, reasons: ["dropped"] }
        ] as const
    ),
    [
      "416 to a range",
      [cut([tag]), send("416 No", []), ok([tag], small)],
      undefined,
      { outcome: 'range: "v1" stood for 300000 bytes, and stands for 2000 now' }
    ],
    [
      "416 to a range, of another version",
      [cut([tag]), send("416 No", ["Content-Range: bytes */2000"]), ok(['ETag: "v2"'], small)],
      small,
      { requests: 3 }
    ],
    ...[408, 425, 429, 502, 503, 504].map(
      (status) =>
        [
          `${status} to each range`,
          [
            cut([tag]),
            (request: Request) =>
              request.headers["range"] === undefined ? ok([tag], v1) : send(`${status} No`, [])
          ],
          v1,
          { requests: 4, reasons: ["dropped", "status", "status"] }
        ] as const
    ),
    [
      "503 to the first range alone",
      [cut([tag]), send("503 No", []), rest([tag])],
      v1,
      { continued: true, requests: 3 }
    ],
    [
      "a reset at each range",
      [
        cut([tag]),
        (request) => (request.headers["range"] === undefined ? ok([tag], v1) : ok([], "", "reset now"))
      ],
      v1,
      {}
    ],
    [
      "403 to everything",
      [cut([tag]), send("403 No", [])],
      undefined,
      { outcome: "status: HTTP 403 No", requests: 3 }
    ]
  ]
  const cut206 = (request: Request, sent: number): Answer => {
    const begin = from(request)
    return send(
      "206 Partial Content",
      [tag, `Content-Range: bytes ${begin}-299999/300000`, `Content-Length: ${300_000 - begin}`],
      v1.subarray(begin, begin + sent),
      "fin"
    )
  }
  describe.each([
    // The next run knows only the sidecar of the part.
    ["in one run", { attempts: 5 }, resumes],
    [
      "in the next run",
      { attempts: 4, firstAttempts: 1, runs: 2 },
      resumes.filter(([title]) => !/^one/.test(title))
    ]
  ] as const)("%s", (title, options, resumes) => {
    it.each(resumes)("%s", async (_title, steps, file, more) => {
      const result = await download(steps, options)
      if (file === undefined) expect(result.outcome).toMatch(/^(range|status|dropped)/)
      else {
        expect(result.outcome).toBe("finished")
        expect(result.file?.equals(file)).toBe(true)
        expect(result.left).toEqual(["f"])
        expect((result.downloaded?.resumedFrom ?? 0) > 0).toBe(more.continued === true)
      }
      if (title !== "in one run") return
      if (more.outcome !== undefined) expect(result.outcome).toBe(more.outcome)
      if (more.requests !== undefined) expect(result.ranges.length).toBe(more.requests)
      if (more.reasons !== undefined) expect(result.reasons).toEqual(more.reasons)
    })
  })

  it("a part that an earlier run has left goes when --no-resume has fetched the whole", async () => {
    const result = await download([cut([tag]), ok([tag], v1)], {
      runs: 2,
      firstAttempts: 1,
      laterResume: false
    })
    expect([result.outcome, result.left, result.ranges]).toEqual(["finished", ["f"], ["", ""]])
  })

  it("a refused range leaves the part for a later run when the whole cannot be had either", async () => {
    const result = await download([cut([tag]), send("403 No", []), send("403 No", []), rest([tag])], {
      attempts: 2,
      runs: 2
    })
    expect([result.outcome, result.left]).toEqual(["finished", ["f"]])
    expect(result.downloaded?.resumedFrom).toBe(100_000)
  })

  it("a server model that lies in every field gets no wrong byte into a file", async () => {
    await fc.assert(
      fc.asyncProperty(cases, async (one) => {
        expect(await wrong(one)).toBeUndefined()
      }),
      { numRuns: 60, seed: 12 }
    )
  })
})
