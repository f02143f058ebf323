import { readFileSync } from "node:fs"
import * as net from "node:net"
import { fileURLToPath } from "node:url"
import * as HttpServer from "@effect/platform/HttpServer"
import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { onSockets, port } from "../../support/Http.js"
import * as Autobahn from "./autobahn.js"
import { echo } from "./support.js"

const handshake =
  "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

/** Reads frames from the beginning of the bytes; returns what is left of them, and how much the next frame needs. */
const read = (
  bytes: Buffer,
  onFrame: (shown: string) => void
): { readonly rest: Buffer; readonly needed: number } => {
  let at = 0
  let needed = 2
  while (bytes.length >= at + 2) {
    const short = bytes[at + 1]! & 127
    const head = short < 126 ? 2 : short === 126 ? 4 : 10
    needed = head
    if (bytes.length < at + head) break
    const length =
      short < 126 ? short : short === 126 ? bytes.readUInt16BE(at + 2) : Number(bytes.readBigUInt64BE(at + 2))
    needed = head + length
    if (bytes.length < at + needed) break
    onFrame(Autobahn.shown(bytes[at]! & 15, bytes.subarray(at + head, at + head + length)))
    at += needed
    needed = 2
  }
  return { rest: bytes.subarray(at), needed }
}

/** Sends the pieces, each once the one before is written, and returns the frames of the server until it closes. */
const converse = (port: number, sent: ReadonlyArray<Buffer>) =>
  Effect.async<ReadonlyArray<string>>((resume) => {
    const frames: Array<string> = []
    const socket = net.connect({ port, host: "127.0.0.1", noDelay: true }, () => socket.write(handshake))
    let chunks: Array<Buffer> = []
    let size = 0
    let needed = 0
    let shaken = false
    const send = (i: number) => {
      const piece = sent[i]
      if (piece !== undefined && !socket.destroyed) socket.write(piece, () => setImmediate(send, i + 1))
    }
    socket.on("data", (chunk: Buffer) => {
      chunks.push(chunk)
      size += chunk.length
      if (size < needed) return
      let got = Buffer.concat(chunks)
      if (!shaken) {
        const end = got.indexOf("\r\n\r\n")
        if (end < 0) return
        shaken = true
        got = got.subarray(end + 4)
        send(0)
      }
      const { needed: next, rest } = read(got, (shown) => frames.push(shown))
      chunks = [rest]
      size = rest.length
      needed = next
      if (frames.at(-1)?.startsWith("close") === true) socket.end()
    })
    socket.on("error", () => undefined).on("close", () => resume(Effect.succeed(frames)))
    return Effect.sync(() => socket.destroy())
  })

const chapters = [
  ["1", "framing"],
  ["2", "pings and pongs"],
  ["3", "reserved bits"],
  ["4", "opcodes"],
  ["5", "fragments"],
  ["6", "UTF-8"],
  ["7", "closing"],
  ["9", "limits"]
] as const

describe("HttpServerNode: the cases of Autobahn", () => {
  it.scopedLive.each(chapters)("chapter %s: %s", ([chapter]) =>
    Effect.gen(function* () {
      yield* HttpServer.serveEffect(echo)
      const to = yield* port
      const cases = Autobahn.ofChapter(chapter)
      const got = yield* Effect.forEach(
        cases,
        ({ id, sent, what }) => Effect.map(converse(to, sent), (answers) => ({ id, what, answers })),
        { concurrency: 16 }
      )
      expect(got).toEqual(cases.map(({ answers, id, what }) => ({ id, what, answers })))
    }).pipe(Effect.provide(onSockets()))
  )

  it("docs/server.md has their numbers", () => {
    const page = readFileSync(fileURLToPath(new URL("../../../docs/server.md", import.meta.url)), "utf8")
    const rows = [...page.matchAll(/^\| (\d+) ([\w -]+?) +\| (\d+) +\|/gm)].map(([, id, what, count]) => [
      id,
      what,
      Number(count)
    ])
    expect(rows).toEqual(chapters.map(([id, what]) => [id, what, Autobahn.ofChapter(id).length]))
  })
})
