import { spawn } from "node:child_process"
import { randomUUID } from "node:crypto"
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("../..", import.meta.url))

/** The built command. */
export const command = join(root, "dist/bin/aio.cjs")
if (!existsSync(command)) throw new Error(`${command} is not there; run npm run build`)

export interface Result {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
}

export interface Running {
  readonly pid: number
  readonly kill: (signal: NodeJS.Signals) => void
  /** Writes to its standard input, and resolves when all but what a pipe holds is taken; `end` closes it. */
  readonly send: (text: string | Uint8Array) => Promise<void>
  readonly end: () => void
  readonly ended: Promise<Result>
  /** The exit code, without waiting for its pipes. */
  readonly exited: Promise<number | null>
  /** Resolves when stdout and stderr together hold the text, so many times; rejects when the process ends before. */
  readonly shows: (text: string, times?: number) => Promise<void>
}

export interface SpawnOptions {
  readonly env?: Readonly<Record<string, string>>
  readonly cwd?: string
  /** Run by `sh -c` with `"$@"` as the command: for pipes and limits. */
  readonly shell?: string
  /** Leaves its stdout unread. */
  readonly mute?: boolean
  /** Standard input: a pipe, or /dev/null. Default a pipe. */
  readonly input?: "pipe" | "ignore"
}

/** Starts `aio` with these words; its environment has nothing of ours but PATH and HOME. */
export const start = (args: ReadonlyArray<string>, options: SpawnOptions = {}): Running => {
  const env = { PATH: process.env["PATH"], HOME: process.env["HOME"], ...options.env }
  const words = [command, ...args]
  const [file, argv] =
    options.shell === undefined
      ? [process.execPath, words]
      : ["/bin/sh", ["-c", options.shell, "sh", process.execPath, ...words]]
  const child = spawn(file, argv, { env, cwd: options.cwd, stdio: [options.input ?? "pipe", "pipe", "pipe"] })
  let stdout = ""
  let stderr = ""
  const waiting = new Set<() => void>()
  const take = (add: (text: string) => void) => (chunk: string) => {
    add(chunk)
    for (const check of waiting) check()
  }
  const exited = new Promise<number | null>((resolve) => child.on("exit", resolve))
  if (options.mute !== true) {
    child.stdout!.setEncoding("utf8").on(
      "data",
      take((text) => {
        stdout += text
      })
    )
  }
  child.stderr!.setEncoding("utf8").on(
    "data",
    take((text) => {
      stderr += text
    })
  )
  child.stdin?.on("error", () => undefined) // it may be gone by then
  const ended = new Promise<Result>((resolve) =>
    child.on("close", (code, signal) => resolve({ code, signal, stdout, stderr }))
  )
  return {
    pid: child.pid!,
    kill: (signal) => {
      child.kill(signal)
    },
    send: (text) => new Promise((resolve) => child.stdin!.write(text, () => resolve())),
    end: () => {
      child.stdin?.end()
    },
    ended,
    exited,
    shows: (text, times = 1) =>
      new Promise((resolve, reject) => {
        const check = () => {
          if ((stdout + stderr).split(text).length <= times) return
          waiting.delete(check)
          resolve()
        }
        waiting.add(check)
        void ended.then((result) => reject(new Error(`ended before '${text}': ${JSON.stringify(result)}`)))
        check()
      })
  }
}

/** Runs `aio` to its end, with this text as standard input, or with /dev/null. */
export const run = (
  args: ReadonlyArray<string>,
  options: SpawnOptions & { readonly stdin?: string | Uint8Array } = {}
) => {
  const running = start(args, { input: options.stdin === undefined ? "ignore" : "pipe", ...options })
  if (options.stdin !== undefined) void running.send(options.stdin)
  running.end()
  return running.ended
}

const folders: Array<string> = []

/** A fresh empty folder; {@link removeFolders} takes it away. */
export const folder = (): string => {
  const path = mkdtempSync(join(tmpdir(), "aio-test-"))
  folders.push(path)
  return path
}

export const removeFolders = (): void => {
  for (const path of folders.splice(0)) rmSync(path, { recursive: true, force: true })
}

/** All names in a folder, hidden ones included, sorted. */
export const names = (path: string): ReadonlyArray<string> => readdirSync(path).sort()

/** An environment that marks the processes of one run of `aio`. */
export const marker = () => {
  const id = `AIO_TEST_MARKER=${randomUUID()}`
  const alive = (): ReadonlyArray<number> =>
    readdirSync("/proc")
      .filter((entry) => /^\d+$/.test(entry))
      .filter((pid) => {
        try {
          return readFileSync(`/proc/${pid}/environ`, "latin1").includes(id)
        } catch {
          return false
        }
      })
      .map(Number)
  return {
    env: { AIO_TEST_MARKER: id.slice(16) },
    /** Who is alive now. */
    alive,
    /** The processes that still run, after ten seconds at most: for those that outlive a killed `aio`. */
    left: async () => {
      for (let i = 0; i < 500 && alive().length > 0; i++) await new Promise((done) => setTimeout(done, 20))
      return alive()
    }
  }
}
