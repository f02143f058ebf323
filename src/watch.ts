import { isMainThread } from "node:worker_threads"
import { encode } from "./services/host/EventLine.js"
import * as LoopReports from "./services/task/internal/loopReports.js"
import * as LoopWatch from "./services/task/internal/loopWatch.js"
import * as DurationText from "./services/text/DurationText.js"

// node --import effect-asyncio/watch app.js: watches the event loop of any program. Settings come from the environment.

const { env } = process

/** Milliseconds after which a loop that is still blocked is reported by the watchdog itself. */
const hangs = 10_000

const isOn = (name: string): boolean => {
  const text = (env[name] ?? "").toLowerCase()
  if (["", "0", "false", "no", "off"].includes(text)) return false
  if (["1", "true", "yes", "on"].includes(text)) return true
  return refuse(`${name}: '${env[name]}' is not accepted; expected 1 or 0`)
}

const refuse = (message: string): never => {
  process.stderr.write(`LoopWatch: ${message}\n`)
  process.exit(2)
}

const threshold = (): number => {
  const text = env["AIO_WATCH_LOOP"] || "100ms"
  const read = DurationText.parse(text)
  if (typeof read === "string") return refuse(`AIO_WATCH_LOOP: ${read}`)
  if (read > 0) return read
  return refuse(`AIO_WATCH_LOOP: '${text}' is out of range; expected a duration above 0, like 100ms`)
}

const start = async () => {
  const cwd = process.cwd()
  const json = isOn("AIO_JSON")
  const fails = isOn("AIO_FAIL_ON_BLOCK")
  let found = false
  const watch = LoopWatch.open({
    threshold: threshold(),
    skipLoading: true,
    hanging: { after: hangs, json, cwd, descriptor: 2 },
    onUnavailable: (why) => {
      process.stderr.write(`LoopWatch: no stacks can be taken here: ${why}\n`)
    },
    onReport: (report) => {
      found = true
      process.stderr.write(
        json ? `${encode(LoopReports.event(report))}\n` : `LoopWatch: ${LoopReports.text(report, cwd)}\n`
      )
    }
  })
  process.on("exit", () => {
    watch.flushNow()
    if (found && fails && !process.exitCode) process.exitCode = 1
  })
  await watch.ready()
}

// Pools of threads wait in their threads by blocking them, so those are watched only if asked for.
if (isMainThread || isOn("AIO_WATCH_THREADS")) await start()
