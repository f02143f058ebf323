import * as net from "node:net"
import { setImmediate as turn } from "node:timers/promises"

// A server that sends the bytes of its script, and ends its connections as the script has it.

export interface Request {
  readonly method: string
  readonly path: string
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string>>
  /** How often this path was asked for, this time included. */
  readonly nth: number
}

export interface Answer {
  /** Each is one write, a turn of the event loop after the previous one. */
  readonly send: ReadonlyArray<string | Buffer>
  /**
   * The end: `keep` leaves the connection open for the next request, `fin` closes it in order, `reset` resets
   * it when the client has seen some of the body, `reset now` together with the last piece.
   */
  readonly end?: "keep" | "fin" | "reset" | "reset now" | undefined
}

export interface ScriptedServer {
  readonly port: number
  readonly url: (path: string) => string
  readonly requests: ReadonlyArray<Request>
  /** To be called when the client has received some of the body: a `reset` waits for that. */
  readonly seen: () => void
  readonly close: () => Promise<void>
}

/** The answer to a request, or to the first, the second, ... of a path, the last one staying. */
export type Script = (request: Request) => Answer

export const start = async (script: Script): Promise<ScriptedServer> => {
  const requests: Array<Request> = []
  const sockets = new Set<net.Socket>()
  let seen: () => void = () => undefined
  const server = net.createServer({ noDelay: true }, (socket) => {
    sockets.add(socket)
    socket.on("error", () => undefined).on("close", () => sockets.delete(socket))
    let text = ""
    socket.on("data", async (chunk) => {
      text += chunk.toString("latin1")
      const end = text.indexOf("\r\n\r\n")
      if (end < 0) return
      const [line = "", ...fields] = text.slice(0, end).split("\r\n")
      text = text.slice(end + 4)
      const headers: Record<string, string> = {}
      for (const field of fields) {
        const colon = field.indexOf(":")
        headers[field.slice(0, colon).toLowerCase()] = field.slice(colon + 1).trim()
      }
      const [method = "", path = "/"] = line.split(" ")
      const nth = requests.filter((request) => request.path === path).length + 1
      const request = { method, path, headers, nth }
      requests.push(request)
      const answer = script(request)
      const progress = new Promise<void>((resolve) => {
        seen = resolve
      })
      for (const [i, piece] of answer.send.entries()) {
        if (socket.destroyed) return
        socket.write(piece)
        if (answer.end === "reset now" && i === answer.send.length - 1) break
        await turn()
        await turn()
      }
      if (answer.end === "fin") socket.end()
      else if (answer.end === "reset" || answer.end === "reset now") {
        if (answer.end === "reset") await progress
        socket.resetAndDestroy()
      }
    })
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  const { port } = server.address() as net.AddressInfo
  return {
    port,
    url: (path) => `http://127.0.0.1:${port}${path}`,
    requests,
    seen: () => seen(),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        for (const socket of sockets) socket.destroy()
      })
  }
}

/** A head by its lines: status line first, `undefined` lines left out. */
export const head = (...lines: ReadonlyArray<string | undefined>): string =>
  `${lines.filter((line) => line !== undefined).join("\r\n")}\r\n\r\n`
