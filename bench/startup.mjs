// How long `aio run` (prints hi) takes from nothing, beside a bare Node.
import { aio, command, compare } from "./harness.mjs"

await compare(
  "start-up: aio run",
  [
    { name: "aio run", run: command([process.execPath, aio, "run"]) },
    { name: "node -e 0", run: command([process.execPath, "-e", "0"]) }
  ],
  { rounds: 21, targets: { "node -e 0": 1.8 } }
)
