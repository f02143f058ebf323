import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { pathToFileURL } from "node:url"

// A wall clock that a test sets. A module that is loaded first adds the number in a file to the time of day; the monotonic
// clock stays as it is, as for a clock that is set by hand or by NTP.

const shim = `
import { readFileSync } from "node:fs"
const Real = Date
const offset = () => {
  try {
    return Number(readFileSync(process.env.CLOCK_OFFSET, "utf8"))
  } catch {
    return 0
  }
}
globalThis.Date = class Date extends Real {
  constructor(...words) {
    if (words.length === 0) super(Real.now() + offset())
    else super(...words)
  }
  static now() {
    return Real.now() + offset()
  }
}
`

/** The environment of processes with a clock of their own, and what sets it: by so many milliseconds. */
export const make = (folder: string) => {
  const file = join(folder, "offset")
  const set = (by: number) => writeFileSync(file, String(by))
  set(0)
  writeFileSync(join(folder, "shim.mjs"), shim)
  return {
    env: {
      NODE_OPTIONS: `--import ${pathToFileURL(join(folder, "shim.mjs"))}`,
      CLOCK_OFFSET: file,
      TZ: "UTC"
    },
    set
  }
}
