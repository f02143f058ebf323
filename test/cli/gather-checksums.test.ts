import { createHash } from "node:crypto"
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { afterAll, describe, expect, it } from "vitest"
import * as Aio from "../support/Aio.js"
import * as FaultServer from "../support/FaultServer.js"
import * as InProcess from "../support/InProcess.js"

// Checksums of other algorithms, and lists of them.

const serve = FaultServer.starter()
afterAll(Aio.removeFolders)

const { inTurn, ok, status } = FaultServer
const sum = (algorithm: string, body: string) => createHash(algorithm).update(body).digest("hex")
const gather = (...args: ReadonlyArray<string>) => InProcess.run(["gather", ...args])
const file = (text: string) => {
  const path = join(Aio.folder(), "SUMS")
  writeFileSync(path, text)
  return path
}

describe.concurrent("aio gather: checksums", () => {
  it.each(["md5", "sha1", "sha256", "sha512"])(
    "%s: a file that does not match is not kept",
    async (algorithm) => {
      const server = await serve({ "/f": ok("body") })
      const dir = Aio.folder()
      const run = (hex: string) =>
        gather("-q", "--json", "-d", dir, "--checksum", `${algorithm}:${hex}`, server.url("/f"))
      const wrong = await run(sum(algorithm, "other"))
      expect(wrong.code).toBe(1)
      expect(wrong.stdout).toContain(`"reason":"${algorithm} is ${sum(algorithm, "body")}, not `)
      expect(Aio.names(dir)).toEqual([])
      const right = await run(sum(algorithm, "body").toUpperCase())
      expect(right.code).toBe(0)
      expect(right.stdout).toContain(`"${algorithm}":"${sum(algorithm, "body")}"`)
      expect(Aio.names(dir)).toEqual(["f"])
    }
  )

  it("a list of URLs has checksums of each algorithm", async () => {
    const server = await serve({ "/a": ok("a"), "/b": ok("b") })
    const dir = Aio.folder()
    const list = `${server.url("/a")}\tmd5:${sum("md5", "a")}\n${server.url("/b")}\tc\tsha512:${sum("sha512", "a")}\n`
    const { code, stderr } = await InProcess.run(["gather", "-q", "-d", dir, "-a", "-"], { stdin: list })
    expect([code, Aio.names(dir)]).toEqual([1, ["a"]])
    expect(stderr).toContain("sha512 is ")
  })

  it("--checksums FILE checks each file by the list, and ignores names that are not asked for", async () => {
    const server = await serve({ "/d/a": ok("a"), "/d/b": ok("b") })
    const dir = Aio.folder()
    const list = file(
      `${sum("sha256", "a")}  a\r\n${sum("sha256", "other")} *d/b\r\n${sum("sha256", "")}  absent\r\n`
    )
    const { code, stderr } = await Aio.run([
      ...["gather", "-q", "-d", dir, "--checksums", list],
      ...[server.url("/d/a"), server.url("/d/b")]
    ])
    expect([code, Aio.names(dir)]).toEqual([1, ["a"]])
    expect(stderr).toMatch(/^Failed [^ ]*\/d\/b: sha256 is /)
  })

  it("--checksums URL is downloaded with retries; what matches is kept with --no-clobber, the rest replaced", async () => {
    const server = await serve({
      "/SHA1SUMS": inTurn(
        status(503),
        ok(`SHA1 (a) = ${sum("sha1", "a")}\nSHA1 (b) = ${sum("sha1", "b")}\n`)
      ),
      "/a": ok("a"),
      "/b": ok("b")
    })
    const dir = Aio.folder()
    writeFileSync(join(dir, "a"), "a")
    writeFileSync(join(dir, "b"), "?")
    const { code } = await gather(
      ...["-q", "-d", dir, "--no-clobber", "--retries=2,10ms", "--checksums", server.url("/SHA1SUMS")],
      ...[server.url("/a"), server.url("/b")]
    )
    expect([code, readFileSync(join(dir, "b"), "utf8")]).toEqual([0, "b"])
    expect(server.seen.map(({ path }) => path)).toEqual(["/SHA1SUMS", "/SHA1SUMS", "/b"])
  })

  it("a URL that is not in the list is refused before anything is fetched, unless it has a checksum of its own", async () => {
    const server = await serve({ "/a": ok("a"), "/b": ok("b") })
    const list = file(`${sum("md5", "a")}  a\n`)
    const dir = Aio.folder()
    const run = (more: string) =>
      InProcess.run(["gather", "-q", "-d", dir, "--checksums", list, "-a", "-"], {
        stdin: `${server.url("/b")}${more}\n`
      })
    const { code, stderr } = await gather(
      "-q",
      "-d",
      dir,
      "--checksums",
      list,
      server.url("/a"),
      server.url("/b")
    )
    expect([code, stderr]).toEqual([
      2,
      `aio gather: the checksums of ${list}: ${server.url("/b")} is not among them; leave it out, or give it a checksum of its own\n`
    ])
    const piped = await run("")
    expect([piped.code, piped.stderr]).toEqual([
      2,
      `aio gather: line 1 of standard input: the checksums of ${list}: ${server.url("/b")} is not among them; leave it out, or give it a checksum of its own\n`
    ])
    expect(server.seen).toEqual([])
    expect((await run(`\tmd5:${sum("md5", "b")}`)).code).toBe(0)
  })

  it("a list of checksums that cannot be had is one line: exit 2 for a file, 1 for the network", async () => {
    const server = await serve({ "/a": ok("a") })
    const dir = Aio.folder()
    const run = (list: string) => gather("-d", dir, "--retries=0", "--checksums", list, server.url("/a"))
    expect(await run("/no/such")).toMatchObject({
      code: 2,
      stderr: "aio gather: the checksums of /no/such: the file does not exist\n"
    })
    expect(await run(server.url("/none"))).toMatchObject({
      code: 1,
      stderr: `aio gather: the checksums of ${server.url("/none")}: HTTP 404 Not Found\n`
    })
    expect(await run(file(""))).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("no line is a checksum")
    })
    expect(server.seenAt("/a")).toEqual([])
  })
})
