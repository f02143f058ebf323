// load.mjs PORT REQUESTS CONNECTIONS METHOD PATH [BODY]: sends requests over kept-alive connections, one at a time each,
// and prints the time in ms. Answers are counted by their bytes: all have the length of the first.
import * as net from "node:net"

const [port, requests, connections, method, path, body = ""] = process.argv.slice(2)
const head =
  body === "" ? "" : `Content-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n`
const request = Buffer.from(`${method} ${path} HTTP/1.1\r\nHost: localhost\r\n${head}\r\n${body}`)

let left = Number(requests)
let length

const connect = () =>
  new Promise((resolve, reject) => {
    const socket = net.connect(Number(port), "127.0.0.1")
    let got = 0
    socket.setNoDelay(true)
    socket.on("error", reject)
    socket.on("connect", () => socket.write(request))
    socket.on("data", (chunk) => {
      got += chunk.length
      if (length === undefined) {
        if (!/^HTTP\/1\.1 2/.test(chunk.toString("latin1"))) throw new Error(chunk.toString("latin1"))
        const [head, announced] = /^[\s\S]*?content-length: (\d+)[\s\S]*?\r\n\r\n/i.exec(
          chunk.toString("latin1")
        )
        length = head.length + Number(announced)
      }
      if (got < length) return
      got -= length
      if (--left <= 0) {
        socket.end()
        resolve()
      } else socket.write(request)
    })
  })
const started = performance.now()
await Promise.race(Array.from({ length: Number(connections) }, connect))
console.log(performance.now() - started)
process.exit(0)
