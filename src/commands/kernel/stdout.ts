import { spawn } from "node:child_process"
import { fstatSync } from "node:fs"

// Whether a pipe still has a reader shows only in a write, or in `poll`, which Node lacks: a write end polls readable once
// the read end is closed. Perl's select can tell, so it is asked where it is installed.
const script = "vec(my $out, 1, 1) = 1; exit(select($out, undef, undef, 0) ? 3 : 0)"
let looking = false

/** Ends the program once stdout has no reader, as a write would: emits EPIPE, which Output and Signals handle. */
export const look = (): void => {
  if (looking || !fstatSync(1).isFIFO()) return
  looking = true
  const child = spawn("perl", ["-e", script], { stdio: ["ignore", "inherit", "ignore"] })
  child.unref()
  child.once("error", () => undefined) // no Perl: the next write finds out
  child.once("exit", (code) => {
    looking = false
    if (code !== 3) return
    process.stdout.emit("error", Object.assign(new Error("write EPIPE"), { code: "EPIPE" }))
  })
}
