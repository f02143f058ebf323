import * as fs from "node:fs"

// A process as the name of a temporary file or folder tells it, so that a later one knows whether its owner still
// lives: its pid, and when it began, because pids are given out again. It says nothing of processes of other machines or
// containers that share the folder.

const startTime = (pid: number): string => {
  try {
    // field 22 of /proc/PID/stat; the command name before it may hold blanks and brackets
    const stat = fs.readFileSync(`/proc/${pid}/stat`, "latin1")
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
    return /^[ZX]/.test(fields[0]!) ? "" : (fields[19] ?? "") // one that has ended may still be listed
  } catch {
    return ""
  }
}

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM"
  }
}

/** This process as an owner: `PID:START`, with no start where there is no /proc. */
export const self = `${process.pid}:${startTime(process.pid)}`

/** Whether the owner, as {@link self} has it, still runs. */
export const isLive = (owner: string): boolean => {
  const [pid, started] = owner.split(":")
  return isAlive(Number(pid)) && (startTime(Number(pid)) === started || started === "")
}
