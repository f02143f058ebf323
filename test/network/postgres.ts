import { type ChildProcess, spawn } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { connect, createServer, type Socket } from "node:net"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { prepare } from "../../scripts/postgres.mjs"
import { binaries } from "./settings.js"

// A PostgreSQL of a test's own, which can be killed and started again, and a proxy that can stop forwarding.

const freePort = () =>
  new Promise<number>((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address() as { readonly port: number }
      server.close(() => resolve(port))
    })
  })

export interface Postgres {
  readonly port: number
  readonly url: string
  readonly kill: () => Promise<void>
  readonly start: () => Promise<void>
  /** Runs statements in a connection of their own, which stays open until it is ended. */
  readonly ask: (statements: string) => Promise<{ readonly end: () => Promise<void> }>
  readonly remove: () => Promise<void>
}

export const make = async (): Promise<Postgres> => {
  const folder = mkdtempSync(join(tmpdir(), "aio-postgres-"))
  const port = await freePort()
  const initdb = binaries["initdb"]!
  const { options, url, words } = prepare({ folder, initdb, port, settings: { max_connections: 60 } })
  let child: ChildProcess | undefined
  let closed: Promise<unknown> = Promise.resolve()
  const start = () =>
    new Promise<void>((resolve, reject) => {
      const started = spawn(binaries["postgres"]!, words, {
        ...options,
        stdio: ["ignore", "ignore", "pipe"]
      })
      child = started
      closed = new Promise((resolve) => started.once("close", resolve))
      let said = ""
      started.stderr.on("data", (bytes) => {
        said = (said + bytes).slice(-10_000)
        if (said.includes("ready to accept connections")) resolve()
      })
      started.once("close", () => reject(new Error(said)))
    })
  const kill = async () => {
    // QUIT ends its own processes too, at once and without a checkpoint, as a crash does.
    child?.kill("SIGQUIT")
    await closed
  }
  await start()
  return {
    port,
    url,
    start,
    kill,
    ask: (statements) =>
      new Promise((resolve, reject) => {
        const words = [url, "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1"]
        const client = spawn(join(dirname(initdb), "psql"), words)
        const closed = new Promise<void>((resolve) => client.once("close", () => resolve()))
        const end = () => {
          client.stdin.end()
          return closed
        }
        client.once("error", reject)
        client.stderr.once("data", (bytes) => reject(new Error(String(bytes))))
        client.stdout.once("data", () => resolve({ end }))
        client.stdin.write(`${statements};\n\\echo done\n`)
      }),
    remove: async () => {
      await kill()
      rmSync(folder, { recursive: true, force: true })
    }
  }
}

/** The direction in which nothing passes. */
export type Cut = "requests" | "answers" | "both"

/** Forwards to the port, until it is cut: then bytes wait, and no connection ends. */
export const proxy = async (to: number) => {
  const sockets = new Map<Socket, Cut>()
  let now: Cut | undefined
  const isHeld = (of: Cut) => now === "both" || now === of
  const server = createServer((from) => {
    const other = connect(to, "127.0.0.1")
    for (const [one, two, of] of [
      [from, other, "requests"],
      [other, from, "answers"]
    ] as const) {
      sockets.set(one, of)
      one.on("data", (bytes) => two.write(bytes))
      one.on("error", () => undefined)
      one.on("close", () => {
        sockets.delete(one)
        two.destroy()
      })
      if (isHeld(of)) one.pause()
    }
  }).listen(0, "127.0.0.1")
  await new Promise((resolve) => server.once("listening", resolve))
  const { port } = server.address() as { readonly port: number }
  return {
    url: `postgres://aio@127.0.0.1:${port}/postgres`,
    cut: (how: Cut = "both") => {
      now = how
      for (const [socket, of] of sockets) if (isHeld(of)) socket.pause()
    },
    mend: () => {
      now = undefined
      for (const socket of sockets.keys()) socket.resume()
    },
    close: () => {
      for (const socket of sockets.keys()) socket.destroy()
      server.close()
    }
  }
}
