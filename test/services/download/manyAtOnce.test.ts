import { createHash } from "node:crypto"
import * as fs from "node:fs"
import * as net from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { describe, expect, it } from "@effect/vitest"
import { Chunk, Effect, Stream } from "effect"
import * as Downloader from "../../../src/services/download/Downloader.js"
import * as Downloads from "../../../src/services/download/Downloads.js"
import { bytes } from "../../support/FaultServer.js"

// Bytes of one connection in another's file would be silent. So 64 files that differ in every block are on the way at
// once, from a server that writes to all of them in turn, in pieces that begin and end anywhere.

const count = 64
/** From below one read to several: small files stay in memory, large ones pass the read buffer more than once. */
const sizeOf = (index: number) => 1000 + index * 13_577
const files = Array.from({ length: count }, (_, index) => bytes(sizeOf(index), index + 1))

const chunk = (body: Buffer) =>
  Buffer.concat([Buffer.from(`${body.length.toString(16)}\r\n`), body, Buffer.from("\r\n")])
/** By the index: one piece, chunks of several sizes, or a body that its connection's end ends. */
const responseOf = (index: number): Buffer => {
  const body = files[index]!
  const head = (field: string) => Buffer.from(`HTTP/1.1 200 OK\r\n${field}\r\n\r\n`)
  if (index % 4 === 0) return Buffer.concat([head(`Content-Length: ${body.length}`), body])
  if (index % 4 === 3) return Buffer.concat([head("Connection: close"), body])
  const chunks: Array<Buffer> = []
  for (let at = 0, size = 1 + index * 97; at < body.length; size = 1 + ((size * 31) % 70_001)) {
    chunks.push(chunk(body.subarray(at, at + size)))
    at += size
  }
  return Buffer.concat([head("Transfer-Encoding: chunked"), ...chunks, Buffer.from("0\r\n\r\n")])
}

/** Holds up all answers until 64 requests are there, then writes a piece of each in turn. */
const serve = Effect.acquireRelease(
  Effect.promise(async () => {
    const sockets = new Set<net.Socket>()
    const waiting: Array<{ readonly socket: net.Socket; rest: Buffer; piece: number }> = []
    let most = 0
    let round = 0
    const writeAll = () => {
      round++
      for (const [i, answer] of waiting.entries()) {
        // Delayed every third time, so that pieces of other files arrive in between.
        if (answer.rest.length === 0 || (i + round) % 3 === 0) continue
        answer.piece = 1 + ((answer.piece * 7919) % 90_001)
        answer.socket.write(answer.rest.subarray(0, answer.piece))
        answer.rest = answer.rest.subarray(answer.piece)
        if (answer.rest.length === 0) answer.socket.end()
      }
      if (waiting.some(({ rest }) => rest.length > 0)) setImmediate(writeAll)
    }
    const server = net.createServer((socket) => {
      socket.setNoDelay(true).on("error", () => undefined)
      sockets.add(socket)
      socket.once("data", (request) => {
        const index = Number(/^GET \/(\d+) /.exec(request.toString("latin1"))![1])
        waiting.push({ socket, rest: responseOf(index), piece: index + 1 })
        most = waiting.length
        if (most === count) writeAll()
      })
    })
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
    const { port } = server.address() as net.AddressInfo
    return {
      origin: `http://127.0.0.1:${port}`,
      most: () => most,
      close: () => {
        for (const socket of sockets) socket.destroy()
        server.close()
      }
    }
  }),
  (server) => Effect.sync(server.close)
)

const digest = (body: Buffer) => createHash("sha256").update(body).digest("hex")

describe("64 downloads at once", () => {
  it.scopedLive("each file has its own bytes, and no other's", () =>
    Effect.gen(function* () {
      const directory = yield* Effect.acquireRelease(
        Effect.sync(() => fs.mkdtempSync(join(tmpdir(), "aio-shared-"))),
        (path) => Effect.sync(() => fs.rmSync(path, { recursive: true, force: true }))
      )
      const server = yield* serve
      const requests = files.map((body, index) => ({
        url: new URL(`${server.origin}/${index}`),
        name: `f${index}`,
        // Every other one is hashed as it arrives, too.
        checksum: index % 2 === 0 ? { algorithm: "sha256" as const, hex: digest(body) } : undefined
      }))
      const events = yield* Stream.runCollect(
        Downloads.downloads(requests, { directory, concurrency: count, retries: 0 })
      )
      expect(server.most()).toBe(count)
      const failed = Chunk.toReadonlyArray(events).filter(
        (event) => event.event === "finished" && event.status !== "succeeded"
      )
      expect(failed).toEqual([])
      const wrong = files.flatMap((body, index) =>
        fs.readFileSync(join(directory, `f${index}`)).equals(body) ? [] : [index]
      )
      expect(wrong).toEqual([])
    }).pipe(Effect.provide(Downloader.layer))
  )
})
