// patient.mjs PORT SECONDS CONNECTIONS PATH: each connection asks as soon as it is answered, and after the time of Retry-After
// when it is refused with 503. Prints as JSON how many were answered with 200, refused and neither, and the times of the
// answers in ms.
import * as net from "node:net"

const [port, seconds, connections, path] = process.argv.slice(2)
const request = Buffer.from(`GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`)
const times = []
const refusals = []
let others = 0
const end = performance.now() + Number(seconds) * 1000

const connect = () => {
  const socket = net.connect(Number(port), "127.0.0.1")
  let text = ""
  let asked = 0
  const ask = () => {
    if (performance.now() >= end) return socket.destroy()
    if (socket.destroyed) return connect()
    asked = performance.now()
    socket.write(request)
  }
  socket.setNoDelay(true)
  socket.on("error", () => others++)
  socket.on("connect", ask)
  socket.on("data", (chunk) => {
    text += chunk.toString("latin1")
    const [head, length] = /^[\s\S]*?content-length: (\d+)[\s\S]*?\r\n\r\n/i.exec(text) ?? []
    if (head === undefined || text.length < head.length + Number(length)) return
    const [, status] = /^HTTP\/1\.1 (\d+)/.exec(head) ?? []
    const [, pause = "0"] = /retry-after: (\d+)/i.exec(head) ?? []
    text = ""
    if (status === "200") times.push(performance.now() - asked)
    else if (status === "503") refusals.push(performance.now() - asked)
    else others++
    // Not all at once again.
    setTimeout(ask, Number(pause) * 1000 * (1 + Math.random()))
  })
}
for (let n = 0; n < Number(connections); n++) connect()
const of = (sorted, part) =>
  Math.round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? 0)
setTimeout(
  () => {
    times.sort((a, b) => a - b)
    refusals.sort((a, b) => a - b)
    const [p50, p99, max] = [0.5, 0.99, 1].map((part) => of(times, part))
    const refusal = of(refusals, 0.99)
    console.log(
      JSON.stringify({ answered: times.length, refused: refusals.length, others, p50, p99, max, refusal })
    )
    process.exit(0)
  },
  Number(seconds) * 1000 + 500
)
