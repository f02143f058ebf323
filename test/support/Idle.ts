import { readdirSync, readFileSync } from "node:fs"
import { setTimeout as pause } from "node:timers/promises"

// What each thread of a process does and how often it has been scheduled; nothing when the process has ended.
const threads = (pid: number): string => {
  try {
    return readdirSync(`/proc/${pid}/task`)
      .map((thread) => {
        const status = readFileSync(`/proc/${pid}/task/${thread}/status`, "utf8")
        return status.match(/^(?:State|voluntary_ctxt_switches|nonvoluntary_ctxt_switches):.*/gm)!.join(" ")
      })
      .join("\n")
  } catch {
    return ""
  }
}

/**
 * Resolves when the process has nothing left to do, or has ended: all its threads sleep, and none has been scheduled
 * for a while. A process that waits for a processor is not asleep, so that a slow machine only makes this later. What
 * the process has not done by then it does not do before something outside of it happens, or a timer of its own.
 */
export const idle = async (pid: number): Promise<void> => {
  let last = threads(pid)
  for (let still = 0; still < 10; still++) {
    await pause(20)
    const now = threads(pid)
    if (now === "") return
    if (now !== last || /State:\s+[^S]/.test(now)) still = -1
    last = now
  }
}
