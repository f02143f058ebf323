import { execFile, spawnSync } from "node:child_process"
import { readdirSync } from "node:fs"
import { fileURLToPath } from "node:url"

/** The interpreter that the programs run under; `PYTHON` names another one. */
export const python = process.env["PYTHON"] ?? "python3"

const asked = spawnSync(python, ["-c", "import sys; print(*sys.version_info[:2])"], { encoding: "utf8" })
const [major = 0, minor = 0] = asked.status === 0 ? asked.stdout.trim().split(" ").map(Number) : []

/** Why the tests that need Python are skipped, when they are. */
export const missing: string | undefined =
  asked.status !== 0
    ? `there is no ${python} on this machine`
    : major * 100 + minor < 308
      ? `${python} is Python ${major}.${minor}; the programs need 3.8 or later`
      : undefined

if (missing !== undefined) console.warn(`parity with CPython is not tested: ${missing}`)

/** A Python program's end: its lines, or why this Python cannot run it (exit code 77). */
export type Run = { readonly lines: ReadonlyArray<string> } | { readonly skipped: string }

const folder = fileURLToPath(new URL(".", import.meta.url))

const lines = (text: string) => (text === "" ? [] : text.replace(/\n$/, "").split("\n"))

/** Runs Python with these arguments, in the folder of the programs. */
export const run = (args: ReadonlyArray<string>): Promise<Run> =>
  new Promise((resolve, reject) => {
    const options = { cwd: folder, timeout: 20_000, encoding: "utf8" } as const
    execFile(python, ["-u", ...args], options, (error, stdout, stderr) => {
      if (error === null) resolve({ lines: lines(stdout) })
      else if (error.code === 77) resolve({ skipped: stderr.trim() })
      else reject(new Error(`${python} ${args.join(" ")} failed: ${stderr || error.message}`))
    })
  })

const files = (path: string, extension: string) =>
  readdirSync(folder + path)
    .filter((file) => file.endsWith(extension))
    .map((file) => file.slice(0, -extension.length))
    .sort()

/** The names of the Python programs, and of their counterparts. */
export const programs = files(".", ".py")
export const counterparts = files("cases", ".ts")

/** Runs all programs, two at once, each once. */
export const runAll = async (): Promise<ReadonlyMap<string, Run | Error>> => {
  const runs = new Map<string, Run | Error>()
  const left = [...programs]
  const lane = async () => {
    for (let name = left.shift(); name !== undefined; name = left.shift()) {
      runs.set(name, await run([`${name}.py`]).catch((error: Error) => error))
    }
  }
  await Promise.all([lane(), lane()])
  return runs
}
