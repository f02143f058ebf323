import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { afterAll, describe, expect, it } from "vitest"
import * as Aio from "../support/Aio.js"
import * as FaultServer from "../support/FaultServer.js"
import * as InProcess from "../support/InProcess.js"

// Names with folders: in a list, and by -x.

const serve = FaultServer.starter()
afterAll(Aio.removeFolders)

const { bytes, ok } = FaultServer
const gather = (args: ReadonlyArray<string>, stdin?: string) =>
  InProcess.run(["gather", ...args], stdin === undefined ? {} : { stdin })
const list = (...lines: ReadonlyArray<string>) => {
  const path = join(Aio.folder(), "list")
  writeFileSync(path, `${lines.join("\n")}\n`)
  return path
}

describe.concurrent("aio gather: folders", () => {
  it("a name in a list may have folders, which are made in DIR; a cut file there is continued", async () => {
    const body = bytes(600_000)
    const server = await serve({
      "/a": ok("a"),
      "/b": FaultServer.inTurn(
        FaultServer.dropAfter(body, 400_000, { etag: '"v"' }),
        FaultServer.file(body, '"v"')
      )
    })
    const dir = Aio.folder()
    const names = list(
      `${server.url("/a")}\ta/b.bin`,
      `${server.url("/a")}\tc/b.bin`,
      `${server.url("/b")}\ta/x/y`
    )
    const plan = await gather(["--dry-run", "-d", dir, "-a", names])
    expect(plan.stdout).toContain(`${server.url("/a")} -> ${dir}/a/b.bin\n`)
    const { code } = await Aio.run(["gather", "-q", "--retries=2,10ms", "-d", dir, "-a", names])
    expect(code).toBe(0)
    expect(readFileSync(join(dir, "a/b.bin"), "utf8")).toBe("a")
    expect(readFileSync(join(dir, "a/x/y")).equals(body)).toBe(true)
    expect([Aio.names(dir), Aio.names(join(dir, "a")), Aio.names(join(dir, "a/x"))]).toEqual([
      ["a", "c"],
      ["b.bin", "x"],
      ["y"]
    ])
    expect(server.seenAt("/b").at(-1)!.headers["range"]).toMatch(/^bytes=[1-9]/)
  })

  it.each(["/etc/x", "../x", "a/../x", "a//x", "a/", "./x", "a/.x", "a\\x", "a/\u0001x", "C:/x"])(
    "the name %j in a list is refused",
    async (name) => {
      const { code, stderr } = await gather(
        ["-d", Aio.folder(), "-a", "-"],
        `http://127.0.0.1:9/f\t${name}\n`
      )
      expect(code).toBe(2)
      expect(stderr).toMatch(
        /^aio gather: line 1 of standard input: '[^\n]*' is not a file name within the folder; [^\n]*\n$/
      )
    }
  )

  it("a link in the place of a folder is not followed, whether the list is a file or a pipe", async () => {
    const server = await serve({ "/f": ok("x") })
    const dir = Aio.folder()
    const outside = Aio.folder()
    mkdirSync(join(dir, "a"))
    symlinkSync(outside, join(dir, "a", "link"))
    writeFileSync(join(dir, "file"), "")
    for (const [name, why] of [
      ["a/link/f", `${dir}/a/link is a symbolic link, which may lead out of ${dir}`],
      ["file/f", `${dir}/file is not a folder`]
    ] as const) {
      const names = `${server.url("/f")}\t${name}`
      expect(await gather(["-d", dir, "-a", list(names)])).toMatchObject({
        code: 2,
        stderr: `aio gather: cannot save in ${dir}: ${why}\n`
      })
      const piped = await gather(["-q", "-d", dir, "-a", "-"], names)
      expect([piped.code, piped.stderr]).toEqual([1, `Failed ${server.url("/f")}: ${why}\n`])
    }
    expect([Aio.names(outside), server.seen]).toEqual([[], []])
  })

  it.each([
    [["a", "a/b"], "'a/b' needs the folder 'a'"],
    [["a/b/c", "A/b"], "'a/b/c' needs the folder 'A/b'"],
    [["a/b", "A/B"], "another URL is saved as 'a/b' already, and 'A/B' is the same file"]
  ])("%j are refused together", async (names, message) => {
    const lines = names.map((name, i) => `http://127.0.0.1:9/${i}\t${name}`)
    const { code, stderr } = await gather(["-d", Aio.folder(), "-a", list(...lines)])
    expect([code, stderr]).toEqual([2, expect.stringContaining(message)])
  })

  it("-x mirrors the host, the port and the folders of each URL", async () => {
    const server = await serve({ "/a/f": ok("1"), "/b/f": ok("2"), "/b/": ok("3") })
    const dir = Aio.folder()
    const urls = ["/a/f", "/b/f", "/b/"].map(server.url)
    const { code } = await Aio.run(["gather", "-q", "-x", "-d", dir, ...urls])
    expect(code).toBe(0)
    const host = join(dir, `127.0.0.1+${server.port}`)
    for (const [path, body] of [
      ["a/f", "1"],
      ["b/f", "2"],
      ["b/index.html", "3"]
    ] as const)
      expect(readFileSync(join(host, path), "utf8")).toBe(body)
    // A name of its own wins.
    await gather(["-q", "-x", "-d", dir, "-a", list(`${urls[0]}\tmine`)])
    expect(existsSync(join(dir, "mine"))).toBe(true)
  })

  it.each([
    [["-x", "--discard"], "--discard saves nothing; omit it or --force-directories"],
    [["-x", "-o", "f"], "--output names the file; omit it or --force-directories"]
  ])("%j is refused", async (args, message) => {
    expect(await gather([...args, "http://127.0.0.1:9/f"])).toMatchObject({
      code: 2,
      stderr: `aio gather: ${message}\n`
    })
  })
})
