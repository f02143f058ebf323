import { spawn } from "node:child_process"
import * as RawText from "../../text/RawText.js"
import type { Backend } from "./backend.js"

/** The pids of this backend's children, which libuv reaps. */
export const running = new Set<number>()

/**
 * Starts processes by `node:child_process`: a fork copies Node's page tables, which takes four times as long as
 * posix_spawn. Reports no usage.
 */
export const backend: Backend = {
  name: "node",
  spawn: ({ args, background, cwd, env, extendEnv, file, gid, stderr, stdin, stdout, uid }, listener) => {
    if ([file, ...args, ...Object.values(env)].some(RawText.isRaw)) {
      throw new Error("Node starts only commands whose words and environment are UTF-8")
    }
    const child = spawn(file, args, {
      detached: true,
      cwd,
      env: extendEnv ? { ...process.env, ...env } : { ...env },
      stdio: [stdin, stdout, stderr],
      ...(uid === undefined ? {} : { uid }),
      ...(gid === undefined ? {} : { gid })
    })
    const { pid } = child
    child.once("error", (error: NodeJS.ErrnoException) => {
      if (pid === undefined) listener.failed(error.code ?? "", error.message)
    })
    if (pid === undefined) return
    if (background === true) child.unref()
    running.add(pid)
    child.once("exit", (code, signal) => {
      running.delete(pid)
      listener.exited({ code, signal, usage: undefined })
    })
    listener.started({
      pid,
      stdin: child.stdin ?? undefined,
      stdout: child.stdout ?? undefined,
      stderr: child.stderr ?? undefined
    })
  }
}
