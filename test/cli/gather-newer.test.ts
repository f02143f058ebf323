import { readFileSync, statSync, utimesSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { afterAll, describe, expect, it } from "vitest"
import * as Aio from "../support/Aio.js"
import * as FaultServer from "../support/FaultServer.js"
import * as InProcess from "../support/InProcess.js"

// The server's modification time, and -N.

const serve = FaultServer.starter()
afterAll(Aio.removeFolders)

const old = new Date("2020-01-02T03:04:05Z")
const older = new Date("2019-01-02T03:04:05Z")
const modified = { "last-modified": old.toUTCString() }
const mtime = (path: string) => statSync(path).mtime.getTime()
const gather = (...args: ReadonlyArray<string>) => InProcess.run(["gather", ...args])

/** As most servers: 304 unless it is newer. */
const conditional =
  (body: string | Buffer): FaultServer.Handler =>
  (exchange) => {
    const since = Date.parse(exchange.request.headers["if-modified-since"] ?? "")
    if (since >= old.getTime()) exchange.response.writeHead(304, modified).end()
    else FaultServer.ok(body, modified)(exchange)
  }

describe.concurrent("aio gather: times", () => {
  it("gives small, large and synced files the server's time; --no-mtime and a wrong date leave it", async () => {
    const large = FaultServer.bytes(600_000)
    const many = Array.from({ length: 20 }, (_, i) => `/s${i}`)
    const server = await serve({
      "/large": FaultServer.ok(large, modified),
      "/resumable": FaultServer.ok(large, { ...modified, etag: '"v1"' }),
      "/wrong": FaultServer.ok("x", { "last-modified": "yesterday" }),
      ...Object.fromEntries(many.map((path) => [path, FaultServer.ok("small", modified)]))
    })
    const paths = [...many, "/large", "/resumable"]
    for (const more of [[], ["--fsync"]]) {
      const dir = Aio.folder()
      expect((await gather("-q", "-d", dir, ...more, ...paths.map(server.url))).code).toBe(0)
      for (const path of paths) expect([path, mtime(join(dir, path))]).toEqual([path, old.getTime()])
    }
    const dir = Aio.folder()
    await gather("-q", "-d", dir, "--no-mtime", server.url("/s0"))
    await gather("-q", "-d", dir, server.url("/wrong"))
    expect(mtime(join(dir, "s0"))).toBeGreaterThan(old.getTime() + 1e9)
    expect(mtime(join(dir, "wrong"))).toBeGreaterThan(old.getTime() + 1e9)
  })

  it("-N fetches a file once, and again when the server's is newer", async () => {
    const server = await serve({ "/f": conditional("body") })
    const dir = Aio.folder()
    const run = () => Aio.run(["gather", "-N", "-d", dir, server.url("/f")])
    expect((await run()).stdout).toBe(`Downloaded ${server.url("/f")}, size 4\n`)
    const again = await run()
    expect([again.code, again.stdout]).toEqual([0, ""])
    expect(again.stderr).toMatch(/\/f is not modified\nfiles {7}0 succeeded, 1 skipped\n/)
    expect(server.seenAt("/f").map(({ headers }) => headers["if-modified-since"])).toEqual([
      undefined,
      old.toUTCString()
    ])
    writeFileSync(join(dir, "f"), "an older one")
    utimesSync(join(dir, "f"), older, older)
    expect((await run()).code).toBe(0)
    expect(readFileSync(join(dir, "f"), "utf8")).toBe("body")
  })

  it("-N --json says why a file is skipped", async () => {
    const server = await serve({ "/f": conditional("body") })
    const dir = Aio.folder()
    writeFileSync(join(dir, "f"), "body")
    const { stdout } = await gather("-N", "--json", "-d", dir, server.url("/f"))
    const finished = stdout.split("\n").find((line) => line.includes('"finished"'))
    expect(JSON.parse(finished!)).toMatchObject({ status: "skipped", reason: "not modified", bytes: 4 })
    expect(Aio.names(dir)).toEqual(["f"])
  })

  it("-N takes a 200 with the same length and no later time as not modified, and no other one", async () => {
    const server = await serve({ "/f": FaultServer.ok("body", modified) })
    const dir = Aio.folder()
    const file = join(dir, "f")
    const run = () => gather("-N", "-q", "-d", dir, server.url("/f"))
    writeFileSync(file, "mine")
    await run()
    expect(readFileSync(file, "utf8")).toBe("mine")
    writeFileSync(file, "longer")
    await run()
    expect(readFileSync(file, "utf8")).toBe("body")
    writeFileSync(file, "mine")
    utimesSync(file, older, older)
    await run()
    expect(readFileSync(file, "utf8")).toBe("body")
  })

  it("-N goes by the checksum where there is one", async () => {
    const server = await serve({ "/f": conditional("body") })
    const dir = Aio.folder()
    writeFileSync(join(dir, "f"), "junk")
    const sum = `sha256:${FaultServer.sha256(Buffer.from("body"))}`
    const run = () => gather("-N", "-q", "-d", dir, "--checksum", sum, server.url("/f"))
    expect((await run()).code).toBe(0)
    expect(readFileSync(join(dir, "f"), "utf8")).toBe("body")
    expect((await run()).code).toBe(0)
    expect(server.seen.length).toBe(1)
  })

  it("a 304 that was not asked for is a failure", async () => {
    const server = await serve({ "/f": FaultServer.status(304) })
    const { code, stderr } = await gather("-N", "-q", "-d", Aio.folder(), server.url("/f"))
    expect([code, stderr]).toEqual([1, `Failed ${server.url("/f")}: HTTP 304 Not Modified\n`])
  })

  it.each([
    [["--no-clobber"], "--no-clobber"],
    [["--content-disposition"], "--content-disposition"],
    [["--discard"], "--discard"],
    [["-o", "-"], "--output -"]
  ])("-N with %j is refused", async (args, excluded) => {
    expect(await gather("-N", ...args, "http://127.0.0.1:9/f")).toEqual({
      code: 2,
      signal: null,
      stdout: "",
      stderr: `aio gather: --timestamping compares with the saved file; omit it or ${excluded}\n`
    })
  })
})
