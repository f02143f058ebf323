import { createHash } from "node:crypto"
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs"
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { hostname } from "node:os"
import { join } from "node:path"
import { afterAll, describe, expect, it } from "@effect/vitest"
import { Context, Effect, Exit, Fiber, Layer, Logger, Scope, Stream } from "effect"
import * as ClusterDownloader from "../../../src/services/cluster/ClusterDownloader.js"
import * as ClusterStatus from "../../../src/services/cluster/ClusterStatus.js"
import * as Runner from "../../../src/services/cluster/Runner.js"
import * as RunnerDownloads from "../../../src/services/cluster/RunnerDownloads.js"
import * as Downloader from "../../../src/services/download/Downloader.js"
import * as Downloads from "../../../src/services/download/Downloads.js"
import * as InlineExecutor from "../../../src/services/thread/InlineExecutor.js"
import * as Aio from "../../support/Aio.js"

// Submitter and runners in the test's process. As processes: test/cli/gather-cluster.test.ts.

afterAll(Aio.removeFolders)

const quiet = Logger.remove(Logger.defaultLogger)
const place = () => {
  const folder = Aio.folder()
  return { folder, store: join(folder, "jobs.sqlite") }
}
type Place = ReturnType<typeof place>

const runner = ({ folder, store }: Place, name: string) =>
  Layer.unwrapScoped(
    Effect.map(RunnerDownloads.job({ directory: join(folder, name) }), (downloads) =>
      Runner.layer({ store, builtins: [downloads], heartbeat: 100 })
    )
  ).pipe(Layer.provide([Downloader.layer, InlineExecutor.layer]))
const submitter = ({ store }: Place, options: Partial<ClusterDownloader.Options> = {}) =>
  ClusterDownloader.layer({ store, ...options })

/** A server of its own port, so that its URLs are of another host. */
const serve = (listener: (request: IncomingMessage, response: ServerResponse) => void) =>
  Effect.acquireRelease(
    Effect.async<{ origin: string; close: () => void }>((resume) => {
      const server = createServer(listener).listen(0, "127.0.0.1", () =>
        resume(
          Effect.succeed({
            origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
            close: () => {
              server.closeAllConnections()
              server.close()
            }
          })
        )
      )
    }),
    ({ close }) => Effect.sync(close)
  )
const finished = (
  urls: ReadonlyArray<string | { readonly url: string; readonly name?: string }>,
  options: Downloads.DownloadsOptions = {}
) =>
  Downloads.downloads(
    urls.map((one) => (typeof one === "string" ? { url: new URL(one) } : { ...one, url: new URL(one.url) })),
    { directory: ".", ...options }
  ).pipe(
    Stream.runCollect,
    Effect.map((events) => [...events])
  )

describe("ClusterDownloader", () => {
  it.live("the URLs of a host are on one runner, and hosts are shared out", () => {
    const at = place()
    return Effect.gen(function* () {
      const servers = yield* Effect.forEach([1, 2, 3, 4], (n) =>
        serve((request, response) => response.end(`${n}${request.url}`))
      )
      const runners = yield* Effect.forEach(["a", "b"], (name) => Layer.build(runner(at, name)))
      const urls = servers.flatMap(({ origin }, n) => [1, 2, 3].map((i) => `${origin}/${n}-${i}`))
      const events = yield* Effect.provide(finished(urls, { concurrency: 4 }), submitter(at))
      expect(events.filter((event) => "reason" in event)).toEqual([])
      expect(events.at(-1)).toMatchObject({ event: "summary", succeeded: 12, exitCode: 0 })
      const done = events.filter((event) => event.event === "finished")
      for (const event of done) {
        expect(event).toMatchObject({ status: "succeeded", host: hostname(), httpStatus: 200 })
        expect(event.path === undefined ? "" : readFileSync(event.path, "utf8")).toMatch(/^\d\/\d-\d$/)
      }
      const folders = servers.map((_, n) =>
        ["a", "b"].filter((name) => existsSync(join(at.folder, name, `${n}-1`)))
      )
      expect(folders.flat().sort()).toEqual(["a", "a", "b", "b"])
      for (const [n, [name]] of folders.entries())
        for (const i of [2, 3]) expect(existsSync(join(at.folder, name!, `${n}-${i}`))).toBe(true)
      const counts = yield* Effect.forEach(runners, (built) => Context.get(built, Runner.Runner).snapshot)
      expect(counts.map(({ recorded }) => recorded)).toEqual([6, 6])
    }).pipe(Effect.scoped)
  })

  it.live("failures, retries, checksums and what exists are as on this machine", () => {
    const at = place()
    let asked = 0
    return Effect.gen(function* () {
      const { origin } = yield* serve((request, response) => {
        if (request.url === "/late" && asked++ === 0) response.statusCode = 503
        if (request.url === "/none") response.statusCode = 404
        response.end(request.url)
      })
      const sha256 = (text: string) => ({
        algorithm: "sha256" as const,
        hex: createHash("sha256").update(text).digest("hex")
      })
      const requests = [
        { url: new URL(`${origin}/late`) },
        { url: new URL(`${origin}/none`) },
        { url: new URL(`${origin}/right`), checksum: sha256("/right"), name: "below/right" },
        { url: new URL(`${origin}/wrong`), checksum: sha256("other") }
      ]
      const all = (options: Downloads.DownloadsOptions) =>
        Downloads.downloads(requests, { directory: ".", backoff: { first: 0 }, ...options }).pipe(
          Stream.runCollect,
          Effect.map((events) => [...events])
        )
      const events = yield* all({ retries: 1 })
      expect(events.filter(({ event }) => event === "retrying")).toMatchObject([
        { index: 1, cause: "status" }
      ])
      const done = events.filter((event) => event.event === "finished").sort((a, b) => a.index - b.index)
      expect(done).toMatchObject([
        { status: "succeeded", attempts: 2 },
        { status: "failed", cause: "status", httpStatus: 404 },
        { status: "succeeded", path: join(at.folder, "a/below/right"), sha256: sha256("/right").hex },
        { status: "failed", cause: "checksum" }
      ])
      expect(readdirSync(join(at.folder, "a")).filter((name) => !name.startsWith("."))).toEqual([
        "below",
        "late"
      ])
      const again = yield* all({ retries: 0, existing: "keep" })
      expect(again.find((event) => event.event === "finished" && event.index === 3)).toMatchObject({
        status: "skipped",
        reason: "it already exists"
      })
    }).pipe(Effect.scoped, Effect.provide([submitter(at), runner(at, "a")]))
  })

  it.live("an interrupted download ends on its runner, and is continued by the next run", () => {
    const at = place()
    const body = "x".repeat(600_000)
    let closed = false
    let range: string | undefined
    return Effect.gen(function* () {
      const { origin } = yield* serve((request, response) => {
        range = request.headers.range
        const from = Number(/^bytes=(\d+)-$/.exec(range ?? "")?.[1] ?? 0)
        response.setHeader("etag", '"1"')
        response.setHeader("accept-ranges", "bytes")
        response.setHeader("content-length", body.length - from)
        if (from > 0) {
          response.writeHead(206, { "content-range": `bytes ${from}-${body.length - 1}/${body.length}` })
          return response.end(body.slice(from))
        }
        response.on("close", () => {
          closed = true
        })
        return response.write(body.slice(0, 400_000))
      })
      const fiber = yield* Effect.fork(Effect.provide(finished([`${origin}/f`]), submitter(at)))
      const held = () => readdirSync(join(at.folder, "a")).length > 0
      yield* Effect.repeat(Effect.sleep(5), { until: held, times: 2000 })
      expect(held()).toBe(true)
      yield* Fiber.interrupt(fiber)
      yield* Effect.repeat(Effect.sleep(5), { until: () => closed, times: 2000 })
      expect(closed).toBe(true)
      expect((yield* ClusterStatus.read(at.store)).runs).toEqual([])
      const events = yield* Effect.provide(finished([`${origin}/f`]), submitter(at))
      expect(events.find(({ event }) => event === "finished")).toMatchObject({
        status: "succeeded",
        bytes: 600_000
      })
      expect(range).toMatch(/^bytes=[1-9]/)
      expect(readFileSync(join(at.folder, "a/f"), "utf8")).toBe(body)
    }).pipe(Effect.scoped, Effect.provide(runner(at, "a")))
  })

  it.live("a runner that leaves: its hosts go to another one", () => {
    const at = place()
    return Effect.gen(function* () {
      const { origin } = yield* serve((request, response) => response.end(request.url))
      const first = yield* Scope.make()
      yield* Layer.buildWithScope(runner(at, "a"), first)
      yield* Effect.gen(function* () {
        yield* finished([`${origin}/1`])
        yield* Layer.build(runner(at, "b"))
        yield* Scope.close(first, Exit.void)
        yield* finished([`${origin}/2`, `${origin}/3`])
      }).pipe(Effect.provide(submitter(at)))
      expect([readdirSync(join(at.folder, "a")), readdirSync(join(at.folder, "b"))]).toEqual([
        ["1"],
        ["2", "3"]
      ])
    }).pipe(Effect.scoped)
  })

  it.live("a runner that does not allow downloads makes none, and the first one that does makes them", () => {
    const at = place()
    const none = Layer.provide(Runner.layer({ store: at.store, code: at.folder }), InlineExecutor.layer)
    return Effect.gen(function* () {
      const { origin } = yield* serve((request, response) => response.end(request.url))
      yield* Effect.gen(function* () {
        const refused: Array<string> = []
        const onRefused = ({ reason }: { readonly reason: string }) => void refused.push(reason)
        const events = yield* Effect.provide(finished([`${origin}/1`]), submitter(at, { onRefused }))
        const reason =
          "no runner of group default can run it: it saves no downloads; start it with aio runner --downloads DIR to allow them"
        expect(refused).toEqual([reason])
        expect(events).toContainEqual(
          expect.objectContaining({ event: "finished", status: "failed", reason })
        )
      }).pipe(Effect.provide(none))
      // Without any runner they wait.
      const waits = yield* Effect.fork(Effect.provide(finished([`${origin}/2`]), submitter(at)))
      yield* Effect.sleep(50)
      yield* Layer.build(runner(at, "a"))
      expect((yield* Fiber.join(waits)).at(-1)).toMatchObject({ succeeded: 1 })
    }).pipe(Effect.scoped, Effect.provide(quiet))
  })
})

describe("RunnerDownloads", () => {
  const request = (name: string, url = "http://127.0.0.1:1/") => ({
    url,
    target: { name },
    history: { lengths: [], refused: 0 },
    session: {}
  })
  const about = { job: "j", id: "i", maxResult: 1000 }

  it.live.each([
    "../x",
    "/etc/x",
    "a/../../x",
    "a//b",
    "",
    ".",
    "..",
    "a/",
    "x\0",
    "a\\..\\b",
    ".hidden/../../x"
  ])("saves nothing under the name %j", (name) => {
    const at = place()
    return Effect.gen(function* () {
      const { run } = yield* RunnerDownloads.job({ directory: join(at.folder, "a") })
      const error = yield* Effect.flip(run(request(name), about))
      expect(error).toMatchObject({ _tag: "NotSerializable", part: "arguments" })
      expect(error.detail).toContain("its file name is no path within the folder of the downloads")
    }).pipe(Effect.scoped, Effect.provide(Downloader.layer))
  })

  it.live("saves nothing by a link that leads out of the folder, and does not write through one", () => {
    const at = place()
    const [folder, out] = [join(at.folder, "a"), join(at.folder, "out")]
    for (const path of [folder, out]) mkdirSync(path)
    symlinkSync(out, join(folder, "sub"))
    writeFileSync(join(out, "kept"), "kept")
    symlinkSync(join(out, "kept"), join(folder, "file"))
    return Effect.gen(function* () {
      const { origin } = yield* serve((request, response) => response.end(request.url))
      const { run } = yield* RunnerDownloads.job({ directory: folder })
      const by = (name: string) => Effect.map(run(request(name, `${origin}/x`), about), (result) => result)
      expect(yield* by("sub/x")).toMatchObject({
        ended: { _tag: "Failed", reason: "file", detail: expect.stringContaining("is a symbolic link") }
      })
      expect(yield* by("file")).toMatchObject({ ended: { _tag: "Downloaded" } })
      expect([readdirSync(out), readFileSync(join(out, "kept"), "utf8")]).toEqual([["kept"], "kept"])
      expect(readFileSync(join(folder, "file"), "utf8")).toBe("/x")
    }).pipe(Effect.scoped, Effect.provide(Downloader.layer))
  })

  it.live("saves one file of a name at a time, where case does not count", () => {
    const at = place()
    let release: () => unknown = () => undefined
    return Effect.gen(function* () {
      const { origin } = yield* serve((_, response) => {
        release = () => response.end("x")
      })
      const { run } = yield* RunnerDownloads.job({ directory: at.folder })
      const first = yield* Effect.fork(run(request("f", `${origin}/`), about))
      const before = release
      yield* Effect.repeat(Effect.sleep(5), { until: () => release !== before, times: 2000 })
      expect(yield* run(request("F", `${origin}/`), about)).toMatchObject({
        ended: { _tag: "Failed", reason: "name-taken", retryable: true }
      })
      release()
      expect(yield* Fiber.join(first)).toMatchObject({ ended: { _tag: "Downloaded", size: 1 } })
    }).pipe(Effect.scoped, Effect.provide(Downloader.layer))
  })

  it.live.each([
    ["nothing", undefined],
    ["a file of the machine", request("x", "file:///etc/passwd")],
    ["no URL", request("x", "x")],
    ["too many segments", { ...request("x"), target: { name: "x", split: 1000 } }],
    ["a negative time", { ...request("x"), session: { stallTimeout: -1 } }]
  ] as ReadonlyArray<readonly [string, unknown]>)("makes no download of %s", ([, given]) => {
    const at = place()
    return Effect.gen(function* () {
      const { run } = yield* RunnerDownloads.job({ directory: at.folder })
      expect(yield* Effect.flip(run(given, about))).toMatchObject({ _tag: "NotSerializable" })
    }).pipe(Effect.scoped, Effect.provide(Downloader.layer))
  })

  it.live("needs a folder in which files can be created", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(RunnerDownloads.job({ directory: "/dev/null/a" }))
      expect(error).toMatchObject({ _tag: "DirectoryError", exitCode: 2 })
    }).pipe(Effect.scoped, Effect.provide(Downloader.layer))
  )
})
