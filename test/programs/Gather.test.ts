import { mkdirSync, mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { describe, expect, it } from "@effect/vitest"
import { Chunk, Effect, HashMap, Layer, Ref, Stream } from "effect"
import * as Gather from "../../src/programs/Gather.js"
import * as Downloader from "../../src/services/download/Downloader.js"
import * as DownloaderTest from "../../src/services/download/DownloaderTest.js"
import * as Input from "../../src/services/host/Input.js"
import * as Output from "../../src/services/host/Output.js"
import * as GuideServer from "../../src/services/http/GuideServer.js"

const scratch = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "aio-gather-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)
const request = (url: string) => ({ url: new URL(url) })
const collect = <A, E, R>(stream: Stream.Stream<A, E, R>) =>
  Effect.map(Stream.runCollect(stream), Chunk.toReadonlyArray)

describe("Gather", () => {
  it.live("example prints the guide's four pages as they arrive", () =>
    Effect.gen(function* () {
      const { stdout } = yield* Output.Captured
      yield* Gather.example
      expect(stdout).toEqual(GuideServer.pages.map(({ size, url }) => `Downloaded ${url}, size ${size}`))
    }).pipe(Effect.provide(Layer.mergeAll(Output.layerTest, Downloader.layer, GuideServer.layer)))
  )

  describe("readList", () => {
    const readText = (text: string, options?: Gather.ListOptions) =>
      Effect.provide(collect(Gather.readList("-", options)), Input.layerTest(text))
    const source = (line: number) => `line ${line} of standard input`

    it.effect("reads lines, with the origin of each", () =>
      Effect.gen(function* () {
        const text = "\ufeff# head\n\nhttps://a.example/x\r\n \t\nhttps://a.example/y\tname.txt"
        expect(yield* readText(text)).toEqual([
          { ...request("https://a.example/x"), source: source(3) },
          { ...request("https://a.example/y"), name: "name.txt", source: source(5) }
        ])
      })
    )

    it.effect("reads texts between NUL bytes", () =>
      Effect.gen(function* () {
        const requests = yield* readText("https://a.example/x\0#no\0https://a.example/y\tn\0", {
          format: "null"
        })
        expect(requests).toEqual([
          { ...request("https://a.example/x"), source: "item 1 of standard input" },
          { ...request("https://a.example/y"), name: "n", source: "item 3 of standard input" }
        ])
      })
    )

    it.effect("of nothing is nothing", () =>
      Effect.gen(function* () {
        expect(yield* readText("")).toEqual([])
        expect(yield* readText("\n\n# only a comment\n")).toEqual([])
      })
    )

    it.effect.each([
      ["\n\nnonsense", `${source(3)}: 'nonsense' is not a URL; expected https://host/path`],
      [`https://a.example/\n${"x".repeat(200)}`, `${source(2)} is longer than 100 bytes`]
    ] as const)("names the line: %j", ([text, message]) =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(readText(text, { maxLine: 100 }))
        expect([error.message, error.exitCode]).toEqual([message, 2])
      })
    )

    it.live("counts its lines from 1 in each reading; reports the problem of a file", () =>
      Effect.gen(function* () {
        const missing = yield* Effect.flip(Stream.runDrain(Gather.readList("/no/such/list")))
        expect(missing.message).toBe("cannot read the list /no/such/list: the file does not exist")
        const path = new URL(import.meta.url).pathname
        const list = Gather.readList(path)
        const twice = yield* Effect.all([
          Effect.flip(Stream.runDrain(list)),
          Effect.flip(Stream.runDrain(list))
        ])
        for (const error of twice) expect(error).toMatchObject({ place: `line 1 of ${path}` })
      }).pipe(Effect.provide(Input.layer))
    )
  })

  describe("plan", () => {
    it.effect("lists known requests, then those of the list; with a directory each file once", () =>
      Effect.gen(function* () {
        const sources = { requests: [request("https://me:secret@a.example/a")], list: "-" }
        const text = "https://me:secret@a.example/a\nhttps://a.example/b\n"
        const planned = (directory?: string) =>
          Effect.provide(collect(Gather.plan(sources, directory)), Input.layerTest(text))
        const [a, b] = ["https://a.example/a", "https://a.example/b"]
        expect(yield* planned()).toEqual(
          [a, a, b].map((name, i) => ({ event: "planned", index: i + 1, name }))
        )
        expect(yield* planned("dir")).toEqual([
          { event: "planned", index: 1, name: a, path: "dir/a" },
          { event: "planned", index: 3, name: b, path: "dir/b" }
        ])
      })
    )
  })

  describe("files", () => {
    const serve = DownloaderTest.layer({ "https://a.example/f": Effect.succeed("body") })

    it.scopedLive("saves the files of the command line and the list", () =>
      Effect.gen(function* () {
        const directory = yield* scratch
        const { count, events } = yield* Gather.files(
          { requests: [request("https://a.example/f")] },
          { directory }
        )
        expect((yield* collect(events)).at(-1)).toMatchObject({ event: "summary", succeeded: 1, failed: 0 })
        expect(count).toBe(1)
        expect(HashMap.size(yield* Ref.get(yield* DownloaderTest.Files))).toBe(1)
      }).pipe(Effect.provide(Layer.merge(serve, Input.layerTest(""))))
    )

    it.scopedLive("refuses a name that is taken and a folder in the way before anything is fetched", () =>
      Effect.gen(function* () {
        const directory = yield* scratch
        const refused = (...urls: ReadonlyArray<string>) =>
          Effect.flip(Gather.files({ requests: urls.map(request) }, { directory }))
        expect(yield* refused("https://a.example/x/f", "https://a.example/y/F")).toMatchObject({
          _tag: "NameTaken"
        })
        mkdirSync(join(directory, "f"))
        expect(yield* refused("https://a.example/f")).toMatchObject({ _tag: "FolderInTheWay" })
      }).pipe(Effect.provide(Layer.merge(serve, Input.layerTest(""))))
    )

    it.live("refuses a list that is wrong in a later line before anything is fetched", () =>
      Effect.gen(function* () {
        const list = new URL(import.meta.url).pathname
        const error = yield* Effect.flip(Gather.files({ requests: [request("https://a.example/f")], list }))
        expect(error).toMatchObject({ _tag: "ListError", place: `line 1 of ${list}` })
      }).pipe(Effect.provide(Layer.merge(serve, Input.layer)))
    )
  })
})
