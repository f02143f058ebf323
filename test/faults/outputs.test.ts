import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import * as Aio from "../support/Aio.js"
import * as FaultServer from "../support/FaultServer.js"

// A stdout that takes nothing, or whose reader goes, for every subcommand that writes results.

let server: FaultServer.FaultServer
let cwd: string
beforeAll(async () => {
  server = await FaultServer.start({ "/f": FaultServer.ok("body") })
  cwd = Aio.folder()
  writeFileSync(join(cwd, "f.mjs"), "export default (line) => line\n")
  writeFileSync(
    join(cwd, "run.mjs"),
    "export default () => { console.log('line'); return Promise.resolve() }\n"
  )
})
afterAll(async () => {
  await server.close()
  Aio.removeFolders()
})

const commands: ReadonlyArray<readonly [string, () => ReadonlyArray<string>]> = [
  ["run", () => ["run", "run.mjs"]],
  ["await", () => ["guide", "await"]],
  ["tasks", () => ["tasks", "a=echo line; exec sleep 60"]],
  ["gather", () => ["gather", "--discard", server.url("/f")]],
  ["gather --json", () => ["gather", "--json", "--discard", server.url("/f")]],
  ["loop", () => ["loop", "f.mjs"]],
  ["loop --json", () => ["loop", "--json", "f.mjs"]],
  ["long-running", () => ["long-running", "a=echo line; exec sleep 60"]],
  ["schedule", () => ["schedule", "later", "0", "--", "echo", "line"]],
  ["schedule next", () => ["schedule", "next", "* * * * *"]],
  ["executor", () => ["executor", "f.mjs", "line"]],
  ["subprocess", () => ["subprocess", "--", "echo", ":::", "line"]],
  ["subprocess --line-buffer", () => ["subprocess", "--line-buffer", "--", "echo", ":::", "line"]],
  ["server", () => ["server", "--port", "0"]],
  ["network", () => ["network"]],
  ["guide", () => ["guide", "loop"]],
  ["--help", () => ["--help"]]
]

/** They report what they cancel, except for this reason. */
const quiet = ["tasks", "long-running"]

const stdin = "line\n"

describe("a stdout that takes nothing", { concurrent: true }, () => {
  it.each(commands)("fails %s with one line and 1", async (_, words) => {
    const { code, stderr } = await Aio.run(words(), { cwd, shell: 'exec "$@" > /dev/full', stdin })
    expect(code).toBe(1)
    expect(stderr.split("cannot write to stdout: no space left on device\n").length).toBe(2)
    expect(stderr).not.toMatch(/^ +at /m)
  })
})

describe("a stdout whose reader has gone", { concurrent: true }, () => {
  it.each(commands)("ends %s with 141 and without an error", async (name, words) => {
    const { code, stderr } = await Aio.run(words(), {
      cwd,
      // Whatever reads from it is closed before anything is written.
      shell: 'mkfifo "$FIFO" && exec 3<>"$FIFO" 4>"$FIFO" 3<&- && "$@" >&4 4>&-',
      env: { FIFO: join(Aio.folder(), "fifo") },
      stdin
    })
    expect(code).toBe(141)
    expect(stderr).not.toMatch(/^ +at |EPIPE|stdout/m)
    if (quiet.includes(name)) expect(stderr).toBe("")
  })
})

describe("aio subprocess", () => {
  it("passes on bytes unchanged, including a line of 100 MB and bytes that are not UTF-8", async () => {
    const long = "head -c 100000000 /dev/zero | tr '\\0' x; echo; printf 'a\\377\\000b'"
    for (const mode of ["--group", "--line-buffer", "--ungroup"]) {
      const { stdout } = await Aio.run(["subprocess", "-q", mode, "--", "sh", "-c", long, ":::", "1"], {
        shell: `"$@" | { head -c 99999998 | wc -c; od -An -c; }`
      })
      expect(stdout.trim().split(/\s+/)).toEqual(["99999998", "x", "x", "\\n", "a", "377", "\\0", "b"])
    }
  }, 60_000)
})
