import { readdirSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { describe, expect, it } from "vitest"
import * as Aio from "../support/Aio.js"

const root = fileURLToPath(new URL("../..", import.meta.url))

/** The TypeScript files of a folder. */
const sources = (path: string) =>
  readdirSync(join(root, path), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts") && !name.endsWith(".d.ts"))
    .map((name) => join(path, name))

describe("aio await", { timeout: 90_000 }, () => {
  // What stands there is meant: a finding would be noise. In one call, because TypeScript reads what they import once.
  it("finds nothing in clean code: this project, @effect/cli, and the parts of others that give effects as results", async () => {
    const { code, stderr, stdout } = await Aio.run(
      [
        "await",
        ...sources("src"),
        ...sources("node_modules/@effect/cli/src"),
        "node_modules/@effect/platform/src/HttpLayerRouter.ts",
        "node_modules/@effect/rpc/src/RpcServer.ts",
        "node_modules/@effect/cluster/src/MessageStorage.ts",
        "node_modules/@effect/experimental/src/EventLogServer.ts"
      ],
      { cwd: root }
    )
    expect([stdout, code]).toEqual(["", 0])
    expect(stderr).toMatch(/^\d+ files, 0 findings$/m)
  })
})
