import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"

type Collect = (options: { readonly type: "minor" }) => void

const collector = (): Collect => {
  if (typeof globalThis.gc === "function") return globalThis.gc as Collect
  setFlagsFromString("--expose-gc")
  const collect: Collect = runInNewContext("gc")
  setFlagsFromString("--no-expose-gc") // code that is cached under other flags is refused
  return collect
}

const most = 4 * 1024 * 1024
let collect: Collect | undefined
let size = 0

/**
 * Is told of bytes that were read into a buffer of their own. V8 lets 32 MiB of such buffers gather before it looks
 * which are of use any more; here it is asked after 4. For 2 × 200 MB of output that is 10 to 25 MiB less at the peak,
 * in the same time (`npm run bench -- subprocess`).
 */
export const gathered = (bytes: number): void => {
  size += bytes
  if (size < most) return
  size = 0
  collect ??= collector()
  collect({ type: "minor" })
}
