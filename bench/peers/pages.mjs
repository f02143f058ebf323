// pages.mjs PORT REQUESTS CONNECTIONS PATH: asks over kept-alive connections, one request at a time each, and prints the time
// in ms. Answers may differ in length.
import * as net from "node:net"

const [port, requests, connections, path] = process.argv.slice(2)
const request = Buffer.from(`GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`)
let left = Number(requests)

const connect = () =>
  new Promise((resolve, reject) => {
    const socket = net.connect(Number(port), "127.0.0.1")
    let text = ""
    socket.setNoDelay(true)
    socket.on("error", reject)
    socket.on("connect", () => socket.write(request))
    socket.on("data", (chunk) => {
      text += chunk.toString("latin1")
      const [head, length] = /^[\s\S]*?content-length: (\d+)[\s\S]*?\r\n\r\n/i.exec(text) ?? []
      if (head === undefined || text.length < head.length + Number(length)) return
      if (!text.startsWith("HTTP/1.1 200")) reject(new Error(text))
      text = ""
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
