import { mkdirSync, symlinkSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll, describe, expect, it } from "vitest"
import * as Aio from "../support/Aio.js"
import * as InProcess from "../support/InProcess.js"

afterAll(Aio.removeFolders)

const modules = fileURLToPath(new URL("../../node_modules", import.meta.url))

/** A folder with these files, in which `effect` is installed. */
const folder = (files: Readonly<Record<string, string>>) => {
  const cwd = Aio.folder()
  symlinkSync(modules, join(cwd, "node_modules"))
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(cwd, name)), { recursive: true })
    writeFileSync(join(cwd, name), text)
  }
  return cwd
}

describe("aio run --env-file", () => {
  const program = "console.log(process.env.A, process.env.SET)\nexport default () => Promise.resolve()\n"

  it("sets variables before the program is loaded; those that are set already win", async () => {
    const cwd = folder({
      "p.mjs": program,
      "a.env": "A=1\nSET=file\n",
      "b.env": "A='2'\n",
      ".env": "A=never"
    })
    const run = (args: ReadonlyArray<string>) =>
      Aio.run(["run", ...args, "p.mjs"], { cwd, env: { SET: "before" } })
    expect(await run(["--env-file", "a.env", "--env-file=b.env"])).toMatchObject({
      code: 0,
      stdout: "2 before\n"
    })
    expect((await run([])).stdout).toBe("undefined before\n")
  })

  it("refuses a file that cannot be read, before the program is loaded", async () => {
    const cwd = folder({ "p.mjs": program })
    expect(await InProcess.run(["run", "--env-file", "none.env", "p.mjs"], { cwd })).toMatchObject({
      code: 2,
      stdout: "",
      stderr: "aio run: option --env-file: cannot read none.env: the file does not exist\n"
    })
  })
})

describe("aio run --log-level", () => {
  const program = `import * as Effect from "effect/Effect"
export default Effect.all([Effect.logTrace("t"), Effect.logDebug("d"), Effect.log("i"), Effect.logWarning("w"), Effect.logError("e")])
`

  it.each([
    [[], ["i", "w", "e"]],
    [
      ["--log-level", "trace"],
      ["t", "d", "i", "w", "e"]
    ],
    [["--log-level=debug"], ["d", "i", "w", "e"]],
    [
      ["--log-level", "warning"],
      ["w", "e"]
    ],
    [["--log-level", "error"], ["e"]],
    [["--log-level", "none"], []]
  ] as const)("%j shows %j", async (options, shown) => {
    const { code, stderr } = await InProcess.run(["run", ...options, "p.ts"], {
      cwd: folder({ "p.ts": program })
    })
    const found = stderr.split("\n").flatMap((line) => / (?:message=)?([tdiwe])$/.exec(line)?.[1] ?? [])
    expect([code, found]).toEqual([0, shown])
  })

  it("refuses another word", async () => {
    const { code, stderr } = await InProcess.run(["run", "--log-level", "all", "p.ts"])
    expect([code, stderr]).toEqual([
      2,
      "aio run: option --log-level: 'all' is not accepted; expected trace, debug, info, warning, error or none (see aio run --help)\n"
    ])
  })
})

describe("aio run --watch", () => {
  const program = (text: string) => `import * as Effect from "effect/Effect"
export default Effect.zipRight(Effect.sync(() => console.log(${text}, process.argv[2], process.env.EFFECT_ASYNCIO_RUN_WATCHED)), Effect.never).pipe(
  Effect.ensuring(Effect.sync(() => console.log("closed")))
)
`

  it("ends the run and starts it anew after a change; leaves nothing behind", async () => {
    const marker = Aio.marker()
    const cwd = folder({ "src/p.ts": program("'one'"), "src/lib.ts": "", ".env": "A=1", ".git/x.ts": "" })
    const args = ["run", "--watch", "--env-file", ".env", "src/p.ts", "word"]
    const running = Aio.start(args, { cwd, env: marker.env })
    await running.shows("one word undefined")
    writeFileSync(join(cwd, ".git/x.ts"), "ignored")
    writeFileSync(join(cwd, "out.txt"), "no source")
    writeFileSync(join(cwd, "src/p.ts"), program("'two'"))
    await running.shows("two word undefined")
    writeFileSync(join(cwd, "src/p.ts"), "export default () => Promise.reject(new Error('three'))")
    await running.shows("waiting for a change")
    writeFileSync(join(cwd, ".env"), "A=2")
    await running.shows("three", 2)
    running.kill("SIGTERM")
    const { code, stderr, stdout } = await running.ended
    expect({ code, stdout }).toEqual({
      code: 143,
      stdout: "one word undefined\nclosed\ntwo word undefined\nclosed\n"
    })
    expect(stderr).toContain("aio run: src/p.ts has changed; starting again\n")
    expect(stderr).toContain("aio run: ended with exit code 1; waiting for a change\n")
    expect(stderr).toContain("aio run: .env has changed; starting again\n")
    expect(stderr).not.toContain("x.ts")
    expect(stderr).not.toContain("out.txt")
    expect(await marker.left()).toEqual([])
  })

  it("refuses a path that does not exist", async () => {
    const { code, stderr } = await InProcess.run(["run", "--watch=none", "p.ts"], {
      cwd: folder({ "p.ts": "" })
    })
    expect([code, stderr]).toEqual([2, "aio run: option --watch: cannot watch none: it does not exist\n"])
  })
})
