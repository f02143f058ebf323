import { execFileSync } from "node:child_process"
import { readFileSync, writeFileSync } from "node:fs"
import * as http from "node:http"
import * as https from "node:https"
import * as net from "node:net"
import { join } from "node:path"
import { gzipSync } from "node:zlib"
import { afterAll, describe, expect, it } from "vitest"
import * as Aio from "../support/Aio.js"
import * as FaultServer from "../support/FaultServer.js"
import * as InProcess from "../support/InProcess.js"

const closers: Array<() => unknown> = []
const serve = FaultServer.starter()
afterAll(async () => {
  await Promise.all(closers.splice(0).map((close) => close()))
})
afterAll(Aio.removeFolders)

const { bytes, dropAfter, inTurn, ok, raw, redirect, status } = FaultServer

/** Runs `aio gather --json`; what became of each URL, by its path, and the events. */
const outcomes = async (args: ReadonlyArray<string>, options: Aio.SpawnOptions = {}) => {
  const place = args.includes("-d") ? [] : ["--discard"]
  const { code, stderr, stdout } = await InProcess.run(["gather", "--json", ...place, ...args], options)
  const events: Array<any> = stdout
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line))
  const ends: Record<string, string> = {}
  for (const { bytes, cause, event, name, reason, status } of events) {
    if (event !== "finished") continue
    ends[new URL(name).pathname] = status === "succeeded" ? `finished ${bytes}` : `${cause}: ${reason}`
  }
  return { code, stderr, ends, events, summary: events.at(-1) }
}

describe.concurrent("aio gather: faulty servers", () => {
  it("names each fault; nothing of it reaches DIR", async () => {
    const body = bytes(2000)
    const server = await serve({
      "/drop": dropAfter(body, 500),
      "/reset": ({ socket }) => void socket.destroy(),
      "/short": raw("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort"),
      "/chunks": raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"),
      "/part": raw(
        "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-4/10\r\nContent-Length: 5\r\n\r\nhello"
      ),
      "/416": status(416),
      "/304": status(304),
      "/500": status(500),
      "/garbage": raw("SSH-2.0-OpenSSH_9\r\n"),
      "/zip": ok(body, { "content-encoding": "gzip" }),
      "/zipped": ({ response }) => {
        response.writeHead(200, { "content-encoding": "gzip" }).end(gzipSync(body).subarray(0, 500))
      },
      "/zstd": ok(body, { "content-encoding": "made-up" }),
      "/no-location": status(302),
      "/loop": redirect("/loop"),
      "/to-file": redirect("file:///etc/passwd"),
      "/to-nowhere": redirect("http://"),
      "/escape": raw("HTTP/1.1 404 Not\x1b[31m \x9b2JFound\r\nContent-Length: 0\r\n\r\n")
    })
    const dir = Aio.folder()
    const paths = [
      "/drop",
      "/reset",
      "/short",
      "/chunks",
      "/part",
      "/416",
      "/304",
      "/500",
      "/garbage",
      "/zip",
      "/zipped",
      "/zstd",
      "/no-location",
      "/loop",
      "/to-file",
      "/to-nowhere",
      "/escape",
      "/missing"
    ]
    const { code, ends, summary } = await outcomes(["--retries=0", "-d", dir, ...paths.map(server.url)])
    const broke = "dropped: the connection broke before the body was whole"
    expect(ends).toEqual({
      "/drop": broke,
      "/reset": broke,
      "/short": broke,
      "/chunks": broke,
      "/part": "range: a part was sent that was not requested",
      "/416": "status: HTTP 416 Range Not Satisfiable",
      "/304": "status: HTTP 304 Not Modified",
      "/500": "status: HTTP 500 Internal Server Error",
      "/garbage": expect.stringMatching(/^protocol: /),
      "/zip": "decode: the body is not what its Content-Encoding says (incorrect header check)",
      "/zipped": "dropped: the compressed body ends too early",
      "/zstd": "decode: Content-Encoding 'made-up' is unknown",
      "/no-location": "redirect: HTTP 302 without a Location",
      "/loop": "redirect: more than 10 redirects",
      "/to-file": "redirect: redirected to file:, which is not http or https",
      "/to-nowhere": "redirect: redirected to 'http://', which is not a URL",
      "/escape": expect.not.stringMatching(/\p{Cc}/u),
      "/missing": "status: HTTP 404 Not Found"
    })
    expect(code).toBe(1)
    expect(summary.failed).toBe(paths.length)
    expect(summary.causes).toEqual({
      dropped: 5,
      range: 1,
      status: 5,
      protocol: 1,
      decode: 2,
      redirect: 4
    })
    expect(Aio.names(dir)).toEqual([])
  })

  it("a body longer than its Content-Length ends at that length", async () => {
    const server = await serve({
      "/long": raw("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello, and more")
    })
    const dir = Aio.folder()
    const { ends } = await outcomes(["--retries=0", "-d", dir, server.url("/long")])
    expect(ends).toEqual({ "/long": "finished 5" })
    expect(readFileSync(join(dir, "long"), "utf8")).toBe("hello")
  })

  it("retries and reports transient failures, and no other ones", async () => {
    const body = bytes(2000)
    const server = await serve({
      "/drop": inTurn(dropAfter(body, 500), ok(body)),
      "/503": inTurn(status(503), ok(body)),
      "/404": inTurn(status(404), ok(body)),
      "/500": status(500)
    })
    const paths = ["/drop", "/503", "/404", "/500"]
    const { code, ends, events } = await outcomes(["--retries=1", ...paths.map(server.url)])
    expect(code).toBe(1)
    expect(ends).toEqual({
      "/drop": "finished 2000",
      "/503": "finished 2000",
      "/404": "status: HTTP 404 Not Found",
      "/500": "status: HTTP 500 Internal Server Error"
    })
    expect(server.seen.map(({ path }) => path).sort()).toEqual(
      ["/drop", "/503", "/404", "/500", "/drop", "/503", "/500"].sort()
    )
    const retried = events.filter(({ event }) => event === "retrying")
    expect(retried).toHaveLength(3)
    for (const { attempt, delay } of retried) {
      expect([attempt, delay >= 400, delay <= 600]).toEqual([2, true, true])
    }
  })

  it("honours Retry-After, seconds and date, and gives up if it is hours", async () => {
    const body = bytes(10)
    const inTwo = (): http.OutgoingHttpHeaders => ({
      "retry-after": new Date(Date.now() + 2000).toUTCString()
    })
    const server = await serve({
      "/seconds": inTurn(status(429, { "retry-after": "1" }), ok(body)),
      "/date": inTurn((exchange) => status(503, inTwo())(exchange), ok(body)),
      "/hours": status(429, { "retry-after": "7200" }),
      "/not-for-404": status(404, { "retry-after": "1" })
    })
    const { ends, events } = await outcomes(["/seconds", "/date", "/hours", "/not-for-404"].map(server.url))
    expect(ends).toEqual({
      "/seconds": "finished 10",
      "/date": "finished 10",
      "/hours": "status: HTTP 429 Too Many Requests, to be tried again in 120 minutes",
      "/not-for-404": "status: HTTP 404 Not Found"
    })
    const delay = (path: string) =>
      events.find(({ event, name }) => event === "retrying" && name === server.url(path)).delay
    expect(delay("/seconds")).toBe(1000)
    expect(delay("/date")).toBeGreaterThan(500) // a date has whole seconds
    expect(delay("/date")).toBeLessThanOrEqual(2000)
    expect(server.seenAt("/hours")).toHaveLength(1)
  })

  describe("redirects", () => {
    const secrets = [
      "--header",
      "Authorization: Bearer t",
      "--header",
      "Cookie: c=1",
      "--header",
      "X-Mine: x"
    ]

    it("--header goes to the URL's origin; Authorization and Cookie go nowhere else", async () => {
      const other = await serve({ "/there": ok("there"), "/secret": ok("s") })
      const server = await serve({
        "/here": redirect("/same"),
        "/same": redirect(other.url("/there"), 307),
        "/user": redirect(other.url("/secret"), 301)
      })
      const user = server.url("/user").replace("://", "://me:p%40ss@")
      const { code, ends, events } = await outcomes([...secrets, server.url("/here")])
      expect({ code, ends }).toEqual({ code: 0, ends: { "/here": "finished 5" } })
      for (const path of ["/here", "/same"]) {
        expect(server.seenAt(path)[0]!.headers).toMatchObject({
          authorization: "Bearer t",
          cookie: "c=1",
          "x-mine": "x"
        })
      }
      const { headers } = other.seenAt("/there")[0]!
      expect([headers.authorization, headers.cookie, headers["x-mine"]]).toEqual([undefined, undefined, "x"])
      expect(events[0].name).toBe(server.url("/here"))

      const second = await outcomes([user])
      expect(server.seenAt("/user")[0]!.headers.authorization).toBe(
        `Basic ${Buffer.from("me:p@ss").toString("base64")}`
      )
      expect(other.seenAt("/secret")[0]!.headers.authorization).toBeUndefined()
      expect(JSON.stringify(second.events)).not.toContain("p@ss")
      expect(JSON.stringify(second.events)).not.toContain("p%40ss")
    })

    it("--max-redirects bounds them", async () => {
      const server = await serve({ "/a": redirect("/b"), "/b": redirect("/c"), "/c": ok("c") })
      const [two, one, none] = await Promise.all(
        ["2", "1", "0"].map((n) => outcomes(["--max-redirects", n, server.url("/a")]))
      )
      expect([two!.ends, one!.ends, none!.ends]).toEqual([
        { "/a": "finished 1" },
        { "/a": "redirect: more than 1 redirects" },
        { "/a": "redirect: more than 0 redirects" }
      ])
    })

    it("the name is that of the URL asked for, whatever it leads to", async () => {
      const server = await serve({ "/download": redirect("/x/..%2Fevil"), "/x/..%2Fevil": ok("body") })
      const dir = Aio.folder()
      await outcomes(["-d", dir, server.url("/download")])
      expect(Aio.names(dir)).toEqual(["download"])
    })
  })

  it("--content-disposition takes the server's name, made safe, and refuses one that is taken", async () => {
    const named = (name: string) => ok("body", { "content-disposition": `attachment; filename="${name}"` })
    const body = bytes(1000)
    const disposition = { "content-disposition": "attachment; filename=again.txt" }
    const server = await serve({
      "/a": named("../../../etc/passwd"),
      "/b": named("..\\\\..\\\\boot.ini"),
      "/c": named(".."),
      "/d": named("taken"),
      "/taken": ok("first"),
      "/again": inTurn(dropAfter(body, 10, disposition), ok(body, disposition))
    })
    const dir = Aio.folder()
    const urls = ["/a", "/b", "/c", "/d", "/taken", "/again"].map(server.url)
    const { ends } = await outcomes(["-d", dir, "--content-disposition", ...urls])
    expect(Aio.names(dir)).toEqual(["again.txt", "boot.ini", "c", "passwd", "taken"])
    expect(ends["/d"]).toBe("name-taken: Content-Disposition names it taken, the name of another download")
    expect(ends["/again"]).toBe("finished 1000")
    const plain = Aio.folder()
    await outcomes(["-d", plain, server.url("/a")])
    expect(Aio.names(plain)).toEqual(["a"])
  })

  it("--max-size stops bodies with a length, without one, and a gzip bomb", async () => {
    const bomb = gzipSync(Buffer.alloc(50_000_000))
    const server = await serve({
      "/fits": ok(bytes(100_000)),
      "/says": ok(bytes(200_000)),
      "/does-not": ({ response }) => void response.writeHead(200).end(bytes(200_000)),
      "/bomb": ok(bomb, { "content-encoding": "gzip" })
    })
    const dir = Aio.folder()
    const urls = ["/fits", "/says", "/does-not", "/bomb"].map(server.url)
    const expected = {
      "/fits": "finished 100000",
      "/says": "too-large: 195 KiB, more than 98 KiB",
      "/does-not": "too-large: more than 98 KiB",
      "/bomb": "too-large: more than 98 KiB"
    }
    expect((await outcomes(["--max-size=100000", "-d", dir, ...urls])).ends).toEqual(expected)
    expect((await outcomes(["--max-size=100000", ...urls])).ends).toEqual(expected)
    expect(Aio.names(dir)).toEqual(["fits"])
  })

  it("--checksum and a list's sha256 refuse another body", async () => {
    const body = bytes(50_000)
    const server = await serve({ "/x": ok(body), "/y": ok(body) })
    const dir = Aio.folder()
    const right = `sha256:${FaultServer.sha256(body)}`
    const wrong = `sha256:${"0".repeat(64)}`
    expect((await outcomes(["--checksum", right, "-d", dir, server.url("/x")])).ends).toEqual({
      "/x": "finished 50000"
    })
    expect((await outcomes(["--checksum", wrong, "-d", dir, server.url("/y")])).ends).toEqual({
      "/y": `checksum: sha256 is ${FaultServer.sha256(body)}, not ${"0".repeat(64)}`
    })
    expect(Aio.names(dir)).toEqual(["x"])
    expect(server.seenAt("/y")).toHaveLength(1)
  })

  describe("time", () => {
    it("--timeout bounds a transfer, --stall-timeout a silence, --connect-timeout a handshake", async () => {
      const silent = net.createServer((socket) => void socket.on("error", () => undefined))
      await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve))
      closers.push(() => silent.close())
      const { port } = silent.address() as net.AddressInfo
      const server = await serve({
        "/never": () => undefined,
        "/stalls": ({ response }) => void response.writeHead(200).write("some")
      })
      const [timeout, stall, connect] = await Promise.all([
        outcomes(["--timeout", "300ms", "--retries=9", server.url("/never")]),
        outcomes(["--stall-timeout", "1s", "--retries=0", server.url("/never"), server.url("/stalls")]),
        outcomes(["--connect-timeout", "500ms", "--retries=0", `https://127.0.0.1:${port}/tls`])
      ])
      expect(timeout!.ends).toEqual({ "/never": "timeout: not done in 300ms" })
      expect(stall!.ends).toEqual({
        "/never": "stalled: nothing arrived for 1 s",
        "/stalls": "stalled: nothing arrived for 1 s"
      })
      expect(connect!.ends).toEqual({ "/tls": "connect: no connection in time" })
    })

    it("--limit-rate holds over all transfers together", async () => {
      const server = await serve({
        "/a": ok(bytes(60_000)),
        "/b": ok(bytes(60_000)),
        "/c": ok(bytes(60_000))
      })
      const dir = Aio.folder()
      const { ends, summary } = await outcomes([
        "--limit-rate=100K",
        "-j2",
        "-d",
        dir,
        ...["/a", "/b", "/c"].map(server.url)
      ])
      expect(Object.values(ends)).toEqual(["finished 60000", "finished 60000", "finished 60000"])
      // 180,000 bytes at 102,400 a second, less what is already in flight at the end.
      expect(summary.duration).toBeGreaterThan(700)
      expect(summary.duration).toBeLessThan(10_000)
    })

    it("a process that was stopped for longer than the stall timeout continues, and the file is complete", async () => {
      const body = bytes(400_000)
      let more = (): void => undefined
      const begun = new Promise<void>((resolve) => {
        more = resolve
      })
      const server = await serve({
        "/slow": ({ attempt, request, response }) => {
          const from = Number(/bytes=(\d+)/.exec(request.headers.range ?? "")?.[1] ?? 0)
          response.writeHead(from === 0 ? 200 : 206, {
            etag: '"v1"',
            "content-length": body.length - from,
            ...(from === 0 ? {} : { "content-range": `bytes ${from}-${body.length - 1}/${body.length}` })
          })
          if (attempt > 1) return void response.end(body.subarray(from))
          response.write(body.subarray(0, 300_000), () => more())
        }
      })
      const dir = Aio.folder()
      const running = Aio.start(["gather", "-d", dir, "--stall-timeout", "1s", server.url("/slow")])
      await begun
      running.kill("SIGSTOP")
      await new Promise((resolve) => setTimeout(resolve, 2000))
      running.kill("SIGCONT")
      expect((await running.ended).code).toBe(0)
      expect(readFileSync(join(dir, "slow")).equals(body)).toBe(true)
    })

    it("a body in chunks is complete in spite of pauses between them", async () => {
      const body = bytes(300_000)
      const chunked =
        (headers: http.OutgoingHttpHeaders): FaultServer.Handler =>
        ({ response }) => {
          response.writeHead(200, headers)
          for (let at = 0; at < body.length; at += 1000) response.write(body.subarray(at, at + 1000))
          response.end()
        }
      const server = await serve({
        "/kept": chunked({}),
        // The end of the connection comes while the rest of the body still waits.
        "/closed": chunked({ connection: "close" }),
        "/sized": ok(body, { connection: "close" })
      })
      for (const path of ["/kept", "/closed", "/sized"]) {
        const dir = Aio.folder()
        const { ends } = await outcomes(["--limit-rate=1M", "--retries=0", "-d", dir, server.url(path)])
        expect(ends).toEqual({ [path]: "finished 300000" })
        expect(readFileSync(join(dir, path)).equals(body)).toBe(true)
      }
    })

    it("a closed port is 'connect', an unknown name is 'dns'", async () => {
      const gone = await serve({})
      await gone.close()
      const { ends } = await outcomes(["--retries=0", gone.url("/gone"), "http://no-such-host.invalid/name"])
      expect(ends["/gone"]).toBe("connect: no connection (ECONNREFUSED)")
      // Without a name server the resolver says so instead.
      expect(ends["/name"]).toMatch(
        /^dns: (no address found|the name server did not answer) for no-such-host/
      )
    })
  })

  it("--deny-private refuses loopback by number, by name, and behind a redirect", async () => {
    const server = await serve({ "/x": ok("x") })
    const ipv6 = await serve({ "/y": ok("y") }, { host: "::1" }).catch(() => undefined)
    const { port } = server
    const urls = [
      server.url("/x"),
      `http://localhost:${port}/name`,
      "http://10.1.2.3/ten",
      "http://[::ffff:127.0.0.1]/mapped",
      "http://169.254.169.254/metadata",
      "http://2130706433/decimal",
      ipv6?.url("/y") ?? "http://[::1]:9/y"
    ]
    const { code, ends } = await outcomes(["--deny-private", "--retries=0", ...urls])
    expect(ends).toEqual({
      "/x": "private-address: 127.0.0.1 is not a public address",
      "/name": expect.stringMatching(
        /^private-address: localhost is at (127\.0\.0\.1|::1), which is not a public address$/
      ),
      "/ten": "private-address: 10.1.2.3 is not a public address",
      "/mapped": expect.stringMatching(/^private-address: .+ is not a public address$/),
      "/metadata": "private-address: 169.254.169.254 is not a public address",
      "/decimal": "private-address: 127.0.0.1 is not a public address",
      "/y": "private-address: ::1 is not a public address"
    })
    expect(code).toBe(1)
    expect([...server.seen, ...(ipv6?.seen ?? [])]).toEqual([])
  })

  describe("proxies", () => {
    /** A forward proxy that answers for `*.example` itself, passes CONNECT to `tunnelTo`, and keeps what it saw. */
    const proxy = async (tunnelTo?: number) => {
      const seen: Array<string> = []
      const users = new Set<string | undefined>()
      const server = http.createServer((request, response) => {
        users.add(request.headers["proxy-authorization"])
        seen.push(`GET ${request.url}`)
        const { hostname, pathname } = new URL(request.url!)
        if (pathname === "/private") response.writeHead(302, { location: "http://127.0.0.1:9/x" }).end()
        else if (pathname === "/stalls") response.write("some")
        else response.end(`proxied ${hostname}`)
      })
      server.on("connect", (request, socket: net.Socket) => {
        seen.push(`CONNECT ${request.url}`)
        users.add(request.headers["proxy-authorization"])
        const up = net.connect(tunnelTo!, "127.0.0.1", () => {
          socket.write("HTTP/1.1 200 Connection established\r\n\r\n")
          up.pipe(socket).pipe(up)
        })
        up.on("error", () => socket.destroy())
        socket.on("error", () => up.destroy())
      })
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
      closers.push(() => {
        server.close()
        server.closeAllConnections()
      })
      return { seen, users, url: `http://127.0.0.1:${(server.address() as net.AddressInfo).port}` }
    }

    it("HTTP_PROXY is used, except for the hosts of NO_PROXY", async () => {
      const through = await proxy()
      const direct = await serve({ "/direct": ok("direct!") })
      const { ends } = await outcomes(["http://files.example/one", direct.url("/direct")], {
        env: { HTTP_PROXY: through.url, NO_PROXY: "127.0.0.1" }
      })
      expect(ends).toEqual({ "/one": "finished 21", "/direct": "finished 7" })
      expect(through.seen).toEqual(["GET http://files.example/one"])
      expect(direct.seenAt("/direct")).toHaveLength(1)
    })

    it("http_proxy in lower case does the same, and the stall timeout holds", async () => {
      const through = await proxy()
      const { ends } = await outcomes(
        ["--retries=0", "--stall-timeout=1s", "http://files.example/one", "http://files.example/stalls"],
        { env: { http_proxy: through.url } }
      )
      expect(ends).toEqual({ "/one": "finished 21", "/stalls": "stalled: nothing arrived for 1 s" })
    })

    it("--user goes to the origin of each URL, and to no other; a URL's own user wins", async () => {
      const other = await serve({ "/there": ok("x") })
      const server = await serve({
        "/f": ok("x"),
        "/own": ok("x"),
        "/in": redirect("/f"),
        "/out": redirect(other.url("/there"))
      })
      const own = server.url("/own").replace("//", "//me:mine@")
      const basic = (user: string) => `Basic ${Buffer.from(user).toString("base64")}`
      await outcomes(["--user", "ad\u00e0:s:%41", own, ...["/f", "/in", "/out"].map(server.url)])
      expect(new Set(server.seen.map(({ headers, path }) => `${path} ${headers.authorization}`))).toEqual(
        new Set([
          `/own ${basic("me:mine")}`,
          ...["/f", "/in", "/out"].map((at) => `${at} ${basic("ad\u00e0:s:%41")}`)
        ])
      )
      expect(other.seen.map(({ headers }) => headers.authorization)).toEqual([undefined])
      const listed = await Aio.run(["gather", "--json", "--discard", "-a", "-"], {
        stdin: server.url("/f"),
        env: { AIO_GATHER_USER: "a:secret" }
      })
      expect(server.seen.at(-1)!.headers.authorization).toBe(basic("a:secret"))
      expect(listed.stdout + listed.stderr).not.toContain("secret")
    })

    it.each([
      [["--user", "me"], "option --user: no password; expected NAME:PASSWORD, or NAME: for an empty one"],
      [
        ["--user", "me:a\nb"],
        "option --user: it has a control character, which no user or password may have"
      ],
      [
        ["--user", "a:b", "--header", "authorization: x"],
        "--user and --header Authorization name a user each"
      ]
    ])("%j is refused without a word of the password", async (args, message) => {
      const { code, stderr } = await Aio.run(["gather", ...args, "http://127.0.0.1:9/f"])
      expect([code, stderr.split("\n").length]).toEqual([2, 2])
      expect(stderr).toContain(`aio gather: ${message}`)
    })

    it("--deny-private holds behind a proxy, which itself may be private", async () => {
      const through = await proxy()
      const { ends } = await outcomes(
        [
          "--deny-private",
          "--retries=0",
          "http://192.0.2.1/private",
          "http://1.1.1.1/private",
          "http://1.1.1.1/fine"
        ],
        { env: { HTTP_PROXY: through.url } }
      )
      expect(ends["/fine"]).toBe("finished 15")
      expect(through.seen.sort()).toEqual(["GET http://1.1.1.1/fine", "GET http://1.1.1.1/private"])
      expect(ends["/private"]).toMatch(/is not a public address$/)
    })

    const openssl = (() => {
      try {
        return execFileSync("openssl", ["version"]).length > 0
      } catch {
        return false
      }
    })()

    describe.skipIf(!openssl)("TLS", () => {
      const secure = async (handlers: Parameters<typeof serve>[0]) => {
        const dir = Aio.folder()
        const [key, cert] = [join(dir, "key.pem"), join(dir, "cert.pem")]
        execFileSync(
          "openssl",
          [
            ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"],
            ...["-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=localhost"],
            ...["-addext", "subjectAltName=IP:127.0.0.1,DNS:files.example"]
          ],
          { stdio: "ignore" }
        )
        const server = await serve(handlers, {
          create: (listener) =>
            https.createServer({ key: readFileSync(key), cert: readFileSync(cert) }, listener) as never
        })
        return { server, cert }
      }

      it("an unknown certificate is refused; NODE_EXTRA_CA_CERTS trusts it; https is not left again", async () => {
        const plain = await serve({ "/plain": ok("plain") })
        const { cert, server } = await secure({
          "/ok": ok("secret"),
          "/down": redirect(plain.url("/plain")),
          "/in": redirect("/ok")
        })
        const urls = ["/ok", "/down", "/in"].map(server.url)
        const [refused, trusted] = await Promise.all([
          outcomes([urls[0]!]),
          outcomes(urls, { env: { NODE_EXTRA_CA_CERTS: cert } })
        ])
        expect(refused!.ends["/ok"]).toMatch(/^tls: .*self-signed certificate/)
        expect(trusted!.ends).toEqual({
          "/ok": "finished 6",
          "/down": `redirect: redirected from https down to ${plain.origin}`,
          "/in": "finished 6"
        })
        expect(plain.seen).toEqual([])
      })

      it("--cacert trusts the authorities of a file, and no others", async () => {
        const [one, other] = [await secure({ "/ok": ok("1") }), await secure({ "/ok": ok("2") })]
        const run = (cert: string, url: string, env = {}) =>
          outcomes(["--retries=0", "--cacert", cert, url], { env })
        expect((await run(one.cert, one.server.url("/ok"))).ends).toEqual({ "/ok": "finished 1" })
        const refused = await run(one.cert, other.server.url("/ok"), { NODE_EXTRA_CA_CERTS: other.cert })
        expect(refused.ends["/ok"]).toMatch(/^tls: /)
        const through = await proxy(one.server.port)
        const url = "https://files.example/ok"
        expect((await run(one.cert, url, { HTTPS_PROXY: through.url })).ends).toEqual({ "/ok": "finished 1" })
        const bad = join(Aio.folder(), "bad.pem")
        writeFileSync(bad, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        const empty = join(Aio.folder(), "empty.pem")
        writeFileSync(empty, "")
        for (const [file, why] of [
          ["/no/such.pem", "no such file or folder"],
          [empty, "it has no certificate; expected PEM"],
          [bad, "a certificate in it is damaged"]
        ] as const)
          expect(await Aio.run(["gather", "--discard", "--cacert", file, url])).toMatchObject({
            code: 2,
            stderr: `aio gather: option --cacert: cannot read ${file}: ${why}\n`
          })
      })

      it("a tunnel is asked for with the proxy's user, also one without a password", async () => {
        const { cert, server } = await secure({ "/ok": ok("secret") })
        for (const user of ["u:p%20w", "u"]) {
          const through = await proxy(server.port)
          const env = { ALL_PROXY: through.url.replace("//", `//${user}@`), NODE_EXTRA_CA_CERTS: cert }
          const { ends } = await outcomes(["https://files.example/ok", "http://a.example/p"], { env })
          expect(ends).toEqual({ "/ok": "finished 6", "/p": "finished 17" })
          const sent = `Basic ${Buffer.from(user === "u" ? "u:" : "u:p w").toString("base64")}`
          expect(through.users).toEqual(new Set([sent]))
        }
      })

      it("another name than the certificate's is refused, and so is one end that does not speak TLS", async () => {
        const { cert, server } = await secure({ "/ok": ok("secret") })
        const plain = await serve({ "/ok": ok("plain") })
        const env = { NODE_EXTRA_CA_CERTS: cert }
        const [named, toPlain, toTls] = await Promise.all([
          outcomes(["--retries=0", `https://localhost:${server.port}/ok`], { env }),
          outcomes(["--retries=0", `https://127.0.0.1:${plain.port}/ok`], { env }),
          outcomes(["--retries=0", `http://127.0.0.1:${server.port}/ok`], { env })
        ])
        expect(named!.ends["/ok"]).toMatch(/^tls: .*localhost/)
        expect(toPlain!.ends["/ok"]).toMatch(/^(tls|dropped): /)
        expect(toTls!.ends["/ok"]).toMatch(/^(protocol|dropped): /)
        for (const { code } of [named, toPlain, toTls]) expect(code).toBe(1)
        expect([server.seen, plain.seen]).toEqual([[], []])
      })

      it("HTTPS_PROXY is asked for a tunnel", async () => {
        const { cert, server } = await secure({ "/ok": ok("secret") })
        const through = await proxy(server.port)
        const { ends } = await outcomes(["https://files.example/ok"], {
          env: { HTTPS_PROXY: through.url, NODE_EXTRA_CA_CERTS: cert }
        })
        expect(ends).toEqual({ "/ok": "finished 6" })
        expect(through.seen).toEqual(["CONNECT files.example:443"])
      })
    })
  })
})
