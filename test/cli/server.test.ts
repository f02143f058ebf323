import { spawn, spawnSync } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { Schema } from "effect"
import { Agent, request, WebSocket } from "undici"
import { describe, expect, it, onTestFinished } from "vitest"
import * as Events from "../../src/services/host/Events.js"
import * as InProcess from "../support/InProcess.js"

const command = fileURLToPath(new URL("../../dist/bin/aio.cjs", import.meta.url))

/** Starts `aio …`; waits for words of its output rather than for time. */
const start = (...args: ReadonlyArray<string>) => {
  const env = { PATH: process.env["PATH"], HOME: process.env["HOME"] }
  const child = spawn(process.execPath, [command, ...args], { env, stdio: ["ignore", "pipe", "pipe"] })
  const text = { stdout: "", stderr: "" }
  const waiting = new Set<() => void>()
  for (const name of ["stdout", "stderr"] as const) {
    child[name].on("data", (chunk) => {
      text[name] += chunk
      for (const check of waiting) check()
    })
  }
  const ended = new Promise<{ code: number | null; stdout: string; stderr: string }>((resolve) =>
    child.on("close", (code) => resolve({ code, ...text }))
  )
  const shows = (name: "stdout" | "stderr", pattern: RegExp) =>
    new Promise<RegExpExecArray>((resolve, reject) => {
      const check = () => {
        const match = pattern.exec(text[name])
        if (match === null) return
        waiting.delete(check)
        resolve(match)
      }
      waiting.add(check)
      void ended.then((result) => reject(new Error(`ended before ${pattern}: ${JSON.stringify(result)}`)))
      check()
    })
  onTestFinished(() => void child.kill("SIGKILL"))
  return { child, ended, shows }
}

const run = (...args: ReadonlyArray<string>) => start(...args).ended

const serving = async (...args: ReadonlyArray<string>) => {
  const server = start("server", ...args)
  const [, url] = await server.shows("stdout", /^listening on (https?:\/\/127\.0\.0\.1:\d+)/)
  return { ...server, url: url! }
}

const fixture = (name: string) => fileURLToPath(new URL(`../fixtures/server/${name}`, import.meta.url))

const inUse = () =>
  new Promise<number>((resolve) => {
    const server = createServer()
    onTestFinished(() => void server.close())
    server.listen(0, "127.0.0.1", () => resolve((server.address() as AddressInfo).port))
  })

const folder = () => {
  const path = mkdtempSync(join(tmpdir(), "aio-server-"))
  onTestFinished(() => rmSync(path, { recursive: true, force: true }))
  return path
}

const text = async (url: string) => (await fetch(url)).text()

describe("aio server", { timeout: 60_000 }, () => {
  it("serves its routes on the free port that it prints, until SIGINT", async () => {
    const { child, ended, url } = await serving()
    expect(await text(url)).toBe("hi\n")
    expect(await text(`${url}/wait?ms=5`)).toBe("waited 5 ms\n")
    expect((await fetch(`${url}/wait?ms=x`)).status).toBe(400)
    expect(await text(`${url}/metrics`)).toMatch(/^http_requests_total 4$/m)
    const socket = new WebSocket(`${url.replace("http", "ws")}/ws`)
    socket.addEventListener("open", () => socket.send("echo"))
    const message = await new Promise((resolve) => socket.addEventListener("message", resolve))
    expect(message).toMatchObject({ data: "echo" })
    const closed = new Promise((resolve) => socket.addEventListener("close", resolve))
    child.kill("SIGINT")
    expect(await closed).toMatchObject({ code: 1001, wasClean: true })
    expect(await ended).toEqual({ code: 130, stdout: `listening on ${url}\n`, stderr: "" })
  })

  it("lets running requests end after SIGTERM, and exits with 143", async () => {
    const { child, ended, shows, url } = await serving("--access-log")
    const answer = fetch(`${url}/wait?ms=1000`)
    // A second request, answered: by then the first is running.
    await fetch(url)
    child.kill("SIGTERM")
    await shows("stderr", /^closing: waiting up to 5\.0 s for 1 running request\n/)
    await expect(request(url, { dispatcher: new Agent() })).rejects.toThrow("ECONNREFUSED")
    expect(await (await answer).text()).toBe("waited 1000 ms\n")
    const { code, stdout } = await ended
    expect(code).toBe(143)
    expect(stdout).toMatch(
      /^127\.0\.0\.1 - - \[[^\]]+\] "GET \/wait\?ms=1000 HTTP\/1\.1" 200 15 "-" "node"$/m
    )
  })

  it("cancels requests that run longer than --grace", async () => {
    const { child, ended, url } = await serving("--grace", "50ms")
    const answer = fetch(`${url}/wait?ms=3600000`)
    await fetch(url)
    child.kill("SIGTERM")
    expect((await answer).status).toBe(503)
    expect((await ended).code).toBe(143)
  })

  it("serves a person's app over TLS with limits, and events of its schema, reports of --watch-loop included", async () => {
    const { child, ended, shows } = start(
      ...["server", "--json", "--access-log", "--metrics", "--body-size", "10", "--watch-loop=50ms"],
      ...["--cert", fixture("cert.pem"), "--key", fixture("key.pem"), fixture("app.ts")]
    )
    const [, url] = await shows("stdout", /"event":"listening","url":"(https:[^"]+)"/)
    const ca = readFileSync(fixture("cert.pem"))
    const dispatcher = new Agent({ connect: { ca, servername: "localhost" } })
    onTestFinished(() => void dispatcher.close())
    const ask = async (path: string, body?: string) => {
      const { body: answer, statusCode } = await request(`${url}${path}`, {
        dispatcher,
        ...(body === undefined ? {} : { method: "POST", body })
      })
      return [statusCode, await answer.text()]
    }
    expect(await ask("/")).toEqual([200, "mine\n"])
    expect(await ask("/upper", "short")).toEqual([200, "SHORT"])
    expect((await ask("/upper", "longer than ten"))[0]).toBe(413)
    expect(await ask("/fails")).toEqual([500, expect.anything()])
    expect(await ask("/spins")).toEqual([200, "spun\n"])
    expect(await ask("/health")).toEqual([200, "ok\n"])
    child.kill("SIGTERM")
    const { code, stderr, stdout } = await ended
    expect([code, stderr]).toEqual([143, ""])
    const events = stdout
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line))
    for (const { schema, ...event } of events) {
      expect([schema, event]).toEqual([2, Schema.decodeUnknownSync(Events.Server)(event)])
    }
    expect(events.filter(({ event }) => event === "failed")).toMatchObject([
      { url: "/fails", reason: "no rows" }
    ])
    expect(events).toContainEqual(
      expect.objectContaining({ event: "blocked", function: "spins", request: "GET /spins" })
    )
    expect(events.filter(({ event }) => event === "request").length).toBeGreaterThanOrEqual(4)
  })

  it("serves the files of --dir on a Unix socket", async () => {
    const dir = folder()
    writeFileSync(join(dir, "index.html"), "<p>home")
    const uds = join(dir, ".sock")
    const server = start("server", "--dir", dir, "--uds", uds)
    await server.shows("stdout", /^listening on unix:.*\.sock\n/)
    const dispatcher = new Agent({ connect: { socketPath: uds } })
    onTestFinished(() => void dispatcher.close())
    const got = await request("http://localhost/", { dispatcher })
    expect([got.statusCode, await got.body.text()]).toEqual([200, "<p>home"])
    server.child.kill("SIGTERM")
    expect((await server.ended).code).toBe(143)
  })

  it("--model threads: a request holds a thread while it waits, the next one waits in the queue of /metrics", async () => {
    const { child, ended, url } = await serving("--model", "threads", "--threads", "1")
    const slow = text(`${url}/wait?ms=1500`)
    const next = text(url)
    let metrics = ""
    do metrics = await text(`${url}/metrics`)
    while (!/^http_requests_queued 1$/m.test(metrics) && !/^http_threads_busy 0$/m.test(metrics))
    expect(metrics).toMatch(/^http_threads_busy 1$/m)
    expect(metrics).toMatch(/^http_requests_queued 1$/m)
    expect([await slow, await next]).toEqual(["waited 1500 ms\n", "hi\n"])
    child.kill("SIGTERM")
    expect((await ended).code).toBe(143)
  })

  it("--processes: one line; a process that dies is reported and replaced; a signal ends all", async () => {
    const { child, ended, shows, url } = await serving("--processes", "2")
    expect(await text(url)).toBe("hi\n")
    const { stdout } = spawnSync("ps", ["-o", "pid=", "--ppid", String(child.pid)], { encoding: "utf8" })
    const pids = stdout.trim().split(/\s+/).map(Number)
    expect(pids.length).toBeGreaterThanOrEqual(2)
    process.kill(pids[0]!, "SIGKILL")
    await shows("stderr", /^process \d+ was killed by SIGKILL\nanother process starts in \d/)
    expect(await text(url)).toBe("hi\n")
    child.kill("SIGTERM")
    const end = await ended
    expect([end.code, end.stdout]).toEqual([143, `listening on ${url} (2 processes)\n`])
    await expect(fetch(url)).rejects.toThrow()
  })

  it("--processes: kills a process that does not end within the grace period", async () => {
    const { child, ended } = await serving("--processes", "2", "--grace", "200ms")
    const { stdout } = spawnSync("ps", ["-o", "pid=", "--ppid", String(child.pid)], { encoding: "utf8" })
    process.kill(Number(stdout.trim().split(/\s+/)[0]), "SIGSTOP")
    child.kill("SIGTERM")
    expect((await ended).code).toBe(143)
  })

  it("explains waiting and blocking in five lines, and ends", async () => {
    const { code, stderr, stdout } = await InProcess.run(["server", "--explain"])
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" })
    expect(stdout.replace(/(after|within|before) \d+ ms/g, "$1 N ms").split("\n")).toEqual([
      "1 request that waits 200 ms: answered after N ms",
      "1000 requests that wait 200 ms each: all answered after N ms (one after another: 3 m 20 s)",
      "10 requests with nothing to wait for: each answered within N ms",
      "the same 10 while one handler blocks for 300 ms: none answered before N ms",
      "waiting costs the loop nothing, blocking stops it for all requests: blocking work belongs on a thread (aio executor)",
      ""
    ])
    expect(Number(/before (\d+) ms/.exec(stdout)?.[1])).toBeGreaterThanOrEqual(299)
  })

  const cert = fixture("cert.pem")
  const key = fixture("key.pem")
  const bad: ReadonlyArray<readonly [args: ReadonlyArray<string>, message: string, code?: number]> = [
    [["--compare", "app.ts"], "--compare measures the demo app, not 'app.ts'"],
    [["--compare", "--port", "80"], "--port does not go with --compare"],
    [["--explain", "--json"], "--json does not go with --explain"],
    [["--out", "a.svg"], "--out is for --compare"],
    [["--compare", "--out", "a.gif"], "--out 'a.gif' has an unknown ending; expected "],
    [["--port", "65536"], "'65536' is not a port; expected 0 to 65535"],
    [["--port=http"], "'http' is not a port"],
    [["--host", "a/b"], "'a/b' is not a host"],
    [["--grace", "5x"], "option --grace: "],
    [["--demo"], "here it is --compare"],
    [["--model", "fibers"], "'fibers' is not accepted; expected event-loop, threads or blocking"],
    [["--model", "threads", "--threads", "0"], "option --threads: '0': expected a whole number, 1 to 1024"],
    [["--threads", "2"], "--threads is for --model threads, not for event-loop"],
    [["--processes", "0"], "option --processes: '0'"],
    [["--connections", "0"], "'0': expected a whole number, 1 or more, or unbounded"],
    [["--header-time", "0"], "option --header-time: '0' is out of range"],
    [["--body-size", "-1"], "option --body-size"],
    [["--cert", cert], "--cert is without --key; TLS needs both"],
    [["--key", key], "--key is without --cert; TLS needs both"],
    [
      ["--cert", "/nowhere.pem", "--key", key],
      "option --cert: '/nowhere.pem': no such file; expected a file in PEM"
    ],
    [["--cert", key, "--key", cert], "are no certificate and its key"],
    [["--uds", "/tmp/x", "--port", "1"], "--uds is instead of --host and --port; choose one"],
    [["--dir", "/nowhere"], "'/nowhere' does not exist; expected a folder of files to serve"],
    [["--dir", ".", "app.ts"], "FILE and --dir cannot be served together; choose one"],
    [["--dir", ".", "--model", "blocking"], "--dir is served by --model event-loop only, not by blocking"],
    [["nowhere.ts"], "nowhere.ts: no such file in "],
    [["a.ts", "b.ts"], "unexpected 'b.ts'; one FILE is served"],
    [[""], "'' is no file; expected FILE or FILE#EXPORT"],
    [["a.ts#"], "'a.ts#' names no export; expected FILE#EXPORT"],
    [
      [`${fixture("app.ts")}#notAnApp`],
      "export 'notAnApp' is an object; expected an HttpApp, an HttpRouter, or"
    ],
    [[`${fixture("app.ts")}#nothing`], "no export 'nothing'"],
    // From the block that RFC 5737 reserves for documentation: no machine has it.
    [["--host", "192.0.2.1"], "cannot listen on 192.0.2.1:0: 192.0.2.1 is not an address of this machine", 1],
    [["--uds", "/nowhere/x.sock"], "cannot listen on /nowhere/x.sock: ", 1]
  ]
  it.each(bad.map(([args, message, code = 2]) => [args, message, code] as const))(
    "refuses %j in one line",
    async (args, message, code) => {
      const result = await InProcess.run(["server", ...args])
      expect({ code: result.code, stdout: result.stdout }).toEqual({ code, stdout: "" })
      expect(result.stderr).toContain(message)
      expect(result.stderr).toMatch(code === 2 ? /^aio server: [^\n]+\n$/ : /^[^\n]+\n$/)
    }
  )

  it("reports in one line that the port is in use, and exits with 1, also with --processes", async () => {
    const port = await inUse()
    const message = `cannot listen on 127.0.0.1:${port}: the port is in use; choose another, or 0 for a free one\n`
    const expected = { code: 1, stdout: "", stderr: message }
    expect(await InProcess.run(["server", "--port", String(port)])).toMatchObject(expected)
    expect(await run("server", "--port", String(port), "--processes", "2")).toEqual(expected)
  })
})
