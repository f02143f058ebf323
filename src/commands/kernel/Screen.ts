import { Effect, type Scope } from "effect"

/** A few lines that stay at the bottom of the terminal on stderr, below the log. */
export interface Screen {
  /** Replaces the lines at the bottom. */
  readonly show: (lines: ReadonlyArray<string>) => void
  /** Writes a line above them; the line end is added. */
  readonly log: (text: string) => void
  /** Writes bytes above them, cut anywhere: a line appears with its end, with the next {@link log}, or at the close. */
  readonly write: (bytes: Uint8Array) => void
}

const pause = 40
const up = (lines: number) => (lines === 0 ? "" : `\x1b[${lines}A\r`)

/** Draws at most 25 times a second until the scope closes, which removes the lines and keeps the log. */
export const make: Effect.Effect<Screen, never, Scope.Scope> = Effect.map(
  Effect.acquireRelease(
    Effect.sync(() => {
      let drawn: ReadonlyArray<string> = []
      let written = ""
      const decoder = new TextDecoder()
      let begun = "" // a line without its end
      let bottom: ReadonlyArray<string> = []
      let timer: NodeJS.Timeout | undefined
      const draw = () => {
        clearTimeout(timer)
        timer = undefined
        const columns = process.stderr.columns || 80 // 0 when the terminal does not report its size
        const rows = process.stderr.rows || 24
        const room = Math.max(2, rows - 2)
        const left = bottom.length - room + 1
        const fitting = left > 1 ? [...bottom.slice(0, room - 1), `… ${left} more`] : bottom
        const lines = fitting.map((line) => line.slice(0, columns - 1))
        // A terminal that became narrower has wrapped the old lines into more rows.
        const above = drawn.reduce((sum, line) => sum + Math.max(1, Math.ceil(line.length / columns)), 0)
        process.stderr.write(`${up(above)}\x1b[J${written}${lines.map((line) => `${line}\n`).join("")}`)
        drawn = lines
        written = ""
      }
      const soon = () => {
        timer ??= setTimeout(draw, pause)
      }
      return {
        show: (lines: ReadonlyArray<string>) => {
          if (lines.join("\n") === bottom.join("\n")) return
          bottom = lines
          soon()
        },
        log: (text: string) => {
          written += `${begun}${begun === "" ? "" : "\n"}${text}\n`
          begun = ""
          soon()
        },
        write: (bytes: Uint8Array) => {
          const text = begun + decoder.decode(bytes, { stream: true })
          const whole = text.lastIndexOf("\n") + 1
          written += text.slice(0, whole)
          begun = text.slice(whole)
          soon()
        },
        close: () => {
          bottom = []
          if (begun !== "") written += `${begun}\n`
          draw()
        }
      }
    }),
    ({ close }) => Effect.sync(close)
  ),
  ({ log, show, write }) => ({ log, show, write })
)
