import assert from "node:assert/strict"
import { spawn } from "node:child_process"
import { once } from "node:events"
import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { test } from "node:test"
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath } from "node:url"

// The real thing: a file that grows, an API on loopback, a thread, a child, and SIGTERM.
test("runs as a process, and stops in order on SIGTERM", { timeout: 60_000 }, async () => {
  const folder = mkdtempSync(join(tmpdir(), "importer-"))
  const [orders, invoices] = [join(folder, "orders.ndjson"), join(folder, "invoices.ndjson")]
  const server = createServer((_, response) => response.end('{"name":"Ada","discount":10}'))
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  const api = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const order = (id: number) => `{"id":${id},"customer":1,"items":[{"pieces":1,"cents":100}]}\n`
  appendFileSync(orders, order(1))
  const main = fileURLToPath(new URL("../src/main.js", import.meta.url))
  const child = spawn(process.execPath, [main, orders, api, "tee", "-a", invoices], {
    stdio: ["ignore", "ignore", "pipe"]
  })
  let log = ""
  child.stderr.setEncoding("utf8").on("data", (text) => {
    log += text
  })
  const delivered = async (lines: number) => {
    for (let tries = 0; tries < 500 && child.exitCode === null; tries++) {
      const text = existsSync(invoices) ? readFileSync(invoices, "utf8") : ""
      if (text.split("\n").length > lines) return text
      await sleep(50)
    }
    throw new Error(`not delivered: ${log}`)
  }
  try {
    assert.equal(await delivered(1), '{"order":1,"name":"Ada","cents":90}\n')
    appendFileSync(orders, order(2))
    assert.match(await delivered(2), /"order":2/)
    child.kill("SIGTERM")
    const [code] = await once(child, "exit")
    assert.equal(code, 143, log)
    assert.match(log, /2 orders, 180 cents, 0 bad lines/)
  } finally {
    child.kill("SIGKILL")
    server.close()
    server.closeAllConnections()
    rmSync(folder, { recursive: true })
  }
})
