import type { Capabilities } from "../../services/host/Output.js"
import * as LinePrefix from "./LinePrefix.js"
import type { Shown } from "./Reporter.js"

// The view of lines of several commands, each with a prefix and a colour: two commands never share a line.

/** The words that a prefix can have in braces. */
export const placeholders = ["name", "index", "pid", "time"] as const
type Placeholder = (typeof placeholders)[number]

export interface Settings {
  readonly names: ReadonlyArray<string>
  readonly prefix: string
  /** Without a prefix. */
  readonly raw: boolean
  readonly timestamps: boolean
  readonly stdout: Capabilities
  readonly stderr: Capabilities
  /** Milliseconds since 1970. */
  readonly now: () => number
}

interface Output {
  readonly index: number
  readonly name: string
  readonly stream: "stdout" | "stderr"
  readonly bytes: Uint8Array
}

export interface Prefixed {
  readonly started: (event: { readonly name: string; readonly pid: number }) => void
  /** Takes whole lines, as `Lines.whole` passes them on. */
  readonly output: (event: Output) => Shown
}

const colors = [36, 33, 35, 32, 34, 96, 93, 95, 92, 94]

const timeOfDay = (ms: number): string => {
  const date = new Date(ms)
  const two = (n: number) => String(n).padStart(2, "0")
  const clock = [date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(":")
  return `${clock}.${String(date.getMilliseconds()).padStart(3, "0")}`
}

const lineEnd = Buffer.from("\n")

export const make = (settings: Settings): Prefixed => {
  const width = Math.max(...settings.names.map((name) => name.length))
  const template = `${settings.timestamps ? "{time} " : ""}${settings.raw ? "" : settings.prefix}`
  const pids = new Map<string, number>()
  const prefix = ({ index, name, stream }: Output): Buffer => {
    const values: Record<Placeholder, () => string> = {
      name: () => name.padEnd(width),
      index: () => String(index),
      pid: () => String(pids.get(name) ?? ""),
      time: () => timeOfDay(settings.now())
    }
    const text = template.replace(/\{(\w+)\}/g, (_, word: Placeholder) => values[word]())
    const color = colors[(index - 1) % colors.length]
    return Buffer.from(settings[stream].colors ? `\x1b[${color}m${text}\x1b[0m` : text)
  }
  // A raw line may be left open: another command's output begins a new line.
  const open: { stdout?: string; stderr?: string } = {}
  const raw = ({ bytes, name, stream }: Output): Uint8Array => {
    const other = open[stream] !== undefined && open[stream] !== name
    if (bytes.at(-1) === 10) delete open[stream]
    else open[stream] = name
    return other ? Buffer.concat([lineEnd, bytes]) : bytes
  }
  const prefixed = (event: Output): Uint8Array => {
    const { bytes } = event
    const whole = bytes.at(-1) === 10 ? bytes : Buffer.concat([bytes, lineEnd])
    return LinePrefix.before(whole, prefix(event), { open: false })
  }
  return {
    started: ({ name, pid }) => {
      pids.set(name, pid)
    },
    output: (event) => {
      const bytes = template === "" ? raw(event) : prefixed(event)
      return event.stream === "stdout" ? { bytes } : { errors: bytes }
    }
  }
}
