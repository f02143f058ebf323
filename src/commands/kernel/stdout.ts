import { spawn } from "node:child_process"
import { fstatSync } from "node:fs"

// Whether a pipe has still a reader is known to a write, and to `poll`, which Node does not have: the end for writing
// is ready to be read when there is nothing at the other. So Perl is asked, where it is there.
const script = "vec(my $out, 1, 1) = 1; exit(select($out, undef, undef, 0) ? 3 : 0)"
let looking = false

/** Has a stdout that nothing reads any more end the program, as a write to it would: Output and Signals hear of it. */
export const look = (): void => {
  if (looking || !fstatSync(1).isFIFO()) return
  looking = true
  const child = spawn("perl", ["-e", script], { stdio: ["ignore", "inherit", "ignore"] })
  child.unref()
  child.once("error", () => undefined) // then it is known at the next write
  child.once("exit", (code) => {
    looking = false
    if (code !== 3) return
    process.stdout.emit("error", Object.assign(new Error("write EPIPE"), { code: "EPIPE" }))
  })
}
