import { execFileSync } from "node:child_process"
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync
} from "node:fs"
import { join } from "node:path"
import { afterAll, describe, expect, it } from "vitest"
import * as Aio from "../support/Aio.js"
import * as FaultServer from "../support/FaultServer.js"
import * as InProcess from "../support/InProcess.js"

const serve = FaultServer.starter()
const mounted: Array<string> = []
afterAll(() => {
  for (const dir of mounted) execFileSync("umount", [dir])
  Aio.removeFolders()
})

const { bytes, dropAfter, file, inTurn, ok, raw } = FaultServer

const outcomes = async (args: ReadonlyArray<string>, options: Aio.SpawnOptions = {}) => {
  const { code, stderr, stdout } = await InProcess.run(["gather", "--json", ...args], options)
  const events: Array<any> = stdout
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line))
  return {
    code,
    stderr,
    finished: events.filter(({ status }) => status === "succeeded" || status === "skipped"),
    failed: events.filter(({ status }) => status === "failed"),
    retried: events.filter(({ event }) => event === "retrying")
  }
}

const parts = (dir: string) => readdirSync(dir).filter((name) => name.endsWith(".aio-part"))

/** Leaves a partial file in `dir`, as an earlier process did: the first of two attempts, ended after `sent` bytes. */
const leavePartial = async (
  dir: string,
  server: FaultServer.FaultServer,
  path: string,
  more: ReadonlyArray<string> = []
) => {
  const result = await outcomes(["--retries=0", "-d", dir, ...more, server.url(path)])
  expect(result.failed.map(({ cause }) => cause)).toEqual(["dropped"])
  return result
}

describe.concurrent("aio gather: files", () => {
  describe("resume", () => {
    const body = bytes(600_000)
    const tag = { etag: '"v1"' }

    it("continues where an earlier process stopped, and proves the version with If-Range", async () => {
      const server = await serve({ "/f": inTurn(dropAfter(body, 400_000, tag), file(body)) })
      const dir = Aio.folder()
      await leavePartial(dir, server, "/f")
      const [part] = parts(dir)
      const there = statSync(join(dir, part!)).size
      const { code, finished } = await outcomes(["-d", dir, server.url("/f")])
      expect(code).toBe(0)
      expect(finished[0]).toMatchObject({
        status: "succeeded",
        bytes: 600_000,
        resumedFrom: there,
        httpStatus: 206
      })
      expect(server.seenAt("/f")[1]!.headers).toMatchObject({ range: `bytes=${there}-`, "if-range": '"v1"' })
      expect(Aio.names(dir)).toEqual(["f"])
      expect(readFileSync(join(dir, "f")).equals(body)).toBe(true)
    })

    it("continues after a drop within one run, and checks the whole file's sum", async () => {
      const server = await serve({ "/f": inTurn(dropAfter(body, 400_000, tag), file(body)) })
      const dir = Aio.folder()
      const { code, finished, retried } = await outcomes([
        "-d",
        dir,
        "--checksum",
        `sha256:${FaultServer.sha256(body)}`,
        server.url("/f")
      ])
      expect([code, retried.length, finished[0].httpStatus]).toEqual([0, 1, 206])
      expect(finished[0].resumedFrom).toBeGreaterThan(0)
      expect(Aio.names(dir)).toEqual(["f"])
      expect(readFileSync(join(dir, "f")).equals(body)).toBe(true)
    })

    it("--no-resume neither leaves nor takes a partial file", async () => {
      const server = await serve({ "/f": inTurn(dropAfter(body, 400_000, tag), file(body)) })
      const dir = Aio.folder()
      await leavePartial(dir, server, "/f", ["--no-resume"])
      expect(Aio.names(dir)).toEqual([])
      const other = await serve({ "/f": inTurn(dropAfter(body, 400_000, tag), file(body)) })
      await leavePartial(dir, other, "/f")
      await outcomes(["-d", dir, "--no-resume", other.url("/f")])
      expect(other.seenAt("/f")[1]!.headers.range).toBeUndefined()
      expect(readFileSync(join(dir, "f")).equals(body)).toBe(true)
    })

    it.each([
      ["no validator", {}],
      ["a weak entity tag", { etag: 'W/"v1"' }],
      [
        "a date no older than the response",
        { "last-modified": new Date().toUTCString(), date: new Date().toUTCString() }
      ]
    ])("%s: nothing is left and nothing is continued", async (_name, headers) => {
      const server = await serve({ "/f": inTurn(dropAfter(body, 400_000, headers), file(body)) })
      const dir = Aio.folder()
      await leavePartial(dir, server, "/f")
      expect(Aio.names(dir)).toEqual([])
      await outcomes(["-d", dir, server.url("/f")])
      expect(server.seenAt("/f")[1]!.headers.range).toBeUndefined()
    })

    it("a file with another entity tag starts over", async () => {
      const changed = bytes(500_000, 7)
      const server = await serve({ "/f": inTurn(dropAfter(body, 400_000, tag), file(changed, '"v2"')) })
      const dir = Aio.folder()
      const { code, finished } = await outcomes(["-d", dir, server.url("/f")])
      expect([code, finished[0].resumedFrom, finished[0].httpStatus]).toEqual([0, undefined, 200])
      expect(Aio.names(dir)).toEqual(["f"])
      expect(readFileSync(join(dir, "f")).equals(changed)).toBe(true)
    })

    it("416 starts over", async () => {
      const short = bytes(100, 3)
      const server = await serve({
        "/f": inTurn(
          dropAfter(body, 400_000, tag),
          ({ response }) => void response.writeHead(416).end(),
          ok(short)
        )
      })
      const dir = Aio.folder()
      const { finished, retried } = await outcomes(["-d", dir, server.url("/f")])
      expect([finished[0].bytes, retried.length]).toEqual([100, 1])
      expect(Aio.names(dir)).toEqual(["f"])
    })

    const partial = (range: string, sent: Buffer, etag?: string) =>
      raw(
        Buffer.concat([
          Buffer.from(
            `HTTP/1.1 206 Partial Content\r\nContent-Range: ${range}\r\nContent-Length: ${sent.length}\r\n${etag === undefined ? "" : `ETag: ${etag}\r\n`}\r\n`
          ),
          sent
        ])
      )
    type Lie = (from: number) => FaultServer.Handler
    const lies: ReadonlyArray<readonly [string, Lie, string]> = [
      [
        "other bytes than asked for",
        () => partial("bytes 0-599999/600000", body),
        "asked for bytes from N, got bytes from 0"
      ],
      [
        "another length",
        (from) => partial(`bytes ${from}-699999/700000`, bytes(700_000 - from), '"v1"'),
        "the file was 600000 bytes long, and is 700000 now"
      ],
      [
        "not to the end",
        (from) => partial(`bytes ${from}-${from + 99}/600000`, body.subarray(from, from + 100), '"v1"'),
        "the part sent does not reach the end"
      ],
      [
        "not to the end, of a length untold",
        (from) => partial(`bytes ${from}-${from + 99}/*`, body.subarray(from, from + 100), '"v1"'),
        "the part sent does not reach the end"
      ],
      [
        "a range with no bytes",
        (from) => partial(`bytes ${from}-${from - 1}/${from}`, Buffer.alloc(0), '"v1"'),
        "Content-Range 'bytes N-M/N' is malformed"
      ],
      ["a malformed range", () => partial("lines 1 to 2", body), "Content-Range 'lines 1 to 2' is malformed"],
      [
        "another version's part",
        (from) => partial(`bytes ${from}-599999/600000`, bytes(600_000, 9).subarray(from), '"v2"'),
        "the part sent is of another version"
      ],
      [
        "a part that is shorter than it says",
        (from) => partial(`bytes ${from}-599999/600000`, body.subarray(from + 5), '"v1"'),
        "Content-Length and Content-Range disagree"
      ]
    ]
    it.each(lies)(
      "%s: never reaches the final name; the next attempt has the whole file",
      async (_, lie, why) => {
        const server = await serve({
          "/f": inTurn(
            dropAfter(body, 400_000, tag),
            (exchange) => lie(Number(/=(\d+)-/.exec(exchange.request.headers.range!)![1]))(exchange),
            file(body)
          )
        })
        const dir = Aio.folder()
        await leavePartial(dir, server, "/f")
        const { code, finished, retried } = await outcomes(["-d", dir, server.url("/f")])
        expect(
          retried.map(({ cause, reason }) => [
            cause,
            reason.replace(/(?<=from |bytes |\/)\d{5,}(?!.*now)/g, "N").replace(/-\d+\//, "-M/")
          ])
        ).toEqual([["range", why]])
        expect(server.seenAt("/f")[2]!.headers.range).toBeUndefined()
        expect([code, finished[0]?.bytes]).toEqual([0, 600_000])
        expect(readFileSync(join(dir, "f")).equals(body)).toBe(true)
        expect(Aio.names(dir)).toEqual(["f"])
      }
    )

    it("a part of no stated length that ends early is continued, not taken for the rest", async () => {
      const server = await serve({
        "/f": inTurn(
          dropAfter(body, 400_000, tag),
          ({ request, response }) => {
            const from = Number(/=(\d+)-/.exec(request.headers.range!)![1])
            response.writeHead(206, { ...tag, "content-range": `bytes ${from}-599999/600000` })
            response.end(body.subarray(from, from + 1000)) // chunked, and properly ended
          },
          file(body)
        )
      })
      const dir = Aio.folder()
      await leavePartial(dir, server, "/f")
      const { code, finished, retried } = await outcomes(["-d", dir, server.url("/f")])
      expect(retried.map(({ cause }) => cause)).toEqual(["dropped"])
      expect(retried[0].reason).toMatch(/^\d+ of 600000 bytes arrived$/)
      expect([code, finished[0].httpStatus]).toEqual([0, 206])
      expect(readFileSync(join(dir, "f")).equals(body)).toBe(true)
    })

    it("a partial file that is corrupt on the disk fails the checksum, and is downloaded again", async () => {
      const server = await serve({ "/f": inTurn(dropAfter(body, 400_000, tag), file(body)) })
      const dir = Aio.folder()
      await leavePartial(dir, server, "/f")
      const part = join(dir, parts(dir)[0]!)
      writeFileSync(part, Buffer.alloc(statSync(part).size))
      const { code, retried } = await outcomes([
        "-d",
        dir,
        "--checksum",
        `sha256:${FaultServer.sha256(body)}`,
        server.url("/f")
      ])
      expect([code, retried[0].cause]).toEqual([0, "checksum"])
      expect(readFileSync(join(dir, "f")).equals(body)).toBe(true)
    })

    it("a partial file of another URL, or with a torn sidecar, is not continued", async () => {
      const server = await serve({
        "/f": inTurn(dropAfter(body, 400_000, tag), file(body)),
        "/g": file(body)
      })
      const dir = Aio.folder()
      await leavePartial(dir, server, "/f")
      await outcomes(["-d", dir, "-a", listOf(`${server.url("/g")}\tf`)])
      expect(server.seenAt("/g")[0]!.headers.range).toBeUndefined()
      expect(Aio.names(dir)).toEqual(["f"])

      const second = await serve({ "/f": inTurn(dropAfter(body, 400_000, tag), file(body)) })
      const other = Aio.folder()
      await leavePartial(other, second, "/f")
      writeFileSync(join(other, `${parts(other)[0]}.json`), '{"version":1,"url":')
      await outcomes(["-d", other, second.url("/f")])
      expect(second.seenAt("/f")[1]!.headers.range).toBeUndefined()
      expect(Aio.names(other)).toEqual(["f"])
    })

    it("a file named by Content-Disposition is continued too, under that name", async () => {
      const headers = { ...tag, "content-disposition": "attachment; filename=named.bin" }
      const server = await serve({ "/f": inTurn(dropAfter(body, 400_000, headers), file(body)) })
      const dir = Aio.folder()
      await leavePartial(dir, server, "/f", ["--content-disposition"])
      const { finished } = await outcomes(["-d", dir, "--content-disposition", server.url("/f")])
      expect(finished[0].resumedFrom).toBeGreaterThan(0)
      expect(Aio.names(dir)).toEqual(["named.bin"])
      expect(readFileSync(join(dir, "named.bin")).equals(body)).toBe(true)
    })
  })

  const listOf = (text: string) => {
    const path = join(Aio.folder(), "list")
    writeFileSync(path, text)
    return path
  }

  it("two processes with one name both end with a whole file", async () => {
    const one = bytes(2_000_000, 1)
    const two = bytes(1_500_000, 2)
    // Both have looked at the folder before either writes; then the first sends half, the second all, the first the rest.
    let secondDone: () => void = () => undefined
    const second = new Promise<void>((resolve) => {
      secondDone = resolve
    })
    const server = await serve({
      "/1/f": file(one, '"one"', (response, part) => {
        void server.arrived("/2/f").then(() => {
          response.write(part.subarray(0, 1_200_000))
          void second.then(() => response.end(part.subarray(1_200_000)))
        })
      }),
      "/2/f": file(two, '"two"', (response, part) => {
        void server.arrived("/1/f").then(() => response.end(part))
      })
    })
    const dir = Aio.folder()
    const first = Aio.start(["gather", "-q", "-d", dir, server.url("/1/f")])
    const other = await Aio.run(["gather", "-q", "-d", dir, server.url("/2/f")])
    expect([other.code, other.stderr]).toEqual([0, ""])
    expect(readFileSync(join(dir, "f")).equals(two)).toBe(true)
    secondDone()
    const result = await first.ended
    expect([result.code, result.stderr]).toEqual([0, ""])
    expect(readFileSync(join(dir, "f")).equals(one)).toBe(true)
    expect(Aio.names(dir)).toEqual(["f"])
  })

  it("of two processes that would continue one partial file, one does", async () => {
    const body = bytes(3_000_000)
    const held: Array<() => void> = []
    const server = await serve({
      "/f": inTurn(
        dropAfter(body, 2_000_000, { etag: '"v1"' }),
        file(body, '"v1"', (response, part) => {
          // Both have asked, both with the same range, before either gets an answer.
          held.push(() => response.end(part))
          if (held.length >= 2) for (const go of held) go()
        })
      )
    })
    const dir = Aio.folder()
    await leavePartial(dir, server, "/f")
    const results = await Promise.all([1, 2].map(() => outcomes(["-d", dir, server.url("/f")])))
    expect(results.map(({ code }) => code)).toEqual([0, 0])
    expect(server.seenAt("/f")[1]!.headers.range).toBe(server.seenAt("/f")[2]!.headers.range)
    expect(readFileSync(join(dir, "f")).equals(body)).toBe(true)
    expect(Aio.names(dir)).toEqual(["f"])
  })

  it("links in DIR that lead out of it are not followed, for small files and large ones", async () => {
    const big = bytes(600_000)
    const server = await serve({ "/small": ok("small"), "/big": file(big) })
    const dir = Aio.folder()
    const outside = join(Aio.folder(), "precious")
    writeFileSync(outside, "precious")
    for (const name of ["small", "big", ".big.aio-part", ".big.aio-part.json"])
      symlinkSync(outside, join(dir, name))
    const { code } = await outcomes(["-d", dir, server.url("/small"), server.url("/big")])
    expect(code).toBe(0)
    expect(readFileSync(outside, "utf8")).toBe("precious")
    expect(readFileSync(join(dir, "small"), "utf8")).toBe("small")
    expect(readFileSync(join(dir, "big")).equals(big)).toBe(true)
  })

  it("--clobber, the default, replaces; --no-clobber leaves, fetches nothing, and counts it as there", async () => {
    const server = await serve({
      "/f": ok("new"),
      "/named": ok("new", { "content-disposition": "attachment; filename=f" })
    })
    const dir = Aio.folder()
    const f = join(dir, "f")
    writeFileSync(f, "old")
    const kept = await Aio.run(["gather", "--no-clobber", "-d", dir, server.url("/f")])
    expect(kept.code).toBe(0)
    expect(kept.stdout).toBe("")
    expect(kept.stderr).toContain(`${f} already exists\nfiles       0 succeeded, 1 skipped\n`)
    expect(server.seen).toEqual([])
    const named = await outcomes(["--no-clobber", "--content-disposition", "-d", dir, server.url("/named")])
    expect(named.finished[0]).toMatchObject({ status: "skipped", path: f, bytes: 3 })
    expect(readFileSync(f, "utf8")).toBe("old")
    await outcomes(["--no-clobber", "--clobber", "-d", dir, server.url("/f")])
    expect(readFileSync(f, "utf8")).toBe("new")
    writeFileSync(f, "old")
    await outcomes(["-d", dir, server.url("/f")])
    expect(readFileSync(f, "utf8")).toBe("new")
    expect(Aio.names(dir)).toEqual(["f"])
  })

  it("--fsync downloads small, large and continued files", async () => {
    const body = bytes(600_000)
    const server = await serve({
      "/small": ok("small"),
      "/big": ok(body),
      "/again": inTurn(dropAfter(body, 400_000, { etag: '"v1"' }), file(body))
    })
    const dir = Aio.folder()
    const urls = ["/small", "/big", "/again"].map(server.url)
    const { code } = await outcomes(["--fsync", "-d", dir, ...urls])
    expect(code).toBe(0)
    expect(Aio.names(dir)).toEqual(["again", "big", "small"])
    expect(readFileSync(join(dir, "again")).equals(body)).toBe(true)
  })

  it("fails with the reason when a name from the server is a folder here", async () => {
    const server = await serve({ "/f": ok("small", { "content-disposition": "attachment; filename=d" }) })
    const dir = Aio.folder()
    mkdirSync(join(dir, "d"))
    const { code, failed } = await outcomes(["--content-disposition", "-d", dir, server.url("/f")])
    expect([code, failed.map(({ cause, reason }) => [cause, reason])]).toEqual([
      1,
      [["file", `${join(dir, "d")} is a folder`]]
    ])
    expect(Aio.names(dir)).toEqual(["d"])
  })

  describe("disk full", () => {
    const tiny = (() => {
      if (process.getuid?.() !== 0) return undefined
      const dir = Aio.folder()
      try {
        execFileSync("mount", ["-t", "tmpfs", "-o", "size=1m", "tmpfs", dir], { stdio: "ignore" })
      } catch {
        return undefined
      }
      mounted.push(dir)
      return dir
    })()

    it.skipIf(tiny === undefined)("says so, and leaves the final name free", async () => {
      const dir = tiny!
      const server = await serve({
        "/big": ok(bytes(3_000_000)),
        "/kept": file(bytes(3_000_000)),
        "/small": ok(bytes(200_000))
      })
      const { code, failed } = await outcomes(["-d", dir, server.url("/big")])
      expect([code, failed.map(({ cause, reason }) => [cause, reason])]).toEqual([
        1,
        [["disk-full", `no space left on the disk of ${dir}`]]
      ])
      expect(Aio.names(dir)).toEqual([])
      writeFileSync(join(dir, "ballast"), Buffer.alloc(900_000))
      const small = await outcomes(["-d", dir, server.url("/small")])
      expect(small.failed.map(({ cause }) => cause)).toEqual(["disk-full"])
      expect(Aio.names(dir)).toEqual(["ballast"])
      const kept = await outcomes(["-d", dir, server.url("/kept")])
      expect(kept.failed.map(({ cause }) => cause)).toEqual(["disk-full"])
      expect(existsSync(join(dir, "kept"))).toBe(false)
    })

    it("fails with the reason when a file is larger than the process may write", async () => {
      const server = await serve({ "/big": ok(bytes(3_000_000)) })
      const dir = Aio.folder()
      const { code, failed } = await outcomes(["-d", dir, server.url("/big")], {
        shell: 'ulimit -f 1000; exec "$@"'
      })
      expect([code, failed[0].cause]).toEqual([1, "file"])
      expect(failed[0].reason).toBe(`cannot save ${join(dir, "big")}: the file is too large (EFBIG)`)
      expect(Aio.names(dir)).toEqual([])
    })
  })
})
