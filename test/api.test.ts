import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { describe, expect, it } from "@effect/vitest"
import * as contract from "../scripts/api.mjs"

const root = fileURLToPath(new URL("..", import.meta.url))

describe("the package's contract", () => {
  it("matches api.txt; after an intended change, run `npm run api` and review its diff", () => {
    expect(contract.api()).toBe(readFileSync(join(root, "api.txt"), "utf8"))
  })

  it("names files that are there", () => {
    const missing = contract.entries().filter(({ types }) => !existsSync(join(root, types)))
    expect(missing).toEqual([])
    expect(contract.entries().length).toBeGreaterThan(40)
  })

  it.each([
    "effect-asyncio/services/internal/forkServer",
    "effect-asyncio/services/process/internal/forkServer",
    "effect-asyncio/services/process/Processes",
    "effect-asyncio/services/Numbers",
    "effect-asyncio/dist/main.js",
    "effect-asyncio"
  ])("keeps %s closed", async (specifier) => {
    await expect(import(/* @vite-ignore */ specifier)).rejects.toThrow(/./)
  })
})
