import { execFile, spawnSync } from "node:child_process"
import { readdirSync } from "node:fs"
import { fileURLToPath } from "node:url"

/** The interpreter that the programs run under; `PYTHON` names another one. */
export const python = process.env["PYTHON"] ?? "python3"

const question = "import sys; print(*sys.version_info[:2], sys.executable)"
const asked = spawnSync(python, ["-c", question], { encoding: "utf8" })
const [, major = "", minor = "", executable = python] =
  /^(\d+) (\d+) (.+)$/m.exec(asked.status === 0 ? asked.stdout : "") ?? []

/** Why the tests that need Python are skipped, when they are. */
export const missing: string | undefined =
  asked.status !== 0
    ? `there is no ${python} on this machine`
    : Number(major) * 100 + Number(minor) < 308
      ? `${python} is Python ${major}.${minor}; the programs need 3.8 or later`
      : undefined

if (missing !== undefined) console.warn(`parity with CPython is not tested: ${missing}`)

const folder = fileURLToPath(new URL(".", import.meta.url))

/** What Python prints when it is run with these arguments. */
export const run = (args: ReadonlyArray<string>): Promise<ReadonlyArray<string>> =>
  new Promise((resolve, reject) => {
    const options = { cwd: folder, timeout: 60_000, encoding: "utf8" } as const
    // The interpreter itself and nothing around it: launchers are slow, and PYTHON* variables change what is printed.
    execFile(executable, ["-I", "-S", ...args], options, (error, stdout, stderr) => {
      if (error === null) resolve(lines(stdout))
      else reject(new Error(`${python} ${args.join(" ")} failed: ${stderr || error.message}`))
    })
  })

const lines = (text: string) => (text === "" ? [] : text.replace(/\n$/, "").split("\n"))

const files = (path: string, extension: string) =>
  readdirSync(folder + path)
    .filter((file) => file.endsWith(extension))
    .map((file) => file.slice(0, -extension.length))
    .sort()

/** The names of the Python programs, and of their counterparts. */
export const programs = files(".", ".py")
export const counterparts = files("cases", ".ts")

/** How a program ended. */
export interface Ended {
  readonly name: string
  /** 77 when this Python cannot run it; then stderr says why. */
  readonly code: number
  readonly stdout: ReadonlyArray<string>
  readonly stderr: string
}

/** Runs all programs, two at once, each once. */
export const runAll = async (): Promise<ReadonlyMap<string, Ended>> => {
  const lanes = [0, 1].map((lane) => programs.filter((_, index) => index % 2 === lane))
  const ended = await Promise.all(
    lanes.map((names) => run(["support/run.py", ...names.map((name) => `${name}.py`)]))
  )
  return new Map(
    ended.flat().map((line) => {
      const { stdout, ...program } = JSON.parse(line) as {
        name: string
        code: number
        stdout: string
        stderr: string
      }
      return [program.name, { ...program, stdout: lines(stdout) }]
    })
  )
}
