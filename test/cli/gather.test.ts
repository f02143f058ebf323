import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { Schema } from "effect"
import { afterAll, describe, expect, it } from "vitest"
import * as Events from "../../src/services/host/Events.js"
import * as Aio from "../support/Aio.js"
import * as FaultServer from "../support/FaultServer.js"
import { idle } from "../support/Idle.js"
import * as InProcess from "../support/InProcess.js"

const serve = FaultServer.starter()
afterAll(Aio.removeFolders)

const gather = (args: ReadonlyArray<string>, options: Parameters<typeof Aio.run>[1] = {}) =>
  InProcess.run(["gather", ...discarded(args)], options)

/** Without a place to save in, nothing is saved: the current folder is the project's. */
const discarded = (args: ReadonlyArray<string>) => {
  const placed = ["-d", "-o", "--help", "--dry-run", "--discard"].some((word) => args.includes(word))
  return placed || args.length === 0 ? args : ["--discard", ...args]
}

const events = (stdout: string): Array<any> =>
  stdout
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line))

const { file, ok, status } = FaultServer

/** The line of a URL that was read and not saved. */
const read = (server: FaultServer.FaultServer, path: string, size: number) =>
  `Read ${server.url(path)}, size ${size}`

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
    expect(stdout.trimEnd().split("\n").sort()).toEqual([read(server, "/a", 4), read(server, "/b", 2)])
    expect(stderr).toMatch(
      /^files {7}2 succeeded\nbytes {7}6 B\nthroughput {2}.+\/s\nretries {5}0\ntime {8}\S+ m?s\n$/
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
    expect(stdout).toBe(`${read(server, "/gz", 5000)}\n`)
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
    expect(stderr).toContain("files       1 succeeded, 1 failed\n")
    expect(stderr).toContain("failures    status 1\n")
    expect(Aio.names(dir)).toEqual(["good"])
  })

  it("-q reports only failures, -qq none; the exit code is the same", async () => {
    const server = await serve({ "/good": ok("good"), "/bad": status(410) })
    const urls = [server.url("/good"), server.url("/bad")]
    const stdout = `${read(server, "/good", 4)}\n`
    const stderr = `Failed ${server.url("/bad")}: HTTP 410 Gone\n`
    expect(await gather(["-q", ...urls])).toEqual({ code: 1, signal: null, stdout, stderr })
    expect(await gather(["-qq", ...urls])).toEqual({ code: 1, signal: null, stdout, stderr: "" })
  })

  it("--on-failure collect gives failures as results on stdout; AIO_ON_FAILURE does too", async () => {
    const server = await serve({ "/bad": status(404) })
    const expected = {
      code: 1,
      signal: null,
      stdout: `Failed ${server.url("/bad")}: HTTP 404 Not Found\n`,
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
    const ends = events(stdout).filter(({ event }) => event === "finished")
    expect(ends.map(({ name, status, reason }) => [name, status, reason])).toEqual([
      [server.url("/bad"), "failed", "HTTP 404 Not Found"],
      [server.url("/held"), "cancelled", `${server.url("/bad")} failed: HTTP 404 Not Found`],
      [server.url("/never"), "skipped", `never begun: ${server.url("/bad")} failed: HTTP 404 Not Found`]
    ])
    expect(server.seenAt("/never")).toEqual([])
    expect(code).toBe(1)
  })

  it("--on-failure cancel has a line for each that is cancelled", async () => {
    const server = await serve({
      "/bad": ({ response }) => void server.arrived("/held").then(() => response.writeHead(404).end()),
      "/held": () => undefined
    })
    const { stderr } = await gather(["-q", "--on-failure=cancel", server.url("/bad"), server.url("/held")])
    expect(stderr).toBe(
      `Failed ${server.url("/bad")}: HTTP 404 Not Found\nCancelled ${server.url("/held")}: ${server.url("/bad")} failed: HTTP 404 Not Found\n`
    )
  })

  describe("--json", () => {
    it("prints events of schema 2 in order, and nothing else", async () => {
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
      const [retrying] = all.filter(({ event }) => event === "retrying")
      expect(retrying.delay).toBeGreaterThanOrEqual(400)
      expect(retrying.delay).toBeLessThanOrEqual(600)
      const progress = all.filter(({ event }) => event === "progress")
      expect(progress[0]).toMatchObject({ schema: 2, index: 1, name: flaky, total: 100_000 })
      const [first, second] = all.filter(({ event }) => event === "finished")
      const summary = all.at(-1)
      expect(summary.duration).toBeGreaterThan(250)
      expect(all.filter(({ event }) => event !== "progress")).toEqual([
        { schema: 2, event: "started", index: 1, name: flaky },
        {
          schema: 2,
          event: "retrying",
          index: 1,
          name: flaky,
          attempt: 2,
          delay: retrying.delay,
          cause: "status",
          reason: "HTTP 503 Service Unavailable"
        },
        {
          schema: 2,
          event: "finished",
          index: 1,
          name: flaky,
          status: "succeeded",
          duration: first.duration,
          bytes: 100_000,
          path: join(dir, "flaky"),
          httpStatus: 200,
          attempts: 2
        },
        { schema: 2, event: "started", index: 2, name: bad },
        {
          schema: 2,
          event: "finished",
          index: 2,
          name: bad,
          status: "failed",
          duration: second.duration,
          attempts: 1,
          cause: "status",
          reason: "HTTP 404 Not Found",
          httpStatus: 404
        },
        {
          schema: 2,
          event: "summary",
          succeeded: 1,
          failed: 1,
          cancelled: 0,
          skipped: 0,
          timed_out: 0,
          duration: summary.duration,
          exitCode: 1,
          bytes: 100_000,
          retries: 1,
          causes: { status: 1 }
        }
      ])
    })

    const decode = Schema.decodeUnknownSync(
      Schema.Union(
        ...Events.Gather.members.map((event) =>
          Schema.extend(Schema.Struct({ schema: Schema.Literal(2) }), event as Schema.Schema<object>)
        )
      ),
      { onExcessProperty: "error" }
    )

    it("is of the schema that aio schema prints: each event, with each of its fields", async () => {
      const body = FaultServer.bytes(600_000)
      const sum = `sha256:${FaultServer.sha256(body)}`
      const tag = { etag: '"v1"' }
      const server = await serve({
        "/continued": FaultServer.inTurn(FaultServer.dropAfter(body, 400_000, tag), file(body)),
        "/there": ok("there"),
        "/odd": ok("odd", { "content-encoding": "utf-8" }),
        "/bad": status(404),
        "/kept": FaultServer.dropAfter(body, 400_000, tag),
        "/slow": () => undefined
      })
      const dir = Aio.folder()
      writeFileSync(join(dir, "there"), "there")
      const list = join(Aio.folder(), "urls.txt")
      const lines = ["/there", "/odd", "/bad", "/odd", "/kept"].map(server.url)
      writeFileSync(list, `${server.url("/continued")}\t\t${sum}\n${lines.join("\n")}\n`)
      const args = ["--json", "--no-clobber", "-d", dir, "-a", list]
      const runs = [
        await gather(["--dry-run", ...args]),
        await gather(["--timeout", "100ms", "--json", server.url("/slow")]),
        await gather(["--retries", "1,0", ...args])
      ]
      const all = runs.flatMap(({ stdout }) => events(stdout))
      for (const event of all) expect(() => decode(event)).not.toThrow()
      expect([...new Set(all.map(({ event }) => event))].sort()).toEqual([
        "finished",
        "note",
        "planned",
        "progress",
        "retrying",
        "started",
        "summary"
      ])
      const ends = all.filter(({ event }) => event === "finished")
      expect(ends.map(({ index }) => index).sort()).toEqual([1, 1, 2, 3, 4, 5, 6])
      const fields = new Set(ends.flatMap((end) => Object.keys(end)))
      for (const field of [
        "attempts",
        "bytes",
        "cause",
        "httpStatus",
        "kept",
        "path",
        "resumedFrom",
        "sha256"
      ])
        expect(fields).toContain(field)
      expect(all.at(-1)).toMatchObject({
        succeeded: 2,
        failed: 2,
        skipped: 2,
        timed_out: 0,
        cancelled: 0,
        exitCode: 1,
        causes: { status: 1, dropped: 1 },
        kept: { files: 1 }
      })
      expect(all.filter(({ event }) => event === "summary")[0]).toMatchObject({ timed_out: 1, exitCode: 124 })
    })

    it("escapes what a server says", async () => {
      const server = await serve({
        "/x": FaultServer.raw("HTTP/1.1 404 \x1b[2J\x9b\r\nContent-Length: 0\r\n\r\n")
      })
      const { stdout } = await gather(["--json", server.url("/x")])
      expect(stdout).not.toMatch(/[\0-\x09\x0b-\x1f\x7f-\x9f]/)
    })
  })

  describe("lists", () => {
    it("-a FILE gives URLs, names and checksums; comments, blank lines, CRLF and a BOM do no harm", async () => {
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
      const { code, stderr } = await gather(["-q", "-d", dir, "-a", list])
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" })
      expect(Aio.names(dir)).toEqual(["one", "second.txt", "three"])
      expect(readFileSync(join(dir, "second.txt"), "utf8")).toBe("two")
    })

    it("a pipe under a file's name will do for a list, and is read once", async () => {
      const server = await serve({ "/one": ok("1") })
      const { code, stderr, stdout } = await gather(["-q", "-a", "/dev/fd/3"], {
        shell: `printf '${server.url("/one")}\n' | { exec 3<&0; "$@" </dev/null; }`
      })
      expect({ code, stderr, stdout }).toEqual({
        code: 0,
        stderr: "",
        stdout: `${read(server, "/one", 1)}\n`
      })
    })

    it("an empty list is no work, and no failure", async () => {
      const { code, stderr, stdout } = await gather(["-a", "-"], { stdin: "" })
      expect([code, stdout]).toEqual([0, ""])
      expect(stderr).toMatch(/^files {7}0 succeeded\n/)
    })

    it("-a - downloads URLs before standard input ends", async () => {
      const server = await serve({ "/first": ok("1"), "/second": ok("2") })
      const aio = Aio.start(["gather", "-q", "--discard", "-a", "-"])
      void aio.send(`${server.url("/first")}\n`)
      await aio.shows("/first, size 1")
      void aio.send(server.url("/second")) // the last line may do without its end
      aio.end()
      const { code, stdout } = await aio.ended
      expect(stdout).toBe(`${read(server, "/first", 1)}\n${read(server, "/second", 1)}\n`)
      expect(code).toBe(0)
    })

    it("two URLs with one name are refused before anything is fetched, in arguments and in a file", async () => {
      const server = await serve({ "/a/x": ok("1"), "/b/x": ok("2"), "/b/X": ok("2") })
      const list = join(Aio.folder(), "urls.txt")
      writeFileSync(list, `${server.url("/a/x")}\n${server.url("/b/X")}\n`)
      const dir = join(Aio.folder(), "never-made")
      const [args, file_, mixed] = await Promise.all([
        gather(["-d", dir, server.url("/a/x"), server.url("/b/x")]),
        gather(["-d", dir, "-a", list]),
        gather(["-d", dir, "-a", list, server.url("/b/x")])
      ])
      const refusal = (where: string, url: string, name: string, more = "") => ({
        code: 2,
        signal: null,
        stdout: "",
        stderr: `aio gather: ${where}${server.url(url)}: another URL is saved as '${name}' already${more}; give one of them a name of its own (URL, TAB, name)\n`
      })
      expect(args).toEqual(refusal("", "/b/x", "x"))
      expect(file_).toEqual(
        refusal(`line 2 of ${list}: `, "/b/X", "x", ", and 'X' is the same file where case does not count")
      )
      expect(mixed).toEqual(refusal(`line 1 of ${list}: `, "/a/x", "x"))
      expect(server.seen).toEqual([])
      expect(() => Aio.names(dir)).toThrow()
    })

    it("on stdin they are refused when the second arrives; running transfers are cancelled", async () => {
      const server = await serve({ "/a/x": () => undefined, "/b/x": ok("2") })
      const dir = Aio.folder()
      const aio = Aio.start(["gather", "--json", "-d", dir, "-a", "-"])
      void aio.send(`${server.url("/a/x")}\n`)
      await server.arrived("/a/x")
      void aio.send(`${server.url("/b/x")}\n`)
      const { code, stderr, stdout } = await aio.ended
      expect(stderr).toBe(
        `aio gather: line 2 of standard input: ${server.url("/b/x")}: another URL is saved as 'x' already; give one of them a name of its own (URL, TAB, name)\n`
      )
      expect(events(stdout).map(({ event, status, exitCode }) => status ?? exitCode ?? event)).toEqual([
        "started",
        "cancelled",
        2
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

    it("--json gives an event for each", async () => {
      const { code, stdout } = await gather(["--dry-run", "--json", "-d", "out", "http://a.example/x"])
      expect(code).toBe(0)
      expect(events(stdout)).toEqual([
        { schema: 2, event: "planned", index: 1, name: "http://a.example/x", path: "out/x" }
      ])
    })

    it("takes 20,000 lines", async () => {
      const lines = Array.from({ length: 20_000 }, (_, i) => `http://127.0.0.1:9/f${i}`)
      const { code, stdout } = await gather(["--dry-run", "-a", "-"], { stdin: lines.join("\n") })
      expect(code).toBe(0)
      expect(stdout === lines.map((line, i) => `${line} -> f${i}\n`).join("")).toBe(true)
    })

    it("refuses a repeated name, from stdin too", async () => {
      const { code, stderr } = await gather(["--dry-run", "-d", "out", "-a", "-"], {
        stdin: "http://a.example/x\nhttp://b.example/x\n"
      })
      expect(code).toBe(2)
      expect(stderr).toContain("line 2 of standard input: http://b.example/x: another URL is saved as 'x'")
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
      [[""], "'' is not a URL; expected https://host/path"],
      [["--", "-x"], "'-x' is not a URL; options go before the first URL"],
      [[url, "-d", "out"], "'-d' is not a URL; options go before the first URL"],
      [["-d", "out"], "no URL is given; write a URL, or -a FILE"],
      [["-q"], "no URL is given; write a URL, or -a FILE"],
      [["--"], "no URL is given; write a URL, or -a FILE"],
      [["-j", "0", url], "option --jobs: '0' is out of range; expected 1 or more (see aio gather --help)"],
      [
        ["-j", "many", url],
        "option --jobs: 'many' is not a number of jobs; expected 8, 50% (of the processors) or +2 (more than these) (see aio gather --help)"
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
      ...["--timeout", "--stall-timeout", "--connect-timeout"].map(
        (name) =>
          [
            [name, "0", url],
            `option ${name}: '0' is out of range; expected a duration above 0, like 90s or 1h30m (see aio gather --help)`
          ] as const
      ),
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
        ["--limit-rate", "5", url],
        "option --limit-rate: '5' is 5 bytes; expected 100 B or more, like 5K (see aio gather --help)"
      ],
      [
        ["--max-size", "-5", url],
        "option --max-size: '-5' is not a size; expected bytes, or a size like 500K, 2M or 1G (see aio gather --help)"
      ],
      [
        ["--checksum", "md5:00", url],
        "option --checksum: 'md5:00' is not a checksum; expected sha256: and 64 hexadecimal digits, sha512: and 128, sha1: and 40, or md5: and 32 (see aio gather --help)"
      ],
      [
        ["--checksum", `sha256:${"0".repeat(64)}`, url, `${url}y`],
        "--checksum is for one URL; in a list write URL, TAB, sha256:HEX, or use --checksums FILE"
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
        ["--on-failure", "explode", url],
        "option --on-failure: 'explode' is not accepted; expected cancel, continue or collect (see aio gather --help)"
      ],
      [
        ["--jbos", "3", url],
        "unknown option --jbos; did you mean --jobs? (see aio gather --help; words that start with - go after --)"
      ],
      [
        ["-i", "urls.txt"],
        "unknown option -i; here it is --arg-file FILE (-a) for a file, --format FORMAT for a format (see aio gather --help; words that start with - go after --)"
      ],
      [
        ["--concurrency", "3", url],
        "unknown option --concurrency; here it is --jobs N (-j) (see aio gather --help; words that start with - go after --)"
      ],
      [
        ["--overwrite", url],
        "unknown option --overwrite; here it is --clobber (see aio gather --help; words that start with - go after --)"
      ],
      [["-y", url], "unknown option -y (see aio gather --help; words that start with - go after --)"],
      [["--retries"], "option --retries needs a value (--retries N[,FIRST[,MAX]])"],
      [["--json=yes", url], "option --json takes no value, but 'yes' was given"],
      [
        ["-a", join(lists, "missing")],
        `cannot read the list ${join(lists, "missing")}: the file does not exist`
      ],
      [["-a", lists], `cannot read the list ${lists}: it is a folder`],
      [
        ["-a", list("bad-url", `${url}\n\n# x\nnonsense\n`)],
        `line 4 of ${join(lists, "bad-url")}: 'nonsense' is not a URL; expected https://host/path`
      ],
      [
        ["-a", list("bad-sum", `${url}\tsha256:12\n`)],
        `line 1 of ${join(lists, "bad-sum")}: 'sha256:12' is not a checksum; expected sha256: and 64 hexadecimal digits, sha512: and 128, sha1: and 40, or md5: and 32`
      ],
      [
        ["-a", list("bad-name", `${url}\t../x\n`)],
        `line 1 of ${join(lists, "bad-name")}: '../x' is not a file name within the folder; leave out '..', a / in front, leading dots and special characters`
      ],
      [
        ["-a", list("third", `${url}\ta\tb\n`)],
        `line 1 of ${join(lists, "third")}: 'b' is a third field; expected URL, TAB, file name, TAB, checksum`
      ],
      [
        ["-a", list("control", "http://a\x1b[2J/x y\n")],
        `line 1 of ${join(lists, "control")}: 'http://a\\x1b[2J/x y' is not a URL; expected https://host/path`
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

    it("a value of the environment is blamed on its variable; gather's own wins", async () => {
      const run = (env: Record<string, string>) => gather(["--dry-run", "--json", url], { env })
      expect(await run({ AIO_TIMEOUT: "x" })).toMatchObject({
        code: 2,
        stderr: "aio gather: AIO_TIMEOUT: 'x' in duration 'x' is not a number; write one like 90s or 1h30m\n"
      })
      expect(await run({ AIO_TIMEOUT: "x", AIO_GATHER_TIMEOUT: "9s" })).toMatchObject({ code: 0, stderr: "" })
    })

    it("a pipe on stdin that is not asked for", async () => {
      expect(await gather([], { stdin: `${url}\n` })).toEqual({
        code: 2,
        signal: null,
        stdout: "",
        stderr:
          "aio gather: no work is given; write a URL, or -a FILE (the guide's example: aio guide gather)\n"
      })
    })

    it("a bad line on stdin", async () => {
      expect(await gather(["-q", "-a", "-"], { stdin: "\nnonsense\n" })).toEqual({
        code: 2,
        signal: null,
        stdout: "",
        stderr: "aio gather: line 2 of standard input: 'nonsense' is not a URL; expected https://host/path\n"
      })
    })
  })

  it("--help lists these options; each is tested here or in the neighbouring files", async () => {
    const { code, stdout } = await gather(["--help"])
    expect(code).toBe(0)
    expect(
      [...new Set(stdout.replace(/\(aio runner[^)]*\)/, "").match(/(?<!option )--[a-z-]+/g))].sort()
    ).toEqual(
      [
        "--arg-file",
        "--cacert",
        "--checksum",
        "--checksums",
        "--clobber",
        "--cluster",
        "--connect-timeout",
        "--content-disposition",
        "--deny-private",
        "--directory",
        "--discard",
        "--dry-run",
        "--force-directories",
        "--format",
        "--fsync",
        "--group",
        "--header",
        "--help",
        "--jobs",
        "--json",
        "--limit-rate",
        "--max-line",
        "--max-redirects",
        "--max-size",
        "--mtime",
        "--no-clobber",
        "--no-mtime",
        "--no-resume",
        "--null",
        "--on-failure",
        "--output",
        "--per-host",
        "--progress",
        "--quiet",
        "--resume",
        "--retries",
        "--split",
        "--stall-timeout",
        "--timeout",
        "--timestamping",
        "--user"
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
      const client = Aio.start(["gather", "-q", "--discard", ...words, ...paths.map(server.url), ...others])
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
      expect(lines[0]).toBe(read(other, "/other", 5))
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
          aio.shows(`"name":"${server.url("/f")}","bytes":`),
          aio.shows(`"name":"${server.url("/g")}","bytes":`)
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
      const aio = Aio.start(["gather", "--dry-run", "-a", "-"], { mute: true })
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
    const aio = Aio.start(
      ["gather", "-q", "--discard", server.url("/1"), server.url("/2"), server.url("/3")],
      {
        shell: '{ "$@"; echo "exit $?" >&2; } | { head -1; echo gone >&2; }'
      }
    )
    await aio.shows("gone\n")
    gone()
    const { stderr, stdout } = await aio.ended
    expect(stdout).toBe(`${read(server, "/1", 1)}\n`)
    expect(stderr).toBe("gone\nexit 141\n")
  })
})
