// abuse.mjs PORT abuse|disconnects|half|load COUNT: clients of guarded.mjs. All end with stdin, or when the server has closed
// them.
//   abuse  slow requests, floods of pings, compressed messages and bodies, clients that do not read, and disconnects
//   disconnects  COUNT clients a second that send a request and disconnect, from an address of their own
//   half   COUNT connections that send nothing or half a head; prints a line when all are open
//   load   COUNT connections with one request after the other; prints a line when all are open
// The last line is what happened, as JSON.
import * as net from "node:net"
import { createInterface } from "node:readline"
import { gzipSync } from "node:zlib"

const [port, kind, count] = process.argv.slice(2)
const get = (path, more = "") => `GET ${path} HTTP/1.1\r\nHost: a\r\n${more}\r\n`
const shake = (more = "") =>
  get(
    "/ws",
    `Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n${more}`
  )
const masked = (first, payload) => {
  const head =
    payload.length < 126
      ? [first, 0x80 | payload.length]
      : [first, 0xfe, payload.length >> 8, payload.length & 255]
  return Buffer.concat([Buffer.from([...head, 0, 0, 0, 0]), payload])
}

const counts = {}
const add = (name) => {
  counts[name] = (counts[name] ?? 0) + 1
}
let over = false
const localAddress = kind === "abuse" || kind === "disconnects" ? "127.0.0.2" : "127.0.0.1"
const connect = (onOpen) => {
  const socket = net.connect({ port: Number(port), host: "127.0.0.1", localAddress }, () => onOpen(socket))
  return socket.on("error", () => undefined)
}
const end = () => {
  over = true
  process.stdout.write(`${JSON.stringify(counts)}\n`, () => process.exit(0))
}
createInterface({ input: process.stdin }).on("close", end)

/** Keeps so many connections of a kind: one that is closed is replaced. */
const keep = (name, number, onOpen) => {
  const one = () => {
    if (over) return
    connect(onOpen).on("close", () => {
      add(name)
      setTimeout(one, 20)
    })
  }
  for (let i = 0; i < number; i++) one()
}
/** Writes for as long as the far end reads, with pauses that leave this process time for the other clients. */
const pour = (socket, bytes) => {
  const write = () => {
    if (!socket.destroyed) socket.write(bytes, () => setTimeout(write, 10))
  }
  write()
}

if (kind === "abuse") {
  const drip = (bytes) => (socket) => {
    let at = 0
    const timer = setInterval(() => socket.write(bytes[at++ % bytes.length]), 50)
    socket.resume().on("close", () => clearInterval(timer))
  }
  keep("slow heads", 100, drip(`${get("/").slice(0, -2)}x: ${"x".repeat(10_000)}`))
  keep("slow bodies", 50, (socket) => {
    socket.write("POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n")
    drip("x")(socket)
  })
  keep("ping floods", 5, (socket) => {
    socket.resume().write(shake())
    pour(socket, Buffer.concat(Array(100).fill(masked(0x89, Buffer.alloc(125)))))
  })
  keep("echoes not read", 10, (socket) => {
    socket.pause().write(shake())
    pour(socket, Buffer.concat(Array(10).fill(masked(0x82, Buffer.alloc(60_000)))))
  })
  keep("answers not read", 20, (socket) => socket.pause().write(get("/large")))
  keep("compressed messages", 5, (socket) => {
    let got = ""
    socket.on("data", (bytes) => {
      got += bytes.toString("latin1")
    })
    socket.on("close", () => {
      if (/^HTTP\/1\.1 101 /.test(got))
        add(/permessage-deflate/.test(got) ? "deflate taken" : "deflate refused")
    })
    socket.write(shake("Sec-WebSocket-Extensions: permessage-deflate\r\n"))
    socket.write(masked(0xc1, Buffer.alloc(1000)))
  })
  const bomb = gzipSync(Buffer.alloc(50_000_000))
  keep("compressed bodies", 2, (socket) => {
    socket.resume().on("data", () => socket.destroy())
    socket.write(
      `POST /body HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\nContent-Length: ${bomb.length}\r\n\r\n`
    )
    socket.write(bomb)
  })
}
if (kind === "abuse" || kind === "disconnects") {
  const started = performance.now()
  let left = 0
  setInterval(() => {
    const due = ((performance.now() - started) / 1000) * Number(count)
    // A machine that is too slow for all of them does not catch up.
    for (left = Math.max(left, due - 50); left < due; left++) {
      connect((socket) => socket.write(get("/wait"), () => socket.destroy())).on("close", () =>
        add("disconnects")
      )
    }
  }, 5)
} else {
  let open = 0
  let closed = 0
  for (let i = 0; i < Number(count); i++) {
    if (i % 200 === 199) await new Promise((resolve) => setTimeout(resolve, 20))
    const socket = connect(() => {
      if (kind === "load") next()
      else if (i % 2 === 0) socket.write("GET / HT")
      if (++open === Number(count)) console.log("open")
    })
    let got = ""
    let waits = false
    const next = () => {
      got = ""
      waits = true
      socket.write(get("/late"))
    }
    socket.on("data", (bytes) => {
      got += bytes.toString("latin1")
      if (kind !== "load" || !got.endsWith("late")) return
      waits = false
      add("answered")
      if (!/onnection: close/.test(got)) next()
    })
    socket.on("close", () => {
      if (kind === "half") add(/^HTTP\/1\.1 (\d+)/.exec(got)?.[1] ?? "closed")
      else if (waits) add(got === "" ? "not accepted" : "broken")
      if (++closed === Number(count)) end()
    })
  }
}
