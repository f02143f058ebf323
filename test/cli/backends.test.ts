import { fileURLToPath } from "node:url"
import { describe, expect, it } from "vitest"
import * as Aio from "../support/Aio.js"

const hidden = fileURLToPath(new URL("../fixtures/no-koffi.cjs", import.meta.url))

describe.each([
  ["posix_spawn", {}],
  ["node", { NODE_OPTIONS: `--require ${hidden}` }]
] as const)("aio with %s", (backend, env) => {
  it("names how it starts processes", async () => {
    const { code, stdout } = await Aio.run(["--version", "--verbose"], { env })
    expect([code, stdout]).toEqual([0, expect.stringMatching(new RegExp(`^processes +${backend}$`, "m"))])
  })

  it("runs the same jobs with the same results", async () => {
    const words = ["subprocess", "-k", "--on-failure", "continue", "-j2"]
    const job = "echo out {}; echo err {} >&2; exit {}"
    const { code, stderr, stdout } = await Aio.run([...words, "--", "sh", "-c", job, ":::", "0", "3"], {
      env
    })
    expect([code, stdout]).toEqual([1, "out 0\nout 3\n"])
    for (const line of ["err 0", "err 3"]) expect(stderr.split("\n")).toContain(line)
    expect(stderr).toContain("exit 3': exit code 3\n")
  })
})
