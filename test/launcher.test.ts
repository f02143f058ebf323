import { cpSync, readdirSync, statSync } from "node:fs"
import { dirname, join } from "node:path"
import { afterAll, describe, expect, it } from "vitest"
import * as Aio from "./support/Aio.js"
import * as FaultServer from "./support/FaultServer.js"

const serve = FaultServer.starter()
afterAll(Aio.removeFolders)

describe("the start of aio", () => {
  // V8 refuses code that was cached under other flags: then it is compiled and written again in each run.
  it("of aio gather reads all code from the cache, though it changes V8's flags", async () => {
    const server = await serve({ "/f": FaultServer.ok(FaultServer.bytes(10)) })
    const place = Aio.folder()
    cpSync(dirname(Aio.command), join(place, "bin"), { recursive: true })
    const caches = join(place, "bin/cache")
    const cached = () =>
      readdirSync(caches, { recursive: true, encoding: "utf8" })
        .toSorted()
        .map((file) => [file, statSync(join(caches, file)).mtimeMs])
    const gather = () =>
      Aio.run(["gather", "-d", join(place, "out"), server.url("/f")], {
        shell: `node=$1; shift 2; exec "$node" "${join(place, "bin/aio.cjs")}" "$@"`
      })
    expect((await gather()).code).toBe(0)
    const before = cached()
    expect((await gather()).code).toBe(0)
    expect(cached()).toEqual(before)
  })
})
