import { deflateRawSync, deflateSync, gzipSync } from "node:zlib"
import { Effect } from "effect"
import { describe, expect, it } from "vitest"
import * as Downloader from "../../src/services/download/Downloader.js"
import {
  broke,
  chunked,
  cut,
  download,
  ok,
  rest,
  type Step,
  send,
  small,
  tag,
  te,
  v1
} from "../support/HttpAnswers.js"
import { type Answer, head, start } from "../support/ScriptedServer.js"

// What servers do wrong, one line a case, through the library: the server sends the bytes of the line.
describe("one answer of a server", () => {
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
})
