import * as fs from "node:fs"

// The owner of a temporary file or folder, as its name has it, so that a later process knows whether the owner still
// runs: its pid and its start time, because pids are reused. Processes of other machines or containers that share the
// folder cannot be recognised this way.

const startTime = (pid: number): string => {
  try {
    // field 22 of /proc/PID/stat; the command name before it may hold blanks and brackets
    const stat = fs.readFileSync(`/proc/${pid}/stat`, "latin1")
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
    return /^[ZX]/.test(fields[0]!) ? "" : (fields[19] ?? "") // an ended process may still be listed
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

/**
 * This process as an owner: `PID:START`; START is empty if there is no /proc.
 *
 * @since 0.1.0
 * @category functions
 */
export const self = `${process.pid}:${startTime(process.pid)}`

/**
 * Whether the owner, written as {@link self}, still runs.
 *
 * @since 0.1.0
 * @category predicates
 */
export const isLive = (owner: string): boolean => {
  const [pid, started] = owner.split(":")
  return isAlive(Number(pid)) && (startTime(Number(pid)) === started || started === "")
}
