import { describe, expect, it } from "@effect/vitest"
import { Chunk, Effect, Either, Stream } from "effect"
import * as DownloadList from "../../../src/services/download/DownloadList.js"
import * as Input from "../../../src/services/host/Input.js"

describe("DownloadList", () => {
  const readText = (text: string) =>
    DownloadList.readList("-").pipe(
      Stream.runCollect,
      Effect.map(Chunk.toReadonlyArray),
      Effect.provide(Input.layerTest(text))
    )
  const sum = "ab".repeat(32)

  it.effect("reads URLs, names and checksums, with the origin of each", () =>
    Effect.gen(function* () {
      const requests = yield* readText(
        `# head\n\nhttps://a.example/x\r\nhttps://a.example/y\tname.txt\n https://a.example/z \t\tSHA256:${sum.toUpperCase()}\nhttps://a.example/w\tn\tsha256:${sum}`
      )
      const checksum = { algorithm: "sha256", hex: sum }
      expect(requests).toEqual([
        { url: new URL("https://a.example/x"), source: "standard input, line 3" },
        { url: new URL("https://a.example/y"), name: "name.txt", source: "standard input, line 4" },
        { url: new URL("https://a.example/z"), checksum, source: "standard input, line 5" },
        { url: new URL("https://a.example/w"), name: "n", checksum, source: "standard input, line 6" }
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
    [
      "https://a.example\nftp://a.example/x",
      "line 2: 'ftp://a.example/x' is not a web address; expected http:// or https://"
    ],
    ["\n\nnonsense", "line 3: 'nonsense' is not a URL; expected https://host/path"],
    [
      "https://a.example\t.hidden",
      "line 1: '.hidden' is not a plain file name; leave out folders, leading dots and special characters"
    ],
    [
      "https://a.example\tsha256:xyz",
      "line 1: 'sha256:xyz' is not a checksum; expected sha256: and 64 hexadecimal digits"
    ],
    ["https://a.example\ta\tb", "line 1: 'b' is a third field; expected URL, TAB, file name, TAB, sha256:HEX"]
  ])("names the line: %j", ([text, message]) =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(readText(text!))
      expect([error.message, error.exitCode]).toEqual([`standard input, ${message}`, 2])
    })
  )

  it.live("counts its lines from 1 in each reading; reports the problem of a file", () =>
    Effect.gen(function* () {
      const missing = yield* Effect.flip(Stream.runDrain(DownloadList.readList("/no/such/list")))
      expect(missing.message).toBe("cannot read the list /no/such/list: the file does not exist")
      const list = DownloadList.readList(new URL(import.meta.url).pathname)
      const twice = yield* Effect.all([
        Effect.flip(Stream.runDrain(list)),
        Effect.flip(Stream.runDrain(list))
      ])
      expect(twice.map(({ line }) => line)).toEqual([1, 1])
    }).pipe(Effect.provide(Input.layer))
  )

  it("parseUrl and parseChecksum answer in words", () => {
    expect(Either.getOrThrow(DownloadList.parseUrl("HTTPS://A.example")).href).toBe("https://a.example/")
    expect(Either.isLeft(DownloadList.parseUrl("javascript:alert(1)"))).toBe(true)
    expect(DownloadList.parseChecksum(`sha256:${sum}`)).toEqual(
      Either.right({ algorithm: "sha256", hex: sum })
    )
    expect(Either.isLeft(DownloadList.parseChecksum(`sha1:${sum}`))).toBe(true)
  })
})
