import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { describe, expect, it } from "@effect/vitest"
import { fiberRuntime, patchesIn, privateNamesIn } from "../scripts/privateNames.mjs"

const src = fileURLToPath(new URL("../src", import.meta.url))

const check = (rule: (src: string) => ReadonlyArray<string>, file: string, text: string) => {
  const folder = mkdtempSync(join(tmpdir(), "aio-names-"))
  try {
    mkdirSync(dirname(join(folder, file)), { recursive: true })
    writeFileSync(join(folder, file), text)
    return rule(folder)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

describe("the inside of Effect", () => {
  it("is named in one file of this house", () => {
    expect(privateNamesIn(src)).toEqual([])
  })

  const names = [
    "const refs = (fiber as any)._fiberRefs",
    "const { _queue: messages } = fiber as any",
    "const { _op, effect_instruction_i0: f } = effect as any",
    "fiber.currentOpCount = 0",
    "fiber.currentRuntimeFlags = flags",
    "fiber.setFiberRefs(refs)",
    "fiber.interruptAllChildren()",
    'Object.defineProperty(fiber, "_exitValue", {})',
    'const key = Symbol.for("effect/Effect")',
    'globalThis["effect/FiberCurrent"]',
    'import { none } from "effect/internal/supervisor"'
  ]

  it.each(names)("is refused elsewhere: %s", (text) => {
    expect(check(privateNamesIn, "services/time/A.ts", `// a comment\n${text}\n`)).toEqual([
      expect.stringMatching(/^src\/services\/time\/A\.ts:2 names /),
      ...(text.includes("_op,") ? [expect.stringContaining("effect_instruction_i0")] : [])
    ])
    expect(check(privateNamesIn, fiberRuntime, text)).toEqual([])
  })

  it.each([
    "yield* Effect.setFiberRefs(refs)",
    "// what _queue holds",
    "/** `_fiberRefs` */",
    'const mine = Symbol.for("effect-asyncio/services/InJob/host")',
    'import { dual } from "effect/Function"'
  ])("is not meant by %s", (text) => {
    expect(check(privateNamesIn, "services/time/A.ts", text)).toEqual([])
  })
})

describe("names of other packages", () => {
  it("is left alone in this house", () => {
    expect(patchesIn(src)).toEqual([])
  })

  it.each([
    "globalThis.setInterval = mine",
    'globalThis["fetch"] = mine',
    "Object.assign(Supervisor.none, {})",
    "Object.assign(Logger.defaultLogger, mine)",
    "Object.assign(Base.prototype, { connect })",
    "Object.defineProperty(globalThis, 'x', {})",
    "Array.prototype.last = mine",
    "process.exit = mine",
    'setFlagsFromString("--expose-gc")'
  ])("is not changed elsewhere: %s", (text) => {
    expect(check(patchesIn, "services/time/A.ts", text)).toEqual([
      expect.stringContaining("src/services/time/A.ts:1 changes what is not ours")
    ])
  })

  it.each(["if (globalThis.gc === undefined) return", "Object.create(Error.prototype)"])(
    "is not changed by %s",
    (text) => {
      expect(check(patchesIn, "services/time/A.ts", text)).toEqual([])
    }
  )
})
