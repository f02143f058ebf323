import { appendFile, mkdtemp, readdir, readFile, rm, stat } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"
import { FileSink } from "../../../../src/services/download/internal/fileSink.js"
import { Folder } from "../../../../src/services/download/internal/partials.js"
import { SmallFiles } from "../../../../src/services/download/internal/smallFiles.js"
import * as FaultServer from "../../../support/FaultServer.js"

let directory: string
const small = new SmallFiles()

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "aio-sink-"))
})
afterEach(() => rm(directory, { recursive: true }))

describe("FileSink", () => {
  it("takes the end of a body that arrives while the last blocks are written", async () => {
    const folder = await Folder.open(directory, small)
    const body = FaultServer.bytes(4_400_000)
    const errors: Array<unknown> = []
    await new Promise<void>((resolve, reject) => {
      let rest = 0
      // As a parser does that resumes with bytes it had kept: the last bytes and the end, at once.
      const onDrain = () => {
        sink.write(body.subarray(rest))
        Promise.resolve()
          .then(() => sink.finish())
          .then(() => resolve(), reject)
      }
      const sink = new FileSink(
        folder,
        { directory, name: "f" },
        "f",
        undefined,
        undefined,
        undefined,
        onDrain,
        (error) => errors.push(error)
      )
      while (!sink.write(body.subarray(rest, rest + 50_000))) rest += 50_000
      rest += 50_000
    })
    expect(errors).toEqual([])
    expect((await readFile(join(directory, "f"))).equals(body)).toBe(true)
    expect(await readdir(directory)).toEqual(["f"])
  })

  it("resumes each segment that it has paused, whatever another one writes meanwhile", async () => {
    let now = 0
    const clock = vi.spyOn(performance, "now").mockImplementation(() => (now += 1000)) // every write is slow
    try {
      const folder = await Folder.open(directory, small)
      let resumed = 0
      const sink = new FileSink(
        folder,
        { directory, name: "f" },
        "f",
        { url: "http://a.example/f", validator: '"v1"', total: 200 },
        undefined,
        undefined,
        () => resumed++,
        (error) => expect(error).toBeUndefined()
      )
      const opened = sink.inSegments(() => [])
      let one = 0
      while (!sink.writeAt(Buffer.from("1"), one++));
      await opened
      await new Promise(setImmediate) // some of them are written
      sink.writeAt(Buffer.from("2"), 199)
      await sink.finish()
      expect(resumed).toBeGreaterThan(0)
    } finally {
      clock.mockRestore()
    }
  })

  it("gives no name to a file that another program has written to", async () => {
    const folder = await Folder.open(directory, small)
    const errors: Array<unknown> = []
    const sink = new FileSink(
      folder,
      { directory, name: "f" },
      "f",
      { url: "http://a.example/f", validator: '"v1"', total: 400_000 },
      undefined,
      undefined,
      () => undefined,
      (error) => errors.push(error)
    )
    sink.write(FaultServer.bytes(400_000))
    const part = async () => (await readdir(directory)).find((name) => name.endsWith(".aio-part"))
    let name = await part()
    for (; name === undefined || (await stat(join(directory, name))).size === 0; name = await part())
      await new Promise(setImmediate)
    await appendFile(join(directory, name), Buffer.alloc(200_000))
    await expect(sink.finish()).rejects.toThrow(/^f has 462144 bytes where 400000 were written$/)
    expect([errors, await readdir(directory)]).toEqual([[], []])
  })
})
