// idle.mjs PORT COUNT PATH [REQUESTS]: opens as many connections and asks for the path on each: `/ws` for a WebSocket, ""
// for nothing. Without REQUESTS it begins with a line on stdin, prints a line when all are open, and ends with stdin; with
// them it asks for `/` as often, one at a time, and prints the times.
import * as net from "node:net"
import { createInterface } from "node:readline"

const [port, count, path, requests] = process.argv.slice(2)
const upgrade =
  path === "/ws"
    ? "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    : ""
const connect = () =>
  new Promise((resolve, reject) => {
    const socket = net.connect(Number(port), "127.0.0.1", () => {
      if (path !== "") socket.write(`GET ${path} HTTP/1.1\r\nHost: localhost\r\n${upgrade}\r\n`)
      if (path !== "/ws") resolve(socket)
    })
    socket.on("data", () => resolve(socket)).on("error", reject)
  })
const openAll = async () => {
  for (let i = 0; i < Number(count); i += 50) await Promise.all(Array.from({ length: 50 }, connect))
  await new Promise((resolve) => setTimeout(resolve, 500))
}

if (requests === undefined) {
  createInterface({ input: process.stdin })
    .on("line", async () => {
      await openAll()
      console.log("open")
    })
    .on("close", () => process.exit(0))
} else {
  await openAll()
  const times = []
  for (let i = 0; i < Number(requests); i++) {
    const begun = performance.now()
    await (await fetch(`http://127.0.0.1:${port}/`)).text()
    if (i >= 20) times.push(performance.now() - begun)
  }
  times.sort((a, b) => a - b)
  const at = (share) => times[Math.floor(times.length * share)].toFixed(1)
  console.log(`p50 ${at(0.5)}  p99 ${at(0.99)}`)
  process.exit(0)
}
