import { mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { gzipSync } from "node:zlib"
import { afterAll, describe, expect, it } from "vitest"
import * as Aio from "../support/Aio.js"
import * as FaultServer from "../support/FaultServer.js"
import * as InProcess from "../support/InProcess.js"

// Where the bodies go: into the current folder, -d DIR, -o FILE, standard output, nowhere.

const serve = FaultServer.starter()
afterAll(Aio.removeFolders)

const { bytes, dropAfter, ok } = FaultServer
const gather = (args: ReadonlyArray<string>, cwd = Aio.folder()) =>
  InProcess.run(["gather", ...args], { cwd })

describe("aio gather: where files go", () => {
  it("saves in the current folder unless told otherwise; --discard saves nothing", async () => {
    const server = await serve({ "/f.bin": ok("body") })
    const cwd = Aio.folder()
    expect(await gather(["-q", "--discard", server.url("/f.bin")], cwd)).toMatchObject({
      code: 0,
      stdout: `Read ${server.url("/f.bin")}, size 4\n`
    })
    expect(Aio.names(cwd)).toEqual([])
    const plan = await gather(["--dry-run", server.url("/f.bin")], cwd)
    expect(plan.stdout).toBe(`${server.url("/f.bin")} -> f.bin\n`)
    const { code, stdout } = await Aio.run(["gather", "-q", server.url("/f.bin")], { cwd })
    expect([code, stdout]).toEqual([0, `Downloaded ${server.url("/f.bin")}, size 4\n`])
    expect(Aio.names(cwd)).toEqual(["f.bin"])
  })

  it("-o names the one file, within -d if that is given, and makes its folder", async () => {
    const server = await serve({ "/f.bin": ok("body") })
    const cwd = Aio.folder()
    for (const args of [["-o", "a.bin"], ["-o", "x/.b"], ["-d", "dir", "-o", "c"], ["--output=./d"]])
      expect((await gather(["-q", ...args, server.url("/f.bin")], cwd)).code).toBe(0)
    for (const path of ["a.bin", "x/.b", "dir/c", "d"])
      expect(readFileSync(join(cwd, path), "utf8")).toBe("body")
    expect(Aio.names(cwd)).toEqual(["a.bin", "d", "dir", "x"])
  })

  it("-o - writes the body to stdout and nothing else, as it would be saved", async () => {
    const server = await serve({
      "/f": ok("a body\n"),
      "/gz": ({ request, response }) => {
        expect(request.headers["accept-encoding"]).toBe("identity")
        response.writeHead(200, { "content-encoding": "gzip" }).end(gzipSync("text"))
      },
      "/a.gz": ok("archive", { "content-encoding": "gzip" })
    })
    const { code, stderr, stdout } = await gather(["-o", "-", server.url("/f")])
    expect([code, stdout]).toEqual([0, "a body\n"])
    expect(stderr).toContain("files       1 succeeded\n")
    expect((await gather(["-o", "-", server.url("/gz")])).stdout).toBe("text")
    expect((await gather(["-o-", server.url("/a.gz")])).stdout).toBe("archive")
  })

  it("-o - retries before the first byte, and not after it", async () => {
    const body = bytes(100_000)
    const server = await serve({
      "/later": FaultServer.inTurn(FaultServer.status(503), ok("late")),
      "/cut": dropAfter(body, 50_000)
    })
    const later = await gather(["-q", "--retries=2,10ms", "-o", "-", server.url("/later")])
    expect(later).toMatchObject({ code: 0, stdout: "late" })
    const cut = await gather(["-q", "--retries=2,10ms", "-o", "-", server.url("/cut")])
    expect(cut).toMatchObject({ code: 1, stderr: expect.stringContaining("the connection broke") })
    expect(server.seenAt("/cut").length).toBe(1)
  })

  it("-o - passes a large body through a pipe unchanged", async () => {
    const body = Buffer.from(
      bytes(8_000_000)
        .toString("latin1")
        .replace(/[^ -~]/g, "x")
    )
    const server = await serve({ "/big": ok(body) })
    const sum = FaultServer.sha256(body)
    const { code, stdout } = await Aio.run([
      "gather",
      "-q",
      "--checksum",
      `sha256:${sum}`,
      "-o",
      "-",
      server.url("/big")
    ])
    expect([code, stdout === body.toString()]).toEqual([0, true])
  })

  const url = "http://127.0.0.1:9/f"
  it.each([
    [["--discard", "-d", "x", url], "--discard saves nothing; omit it or --directory"],
    [["--discard", "-o", "x", url], "--discard saves nothing; omit it or --output"],
    [["-o", "x", url, `${url}2`], "--output is for one URL; in a list write URL, TAB, file name"],
    [["-o", "x/", url], "--output 'x/' is a folder; give a file"],
    [["-o", "..", url], "--output '..' is a folder; give a file"],
    [
      ["-o", "x", "--content-disposition", url],
      "--output names the file, and so does --content-disposition; omit one of them"
    ],
    [["--json", "-o", "-", url], "--json and --output - both write to standard output; omit one of them"]
  ])("%j is refused", async (args, message) => {
    expect(await gather(args)).toEqual({
      code: 2,
      signal: null,
      stdout: "",
      stderr: `aio gather: ${message}\n`
    })
  })

  it("a folder under the name of -o is refused before anything is fetched", async () => {
    const server = await serve({ "/f": ok("x") })
    const cwd = Aio.folder()
    mkdirSync(join(cwd, "there"))
    writeFileSync(join(cwd, "file"), "")
    const { code, stderr } = await gather(["-o", "there", server.url("/f")], cwd)
    expect([code, stderr]).toEqual([
      2,
      "aio gather: ./there is a folder; move it away, or give the file another name\n"
    ])
    expect((await gather(["-o", "file/x", server.url("/f")], cwd)).code).toBe(2)
    expect(server.seen).toEqual([])
  })
})
