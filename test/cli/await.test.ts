import { spawn } from "node:child_process"
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { describe, expect, it, onTestFinished } from "vitest"

const root = fileURLToPath(new URL("../..", import.meta.url))
const built = join(root, "dist/bin")
const fixtures = "test/fixtures/await"

const aio = (args: ReadonlyArray<string>, bin = built) =>
  new Promise<{ code: number | null; stdout: string; stderr: string }>((resolve) => {
    const env = { PATH: process.env["PATH"], HOME: process.env["HOME"] }
    const words = [join(bin, "aio.cjs"), "await", ...args]
    const child = spawn(process.execPath, words, { cwd: root, env, stdio: ["ignore", "pipe", "pipe"] })
    const text = { stdout: "", stderr: "" }
    for (const name of ["stdout", "stderr"] as const) {
      child[name].setEncoding("utf8").on("data", (chunk) => {
        text[name] += chunk
      })
    }
    child.on("close", (code) => resolve({ code, ...text }))
  })

const folder = () => {
  const path = mkdtempSync(join(tmpdir(), "aio-test-"))
  onTestFinished(() => rmSync(path, { recursive: true, force: true }))
  return path
}

describe("aio await", { timeout: 90_000 }, () => {
  it("prints the guide's line, and on stderr the effects that never ran, with file and line of the source", async () => {
    const lines = readFileSync(join(root, "src/programs/Await.ts"), "utf8").split("\n")
    const warning = (name: string, call: string) =>
      `NeverRunWarning: effect '${name}' was made at src/programs/Await.ts:${lines.findIndex((line) => line.startsWith(`  ${call}()`)) + 1} and never run\n`
    expect(await aio([])).toEqual({
      code: 0,
      stdout: "foobar1\n",
      stderr: warning("print_foobar2", "printFoobar2") + warning("print_foobar1", "printFoobar1")
    })
  })

  it("lists dropped effects in a file, a line each, and exits with 1", async () => {
    const { code, stderr, stdout } = await aio([`${fixtures}/generators.ts`])
    const mend = "loop over it (for … of, for await … of), or put yield* before it in a generator"
    expect(stdout.split("\n")[0]).toBe(
      `${fixtures}/generators.ts:10:1  generator dropped: few() is made and its body never starts; ${mend}`
    )
    expect(stdout.split("\n").length).toBe(5)
    expect([code, stderr]).toEqual([1, "1 file, 4 findings\n"])
  })

  it("prints NDJSON events for a project", async () => {
    const { code, stderr, stdout } = await aio(["--json", "--project", `${fixtures}/tsconfig.json`])
    const events = stdout
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line))
    expect(events.find(({ file }) => file?.endsWith("effects.ts"))).toEqual({
      schema: 2,
      event: "finding",
      file: join(root, fixtures, "effects.ts"),
      line: 8,
      column: 3,
      rule: "floatingEffect",
      code: 'say("dropped")',
      reason: 'effect dropped: say("dropped") is built and never runs',
      mend: "put yield* before it, return it, or compose it into an effect that runs"
    })
    expect(events.at(-1)).toEqual({
      schema: 2,
      event: "summary",
      files: 6,
      findings: events.length - 1,
      unresolved: 0,
      unjudged: 0,
      exitCode: 1
    })
    expect([code, stderr]).toEqual([1, ""])
  })

  it("exits with 0 where nothing is dropped", async () => {
    expect(await aio([`${fixtures}/clean.ts`])).toEqual({
      code: 0,
      stdout: "",
      stderr: "1 file, 0 findings\n"
    })
  })

  it("reports for how many expressions TypeScript gives no type, without failing", async () => {
    const path = folder()
    const file = join(path, "a.ts")
    writeFileSync(file, "const one = (x: boolean): [string?, string?] => x ? [] : ['a']\none(true)\n")
    expect(await aio([file])).toEqual({
      code: 0,
      stdout: "",
      stderr: `TypeScript gave no type for 1 expression, the first at ${file}:1; effects there are not checked\n1 file, 0 findings\n`
    })
    const { code, stdout } = await aio(["--json", file])
    const events = stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line))
    expect([code, events]).toEqual([
      0,
      [
        { schema: 2, event: "unjudged", count: 1, file, line: 1 },
        { schema: 2, event: "summary", files: 1, findings: 0, unresolved: 0, unjudged: 1, exitCode: 0 }
      ]
    ])
  })

  it("reports that effect is not installed, and exits with 2", async () => {
    const path = folder()
    writeFileSync(
      join(path, "a.ts"),
      'import { Effect } from "effect"\nexport const f = () => { Effect.log("x") }\n'
    )
    expect(await aio([join(path, "a.ts")])).toEqual({
      code: 2,
      stdout: "",
      stderr: `aio await: effect, which ${path}/a.ts imports, is not installed in ${path}; effects cannot be checked\n`
    })
  })

  it("refuses bad input with one line and exit code 2", async () => {
    const path = folder()
    writeFileSync(join(path, "broken.ts"), "const = 1\n")
    writeFileSync(join(path, "tsconfig.json"), "{ nonsense")
    writeFileSync(join(path, "own.json"), '{ "files": ["broken.ts"] }')
    for (const [args, message] of [
      [["nope.ts"], "aio await: nope.ts: the file does not exist\n"],
      [["--project", "nope.json"], /^aio await: nope\.json: the project does not exist; .*\n$/],
      [["--project", path], /^aio await: .*tsconfig\.json: this is not a usable tsconfig: .*\n$/],
      [["--project", join(path, "own.json")], /^aio await: .*broken\.ts:1:7: this does not parse: .*\n$/],
      [["--json"], /^aio await: no file is given; expected FILE.* or --project .*\n$/],
      [["--projct", "x"], /^aio await: unknown option --projct; did you mean --project\?.*\n$/]
    ] as const) {
      const { code, stderr, stdout } = await aio(args)
      expect([args, code, stdout]).toEqual([args, 2, ""])
      if (typeof message === "string") expect(stderr).toBe(message)
      else expect(stderr).toMatch(message)
    }
  })

  it("asks for the Effect diagnostics where they are not installed", async () => {
    const path = folder()
    cpSync(built, join(path, "bin"), { recursive: true })
    writeFileSync(join(path, "a.ts"), "export {}\n")
    expect(await aio([join(path, "a.ts")], join(path, "bin"))).toEqual({
      code: 2,
      stdout: "",
      stderr:
        "aio await: the Effect diagnostics are not installed: npm install --save-dev @effect/tsgo typescript@7\n"
    })
  })
})
