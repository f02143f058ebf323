import { spawn } from "node:child_process"
import { fstatSync } from "node:fs"

// Only a write or `poll` reports whether a pipe still has a reader (the writing end becomes readable when it has none),
// and Node has no `poll`. So Perl polls, if it is installed.
const script = "vec(my $out, 1, 1) = 1; exit(select($out, undef, undef, 0) ? 3 : 0)"
let looking = false

/** Emits EPIPE on stdout if it is a pipe without a reader, which ends the program as a failed write would. */
export const endWithoutReader = (): void => {
  if (looking || !fstatSync(1).isFIFO()) return
  looking = true
  const child = spawn("perl", ["-e", script], { stdio: ["ignore", "inherit", "ignore"] })
  child.unref()
  child.once("error", () => undefined) // without Perl the next write reports it
  child.once("exit", (code) => {
    looking = false
    if (code !== 3) return
    process.stdout.emit("error", Object.assign(new Error("write EPIPE"), { code: "EPIPE" }))
  })
}
