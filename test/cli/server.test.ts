import { spawn } from "node:child_process"
import { createServer, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import { fileURLToPath } from "node:url"
import { WebSocket } from "undici"
import { describe, expect, it, onTestFinished } from "vitest"

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
  const [, url] = await server.shows("stdout", /^listening on (http:\/\/127\.0\.0\.1:\d+)\n/)
  return { ...server, url: url! }
}

const inUse = () =>
  new Promise<{ server: Server; port: number }>((resolve) => {
    const server = createServer()
    onTestFinished(() => void server.close())
    server.listen(0, "127.0.0.1", () => resolve({ server, port: (server.address() as AddressInfo).port }))
  })

describe("aio server", () => {
  it("serves its routes on the free port that it prints, until SIGINT", async () => {
    const { child, ended, url } = await serving()
    expect(await (await fetch(url)).text()).toBe("hi\n")
    expect(await (await fetch(`${url}/wait?ms=5`)).text()).toBe("waited 5 ms\n")
    expect((await fetch(`${url}/wait?ms=x`)).status).toBe(400)
    expect((await fetch(`${url}/block?ms=5`)).status).toBe(404)
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
    const { child, ended, shows, url } = await serving()
    const answer = fetch(`${url}/wait?ms=300`)
    // A second request, answered: by then the first is running.
    await fetch(url)
    child.kill("SIGTERM")
    await shows("stderr", /^closing: waiting up to 5\.0 s for 1 running request\n/)
    await expect(fetch(url)).rejects.toThrow()
    expect(await (await answer).text()).toBe("waited 300 ms\n")
    expect((await ended).code).toBe(143)
  })

  it("cancels requests that run longer than --grace", async () => {
    const { child, ended, url } = await serving("--grace", "50ms")
    const answer = fetch(`${url}/wait?ms=3600000`)
    await fetch(url)
    child.kill("SIGTERM")
    expect((await answer).status).toBe(503)
    expect((await ended).code).toBe(143)
  })

  it("shows the effect of waiting and blocking in five lines, and ends", async () => {
    const { code, stderr, stdout } = await run("server", "--demo")
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

  it("refuses a bad port, host and grace period with one line and 2", async () => {
    const results = await Promise.all([
      run("server", "--port", "65536"),
      run("server", "--port=http"),
      run("server", "--host", "a/b"),
      run("server", "--grace", "5x"),
      run("server", "extra"),
      run("server", "--", "extra")
    ])
    for (const { code, stderr, stdout } of results) {
      expect({ code, stdout }).toEqual({ code: 2, stdout: "" })
      expect(stderr).toMatch(/^aio server: [^\n]+\n$/)
    }
    expect(results[0]?.stderr).toContain("'65536' is not a port; expected 0 to 65535")
  })

  it("reports in one line that the port is in use, and exits with 1", async () => {
    const { port } = await inUse()
    expect(await run("server", "--port", String(port))).toEqual({
      code: 1,
      stdout: "",
      stderr: `cannot listen on 127.0.0.1:${port}: the port is in use; choose another, or 0 for a free one\n`
    })
  })

  it("reports in one line that the host is not this machine's, and exits with 1", async () => {
    // From the block that RFC 5737 reserves for documentation: no machine has it.
    expect(await run("server", "--host", "192.0.2.1")).toEqual({
      code: 1,
      stdout: "",
      stderr:
        "cannot listen on 192.0.2.1:0: 192.0.2.1 is not an address of this machine; 127.0.0.1 and 0.0.0.0 are\n"
    })
  })
})
