import { execFileSync } from "node:child_process"
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs"
import * as http from "node:http"
import * as net from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as tls from "node:tls"
import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync } from "node:zlib"
import { Effect, FastCheck as fc } from "effect"
import { afterAll, describe, expect, it } from "vitest"
import { cases, wrong } from "../../fuzz/ResumeModel.js"
import * as Download from "../../src/services/download/Download.js"
import * as Downloader from "../../src/services/download/Downloader.js"
import * as Aio from "../support/Aio.js"
import { bytes } from "../support/FaultServer.js"
import { type Answer, head, type Request, start } from "../support/ScriptedServer.js"

// What servers do wrong, one line a case, through the library: the server sends what the line says, byte for byte.

const v1 = bytes(300_000, 1)
const v2 = bytes(300_000, 2) // of the same length
const longer = bytes(310_000, 3)
const small = bytes(2000, 4)
const old = new Date(Date.UTC(2026, 0, 1)).toUTCString()
const now = new Date(Date.UTC(2026, 5, 1)).toUTCString()

type Fields = ReadonlyArray<string | undefined>
const tag = 'ETag: "v1"'

/** The status line, then header fields. `Content-Length` comes by itself, unless there is one or there is `chunked`. */
const send = (status: string, fields: Fields, body: Buffer | string = "", end?: Answer["end"]): Answer => ({
  send: [
    head(
      `HTTP/1.1 ${status}`,
      ...fields,
      fields.some((field) => /^(content-length|transfer-encoding|connection: close)/i.test(field ?? ""))
        ? undefined
        : `Content-Length: ${Buffer.byteLength(body)}`
    ),
    body
  ],
  end: end ?? "keep"
})
const ok = (fields: Fields, body: Buffer | string = small, end?: Answer["end"]) =>
  send("200 OK", fields, body, end)
/** Some of a body whose length is given. */
const cut = (fields: Fields, body = v1, sent = 100_000, end: Answer["end"] = "fin"): Answer =>
  send("200 OK", [...fields, `Content-Length: ${body.length}`], body.subarray(0, sent), end)
const from = (request: Request) => Number(/^bytes=(\d+)-$/.exec(request.headers["range"] ?? "bytes=0-")![1])
/** A 206 with the rest of this body. */
const rest =
  (fields: Fields, body = v1, range?: (from: number) => string | undefined) =>
  (request: Request) => {
    const begin = from(request)
    const told = range === undefined ? `bytes ${begin}-${body.length - 1}/${body.length}` : range(begin)
    return send("206 Partial Content", [...fields, told && `Content-Range: ${told}`], body.subarray(begin))
  }

type Step = Answer | ((request: Request) => Answer)

interface Result {
  /** `finished`, or the reason and the detail. */
  readonly outcome: string
  readonly file: Buffer | undefined
  readonly left: ReadonlyArray<string>
  /** The `Range` of each request, empty where it had none. */
  readonly ranges: ReadonlyArray<string>
  readonly reasons: ReadonlyArray<string>
  readonly downloaded: Download.Downloaded | undefined
  readonly error: Download.DownloadError | undefined
}

/** Serves these answers in turn, the last one staying, and downloads `/name` in so many attempts. */
const download = async (
  steps: ReadonlyArray<Step>,
  options: Partial<Download.Request> & {
    readonly name?: string
    readonly attempts?: number
    readonly save?: boolean
    readonly resume?: boolean
    readonly session?: Download.SessionOptions
    readonly runs?: number
    /** Of the first run, where they are others than those of the later ones. */
    readonly firstAttempts?: number
    readonly laterResume?: boolean
  } = {}
): Promise<Result> => {
  const { attempts = 1, firstAttempts = attempts, laterResume, name = "f", runs = 1, save = true } = options
  const { resume, session: sessionOptions, ...request } = options
  const directory = mkdtempSync(join(tmpdir(), "aio-http-"))
  const server = await start((request) => {
    const step = steps[Math.min(request.nth, steps.length) - 1]!
    return typeof step === "function" ? step(request) : step
  })
  const reasons: Array<string> = []
  let history = Download.makeHistory()
  let ran = 0
  const run = Effect.gen(function* () {
    ran++
    const session = yield* (yield* Downloader.Downloader).open({ stallTimeout: 2000, ...sessionOptions })
    return yield* Downloader.fetch(session, {
      url: new URL(server.url(`/${name}`)),
      target: save ? { directory, name, resume: ran > 1 ? laterResume : resume } : undefined,
      history,
      onProgress: server.seen,
      ...request
    }).pipe(
      Effect.tapError((error) => Effect.sync(() => reasons.push(error.reason))),
      Effect.retry({ times: (ran > 1 ? attempts : firstAttempts) - 1, while: (error) => error.retryable })
    )
  }).pipe(Effect.scoped, Effect.provide(Downloader.layer), Effect.either)
  try {
    let result = await Effect.runPromise(run)
    for (let i = 1; i < runs; i++) {
      history = Download.makeHistory()
      result = await Effect.runPromise(run)
    }
    const left = readdirSync(directory).sort()
    const file = left.filter((entry) => !entry.startsWith("."))[0]
    return {
      outcome:
        result._tag === "Right"
          ? "finished"
          : result.left._tag === "ProxyError"
            ? "proxy"
            : `${result.left.reason}: ${result.left.detail}`,
      file: file === undefined ? undefined : readFileSync(join(directory, file)),
      left,
      ranges: server.requests.map(({ headers }) => headers["range"] ?? ""),
      reasons,
      downloaded: result._tag === "Right" ? result.right : undefined,
      error: result._tag === "Left" && result.left._tag === "DownloadError" ? result.left : undefined
    }
  } finally {
    await server.close()
    rmSync(directory, { recursive: true })
  }
}

const broke = "dropped: the connection broke before the body was whole"
const chunked = (body: Buffer, more = "0\r\n\r\n") =>
  Buffer.concat([Buffer.from(`${body.length.toString(16)}\r\n`), body, Buffer.from(`\r\n${more}`)])
const te = "Transfer-Encoding: chunked"

describe("http faults", () => {
  // In one attempt without anything to continue: what is saved, or why not.
  const answers: ReadonlyArray<
    readonly [
      title: string,
      answer: Step | ReadonlyArray<Step>,
      expected: Buffer | string | RegExp,
      name?: string
    ]
  > = [
    // Only a clean end ends a body.
    ["no length, closed in order", ok(["Connection: close"], v1, "fin"), v1],
    ["no length, reset", ok(["Connection: close"], v1.subarray(0, 100_000), "reset"), broke],
    [
      "no length, reset together with the last bytes",
      { send: [head("HTTP/1.1 200 OK", "Connection: close"), small], end: "reset now" },
      broke
    ],
    [
      "no length, reset together with all of it",
      { send: [`${head("HTTP/1.1 200 OK", "Connection: close")}some`], end: "reset now" },
      broke
    ],
    ["no length, reset before a byte", ok(["Connection: close"], "", "reset now"), broke],
    [
      "no length in HTTP/1.0, closed in order",
      { send: ["HTTP/1.0 200 OK\r\n\r\n", small], end: "fin" },
      small
    ],
    ["no length in HTTP/1.0, reset", { send: ["HTTP/1.0 200 OK\r\n\r\n", small], end: "reset" }, broke],
    [
      "no length, gzip, reset behind it",
      ok(["Connection: close", "Content-Encoding: gzip"], gzipSync(small), "reset"),
      broke
    ],
    [
      "identity as transfer encoding, reset",
      ok(["Transfer-Encoding: identity"], small, "reset"),
      /^(dropped|protocol)/
    ],
    ["a length, reset early", cut([], v1, 100_000, "reset"), broke],
    ["a length, closed early", cut([]), broke],
    ["a length, whole, then reset", ok([], small, "reset"), small],
    ["chunks, whole, then reset", ok([te], chunked(small), "reset"), small],
    ["chunks, reset", ok([te], chunked(small, ""), "reset"), broke],
    ["chunks, no last one", ok([te], chunked(small, ""), "fin"), broke],
    [
      "chunks with extensions and trailers",
      ok([te], "5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n"),
      Buffer.from("hello")
    ],
    ["a bad chunk", ok([te], "zz\r\nhello\r\n"), /^protocol: /],
    ["a length and chunks", ok([te, "Content-Length: 5"], chunked(small)), /^protocol: /],
    [
      "two lengths",
      ok(["Content-Length: 5", "Content-Length: 6"], "hello"),
      "protocol: the head of the answer is malformed"
    ],
    [
      "two equal lengths",
      ok(["Content-Length: 5", "Content-Length: 5"], "hello"),
      "protocol: the head of the answer is malformed"
    ],
    ["a negative length", ok(["Content-Length: -5"], "hello"), /^protocol: /],
    [
      "another transfer encoding",
      ok(["Transfer-Encoding: gzip, chunked"], chunked(gzipSync(small))),
      "decode: Transfer-Encoding 'gzip, chunked' is unknown"
    ],
    ["an HTTP/0.9 answer", { send: ["hello"], end: "fin" }, /^protocol: /],
    [
      "a body in pieces of a byte",
      { send: ["HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", ..."hello"], end: "keep" },
      Buffer.from("hello")
    ],
    // Interim answers.
    [
      "100 unasked",
      { send: [`HTTP/1.1 100 Continue\r\n\r\n${head("HTTP/1.1 200 OK", "Content-Length: 2")}ok`] },
      Buffer.from("ok")
    ],
    [
      "100 in pieces",
      {
        send: [..."HTTP/1.1 100 Continue\r\nA: b\r\n\r\n", head("HTTP/1.1 200 OK", "Content-Length: 2"), "ok"]
      },
      Buffer.from("ok")
    ],
    [
      "100 after 103 after 100",
      {
        send: [
          `HTTP/1.1 100 \r\n\r\nHTTP/1.1 103 Hints\r\nLink: <a>\r\n\r\nHTTP/1.1 100 Go\r\n\r\n${head("HTTP/1.0 200 OK")}ok`
        ],
        end: "fin"
      },
      Buffer.from("ok")
    ],
    [
      "100 in the body is the body's",
      ok([], "HTTP/1.1 100 Continue\r\n\r\n"),
      Buffer.from("HTTP/1.1 100 Continue\r\n\r\n")
    ],
    ["100 in a header is the header's", ok(["X: HTTP/1.1 100 Continue"]), small],
    [
      "50 times 102 and 103",
      {
        send: [
          ...Array.from({ length: 25 }, () => "HTTP/1.1 102 P\r\n\r\nHTTP/1.1 103 E\r\n\r\n"),
          head("HTTP/1.1 200 OK", "Content-Length: 2"),
          "ok"
        ]
      },
      Buffer.from("ok")
    ],
    [
      "more than 100 of them",
      { send: ["HTTP/1.1 100 C\r\n\r\n".repeat(120)] },
      "protocol: more than 100 interim answers"
    ],
    [
      "101 unasked",
      send("101 Switching Protocols", ["Connection: upgrade", "Upgrade: x"]),
      "protocol: the server switched to another protocol, which was not asked for"
    ],
    ["status 000", send("000 Nothing", []), /^protocol: (HTTP 0 is not a status|the answer is not HTTP)$/],
    ["status 099", send("099 Nothing", []), /^protocol: (HTTP 99 is not a status|the answer is not HTTP)$/],
    ["status 999", send("999 No", []), "status: HTTP 999 No"],
    ["204", send("204 No Content", []), Buffer.alloc(0)],
    ["304 unasked", send("304 Not Modified", [tag]), "status: HTTP 304 Not Modified"],
    [
      "a server that refuses HEAD",
      ({ method }) => (method === "GET" ? ok([]) : send("405 Method Not Allowed", [])),
      small
    ],
    // Heads and frames without measure.
    [
      "a head of 40 KB",
      send(
        "200 OK",
        Array.from({ length: 40 }, () => `X: ${"a".repeat(1000)}`)
      ),
      /^protocol: /
    ],
    [
      "trailers of 40 KB",
      ok([te], chunked(small, `0\r\n${`X: ${"a".repeat(1000)}\r\n`.repeat(40)}\r\n`)),
      /^protocol: /
    ],
    ["a chunk extension without end", ok([te], `5;${"a".repeat(200_000)}`, "fin"), /^(protocol|dropped): /],
    [
      "an endless length",
      ok(["Content-Length: 99999999999999999999999"], "hello", "fin"),
      /^(protocol|dropped): /
    ],
    ["a list of lengths", ok(["Content-Length: 5, 5"], "hello", "fin"), /^(protocol|dropped): /],
    ["a chunk of endless size", ok([te], "ffffffffffffffffff\r\nhello", "fin"), /^protocol: /],
    [
      "line feeds alone",
      { send: ["HTTP/1.1 200 OK\nContent-Length: 5\n\nhello"], end: "fin" },
      /^(protocol|dropped): /
    ],
    ["something behind the body", ok(["Content-Length: 5"], "hello and more"), Buffer.from("hello")],
    [
      "redirects without end, with bodies",
      send("302 Found", ["Location: /f"], small),
      "redirect: more than 10 redirects"
    ],
    [
      "gzip, of a wrong length",
      ok(["Content-Encoding: gzip", "Content-Length: 3000"], gzipSync(small), "fin"),
      broke
    ],
    // Ranges that were not asked for.
    ["a part unasked", rest([tag]), "range: a part was sent that was not requested"],
    ["200 with Content-Range of all", ok([`Content-Range: bytes 0-1999/2000`]), small],
    [
      "200 with Content-Range of all, and no length",
      ok([`Content-Range: bytes 0-1999/2000`, te], chunked(small)),
      small
    ],
    [
      "200 with Content-Range of all, and less in chunks",
      ok([`Content-Range: bytes 0-2999/3000`, te], chunked(small)),
      "dropped: 2000 of 3000 bytes arrived"
    ],
    [
      "200 with Content-Range of the end",
      ok(["Content-Range: bytes 1000-2999/3000"]),
      "range: Content-Range 'bytes 1000-2999/3000' is not that of a whole file"
    ],
    [
      "200 with Content-Range of the beginning",
      ok(["Content-Range: bytes 0-1999/3000"]),
      "range: Content-Range 'bytes 0-1999/3000' is not that of a whole file"
    ],
    ["200 with Content-Range of a length untold", ok(["Content-Range: bytes 0-1999/*"]), /^range: /],
    ["200 with a malformed Content-Range", ok(["Content-Range: bytes */2000"]), /^range: /],
    [
      "200 with two Content-Ranges",
      ok(["Content-Range: bytes 0-1999/2000", "Content-Range: bytes 0-1/2"]),
      /^range: /
    ],
    // Encodings: of the transfer, of the file, and none.
    ["gzip", ok(["Content-Encoding: gzip"], gzipSync(small)), small],
    [
      "gzip, in two members",
      ok(
        ["Content-Encoding: gzip"],
        Buffer.concat([gzipSync(small.subarray(0, 9)), gzipSync(small.subarray(9))])
      ),
      small
    ],
    ["deflate, as zlib has it", ok(["Content-Encoding: deflate"], deflateSync(small)), small],
    ["deflate, raw", ok(["Content-Encoding: deflate"], deflateRawSync(small)), small],
    [
      "deflate, raw, in bytes",
      {
        send: [
          head("HTTP/1.1 200 OK", "Content-Encoding: deflate", "Connection: close"),
          ...[...deflateRawSync("hello")].map((byte) => Buffer.from([byte]))
        ],
        end: "fin"
      },
      Buffer.from("hello")
    ],
    [
      "deflate, raw, cut",
      ok(["Content-Encoding: deflate"], deflateRawSync(small).subarray(0, 500)),
      "dropped: the compressed body ends too early"
    ],
    ["gzip twice", ok(["Content-Encoding: gzip, gzip"], gzipSync(gzipSync(small))), small],
    [
      "gzip twice, in two fields",
      ok(["Content-Encoding: gzip", "Content-Encoding: gzip"], gzipSync(gzipSync(small))),
      small
    ],
    ["deflate, then gzip", ok(["Content-Encoding: deflate, gzip"], gzipSync(deflateRawSync(small))), small],
    ["gzip, identity", ok(["Content-Encoding: gzip, identity"], gzipSync(small)), small],
    ["gzip five times", ok(["Content-Encoding: gzip,gzip,gzip,gzip,gzip"]), /^decode: .* is unknown$/],
    [
      "gzip, truncated, closed in order",
      ok(["Connection: close", "Content-Encoding: gzip"], gzipSync(small).subarray(0, 900), "fin"),
      "dropped: the compressed body ends too early"
    ],
    [
      "gzip, of nothing",
      ok(["Connection: close", "Content-Encoding: gzip"], "", "fin"),
      "dropped: the compressed body ends too early"
    ],
    [
      "gzip, with something behind it",
      ok(["Content-Encoding: gzip"], Buffer.concat([gzipSync(small), small])),
      /^decode: /
    ],
    ...[
      "none",
      "UTF-8",
      "utf8",
      "aws-chunked",
      "binary",
      "identity",
      "ISO-8859-1",
      "text/plain",
      "base64",
      "None, utf-8",
      ","
    ].map(
      (coding) => [`'${coding}' is not an encoding`, ok([`Content-Encoding: ${coding}`]), small] as const
    ),
    ...["made-up", "zstd", "compress", "exi"].map(
      (coding) =>
        [
          `'${coding}' is refused`,
          ok([`Content-Encoding: ${coding}`]),
          `decode: Content-Encoding '${coding}' is unknown`
        ] as const
    ),
    ...["a.tar.gz", "a.tgz", "a.svgz", "A.TGZ"].flatMap((name) =>
      ["gzip", "x-gzip"].map(
        (coding) =>
          [
            `${coding} is ${name}'s own`,
            ok([`Content-Encoding: ${coding}`], gzipSync(small)),
            gzipSync(small),
            name
          ] as const
      )
    ),
    ["br is a.br's own", ok(["Content-Encoding: br"]), small, "a.br"],
    ["zstd is a.tar.zst's own", ok(["Content-Encoding: zstd"]), small, "a.tar.zst"],
    ["compress is a.Z's own", ok(["Content-Encoding: x-compress"]), small, "a.Z"],
    ["bzip2 is a.bz2's own", ok(["Content-Encoding: x-bzip2"]), small, "a.bz2"],
    ["xz is a.xz's own", ok(["Content-Encoding: xz"]), small, "a.xz"],
    [
      "gzip is the own of what is of type gzip",
      ok(["Content-Encoding: gzip", "Content-Type: application/x-gzip; a=b"], gzipSync(small)),
      gzipSync(small)
    ],
    [
      "gzip is the own of what is named so",
      ok(["Content-Encoding: gzip", "Content-Disposition: attachment; filename=a.tar.gz"], gzipSync(small)),
      gzipSync(small)
    ],
    [
      "gzip is the own of where it leads to",
      [send("302 Found", ["Location: /deep/a.tgz"]), ok(["Content-Encoding: gzip"], gzipSync(small))],
      gzipSync(small)
    ],
    [
      "gzip on top of the own is undone",
      ok(["Content-Encoding: gzip, gzip"], gzipSync(gzipSync(small))),
      gzipSync(small),
      "a.gz"
    ],
    ["br is not a.gz's own", ok(["Content-Encoding: br"]), /^decode: /, "a.gz"],
    // Bodies of no interest.
    ["300", send("300 Multiple Choices", []), "status: HTTP 300 Multiple Choices"],
    [
      "a redirect to UTF-8",
      [send("302 Found", [`Location: ${Buffer.from("/\u00fc").toString("latin1")}`]), ok([])],
      small
    ],
    ["a redirect with a fragment", [send("302 Found", ["Location: /x#y"]), ok([])], small]
  ]
  const each = answers.map(([title, answer, expected, name]) => ({ title, answer, expected, name }))
  it.each(each)("$title", async ({ answer, expected, name }) => {
    // A redirect leads to another path, for which the second answer is.
    const steps = Array.isArray(answer) ? (answer as ReadonlyArray<Step>) : [answer as Step]
    const script: Step = (request) => {
      const step = steps[Math.min(steps.length - 1, request.path === `/${name ?? "f"}` ? 0 : 1)]!
      return typeof step === "function" ? step(request) : step
    }
    const { file, left, outcome } = await download([script], { ...(name === undefined ? {} : { name }) })
    if (Buffer.isBuffer(expected)) {
      expect([outcome, left.length]).toEqual(["finished", 1])
      expect(file?.equals(expected)).toBe(true)
    } else {
      if (typeof expected === "string") expect(outcome).toBe(expected)
      else expect(outcome).toMatch(expected)
      expect(left.filter((name) => !name.startsWith("."))).toEqual([])
    }
  })

  // A piece is there; then comes the answer to a request for the rest.
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
    // What no piece has told is not known to the next run.
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

  it.each(["100000000000", "-5", "Fri, 31 Dec 9999 23:59:59 GMT", "soon", ""])(
    "Retry-After '%s' gives no delay that is not one",
    async (after) => {
      const { error } = await download([send("503 No", [`Retry-After: ${after}`])])
      expect(error).toMatchObject({ reason: "status", retryable: true, status: 503 })
      expect(error?.retryAfter ?? 0).toBeGreaterThanOrEqual(0)
    }
  )

  it("connections that are closed although they were to be kept cost nothing but a retry", async () => {
    const server = await start(() => ok([], small, "fin"))
    const run = Effect.gen(function* () {
      const session = yield* (yield* Downloader.Downloader).open()
      const one = Effect.retry(Downloader.fetch(session, { url: new URL(server.url("/f")) }), { times: 3 })
      return yield* Effect.all(
        Array.from({ length: 60 }, () => one),
        { concurrency: 4 }
      )
    })
    const all = await Effect.runPromise(run.pipe(Effect.scoped, Effect.provide(Downloader.layer)))
    expect(all.map(({ size }) => size)).toEqual(Array.from({ length: 60 }, () => 2000))
    await server.close()
  })

  it("notes ignored encodings", async () => {
    const note = async (coding: string) =>
      (await download([ok([`Content-Encoding: ${coding}`])])).downloaded?.note
    expect(await note("UTF-8")).toBe("Content-Encoding 'utf-8' is not an encoding; the body is read as sent")
    expect((await download([ok(["Content-Encoding: gzip"], gzipSync(small))])).downloaded).not.toHaveProperty(
      "note"
    )
  })

  it("decodes a body that was requested compressed, whatever its name", async () => {
    const { downloaded } = await download([ok(["Content-Encoding: gzip"], gzipSync(small))], {
      name: "a.tgz",
      save: false
    })
    expect(downloaded?.size).toBe(2000)
  })

  const hostile = "\x1b]0;x\x07\x9b2J\u202e"
  it.each<[string, Answer]>([
    ["a reason", send(`404 No${hostile}`, [])],
    ["an encoding", ok([`Content-Encoding: a${hostile}`])],
    ["a transfer encoding", ok([`Transfer-Encoding: a${hostile}`])],
    ["a Location", send("302 Found", [`Location: http://[${hostile}`])],
    ["a Location's scheme", send("302 Found", [`Location: a${hostile}:b`])],
    ["a Content-Range", ok([`Content-Range: bytes ${hostile}`])]
  ])("no control character of %s is in its report", async (_title, answer) => {
    const sent = answer.send.map((piece) => (typeof piece === "string" ? Buffer.from(piece) : piece))
    const { outcome } = await download([{ ...answer, send: sent }])
    expect(outcome).toMatch(/^(status|decode|redirect|range|protocol): /)
    expect(outcome).not.toMatch(/[\p{Cc}\u202e]/u)
  })

  it.each(["file:///etc/passwd", "data:text/plain,x", "ftp://127.0.0.1/x", "javascript:1", "about:blank"])(
    "a redirect to %s is not followed",
    async (location) => {
      const { left, outcome } = await download([send("302 Found", [`Location: ${location}`])])
      expect([outcome, left]).toEqual([
        `redirect: redirected to ${location.split(":")[0]}:, which is not http or https`,
        []
      ])
    }
  )

  it.each([
    ["there and back", (there: number) => `http://127.0.0.1:${there}/back`],
    ["to another port", (there: number) => `http://127.0.0.1:${there}/`],
    ["to another name of the machine", (_: number, here: number) => `http://localhost:${here}/end`],
    ["to another host, by backslashes", (there: number) => `\\\\127.0.0.1:${there}\\end`]
  ])("a redirect %s takes no secret along", async (_title, location) => {
    let here = 0
    const there = await start(({ path }) =>
      path === "/back" ? send("302 Found", [`Location: http://127.0.0.1:${here}/end`]) : ok([])
    )
    const first = await start(({ path }) =>
      path === "/f" ? send("302 Found", [`Location: ${location(there.port, here)}`]) : ok([])
    )
    here = first.port
    const url = new URL(first.url("/f"))
    const run = Effect.gen(function* () {
      const session = yield* (yield* Downloader.Downloader).open()
      return yield* Downloader.fetch(session, { url, headers: { Authorization: "Bearer t", Cookie: "c=1" } })
    })
    await Effect.runPromise(run.pipe(Effect.scoped, Effect.provide(Downloader.layer)))
    expect(first.requests[0]!.headers).toMatchObject({ authorization: "Bearer t", cookie: "c=1" })
    const others = [
      ...there.requests,
      ...first.requests.filter(({ headers }) => headers["host"] !== url.host)
    ]
    expect(others.length).toBe(1)
    for (const { headers } of others)
      expect([headers["authorization"], headers["cookie"]]).toEqual([undefined, undefined])
    await Promise.all([first.close(), there.close()])
  })

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

    it("a body that is decoded has a limit where none is set", async () => {
      const member = gzipSync(Buffer.alloc(2 ** 24), { level: 1 })
      const body = Buffer.concat(Array.from({ length: 65 }, () => member))
      const { outcome } = await download([ok(["Content-Encoding: gzip"], body)], { save: false })
      expect(outcome).toBe("too-large: more than 1.0 GiB when decoded; a larger maximum size permits more")
    })
  })

  describe("addresses that are not public", () => {
    it.each([
      ...[
        "[::]",
        "[::1]",
        "[::127.0.0.1]",
        "[::8.8.8.8]",
        "[::ffff:127.0.0.1]",
        "[::ffff:0:7f00:1]",
        "[64:ff9b::7f00:1]"
      ],
      ...[
        "[64:ff9b:1::7f00:1]",
        "[2002:7f00:1::]",
        "[2001::1]",
        "[2001:db8::1]",
        "[3fff::1]",
        "[100::1]",
        "[100:0:0:1::1]"
      ],
      ...[
        "[fc00::1]",
        "[fe80::1]",
        "[fec0::1]",
        "[ff02::1]",
        "[5f00::1]",
        "[4000::1]",
        "[1::1]",
        "[2001:10::1]",
        "[2001:20::1]"
      ],
      ...[
        "0.0.0.0",
        "10.0.0.1",
        "100.64.0.1",
        "127.1",
        "0x7f.1",
        "2130706433",
        "169.254.1.1",
        "172.16.0.1",
        "192.0.0.1"
      ],
      ...[
        "192.0.2.1",
        "192.88.99.1",
        "192.168.0.1",
        "198.18.0.1",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "240.0.0.1"
      ],
      ...["255.255.255.255", "１２７.0.0.1", "127.0.0.1."]
    ])("%s", async (host) => {
      const { outcome } = await download([ok([])], {
        url: new URL(`http://${host}:9/`),
        session: { denyPrivate: true }
      })
      expect(outcome).toMatch(/^private-address: /)
    })
  })

  // What only the built command can show: its environment, its limits, its words.
  describe("the command", () => {
    const closers: Array<() => unknown> = []
    afterAll(async () => {
      for (const close of closers) await close()
      Aio.removeFolders()
    })
    const listen = async (server: net.Server): Promise<number> => {
      const sockets = new Set<net.Socket>()
      server.on("connection", (socket) => sockets.add(socket))
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
      closers.push(() => {
        for (const socket of sockets) socket.destroy()
        server.close()
      })
      return (server.address() as net.AddressInfo).port
    }
    const gather = async (
      args: ReadonlyArray<string>,
      options: Aio.SpawnOptions & { stdin?: string } = {}
    ) => {
      const { code, stderr, stdout } = await Aio.run(["gather", "--json", "--retries=0", ...args], options)
      const ends: Record<string, string> = {}
      for (const line of stdout.split("\n").filter((line) => line !== "")) {
        const { bytes, cause, event, name, reason, status } = JSON.parse(line)
        if (event !== "finished") continue
        ends[new URL(name).pathname] = status === "succeeded" ? `finished ${bytes}` : `${cause}: ${reason}`
      }
      return { code, stderr, ends }
    }
    /** A proxy whose tunnels all lead to this port. */
    const proxy = async (tunnelTo: number) =>
      listen(
        net.createServer((socket) => {
          socket.once("data", () => {
            const up = net.connect(tunnelTo, "127.0.0.1", () => {
              socket.write("HTTP/1.1 200 Established\r\n\r\n")
              up.pipe(socket).pipe(up)
            })
            up.on("error", () => socket.resetAndDestroy())
            socket.on("error", () => up.destroy())
          })
        })
      )

    const credentials = (() => {
      const dir = Aio.folder()
      const [key, cert] = [join(dir, "key.pem"), join(dir, "cert.pem")]
      const words = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
      try {
        execFileSync(
          "openssl",
          [
            ...words,
            "-keyout",
            key,
            "-out",
            cert,
            "-days",
            "2",
            "-subj",
            "/CN=a",
            "-addext",
            "subjectAltName=IP:127.0.0.1"
          ],
          { stdio: "ignore" }
        )
        return { key: readFileSync(key), cert: readFileSync(cert), file: cert }
      } catch {
        return undefined
      }
    })()
    it.skipIf(credentials === undefined)(
      "only a close_notify ends a body without length over TLS",
      async () => {
        const { cert, file, key } = credentials!
        const body = bytes(300_000)
        const port = await listen(
          tls.createServer({ key, cert }, (socket) => {
            socket
              .on("error", () => undefined)
              .on("data", (chunk) => {
                const path = chunk.toString("latin1").split(" ")[1]!
                const length = path.includes("sized") ? body.length : undefined
                socket.write(
                  head(
                    "HTTP/1.1 200 OK",
                    length === undefined ? "Connection: close" : `Content-Length: ${length}`
                  )
                )
                socket.write(body, () => {
                  if (path.includes("notify")) socket.end()
                  else socket.destroy() // a FIN, and no close_notify before it
                })
              })
          })
        )
        const urls = ["/notify", "/cut", "/sized-cut", "/sized-notify"].map(
          (path) => `https://127.0.0.1:${port}${path}`
        )
        const through = await proxy(port)
        const environment = { NODE_EXTRA_CA_CERTS: file }
        for (const env of [environment, { ...environment, https_proxy: `127.0.0.1:${through}` }]) {
          const dir = Aio.folder()
          const { ends } = await gather(["-d", dir, ...urls], { env })
          expect(ends).toEqual({
            "/notify": "finished 300000",
            "/cut": broke,
            "/sized-cut": "finished 300000",
            "/sized-notify": "finished 300000"
          })
          expect(Aio.names(dir)).toEqual(["notify", "sized-cut", "sized-notify"])
          expect(readFileSync(join(dir, "notify")).equals(body)).toBe(true)
        }
      }
    )

    it("a reset by a proxy ends no body either", async () => {
      const server = await start(({ path }) =>
        path.endsWith("reset")
          ? ok(["Connection: close"], small, "reset now")
          : {
              ...ok(["Connection: close"], small, "fin"),
              send: [head("HTTP/1.1 100 Continue"), head("HTTP/1.1 200 OK", "Connection: close"), small]
            }
      )
      closers.push(server.close)
      const dir = Aio.folder()
      const { ends } = await gather(["-d", dir, "http://a.example/reset", "http://a.example/fin"], {
        env: { http_proxy: `127.0.0.1:${server.port}` }
      })
      expect(ends).toEqual({ "/reset": broke, "/fin": "finished 2000" })
      expect(Aio.names(dir)).toEqual(["fin"])
    })

    it("a proxy is given its user and password, and its 407 is a failure", async () => {
      const server = await start(({ headers }) =>
        headers["proxy-authorization"] === `Basic ${Buffer.from("u:p w").toString("base64")}`
          ? ok([])
          : send("407 Proxy Authentication Required", [])
      )
      closers.push(server.close)
      const [known, unknown] = await Promise.all(
        ["u:p%20w@", ""].map((user) =>
          gather(["http://a.example/x"], { env: { http_proxy: `http://${user}127.0.0.1:${server.port}` } })
        )
      )
      expect(known!.ends).toEqual({ "/x": "finished 2000" })
      expect(unknown!.ends["/x"]).toMatch(/407/)
      expect(unknown!.code).toBe(1)
    })

    it.each([
      ["HTTP_PROXY", "http://u:p w@:bad", "':bad'"],
      ["https_proxy", "ftp://x", "'ftp://x'"],
      ["HTTPS_PROXY", "http://", "'http://'"],
      ["http_proxy", "http://u%:secret@127.0.0.1:9", "'127.0.0.1:9'"]
    ])("%s=%s is one line and exit 2", async (name, value, shown) => {
      const { code, stderr, ends } = await gather(["http://127.0.0.1:9/x"], { env: { [name]: value } })
      expect([code, ends]).toEqual([2, {}])
      expect(stderr).toBe(
        `aio gather: the environment variable ${name} is not a proxy (${shown}); expected http://host:port\n`
      )
    })

    it.each([
      ["http://u:p@b\u00fccher.example/a%20b?q=1#frag", "http://xn--bcher-kva.example/a%20b?q=1#frag"],
      ["http://127.1/x", "http://127.0.0.1/x"],
      ["http://[::1]:80/y", "http://[::1]/y"],
      ["HTTP://EXAMPLE.com./z", "http://example.com./z"]
    ])("%s is shown as it is asked for, without its password: %s", async (url, shown) => {
      const { code, stderr, stdout } = await Aio.run(["gather", "--dry-run", url])
      expect([code, stderr, stdout]).toEqual([0, "", `${shown}\n`])
    })

    it("names the host that was not found, after a redirect or of a proxy", async () => {
      const server = await start(() => send("302 Found", ["Location: http://second.invalid/"]))
      closers.push(server.close)
      const [redirected, proxied] = await Promise.all([
        gather([server.url("/r")]),
        gather(["http://first.invalid/p"], { env: { HTTP_PROXY: "proxy.invalid:3128" } })
      ])
      expect(redirected.ends["/r"]).toMatch(/^dns: .* for second\.invalid$/)
      expect(proxied.ends["/p"]).toMatch(/^dns: .* for proxy\.invalid$/)
    })

    it("where descriptors run short, fewer transfers run at once", async () => {
      const body = bytes(300_000)
      const serve = () =>
        listen(
          http.createServer((_request, response) => {
            response.writeHead(200, { "content-length": body.length }).end(body)
          })
        )
      const ports = await Promise.all(Array.from({ length: 25 }, serve))
      const urls = [...ports, ...ports].map((port, i) => `http://127.0.0.1:${port}/${i}`).join("\n")
      const dir = Aio.folder()
      const { code, ends } = await gather(["-j50", "-d", dir, "-a", "-"], {
        shell: 'ulimit -n 40; exec "$@"',
        stdin: urls
      })
      expect(Object.values(ends).filter((end) => end !== "finished 300000")).toEqual([])
      expect([code, Aio.names(dir).length]).toEqual([0, 50])
    })

    it("notes ignored encodings once on stderr", async () => {
      const server = await start(() => ok(["Content-Encoding: UTF-8"]))
      closers.push(server.close)
      const { code, stderr } = await Aio.run([
        "gather",
        "-d",
        Aio.folder(),
        server.url("/a"),
        server.url("/b")
      ])
      expect(code).toBe(0)
      expect(
        stderr.split("Content-Encoding 'utf-8' is not an encoding; the body is read as sent").length
      ).toBe(2)
    })
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
