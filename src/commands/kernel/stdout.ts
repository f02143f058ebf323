import { fstatSync } from "node:fs"
import * as Native from "../../services/process/Native.js"

/** Emits EPIPE on stdout if it is a pipe without a reader, which ends the program as a failed write would. */
export const endWithoutReader = (): void => {
  if (!fstatSync(1).isFIFO() || !Native.hasNoReader(1)) return
  process.stdout.emit("error", Object.assign(new Error("write EPIPE"), { code: "EPIPE" }))
}
