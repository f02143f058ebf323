import { Effect, type Scope } from "effect"
import { formatSize } from "../services/Units.js"

/** Progress bars on stderr: one for each of some tasks under way, and a total. */
export interface Bars {
  /** Shows how far a task is; the bar appears with the first call. */
  readonly update: (id: number, label: string, received: number, total: number | undefined) => void
  readonly remove: (id: number) => void
  readonly total: (label: string) => void
  /** A line above the bars. */
  readonly log: (line: string) => void
}

const rows = () => Math.max(1, (process.stderr.rows ?? 24) - 4)
const shorten = (text: string, width: number) =>
  text.length <= width ? text : `…${text.slice(text.length - width + 1)}`

/** Draws until the scope closes; leaves the terminal as it was. */
export const make: Effect.Effect<Bars, never, Scope.Scope> = Effect.gen(function* () {
  const { MultiBar } = yield* Effect.promise(async () => (await import("cli-progress")).default)
  const multi = yield* Effect.acquireRelease(
    Effect.sync(
      () =>
        new MultiBar({
          stream: process.stderr,
          gracefulExit: false, // signals are the runner's
          clearOnComplete: true,
          hideCursor: true,
          fps: 10,
          barsize: 20,
          formatBar: (progress, options) => {
            const done = Math.round(progress * options.barsize!)
            return "━".repeat(done) + " ".repeat(options.barsize! - done)
          },
          format: "{bar} {label} {amount}"
        })
    ),
    (multi) => Effect.sync(() => multi.stop())
  )
  type Bar = ReturnType<typeof multi.create>
  const bars = new Map<number, Bar>()
  let totalBar: Bar | undefined
  return {
    update: (id, label, received, total) => {
      let bar = bars.get(id)
      if (bar === undefined) {
        if (bars.size >= rows()) return
        bar = multi.create(1, 0, { label: "", amount: "" })
        bars.set(id, bar)
      }
      bar.setTotal(total ?? Math.max(received, 1))
      const amount =
        total === undefined ? formatSize(received) : `${formatSize(received)} of ${formatSize(total)}`
      bar.update(total === undefined ? 0 : received, { label: shorten(label, 40).padEnd(40), amount })
    },
    remove: (id) => {
      const bar = bars.get(id)
      if (bar === undefined) return
      multi.remove(bar)
      bars.delete(id)
    },
    total: (label) => {
      totalBar ??= multi.create(1, 0, { label, amount: "" }, { format: "{label}" })
      totalBar.update(0, { label })
    },
    log: (line) => multi.log(`${line}\n`)
  }
})
