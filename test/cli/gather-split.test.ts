import { readFileSync } from "node:fs"
import { join } from "node:path"
import { gzipSync } from "node:zlib"
import { afterAll, describe, expect, it } from "vitest"
import * as Aio from "../support/Aio.js"
import * as FaultServer from "../support/FaultServer.js"
import * as InProcess from "../support/InProcess.js"

// A file in segments: --split.

const serve = FaultServer.starter()
afterAll(Aio.removeFolders)

const MiB = 1024 * 1024
const body = FaultServer.bytes(4 * MiB)
const sum = `sha256:${FaultServer.sha256(body)}`

/** Serves ranges; `part` may end a response of its own. The first response waits until the segments are there. */
const ranges =
  (
    options: {
      readonly etag?: (nth: number) => string
      readonly total?: number
      /** Whether the response to a range has no length. */
      readonly chunked?: boolean
      readonly part?: (exchange: FaultServer.Exchange, bytes: Buffer, from: number) => boolean
    } = {}
  ): FaultServer.Handler =>
  (exchange) => {
    const { attempt, request, response } = exchange
    const etag = options.etag?.(attempt) ?? '"v1"'
    const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "")
    const valid = range !== null && request.headers["if-range"] === etag
    const from = valid ? Number(range[1]) : 0
    const end = valid && range[2] !== "" ? Number(range[2]) + 1 : body.length
    const piece = body.subarray(from, end)
    response.writeHead(valid ? 206 : 200, {
      etag,
      "accept-ranges": "bytes",
      ...(valid && options.chunked === true ? {} : { "content-length": piece.length }),
      ...(valid ? { "content-range": `bytes ${from}-${end - 1}/${options.total ?? body.length}` } : {})
    })
    if (options.part?.(exchange, piece, from) === true) return
    response.end(piece)
  }
/** Sends a little, and the rest when the others have been asked for. */
const slowly = ({ response }: FaultServer.Exchange, piece: Buffer, wait: Promise<unknown>) => {
  response.write(piece.subarray(0, 100_000))
  void wait.then(() => response.end(piece.subarray(100_000)))
  return true
}
/** Resolves `all` when `one` has been called so many times. */
const count = (times: number) => {
  let left = times
  let done: () => void = () => undefined
  const all = new Promise<void>((resolve) => {
    done = resolve
  })
  return { all, one: () => --left === 0 && done() }
}
const gather = (dir: string, ...args: ReadonlyArray<string>) =>
  InProcess.run(["gather", "-q", "--json", "--retries=2,10ms", "-d", dir, ...args])
const saved = (dir: string) => readFileSync(join(dir, "f")).equals(body)

describe.concurrent("aio gather --split", () => {
  it("joins segments of one version, each from a connection of its own, with the checksum of the whole", async () => {
    let server: FaultServer.FaultServer | undefined
    server = await serve({
      "/f": ranges({
        part: (exchange, piece, from) => from === 0 && slowly(exchange, piece, server!.arrived("/f", 4))
      })
    })
    const dir = Aio.folder()
    const { code, stdout } = await Aio.run([
      ...["gather", "--json", "-d", dir, "--split", "4", "--checksum", sum, server.url("/f")]
    ])
    expect([code, saved(dir), Aio.names(dir)]).toEqual([0, true, ["f"]])
    expect(stdout).toContain(`"bytes":${body.length}`)
    expect(server.seen.map(({ headers }) => [headers.range, headers["if-range"]])).toEqual([
      [undefined, undefined],
      ...[1, 2, 3].map((i) => [`bytes=${i * MiB}-${(i + 1) * MiB - 1}`, '"v1"'])
    ])
  })

  it("a wrong checksum over the whole keeps nothing", async () => {
    const server = await serve({ "/f": ranges() })
    const dir = Aio.folder()
    const wrong = `md5:${"0".repeat(32)}`
    const { code, stdout } = await gather(dir, "--split=4", "--checksum", wrong, server.url("/f"))
    expect([code, Aio.names(dir)]).toEqual([1, []])
    expect(stdout).toContain("md5 is ")
  })

  it.each([
    ["no ranges", () => FaultServer.ok(body, { etag: '"v1"' })],
    ["no strong validator", () => FaultServer.ok(body, { etag: 'W/"v1"' })],
    ["ranges that are refused", () => FaultServer.inTurn(ranges(), FaultServer.status(403))],
    ["a limit on connections", () => FaultServer.inTurn(ranges(), FaultServer.status(403), ranges())]
  ])("a server with %s sends the file over one connection", async (_, handler) => {
    const server = await serve({ "/f": handler() })
    const dir = Aio.folder()
    expect((await gather(dir, "--split=4", server.url("/f"))).code).toBe(0)
    expect([saved(dir), Aio.names(dir)]).toEqual([true, ["f"]])
  })

  it("a segment of another version is never joined: the whole file is fetched again", async () => {
    const server = await serve({
      "/f": ranges({
        etag: (nth) => (nth === 1 ? '"old"' : '"new"'),
        part: ({ attempt, response }, piece) => {
          if (attempt !== 1) return false
          response.write(Buffer.alloc(500_000)) // of the old version; the rest never comes
          return piece.length > 0
        }
      })
    })
    const dir = Aio.folder()
    const { code, stdout } = await gather(dir, "--split=4", "--checksum", sum, server.url("/f"))
    expect([code, saved(dir), Aio.names(dir)]).toEqual([0, true, ["f"]])
    expect(stdout).toContain("the file has changed while its segments were downloaded")
  })

  it("a segment with another total length is never joined", async () => {
    const server = await serve({
      "/f": FaultServer.inTurn(
        ranges({ part: ({ response }) => response.write("some") }),
        ranges({ total: 4 * MiB + 1 })
      )
    })
    const dir = Aio.folder()
    const { stdout } = await gather(dir, "--retries=0", "--split=2", server.url("/f"))
    expect(stdout).toContain('"cause":"range"')
    expect(Aio.names(dir)).toEqual([])
  })

  const lies: ReadonlyArray<
    readonly [
      what: string,
      lie: (from: number, end: number) => Record<string, string | number>,
      status: number
    ]
  > = [
    ["no version", () => ({ etag: "" }), 206],
    ["a weak version", () => ({ etag: 'W/"v1"' }), 206],
    [
      "another beginning",
      (from, end) => ({ "content-range": `bytes ${from - 1}-${end - 2}/${body.length}` }),
      206
    ],
    ["another end", (from, end) => ({ "content-range": `bytes ${from}-${end - 2}/${body.length}` }), 206],
    ["a length that is not the range's", (from, end) => ({ "content-length": end - from - 1 }), 206],
    ["an encoding", () => ({ "content-encoding": "gzip" }), 206],
    ["the status of a whole file", () => ({}), 200]
  ]
  it.each(lies)("a segment with %s is never joined", async (_, lie, status) => {
    const ended = count(3)
    const server = await serve({
      "/f": (exchange) => {
        const { attempt, request, response } = exchange
        const range = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "")
        if (attempt === 1 || range === null)
          return ranges({ part: (_, piece) => slowly(exchange, piece, ended.all) })(exchange)
        response.on("close", ended.one)
        const [from, end] = [Number(range[1]), Number(range[2]) + 1]
        const told = lie(from, end)
        const wrong = Buffer.alloc(Number(told["content-length"] ?? end - from))
        response.writeHead(status, {
          etag: '"v1"',
          "content-range": `bytes ${from}-${end - 1}/${body.length}`,
          ...told
        })
        response.end("content-encoding" in told ? gzipSync(wrong) : wrong)
      }
    })
    const dir = Aio.folder()
    await gather(dir, "--split=4", server.url("/f"))
    expect([saved(dir), Aio.names(dir)]).toEqual([true, ["f"]])
  })

  it("a segment that has more than its range ends there", async () => {
    const ended = count(3)
    const server = await serve({
      "/f": ranges({
        chunked: true,
        part: (exchange, piece) => {
          const { attempt, response } = exchange
          if (attempt === 1) return slowly(exchange, piece, ended.all)
          response.on("close", ended.one)
          response.end(Buffer.concat([piece, Buffer.alloc(1)]))
          return true
        }
      })
    })
    const dir = Aio.folder()
    await gather(dir, "--split=4", server.url("/f"))
    expect([saved(dir), Aio.names(dir)]).toEqual([true, ["f"]])
  })

  it("a segment that breaks is requested again alone, from where it stopped; so is the first", async () => {
    const cut = new Set<number>()
    const server = await serve({
      "/f": ranges({
        part: ({ response, socket }, piece, from) => {
          if (cut.has(from % MiB === 0 ? from : -1) || from % MiB !== 0) return false
          cut.add(from)
          response.write(piece.subarray(0, 600_000), () => socket.end())
          return true
        }
      })
    })
    const dir = Aio.folder()
    const { code, stdout } = await gather(
      dir,
      "--retries=0",
      "--split=4",
      "--checksum",
      sum,
      server.url("/f")
    )
    expect([code, saved(dir), Aio.names(dir)]).toEqual([0, true, ["f"]])
    expect(stdout).not.toContain("retrying")
    const starts = server.seen.map(({ headers }) => Number(/(\d+)-/.exec(headers.range ?? "0-")![1]) % MiB)
    expect(starts.filter((at) => at === 0).length).toBe(4)
    expect(starts.filter((at) => at > 0).length).toBe(4)
  })

  it("a killed download is continued in its segments, and without --split from its beginning", async () => {
    for (const then of [["--split=4"], []]) {
      let stalls = true
      let server: FaultServer.FaultServer | undefined
      server = await serve({
        "/f": ranges({
          part: (exchange, piece) => {
            if (stalls) exchange.response.write(piece.subarray(0, 700_000))
            else if (then.length > 0 && exchange.request.headers.range?.endsWith("-") === true)
              return slowly(exchange, piece, server!.arrived("/f", 8))
            return stalls
          }
        })
      })
      const dir = Aio.folder()
      const args = ["gather", "-q", "--json", "-d", dir, "--checksum", sum]
      const running = Aio.start([...args, "--split=4", server.url("/f")])
      const recorded = () => {
        const name = Aio.names(dir).find((name) => name.endsWith(".json"))
        const text = name === undefined ? "" : readFileSync(join(dir, name), "utf8")
        return text.endsWith("}") ? (JSON.parse(text).missing ?? []) : [] // it may be half written
      }
      for (let i = 0; i < 500 && recorded().filter(([from]: [number]) => from % MiB > 0).length < 4; i++)
        await new Promise((resolve) => setTimeout(resolve, 20))
      running.kill("SIGKILL")
      await running.ended
      stalls = false
      const before = server.seen.length
      const { code, stdout } = await Aio.run([...args, ...then, server.url("/f")])
      expect([code, saved(dir), Aio.names(dir)]).toEqual([0, true, ["f"]])
      const asked = server.seen.slice(before).map(({ headers }) => headers.range)
      expect(asked.length).toBe(then.length === 0 ? 1 : 4)
      for (const range of asked) expect(Number(/(\d+)-/.exec(range!)![1]) % MiB).toBeGreaterThan(100_000)
      expect(stdout).toMatch(/"resumedFrom":[1-9]/)
    }
  })

  it.each([
    [["--split", "0"], "option --split: "],
    [["--split", "65"], "option --split: "],
    [["--split", "2", "--discard"], "--discard saves no segments; omit it or --split"],
    [["--split", "2", "-o", "-"], "--output - saves no segments; omit it or --split"],
    [
      ["--split", "2", "--no-resume"],
      "--no-resume keeps no partial file, in which segments are joined; omit it or --split"
    ]
  ])("%j is refused", async (args, message) => {
    const { code, stderr } = await InProcess.run(["gather", ...args, "http://127.0.0.1:9/f"])
    expect([code, stderr.split("\n").length]).toEqual([2, 2])
    expect(stderr).toContain(`aio gather: ${message}`)
  })
})
