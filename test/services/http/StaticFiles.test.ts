import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, utimesSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import * as HttpServer from "@effect/platform/HttpServer"
import { afterAll, describe, expect, it } from "@effect/vitest"
import { Effect, FastCheck } from "effect"
import * as HttpServerTest from "../../../src/services/http/HttpServerTest.js"
import { find, segments } from "../../../src/services/http/internal/filePath.js"
import * as Ranges from "../../../src/services/http/internal/ranges.js"
import * as StaticFiles from "../../../src/services/http/StaticFiles.js"

const base = realpathSync(mkdtempSync(join(tmpdir(), "aio-static-")))
const root = join(base, "public")
const alphabet = "abcdefghijklmnopqrstuvwxyz"
const large = "0123456789".repeat(20_000)
mkdirSync(join(root, "sub/.git"), { recursive: true })
const files: Readonly<Record<string, string>> = {
  "a.txt": alphabet,
  "large.bin": large,
  "empty.css": "",
  "index.html": "<p>home",
  "sub/index.html": "<p>sub",
  "sub/ä b.json": "{}",
  ".env": "SECRET",
  "sub/.git/config": "SECRET",
  "../secret.txt": "SECRET",
  "../public2.txt": "SECRET"
}
for (const [name, text] of Object.entries(files)) {
  writeFileSync(join(root, name), text)
  utimesSync(join(root, name), 1_700_000_000, 1_700_000_000)
}
mkdirSync(join(root, "bare"))
symlinkSync("../secret.txt", join(root, "out.txt"))
symlinkSync("..", join(root, "up"))
symlinkSync("/etc", join(root, "etc"))
symlinkSync(".env", join(root, "env.txt"))
symlinkSync("a.txt", join(root, "same.txt"))
symlinkSync("circle", join(root, "circle"))
writeFileSync(join(root, "fresh.txt"), "fresh")
afterAll(() => rmSync(base, { recursive: true, force: true }))

const modified = "Tue, 14 Nov 2023 22:13:20 GMT"

const ask = (method: "GET" | "HEAD" | "POST", path: string, headers: Record<string, string> = {}) =>
  Effect.gen(function* () {
    const request = HttpClientRequest.make(method)(path).pipe(HttpClientRequest.setHeaders(headers))
    const response = yield* HttpClient.execute(request)
    return { status: response.status, headers: response.headers, body: yield* response.text }
  })

const serving = Effect.flatMap(StaticFiles.make(root), (app) => HttpServer.serveEffect(app))

describe("StaticFiles", () => {
  it.scopedLive("serves files with their type, length, tag and time", () =>
    Effect.gen(function* () {
      yield* serving
      for (const [path, type, body] of [
        ["/a.txt", "text/plain; charset=utf-8", alphabet],
        ["/a.txt?v=2", "text/plain; charset=utf-8", alphabet],
        ["/same.txt", "text/plain; charset=utf-8", alphabet],
        ["/", "text/html; charset=utf-8", "<p>home"],
        ["/sub/", "text/html; charset=utf-8", "<p>sub"],
        ["/sub/%C3%A4%20b.json", "application/json", "{}"],
        ["/large.bin", "application/octet-stream", large],
        ["/empty.css", "text/css; charset=utf-8", ""]
      ] as const) {
        const got = yield* ask("GET", path)
        expect([path, got.status, got.body]).toEqual([path, 200, body])
        expect(got.headers).toMatchObject({
          "content-type": type,
          "content-length": String(body.length),
          "last-modified": modified,
          "accept-ranges": "bytes",
          etag: expect.stringMatching(/^"[\w-]+"$/)
        })
        const head = yield* ask("HEAD", path)
        expect([head.status, head.body, head.headers["content-length"], head.headers["etag"]]).toEqual([
          200,
          "",
          String(body.length),
          got.headers["etag"]
        ])
      }
    }).pipe(Effect.provide(HttpServerTest.layer()))
  )

  it.scopedLive("redirects a folder without its slash, has no listing, and serves GET and HEAD only", () =>
    Effect.gen(function* () {
      yield* serving
      const folder = yield* ask("GET", "/sub?x=1")
      expect([folder.status, folder.headers["location"]]).toEqual([301, "/sub/?x=1"])
      expect((yield* ask("GET", "/bare/")).status).toBe(404)
      expect((yield* ask("GET", "/a.txt/")).status).toBe(404)
      const post = yield* ask("POST", "/a.txt")
      expect([post.status, post.headers["allow"]]).toEqual([405, "GET, HEAD"])
    }).pipe(Effect.provide(HttpServerTest.layer()))
  )

  it.scopedLive("answers conditions and ranges as RFC 9110 says", () =>
    Effect.gen(function* () {
      yield* serving
      const tag = (yield* ask("HEAD", "/a.txt")).headers["etag"]!
      const cases: ReadonlyArray<readonly [headers: Record<string, string>, status: number, body: string]> = [
        [{ "if-none-match": tag }, 304, ""],
        [{ "if-none-match": `"x", W/${tag}` }, 304, ""],
        [{ "if-none-match": "*" }, 304, ""],
        [{ "if-none-match": '"x"' }, 200, alphabet],
        [{ "if-none-match": '"x"', "if-modified-since": modified }, 200, alphabet],
        [{ "if-modified-since": modified }, 304, ""],
        [{ "if-modified-since": "Tue, 14 Nov 2023 22:13:19 GMT" }, 200, alphabet],
        [{ "if-modified-since": "yesterday" }, 200, alphabet],
        [{ range: "bytes=0-2" }, 206, "abc"],
        [{ range: "bytes=23-" }, 206, "xyz"],
        [{ range: "bytes=-3" }, 206, "xyz"],
        [{ range: "bytes=-99" }, 206, alphabet],
        [{ range: "bytes=24-999" }, 206, "yz"],
        [{ range: "bytes=26-" }, 416, "no byte of the range is in the file, which has 26\n"],
        [{ range: "bytes=-0" }, 416, "no byte of the range is in the file, which has 26\n"],
        [{ range: "bytes=2-1" }, 200, alphabet],
        [{ range: "lines=1-2" }, 200, alphabet],
        [{ range: "bytes=a-b" }, 200, alphabet],
        [{ range: "bytes=0-25,0-25" }, 200, alphabet],
        [{ range: "bytes=0-2", "if-range": tag }, 206, "abc"],
        [{ range: "bytes=0-2", "if-range": '"x"' }, 200, alphabet],
        [{ range: "bytes=0-2", "if-range": `W/${tag}` }, 200, alphabet],
        [{ range: "bytes=0-2", "if-range": modified }, 206, "abc"],
        [{ range: "bytes=0-2", "if-range": "Tue, 14 Nov 2023 22:13:19 GMT" }, 200, alphabet]
      ]
      for (const [headers, status, body] of cases) {
        const got = yield* ask("GET", "/a.txt", headers)
        expect([headers, got.status, got.body]).toEqual([headers, status, body])
      }
      expect((yield* ask("GET", "/a.txt", { range: "bytes=1-2" })).headers).toMatchObject({
        "content-range": "bytes 1-2/26",
        "content-length": "2"
      })
      expect((yield* ask("GET", "/a.txt", { range: "bytes=99-" })).headers["content-range"]).toBe(
        "bytes */26"
      )
    }).pipe(Effect.provide(HttpServerTest.layer()))
  )

  it.scopedLive("answers several ranges with a part for each", () =>
    Effect.gen(function* () {
      yield* serving
      const got = yield* ask("GET", "/a.txt", { range: "bytes=0-1, 24-" })
      const boundary = /^multipart\/byteranges; boundary=(.+)$/.exec(got.headers["content-type"]!)![1]
      const part = (range: string, body: string) =>
        `\r\n--${boundary}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-range: bytes ${range}/26\r\n\r\n${body}`
      expect([got.status, got.body]).toEqual([
        206,
        `${part("0-1", "ab")}${part("24-25", "yz")}\r\n--${boundary}--\r\n`
      ])
      expect(got.headers["content-length"]).toBe(String(got.body.length))
    }).pipe(Effect.provide(HttpServerTest.layer()))
  )

  it.scopedLive("gives a file that has just changed a weak tag, which proves no part of it", () =>
    Effect.gen(function* () {
      yield* serving
      writeFileSync(join(root, "fresh.txt"), "fresh")
      const { headers } = yield* ask("HEAD", "/fresh.txt")
      expect(headers["etag"]).toMatch(/^W\//)
      const whole = yield* ask("GET", "/fresh.txt", { range: "bytes=0-1", "if-range": headers["etag"]! })
      expect([whole.status, whole.body]).toEqual([200, "fresh"])
    }).pipe(Effect.provide(HttpServerTest.layer()))
  )

  it.scopedLive("serves nothing outside the folder and no dot files", () =>
    Effect.gen(function* () {
      yield* serving
      for (const path of [
        ...["/../secret.txt", "/%2e%2e/secret.txt", "/%2E%2E%2Fsecret.txt", "/..%2fsecret.txt"],
        ...[
          "/sub/../../secret.txt",
          "/sub/%2e%2e/%2e%2e/secret.txt",
          "/..\\secret.txt",
          "/%5c..%5csecret.txt"
        ],
        ...[
          "/.env",
          "/%2eenv",
          "/sub/.git/config",
          "/out.txt",
          "/up/secret.txt",
          "/up/public2.txt",
          "/etc/passwd"
        ],
        ...["/env.txt", "/circle", "/a.txt%00.html", "//a.txt", "/sub//index.html", "/%252e%252e/secret.txt"]
      ]) {
        const { body, status } = yield* ask("GET", path)
        expect([path, status]).toEqual([path, 404])
        expect(body).not.toContain("SECRET")
      }
      for (const path of ["/%", "/%zz", "/%ff", "/%c0%ae%c0%ae/secret.txt"]) {
        expect([path, (yield* ask("GET", path)).status]).toEqual([path, 400])
      }
    }).pipe(Effect.provide(HttpServerTest.layer()))
  )

  it("finds no file outside the folder for any path", async () => {
    const name = FastCheck.constantFrom(
      ...["..", ".", "", "%2e%2e", "%2E.", "%2f", "..%2f..", "%5c", "sub", "up", "etc", "out.txt", "a.txt"],
      ...[
        "secret.txt",
        ".env",
        "env.txt",
        "index.html",
        "%00",
        "circle",
        "%c3%a4%20b.json",
        "public",
        "passwd"
      ]
    )
    const path = FastCheck.array(FastCheck.oneof(name, FastCheck.string({ maxLength: 4 })), { maxLength: 6 })
    await FastCheck.assert(
      FastCheck.asyncProperty(path, async (names) => {
        const found = await find(root, `/${names.join("/")}`, "index.html")
        if (found._tag !== "File") return
        const text = await found.file.readFile("utf8")
        await found.file.close()
        expect(text).not.toContain("SECRET")
        expect([...Object.values(files), "fresh"]).toContain(text)
      }),
      { numRuns: 500 }
    )
  })

  it("takes the names of a path apart so that each is one name below the folder", () => {
    FastCheck.assert(
      FastCheck.property(FastCheck.webPath(), (path) => {
        for (const name of segments(`/${path}`) ?? []) {
          expect(name).not.toMatch(/^\.|[/\\\0]/)
        }
      })
    )
  })

  it("reads ranges that are within the file, in any header", () => {
    const spec = FastCheck.oneof(
      FastCheck.tuple(FastCheck.nat(40), FastCheck.nat(40)).map(([a, b]) => `${a}-${b}`),
      FastCheck.nat(40).map((a) => `${a}-`),
      FastCheck.nat(40).map((a) => `-${a}`),
      FastCheck.string({ maxLength: 3 })
    )
    FastCheck.assert(
      FastCheck.property(FastCheck.array(spec, { maxLength: 20 }), FastCheck.nat(30), (specs, size) => {
        const ranges = Ranges.parse(`bytes=${specs.join(",")}`, size) ?? []
        for (const { first, last } of ranges) {
          expect(first).toBeGreaterThanOrEqual(0)
          expect(last).toBeGreaterThanOrEqual(first)
          expect(last).toBeLessThan(size)
        }
        expect(ranges.reduce((sum, { first, last }) => sum + last - first + 1, 0)).toBeLessThanOrEqual(size)
      })
    )
  })

  it.live("refuses what is no folder", () =>
    Effect.gen(function* () {
      const missing = yield* Effect.flip(Effect.asVoid(StaticFiles.make(join(root, "nowhere"))))
      expect([missing.message, missing.exitCode]).toEqual([
        `'${join(root, "nowhere")}' does not exist; expected a folder of files to serve`,
        2
      ])
      expect((yield* Effect.flip(Effect.asVoid(StaticFiles.make(join(root, "a.txt"))))).message).toContain(
        "is not a folder"
      )
    })
  )
})
