import { Effect, type Scope } from "effect"
import * as Printable from "../../services/text/Printable.js"
import * as Width from "../../services/text/Width.js"

/** A few lines that stay at the bottom of the terminal on stderr, below the log. */
export interface Screen {
  /** Draws the lines at the bottom anew. */
  readonly refresh: () => void
  /** Writes a line above them; the line end is added. */
  readonly log: (text: string) => void
  /** Writes bytes above them, cut anywhere: a line appears with its end, with the next {@link log}, or at the close. */
  readonly write: (bytes: Uint8Array) => void
}

const pause = 40

/** Most bytes of a line that is kept until its end; then it appears as it is, with an end. */
const mostKept = 64 * 1024

const up = (rows: number) => (rows === 0 ? "" : `\x1b[${rows}A\r`)

/**
 * Draws `live(columns)` at most 25 times a second, and when the window changes, until the scope closes, which removes the
 * lines and keeps the log.
 */
export const make = (
  live: (columns: number) => ReadonlyArray<string>
): Effect.Effect<Screen, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => {
        let drawn: ReadonlyArray<string> = []
        let written: Array<Uint8Array> = []
        let begun: Array<Uint8Array> = [] // a line without its end
        let kept = 0
        let timer: NodeJS.Timeout | undefined
        const draw = (bottom: ReadonlyArray<string>, columns: number) => {
          clearTimeout(timer)
          timer = undefined
          if (written.length === 0 && bottom.join("\n") === drawn.join("\n")) return
          // A terminal that became narrower has wrapped the old lines into more rows.
          const above = drawn.reduce((rows, line) => rows + Width.rows(line, columns), 0)
          const lines = bottom.map((line) => `${line}\n`).join("")
          process.stderr.write(
            Buffer.concat([Buffer.from(`${up(above)}\x1b[J`), ...written, Buffer.from(lines)])
          )
          drawn = bottom
          written = []
        }
        // The size is 0 when the terminal does not report it.
        const columnsNow = () => process.stderr.columns || 80
        const drawLive = () => {
          const columns = columnsNow()
          const room = Math.max(2, (process.stderr.rows || 24) - 2)
          const lines = live(columns - 1)
          const left = lines.length - room + 1
          const fitting = left > 1 ? [...lines.slice(0, room - 1), `… ${left} more`] : lines
          draw(
            fitting.map((line) => Width.cut(Printable.line(line), columns - 1)),
            columns
          )
        }
        const refresh = () => {
          timer ??= setTimeout(drawLive, pause)
        }
        const endLine = () => {
          if (begun.length > 0) written.push(...begun, Buffer.from("\n"))
          begun = []
          kept = 0
        }
        process.stderr.on("resize", refresh)
        return {
          refresh,
          log: (text: string) => {
            endLine()
            written.push(Buffer.from(`${text}\n`))
            refresh()
          },
          write: (bytes: Uint8Array) => {
            const end = bytes.lastIndexOf(10) + 1
            if (end > 0) {
              written.push(...begun, bytes.subarray(0, end))
              begun = []
              kept = 0
            }
            if (end < bytes.length) begun.push(bytes.subarray(end))
            kept += bytes.length - end
            if (kept > mostKept) endLine()
            refresh()
          },
          close: () => {
            process.stderr.off("resize", refresh)
            endLine()
            draw([], columnsNow())
          }
        }
      }),
      ({ close }) => Effect.sync(close)
    ),
    ({ log, refresh, write }) => ({ log, refresh, write })
  )
