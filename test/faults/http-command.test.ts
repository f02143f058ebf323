import { execFileSync } from "node:child_process"
import { readFileSync } from "node:fs"
import * as http from "node:http"
import * as net from "node:net"
import { join } from "node:path"
import * as tls from "node:tls"
import { afterAll, describe, expect, it } from "vitest"
import * as Aio from "../support/Aio.js"
import { bytes } from "../support/FaultServer.js"
import { broke, ok, send, small } from "../support/HttpAnswers.js"
import { head, start } from "../support/ScriptedServer.js"

// What only the built command can show: its environment, its limits, its words.
describe("aio gather and what servers do wrong", () => {
  const closers: Array<() => unknown> = []
  afterAll(async () => {
    for (const close of closers) await close()
    Aio.removeFolders()
  })
  const listen = async (server: net.Server): Promise<number> => {
    const sockets = new Set<net.Socket>()
    server.on("connection", (socket) => sockets.add(socket))
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
    closers.push(() => {
      for (const socket of sockets) socket.destroy()
      server.close()
    })
    return (server.address() as net.AddressInfo).port
  }
  const gather = async (args: ReadonlyArray<string>, options: Aio.SpawnOptions & { stdin?: string } = {}) => {
    const { code, stderr, stdout } = await Aio.run(
      ["gather", "--json", "--retries=0", ...(args.includes("-d") ? [] : ["--discard"]), ...args],
      options
    )
    const ends: Record<string, string> = {}
    for (const line of stdout.split("\n").filter((line) => line !== "")) {
      const { bytes, cause, event, name, reason, status } = JSON.parse(line)
      if (event !== "finished") continue
      ends[new URL(name).pathname] = status === "succeeded" ? `finished ${bytes}` : `${cause}: ${reason}`
    }
    return { code, stderr, ends }
  }
  /** A proxy whose tunnels all lead to this port. */
  const proxy = async (tunnelTo: number) =>
    listen(
      net.createServer((socket) => {
        socket.once("data", () => {
          const up = net.connect(tunnelTo, "127.0.0.1", () => {
            socket.write("HTTP/1.1 200 Established\r\n\r\n")
            up.pipe(socket).pipe(up)
          })
          up.on("error", () => socket.resetAndDestroy())
          socket.on("error", () => up.destroy())
        })
      })
    )

  const credentials = (() => {
    const dir = Aio.folder()
    const [key, cert] = [join(dir, "key.pem"), join(dir, "cert.pem")]
    const words = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    try {
      execFileSync(
        "openssl",
        [
          ...words,
          "-keyout",
          key,
          "-out",
          cert,
          "-days",
          "2",
          "-subj",
          "/CN=a",
          "-addext",
          "subjectAltName=IP:127.0.0.1"
        ],
        { stdio: "ignore" }
      )
      return { key: readFileSync(key), cert: readFileSync(cert), file: cert }
    } catch {
      return undefined
    }
  })()
  it.skipIf(credentials === undefined)(
    "only a close_notify ends a body without length over TLS",
    async () => {
      const { cert, file, key } = credentials!
      const body = bytes(300_000)
      const port = await listen(
        tls.createServer({ key, cert }, (socket) => {
          socket
            .on("error", () => undefined)
            .on("data", (chunk) => {
              const path = chunk.toString("latin1").split(" ")[1]!
              const length = path.includes("sized") ? body.length : undefined
              socket.write(
                head(
                  "HTTP/1.1 200 OK",
                  length === undefined ? "Connection: close" : `Content-Length: ${length}`
                )
              )
              socket.write(body, () => {
                if (path.includes("notify")) socket.end()
                else socket.destroy() // a FIN, and no close_notify before it
              })
            })
        })
      )
      const urls = ["/notify", "/cut", "/sized-cut", "/sized-notify"].map(
        (path) => `https://127.0.0.1:${port}${path}`
      )
      const through = await proxy(port)
      const environment = { NODE_EXTRA_CA_CERTS: file }
      for (const env of [environment, { ...environment, https_proxy: `127.0.0.1:${through}` }]) {
        const dir = Aio.folder()
        const { ends } = await gather(["-d", dir, ...urls], { env })
        expect(ends).toEqual({
          "/notify": "finished 300000",
          "/cut": broke,
          "/sized-cut": "finished 300000",
          "/sized-notify": "finished 300000"
        })
        expect(Aio.names(dir)).toEqual(["notify", "sized-cut", "sized-notify"])
        expect(readFileSync(join(dir, "notify")).equals(body)).toBe(true)
      }
    }
  )

  it("a reset by a proxy ends no body either", async () => {
    const server = await start(({ path }) =>
      path.endsWith("reset")
        ? ok(["Connection: close"], small, "reset now")
        : {
            ...ok(["Connection: close"], small, "fin"),
            send: [head("HTTP/1.1 100 Continue"), head("HTTP/1.1 200 OK", "Connection: close"), small]
          }
    )
    closers.push(server.close)
    const dir = Aio.folder()
    const { ends } = await gather(["-d", dir, "http://a.example/reset", "http://a.example/fin"], {
      env: { http_proxy: `127.0.0.1:${server.port}` }
    })
    expect(ends).toEqual({ "/reset": broke, "/fin": "finished 2000" })
    expect(Aio.names(dir)).toEqual(["fin"])
  })

  it("a proxy is given its user and password, and its 407 is a failure", async () => {
    const server = await start(({ headers }) =>
      headers["proxy-authorization"] === `Basic ${Buffer.from("u:p w").toString("base64")}`
        ? ok([])
        : send("407 Proxy Authentication Required", [])
    )
    closers.push(server.close)
    const [known, unknown] = await Promise.all(
      ["u:p%20w@", ""].map((user) =>
        gather(["http://a.example/x"], { env: { http_proxy: `http://${user}127.0.0.1:${server.port}` } })
      )
    )
    expect(known!.ends).toEqual({ "/x": "finished 2000" })
    expect(unknown!.ends["/x"]).toMatch(/407/)
    expect(unknown!.code).toBe(1)
  })

  it.each([
    ["HTTP_PROXY", "http://u:p w@:bad", "':bad'"],
    ["https_proxy", "ftp://x", "'ftp://x'"],
    ["HTTPS_PROXY", "http://", "'http://'"],
    ["http_proxy", "http://u%:secret@127.0.0.1:9", "'127.0.0.1:9'"]
  ])("%s=%s is one line and exit 2", async (name, value, shown) => {
    const { code, stderr, ends } = await gather(["http://127.0.0.1:9/x"], { env: { [name]: value } })
    expect([code, ends]).toEqual([2, {}])
    expect(stderr).toBe(
      `aio gather: the environment variable ${name} is not a proxy (${shown}); expected http://host:port\n`
    )
  })

  it("a SOCKS proxy is refused with a word", async () => {
    const env = { ALL_PROXY: "socks5://u:p@127.0.0.1:9" }
    const { code, stderr } = await gather(["http://127.0.0.1:9/x"], { env })
    expect([code, stderr]).toEqual([
      2,
      "aio gather: the environment variable ALL_PROXY names a SOCKS proxy ('127.0.0.1:9'), which is not supported; expected http://host:port, or unset it\n"
    ])
  })

  it.each([
    ["http://u:p@b\u00fccher.example/a%20b?q=1#frag", "http://xn--bcher-kva.example/a%20b?q=1#frag"],
    ["http://127.1/x", "http://127.0.0.1/x"],
    ["http://[::1]:80/y", "http://[::1]/y"],
    ["HTTP://EXAMPLE.com./z", "http://example.com./z"]
  ])("%s is shown as it is asked for, without its password: %s", async (url, shown) => {
    const { code, stderr, stdout } = await Aio.run(["gather", "--dry-run", "--discard", url])
    expect([code, stderr, stdout]).toEqual([0, "", `${shown}\n`])
  })

  it("names the host that was not found, after a redirect or of a proxy", async () => {
    const server = await start(() => send("302 Found", ["Location: http://second.invalid/"]))
    closers.push(server.close)
    const [redirected, proxied] = await Promise.all([
      gather([server.url("/r")]),
      gather(["http://first.invalid/p"], { env: { HTTP_PROXY: "proxy.invalid:3128" } })
    ])
    expect(redirected.ends["/r"]).toMatch(/^dns: .* for second\.invalid$/)
    expect(proxied.ends["/p"]).toMatch(/^dns: .* for proxy\.invalid$/)
  })

  it("if descriptors run short, fewer transfers run at once", async () => {
    const body = bytes(300_000)
    const serve = () =>
      listen(
        http.createServer((_request, response) => {
          response.writeHead(200, { "content-length": body.length }).end(body)
        })
      )
    const ports = await Promise.all(Array.from({ length: 25 }, serve))
    const urls = [...ports, ...ports].map((port, i) => `http://127.0.0.1:${port}/${i}`).join("\n")
    const dir = Aio.folder()
    const { code, ends } = await gather(["-j50", "-d", dir, "-a", "-"], {
      shell: 'ulimit -n 40; exec "$@"',
      stdin: urls
    })
    expect(Object.values(ends).filter((end) => end !== "finished 300000")).toEqual([])
    expect([code, Aio.names(dir).length]).toEqual([0, 50])
  })

  it("notes ignored encodings once on stderr", async () => {
    const server = await start(() => ok(["Content-Encoding: UTF-8"]))
    closers.push(server.close)
    const { code, stderr } = await Aio.run(["gather", "-d", Aio.folder(), server.url("/a"), server.url("/b")])
    expect(code).toBe(0)
    expect(stderr.split("Content-Encoding 'utf-8' is not an encoding; the body is read as sent").length).toBe(
      2
    )
  })
})
