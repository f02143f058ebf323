import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { afterAll, describe, expect, it } from "vitest"
import * as Aio from "../support/Aio.js"
import * as FaultServer from "../support/FaultServer.js"
import { idle } from "../support/Idle.js"
import * as InProcess from "../support/InProcess.js"

const servers: Array<FaultServer.FaultServer> = []
const serve = async (handlers: Readonly<Record<string, FaultServer.Handler>>) => {
  const server = await FaultServer.start(handlers)
  servers.push(server)
  return server
}
afterAll(async () => {
  await Promise.all(servers.splice(0).map((server) => server.close()))
})
afterAll(Aio.removeFolders)

const gather = (args: ReadonlyArray<string>, options: Parameters<typeof Aio.run>[1] = {}) =>
  InProcess.run(["gather", ...args], options)

const events = (stdout: string): Array<any> =>
  stdout
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line))

const { file, ok, status } = FaultServer

describe.concurrent("aio gather", () => {
  it("alone downloads the guide's four pages from an embedded server", async () => {
    const { code, stderr, stdout } = await gather([])
    expect(stdout.split("\n")).toEqual([
      "Downloaded https://www.google.com, size 16384",
      "Downloaded https://www.facebook.com, size 32768",
      "Downloaded https://www.twitter.com, size 8192",
      "Downloaded https://www.stackoverflow.com, size 65536",
      ""
    ])
    expect(stderr).toMatch(/^\(the guide's pages, from an embedded server at http:\/\/127\.0\.0\.1:\d+\)\n$/)
    expect(code).toBe(0)
  })

  it("prints each URL as it arrives, and ends with a table on stderr", async () => {
    const server = await serve({
      "/a": ({ response }) => void server.arrived("/b").then(() => response.end("aaaa")),
      "/b": ok("bb")
    })
    const { code, stderr, stdout } = await gather([server.url("/a"), server.url("/b")])
    expect(stdout.trimEnd().split("\n").sort()).toEqual([
      `Downloaded ${server.url("/a")}, size 4`,
      `Downloaded ${server.url("/b")}, size 2`
    ])
    expect(stderr).toMatch(
      /^files {7}2 downloaded\nbytes {7}6 B\ntime {8}\S+ m?s\nthroughput {2}.+\/s\nretries {5}0\n$/
    )
    expect(code).toBe(0)
  })

  it("counts the decoded body where it does not save", async () => {
    const { gzipSync } = await import("node:zlib")
    const server = await serve({
      "/gz": ({ request, response }) => {
        expect(request.headers["accept-encoding"]).toContain("gzip")
        response.writeHead(200, { "content-encoding": "gzip" }).end(gzipSync("x".repeat(5000)))
      }
    })
    const { stdout } = await gather(["-q", server.url("/gz")])
    expect(stdout).toBe(`Downloaded ${server.url("/gz")}, size 5000\n`)
  })

  it("saves in -d, which it makes, under the names of the URLs", async () => {
    const body = FaultServer.bytes(300_000)
    const server = await serve({ "/x/big.bin": ok(body), "/": ok("home"), "/empty": ok("") })
    const dir = join(Aio.folder(), "new", "dir")
    const { code, stderr } = await gather([
      "-q",
      "-d",
      dir,
      server.url("/x/big.bin?v=1"),
      server.url("/"),
      server.url("/empty")
    ])
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" })
    expect(Aio.names(dir)).toEqual(["big.bin", "empty", "index.html"])
    expect(readFileSync(join(dir, "big.bin")).equals(body)).toBe(true)
    expect(readFileSync(join(dir, "empty"), "utf8")).toBe("")
  })

  it("keeps finished downloads and exits with 1 when one fails", async () => {
    const server = await serve({ "/good": ok("good"), "/bad": status(404) })
    const dir = Aio.folder()
    const { code, stderr, stdout } = await gather(["-d", dir, server.url("/bad"), server.url("/good")])
    expect(code).toBe(1)
    expect(stdout).toBe(`Downloaded ${server.url("/good")}, size 4\n`)
    expect(stderr).toContain(`Failed ${server.url("/bad")}: HTTP 404 Not Found\n`)
    expect(stderr).toContain("files       1 downloaded, 1 failed\n")
    expect(stderr).toContain("failures    status 1\n")
    expect(Aio.names(dir)).toEqual(["good"])
  })

  it("-q reports only failures", async () => {
    const server = await serve({ "/good": ok("good"), "/bad": status(410) })
    const { stderr } = await gather(["-q", server.url("/good"), server.url("/bad")])
    expect(stderr).toBe(`Failed ${server.url("/bad")}: HTTP 410 Gone\n`)
  })

  it("--on-failure collect gives failures as results on stdout; AIO_ON_FAILURE does too", async () => {
    const server = await serve({ "/bad": status(404) })
    const expected = {
      code: 1,
      signal: null,
      stdout: `Failed ${server.url("/bad")}, HTTP 404 Not Found\n`,
      stderr: ""
    }
    expect(await gather(["-q", "--on-failure", "collect", server.url("/bad")])).toEqual(expected)
    expect(await gather(["-q", server.url("/bad")], { env: { AIO_ON_FAILURE: "collect" } })).toEqual(expected)
  })

  it("--on-failure cancel ends the others, with the reason, and starts nothing more", async () => {
    const server = await serve({
      "/bad": ({ response }) => void server.arrived("/held").then(() => response.writeHead(404).end()),
      "/held": () => undefined
    })
    const { code, stdout } = await gather([
      "--json",
      "-j2",
      "--on-failure=cancel",
      server.url("/bad"),
      server.url("/held"),
      server.url("/never")
    ])
    const failed = events(stdout).filter(({ event }) => event === "failed")
    expect(failed.map(({ url, reason, detail }) => [url, reason, detail])).toEqual([
      [server.url("/bad"), "status", "HTTP 404 Not Found"],
      [server.url("/held"), "cancelled", `cancelled: ${server.url("/bad")} failed: HTTP 404 Not Found`]
    ])
    expect(server.seenAt("/never")).toEqual([])
    expect(code).toBe(1)
  })

  describe("--json", () => {
    it("prints events of schema 1 in order, and nothing else", async () => {
      const body = FaultServer.bytes(100_000)
      const server = await serve({
        "/flaky": FaultServer.inTurn(status(503, { "retry-after": "0" }), ok(body)),
        "/bad": status(404)
      })
      const dir = Aio.folder()
      const [flaky, bad] = [server.url("/flaky"), server.url("/bad")]
      const { code, stderr, stdout } = await gather(["--json", "-j", "1", "-d", dir, flaky, bad])
      expect({ code, stderr }).toEqual({ code: 1, stderr: "" })
      const all = events(stdout)
      const [retried] = all.filter(({ event }) => event === "retried")
      expect(retried.delay).toBeGreaterThanOrEqual(400)
      expect(retried.delay).toBeLessThanOrEqual(600)
      const progress = all.filter(({ event }) => event === "progress")
      expect(progress[0]).toMatchObject({ schema: 1, index: 0, url: flaky, total: 100_000 })
      const summary = all.at(-1)
      expect(summary.elapsed).toBeGreaterThan(250)
      expect(all.filter(({ event }) => event !== "progress")).toEqual([
        { schema: 1, event: "started", index: 0, url: flaky },
        {
          schema: 1,
          event: "retried",
          index: 0,
          url: flaky,
          attempt: 2,
          delay: retried.delay,
          reason: "status",
          detail: "HTTP 503 Service Unavailable"
        },
        {
          schema: 1,
          event: "finished",
          index: 0,
          url: flaky,
          size: 100_000,
          path: join(dir, "flaky"),
          skipped: false,
          resumedFrom: 0,
          status: 200
        },
        { schema: 1, event: "started", index: 1, url: bad },
        {
          schema: 1,
          event: "failed",
          index: 1,
          url: bad,
          reason: "status",
          detail: "HTTP 404 Not Found",
          status: 404
        },
        {
          schema: 1,
          event: "summary",
          finished: 1,
          skipped: 0,
          failed: 1,
          bytes: 100_000,
          elapsed: summary.elapsed,
          retries: 1,
          causes: { status: 1 }
        }
      ])
    })
  })

  describe("lists", () => {
    it("-i FILE gives URLs, names and checksums; comments, blank lines, CRLF and a BOM do no harm", async () => {
      const server = await serve({ "/one": ok("one"), "/two": ok("two"), "/three": ok("three") })
      const dir = Aio.folder()
      const list = join(Aio.folder(), "urls.txt")
      writeFileSync(
        list,
        [
          `\uFEFF${server.url("/one")}`,
          "# a comment",
          "",
          `${server.url("/two")}\tsecond.txt\tsha256:${FaultServer.sha256(Buffer.from("two"))}\r`,
          `${server.url("/three")}\t\tSHA256:${FaultServer.sha256(Buffer.from("three")).toUpperCase()}`
        ].join("\n")
      )
      const { code, stderr } = await gather(["-q", "-d", dir, "-i", list])
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" })
      expect(Aio.names(dir)).toEqual(["one", "second.txt", "three"])
      expect(readFileSync(join(dir, "second.txt"), "utf8")).toBe("two")
    })

    it("a pipe under a file's name will do for a list, and is read once", async () => {
      const server = await serve({ "/one": ok("1") })
      const { code, stderr, stdout } = await gather(["-q", "-i", "/dev/fd/3"], {
        shell: `printf '${server.url("/one")}\n' | { exec 3<&0; "$@" </dev/null; }`
      })
      expect({ code, stderr, stdout }).toEqual({
        code: 0,
        stderr: "",
        stdout: `Downloaded ${server.url("/one")}, size 1\n`
      })
    })

    it("-i - downloads URLs before standard input ends", async () => {
      const server = await serve({ "/first": ok("1"), "/second": ok("2") })
      const aio = Aio.start(["gather", "-q", "-i", "-"])
      void aio.send(`${server.url("/first")}\n`)
      await aio.shows("/first, size 1")
      void aio.send(server.url("/second")) // the last line may do without its end
      aio.end()
      const { code, stdout } = await aio.ended
      expect(stdout).toBe(
        `Downloaded ${server.url("/first")}, size 1\nDownloaded ${server.url("/second")}, size 1\n`
      )
      expect(code).toBe(0)
    })

    it("two URLs with one name are refused before anything is fetched, in arguments and in a file", async () => {
      const server = await serve({ "/a/x": ok("1"), "/b/x": ok("2"), "/b/X": ok("2") })
      const list = join(Aio.folder(), "urls.txt")
      writeFileSync(list, `${server.url("/a/x")}\n${server.url("/b/X")}\n`)
      const dir = join(Aio.folder(), "never-made")
      const [args, file_, mixed] = await Promise.all([
        gather(["-d", dir, server.url("/a/x"), server.url("/b/x")]),
        gather(["-d", dir, "-i", list]),
        gather(["-d", dir, "-i", list, server.url("/b/x")])
      ])
      const refusal = (where: string, url: string, name: string, more = "") => ({
        code: 2,
        signal: null,
        stdout: "",
        stderr: `aio gather: ${where}${server.url(url)}: another URL is saved as '${name}' already${more}; give one of them a name of its own (URL, TAB, name)\n`
      })
      expect(args).toEqual(refusal("", "/b/x", "x"))
      expect(file_).toEqual(
        refusal(`${list}, line 2: `, "/b/X", "x", ", and 'X' is the same file where case does not count")
      )
      expect(mixed).toEqual(refusal(`${list}, line 1: `, "/a/x", "x"))
      expect(server.seen).toEqual([])
      expect(() => Aio.names(dir)).toThrow()
    })

    it("on stdin they are refused when the second arrives; running transfers are cancelled", async () => {
      const server = await serve({ "/a/x": () => undefined, "/b/x": ok("2") })
      const dir = Aio.folder()
      const aio = Aio.start(["gather", "--json", "-d", dir, "-i", "-"])
      void aio.send(`${server.url("/a/x")}\n`)
      await server.arrived("/a/x")
      void aio.send(`${server.url("/b/x")}\n`)
      const { code, stderr, stdout } = await aio.ended
      expect(stderr).toBe(
        `aio gather: standard input, line 2: ${server.url("/b/x")}: another URL is saved as 'x' already; give one of them a name of its own (URL, TAB, name)\n`
      )
      expect(events(stdout).map(({ event, reason }) => reason ?? event)).toEqual([
        "started",
        "cancelled",
        "summary"
      ])
      expect(code).toBe(2)
      expect(server.seenAt("/b/x")).toEqual([])
      expect(Aio.names(dir)).toEqual([])
    })
  })

  describe("--dry-run", () => {
    it("prints URLs and files, without passwords, and downloads nothing", async () => {
      const server = await serve({})
      const url = server.url("/x").replace("://", "://user:secret@")
      expect(await gather(["--dry-run", "-d", "out", url])).toEqual({
        code: 0,
        signal: null,
        stdout: `${server.url("/x")} -> out/x\n`,
        stderr: ""
      })
      expect(server.seen).toEqual([])
    })

    it("takes 20,000 lines", async () => {
      const lines = Array.from({ length: 20_000 }, (_, i) => `http://127.0.0.1:9/f${i}`)
      const { code, stdout } = await gather(["--dry-run", "-i", "-"], { stdin: lines.join("\n") })
      expect(code).toBe(0)
      expect(stdout === `${lines.join("\n")}\n`).toBe(true)
    })

    it("refuses a repeated name, from stdin too", async () => {
      const { code, stderr } = await gather(["--dry-run", "-d", "out", "-i", "-"], {
        stdin: "http://a.example/x\nhttp://b.example/x\n"
      })
      expect(code).toBe(2)
      expect(stderr).toContain("standard input, line 2: http://b.example/x: another URL is saved as 'x'")
    })
  })

  describe("bad input is exit 2 and one line", () => {
    const url = "http://127.0.0.1:9/x"
    const lists = Aio.folder()
    const list = (name: string, text: string | Buffer) => {
      const path = join(lists, name)
      writeFileSync(path, text)
      return path
    }
    const rows: ReadonlyArray<readonly [ReadonlyArray<string>, string]> = [
      [["example.com/x"], "'example.com/x' is not a URL; expected https://host/path"],
      [["http://"], "'http://' is not a URL; expected https://host/path"],
      [["http://a b/"], "'http://a b/' is not a URL; expected https://host/path"],
      [["ftp://a.example/x"], "'ftp://a.example/x' is not a web address; expected http:// or https://"],
      [["file:///etc/passwd"], "'file:///etc/passwd' is not a web address; expected http:// or https://"],
      [[url, "--", "-x"], "'-x' is not a URL; expected https://host/path"],
      [["-d", "out"], "no URL is given; name some, or a list with -i FILE"],
      [
        ["-j", "0", url],
        "option --concurrency: '0': expected a whole number, 1 or more (see aio gather --help)"
      ],
      [
        ["-j", "many", url],
        "option --concurrency: 'many': expected a whole number, 1 or more (see aio gather --help)"
      ],
      [
        ["--per-host", "1.5", url],
        "option --per-host: '1.5': expected a whole number, 1 or more (see aio gather --help)"
      ],
      [
        ["--retries", "-1", url],
        "option --retries: '-1': expected a whole number, 0 or more (see aio gather --help)"
      ],
      [
        ["--max-redirects", "x", url],
        "option --max-redirects: 'x': expected a whole number, 0 or more (see aio gather --help)"
      ],
      [
        ["--timeout", "soon", url],
        "option --timeout: 'soon' in duration 'soon' is not a number; write one like 90s or 1h30m (see aio gather --help)"
      ],
      [
        ["--stall-timeout", "3x", url],
        "option --stall-timeout: unit 'x' in duration '3x' is unknown; use ms, s, m, h, d or w (see aio gather --help)"
      ],
      [
        ["--connect-timeout=", url],
        "option --connect-timeout: a duration is empty; write one like 90s or 1h30m (see aio gather --help)"
      ],
      [
        ["--limit-rate", "fast", url],
        "option --limit-rate: 'fast' is not a size; expected bytes, or a size like 500K, 2M or 1G (see aio gather --help)"
      ],
      [
        ["--limit-rate", "0", url],
        "option --limit-rate: 0 is out of range; expected 1 byte or more (see aio gather --help)"
      ],
      [
        ["--max-size", "-5", url],
        "option --max-size: '-5' is not a size; expected bytes, or a size like 500K, 2M or 1G (see aio gather --help)"
      ],
      [
        ["--checksum", "md5:00", url],
        "option --checksum: 'md5:00' is not a checksum; expected sha256: and 64 hexadecimal digits (see aio gather --help)"
      ],
      [
        ["--checksum", `sha256:${"0".repeat(64)}`, url, `${url}y`],
        "--checksum is for one URL; in a list write URL, TAB, sha256:HEX"
      ],
      [
        ["--header", "no colon", url],
        "option --header: 'no colon' is not a header; expected 'Name: value' (see aio gather --help)"
      ],
      [
        ["--header", "Bad Name: x", url],
        "option --header: 'Bad Name: x' is not a header; expected 'Name: value' (see aio gather --help)"
      ],
      [
        ["--header", "X: a\r\nEvil: b", url],
        "option --header: the value of X has a line end or another character that no header may have (see aio gather --help)"
      ],
      [
        ["--header", "X\r\nEvil: b", url],
        "option --header: 'X Evil: b' is not a header; expected 'Name: value' (see aio gather --help)"
      ],
      [
        ["--header", "X: a\nb", url],
        "option --header: the value of X has a line end or another character that no header may have (see aio gather --help)"
      ],
      [
        ["--conccurency", "3", url],
        "unknown option --conccurency; did you mean --concurrency? (see aio gather --help; words that start with - go after --)"
      ],
      [["-x", url], "unknown option -x (see aio gather --help; words that start with - go after --)"],
      [[url, "--retries"], "option --retries needs a value (--retries N)"],
      [["-j", "2", "-j", "3", url], "option -j is given twice; give it once"],
      [["--json=yes", url], "option --json takes no value, but 'yes' was given"],
      [
        ["-i", join(lists, "missing")],
        `cannot read the list ${join(lists, "missing")}: the file does not exist`
      ],
      [["-i", lists], `cannot read the list ${lists}: it is a folder`],
      [
        ["-i", list("bad-url", `${url}\n\n# x\nnonsense\n`)],
        `${join(lists, "bad-url")}, line 4: 'nonsense' is not a URL; expected https://host/path`
      ],
      [
        ["-i", list("bad-sum", `${url}\tsha256:12\n`)],
        `${join(lists, "bad-sum")}, line 1: 'sha256:12' is not a checksum; expected sha256: and 64 hexadecimal digits`
      ],
      [
        ["-i", list("bad-name", `${url}\t../x\n`)],
        `${join(lists, "bad-name")}, line 1: '../x' is not a plain file name; leave out folders, leading dots and special characters`
      ],
      [
        ["-i", list("third", `${url}\ta\tb\n`)],
        `${join(lists, "third")}, line 1: 'b' is a third field; expected URL, TAB, file name, TAB, sha256:HEX`
      ],
      [
        ["-i", list("control", "http://a\x1b[2J/x y\n")],
        `${join(lists, "control")}, line 1: 'http://a?[2J/x y' is not a URL; expected https://host/path`
      ]
    ]
    it.each(rows)("%j", async (args, message) => {
      expect(await gather(args)).toEqual({
        code: 2,
        signal: null,
        stdout: "",
        stderr: `aio gather: ${message}\n`
      })
    })

    it("--on-failure", async () => {
      const { code, stderr } = await gather(["--on-failure", "explode", url])
      expect(code).toBe(2)
      expect(stderr).toMatch(/^aio gather: .*--on-failure.*cancel.*\n$/)
      expect(stderr.split("\n")).toHaveLength(2)
    })

    it("a bad line on stdin", async () => {
      expect(await gather(["-q", "-i", "-"], { stdin: "\nnonsense\n" })).toEqual({
        code: 2,
        signal: null,
        stdout: "",
        stderr: "aio gather: standard input, line 2: 'nonsense' is not a URL; expected https://host/path\n"
      })
    })
  })

  it("--help lists these options; each is tested here or in the neighbouring files", async () => {
    const { code, stdout } = await gather(["--help"])
    expect(code).toBe(0)
    expect([...new Set(stdout.match(/--[a-z-]+/g))].sort()).toEqual(
      [
        "--checksum",
        "--concurrency",
        "--connect-timeout",
        "--content-disposition",
        "--deny-private",
        "--directory",
        "--dry-run",
        "--fsync",
        "--header",
        "--help",
        "--input",
        "--json",
        "--limit-rate",
        "--max-redirects",
        "--max-size",
        "--no-clobber",
        "--no-resume",
        "--on-failure",
        "--overwrite",
        "--per-host",
        "--quiet",
        "--resume",
        "--retries",
        "--stall-timeout",
        "--timeout"
      ].sort()
    )
  })

  describe("concurrency", () => {
    const paths = Array.from({ length: 12 }, (_, i) => `/${i}`)
    /** Runs `aio gather` with these words, answers when it has asked for all that it asks for at once, and counts that. */
    const most = async (words: ReadonlyArray<string>, others: ReadonlyArray<string> = []) => {
      const held: Array<() => void> = []
      let answers = false
      const handler: FaultServer.Handler = ({ response }) => {
        if (answers) response.end("x")
        else held.push(() => response.end("x"))
      }
      const server = await serve(Object.fromEntries(paths.map((path) => [path, handler])))
      const client = Aio.start(["gather", "-q", ...words, ...paths.map(server.url), ...others])
      client.end()
      await server.arrived("/0")
      await idle(client.pid)
      answers = true
      for (const answer of held) answer()
      const { code, stdout } = await client.ended
      return { code, most: held.length, lines: stdout.trimEnd().split("\n") }
    }

    it("-j bounds the transfers at once", async () => {
      expect(await most(["-j3"])).toMatchObject({ code: 0, most: 3 })
    })

    it("--per-host bounds transfers from one host, and another host is not delayed", async () => {
      const other = await serve({ "/other": ok("other") })
      const { code, lines, most: top } = await most(["--per-host=2"], [other.url("/other")])
      expect({ code, top, count: lines.length }).toEqual({ code: 0, top: 2, count: 13 })
      // Last in the list, and done while the busy host's first are held.
      expect(lines[0]).toBe(`Downloaded ${other.url("/other")}, size 5`)
    })
  })

  describe("signals", () => {
    const held = (body: Buffer, etag: string | null) =>
      file(body, etag, (response, part) => void response.write(part.subarray(0, 700_000)))

    it.each([
      ["SIGINT", 130],
      ["SIGTERM", 143]
    ] as const)(
      "%s: exit %d, no final name, the partial file kept when it can be continued",
      async (signal, code) => {
        const body = FaultServer.bytes(1_000_000)
        const server = await serve({ "/f": held(body, '"v1"'), "/g": held(body, null) })
        const dir = Aio.folder()
        const aio = Aio.start(["gather", "--json", "-d", dir, server.url("/f"), server.url("/g")])
        await Promise.all([
          aio.shows(`"url":"${server.url("/f")}","received":`),
          aio.shows(`"url":"${server.url("/g")}","received":`)
        ])
        aio.kill(signal)
        const result = await aio.ended
        expect([result.code, result.stderr]).toEqual([code, ""])
        const [name, sidecar, ...rest] = Aio.names(dir)
        expect([name, sidecar, rest]).toEqual([
          expect.stringMatching(/^\.f\.\d+:\d+-\d+\.aio-part$/),
          `${name}.json`,
          []
        ])
        const part = readFileSync(join(dir, name!))
        expect(part.length).toBeGreaterThan(0)
        expect(part.equals(body.subarray(0, part.length))).toBe(true)
      }
    )

    it("the second one ends it at once, whatever it still waits for", async () => {
      const aio = Aio.start(["gather", "--dry-run", "-i", "-"], { mute: true })
      // When this much has been taken from its stdin, its stdout is full, and is not read: the end of its
      // clean-up will not come.
      const lines = Array.from({ length: 60_000 }, (_, i) => `http://127.0.0.1:9/file-number-${i}\n`)
      await aio.send(lines.join(""))
      aio.kill("SIGINT")
      aio.kill("SIGTERM")
      expect([130, 143]).toContain(await aio.exited)
    })
  })

  it("ends quietly with 141 when its stdout is closed", async () => {
    let gone: () => void = () => undefined
    const reader = new Promise<void>((resolve) => {
      gone = resolve
    })
    const server = await serve({
      "/1": ok("1"),
      "/2": ({ response }) => void reader.then(() => response.end("2")),
      "/3": () => undefined
    })
    const aio = Aio.start(["gather", "-q", server.url("/1"), server.url("/2"), server.url("/3")], {
      shell: '{ "$@"; echo "exit $?" >&2; } | { head -1; echo gone >&2; }'
    })
    await aio.shows("gone\n")
    gone()
    const { stderr, stdout } = await aio.ended
    expect(stdout).toBe(`Downloaded ${server.url("/1")}, size 1\n`)
    expect(stderr).toBe("gone\nexit 141\n")
  })
})
