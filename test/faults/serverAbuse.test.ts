import { spawn, spawnSync } from "node:child_process"
import { Agent, get } from "node:http"
import { createInterface } from "node:readline"
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { describe, expect, it, onTestFinished } from "vitest"
import type { Snapshot } from "../../src/services/http/HttpServer.js"

// Thousands of clients at once: the server is a process of its own, so that its memory is its own, and so are the clients.
// `npm run bench -- server` runs the same for longer, with times.

type State = Snapshot & { readonly heap: number; readonly rss: number }

const peer = (name: string, ...args: ReadonlyArray<string>) => {
  const path = fileURLToPath(new URL(`../../bench/peers/${name}.mjs`, import.meta.url))
  const child = spawn(process.execPath, ["--expose-gc", path, ...args], {
    stdio: ["pipe", "pipe", "inherit"]
  })
  onTestFinished(() => void child.kill("SIGKILL"))
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const line = async () => (await lines.next()).value as string
  const ask = (question: string) => {
    child.stdin.write(`${question}\n`)
    return line()
  }
  return { ask, end: () => child.stdin.end(), line }
}

const serve = async (options: object = {}) => {
  const { ask, line } = peer("guarded", JSON.stringify(options))
  const port = await line()
  const state = async (question = ""): Promise<State> => JSON.parse(await ask(question))
  const until = async (done: (state: State) => boolean) => {
    while (!done(await state())) await sleep(50)
    return state("gc")
  }
  const clients = (kind: string, count: number) => {
    const { end, line } = peer("abuse", port, kind, String(count))
    return {
      end,
      opened: line,
      result: async (): Promise<Record<string, number>> => JSON.parse(await line())
    }
  }
  const agent = new Agent({ keepAlive: true })
  onTestFinished(() => agent.destroy())
  /** A client that behaves: its answer. */
  const hello = () =>
    new Promise<string>((resolve, reject) => {
      get({ agent, host: "127.0.0.1", port }, (response) => {
        response.setEncoding("utf8").on("data", (text) => resolve(`${response.statusCode} ${text}`))
      }).on("error", reject)
    })
  return { clients, hello, state, until }
}

const openFiles = Number(spawnSync("sh", ["-c", "ulimit -n"], { encoding: "utf8" }).stdout) || 1024

/** So much more than before may be in use: what a warm process keeps, and never what clients have left behind. */
const factor = 1.3

describe("server: thousands of clients", { timeout: 180_000 }, () => {
  it("10,000 half-open connections, or as many as files may be open: others are served, all are closed, and their memory is freed", async () => {
    const count = Math.min(10_000, openFiles - 200)
    const { clients, hello, until } = await serve({
      ...{ connections: null, connectionsPerAddress: null, headerTime: "5 seconds", idleTime: "1 minute" }
    })
    const half = async (count: number) => {
      const { opened, result } = clients("half", count)
      expect(await opened()).toBe("open")
      return result
    }
    await (await half(2000))() // a process that has served is larger than a new one
    const before = await until(({ connections }) => connections.open === 0)
    const result = await half(count)
    for (let i = 0; i < 50; i++) expect(await hello()).toBe("200 hello")
    // Each is answered, unless its half of a head came after the time.
    expect((await result())["408"]).toBeGreaterThan(count * 0.9)
    const after = await until(({ connections }) => connections.open <= 1)
    expect(after.limits.headerTime).toBeGreaterThanOrEqual(count)
    expect(after.heap).toBeLessThan(before.heap * factor)
    expect(after.rss).toBeLessThan(before.rss * factor * factor)
  })

  it("slow clients, floods, compression, clients that do not read and a storm of disconnects: a client that behaves gets every answer, and memory is held", async () => {
    const { clients, hello, state, until } = await serve({
      ...{ connections: null, headerTime: "1 second", bodyTime: "2 seconds", writeTime: "1 second" },
      pingInterval: "1 second"
    })
    const abuse = async () => {
      const before = await state()
      const { end, result } = clients("abuse", 2000)
      let over = false
      const happened = until(({ limits, requests, webSockets }) => {
        const cancelled =
          requests.cancelled["client disconnected"] - before.requests.cancelled["client disconnected"]
        over =
          cancelled > 500 &&
          limits.headerTime > before.limits.headerTime &&
          limits.bodyTime > before.limits.bodyTime &&
          limits.writeTime > before.limits.writeTime &&
          webSockets.total > before.webSockets.total + 20
        return over
      })
      const answers: Array<string> = []
      while (!over) {
        answers.push(await hello())
        await sleep(5)
      }
      await happened
      end()
      return {
        answers,
        counts: await result(),
        state: await until(({ connections }) => connections.open <= 1)
      }
    }
    const { state: before } = await abuse() // a process that has served is larger than a new one
    const { answers, counts, state: after } = await abuse()
    expect(answers.length).toBeGreaterThan(20)
    expect(new Set(answers)).toEqual(new Set(["200 hello"]))
    expect(counts["deflate refused"]).toBeGreaterThan(0)
    expect(counts["deflate taken"]).toBeUndefined()
    expect(after.requests.failed).toBe(0)
    expect(after.heap).toBeLessThan(before.heap * factor)
    // V8 gives pages back late: 1.4 of that after ten seconds of it, 1.1 of that after forty.
    expect(after.rss).toBeLessThan(before.rss * factor * factor)
  })

  it("a storm of clients that disconnect: their handlers are cancelled, a client that behaves gets every answer, and memory is held", async () => {
    const { clients, hello, state, until } = await serve()
    const cancelled = ({ requests }: State) => requests.cancelled["client disconnected"]
    const storm = async () => {
      const before = cancelled(await state())
      const { end, result } = clients("disconnects", 2000)
      const answers: Array<string> = []
      while (cancelled(await state()) < before + 600) answers.push(await hello())
      end()
      await result()
      return { answers, state: await until(({ connections }) => connections.open <= 1) }
    }
    const { state: before } = await storm() // a process that has served is larger than a new one
    const { answers, state: after } = await storm()
    expect(answers.length).toBeGreaterThan(20)
    expect(new Set(answers)).toEqual(new Set(["200 hello"]))
    expect(after.requests).toMatchObject({ failed: 0, running: 0 })
    expect(after.heap).toBeLessThan(before.heap * factor)
    expect(after.rss).toBeLessThan(before.rss * factor)
  })

  it("a drain at 1,000 connections answers every request that it has accepted", async () => {
    const { clients, state, until } = await serve({ connectionsPerAddress: null, grace: "30 seconds" })
    const { opened, result } = clients("load", 1000)
    expect(await opened()).toBe("open")
    await until(({ requests }) => requests.total > 3000)
    const end = result()
    const { requests } = await state("close")
    const { answered, broken = 0 } = await end
    expect([answered, broken]).toEqual([requests.total, 0])
    expect(requests.cancelled).toEqual({ "client disconnected": 0, "server is closing": 0, deadline: 0 })
  })
})
