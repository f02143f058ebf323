import { spawn, spawnSync } from "node:child_process"
import { existsSync, readFileSync, readlinkSync } from "node:fs"
import * as Width from "../../src/services/text/Width.js"
import * as Aio from "./Aio.js"

/** Whether there is a program that gives `aio` a terminal. */
export const available = existsSync("/usr/bin/script")

/** Runs `aio` in a terminal of this many columns. */
export const start = (args: ReadonlyArray<string>, columns = 80) => command([Aio.command, ...args], columns)

/** Runs Node with these words in a terminal. */
export const command = (
  words: ReadonlyArray<string>,
  columns: number,
  env: Readonly<Record<string, string>> = {}
) => {
  const quoted = [process.execPath, ...words].map((word) => `'${word.replaceAll("'", "'\\''")}'`)
  const child = spawn(
    "/usr/bin/script",
    ["-qec", `stty cols ${columns} rows 24; exec ${quoted.join(" ")}`, "/dev/null"],
    {
      env: { PATH: process.env["PATH"], HOME: process.env["HOME"], SHELL: "/bin/sh", TERM: "xterm", ...env },
      stdio: ["pipe", "pipe", "inherit"]
    }
  )
  let written = ""
  const sizes: Array<readonly [from: number, columns: number]> = [[0, columns]]
  const waiting = new Set<() => void>()
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    written += text
    for (const check of waiting) check()
  })
  return {
    /** Presses keys. */
    press: (keys: string) => void child.stdin.write(keys),
    /** Gives the terminal another width; what has been written so far is wrapped anew. */
    resize: (to: number) => {
      const pid = readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, "utf8").split(" ")[0]
      spawnSync("stty", ["-F", readlinkSync(`/proc/${pid}/fd/2`), "cols", String(to)])
      sizes.push([written.length, to])
    },
    /** Resolves when this has been written. */
    shows: (text: string) =>
      new Promise<void>((resolve) => {
        const check = () => {
          if (!written.includes(text)) return
          waiting.delete(check)
          resolve()
        }
        waiting.add(check)
        check()
      }),
    /** What stands in the terminal at the end, scrolled out lines included, the exit code, and all that was written. */
    ended: new Promise<{
      readonly code: number | null
      readonly lines: ReadonlyArray<string>
      readonly written: string
    }>((resolve) =>
      child.on("close", (code) => {
        const parts = sizes.map(
          ([from, columns], i) => [columns, written.slice(from, sizes[i + 1]?.[0])] as const
        )
        resolve({ code, lines: show(parts), written })
      })
    )
  }
}

const graphemes = new Intl.Segmenter("en", { granularity: "grapheme" })

/** The indexes at which the rows of a line begin. */
const rowsOf = (line: ReadonlyArray<string>, columns: number): ReadonlyArray<number> => {
  const starts = [0]
  let taken = 0
  for (const [i, grapheme] of line.entries()) {
    const width = Width.of(grapheme)
    if (taken + width > columns) {
      starts.push(i)
      taken = 0
    }
    taken += width
  }
  return starts
}

/** The screen of a terminal after these characters; throws on a control sequence that `aio` does not write. */
export const render = (written: string, columns: number): ReadonlyArray<string> => show([[columns, written]])

/** {@link render} with a width for each part; a terminal that is resized wraps its lines anew. */
const show = (parts: ReadonlyArray<readonly [columns: number, written: string]>): ReadonlyArray<string> => {
  const lines: Array<Array<string>> = [[]]
  let line = 0
  let at = 0 // within the line, in graphemes
  let columns = 80
  const up = (rows: number) => {
    let left = rows
    const within = (starts: ReadonlyArray<number>) => starts.findLastIndex((start) => start <= at)
    for (let row = within(rowsOf(lines[line]!, columns)); left > 0; left--) {
      if (row > 0) row--
      else if (line > 0) row = rowsOf(lines[--line]!, columns).length - 1
      at = rowsOf(lines[line]!, columns)[row]!
    }
  }
  for (const [width, written] of parts) {
    columns = width
    for (const [token] of written.matchAll(/\x1b\[\d*[A-Za-z]|[\0-\x1f\x7f-\x9f]|[^\0-\x1f\x7f-\x9f]+/gsu)) {
      if (/^\x1b\[\d*m$/.test(token)) continue // a colour
      if (token === "\r") at = rowsOf(lines[line]!, columns).findLast((start) => start <= at)!
      else if (token === "\n") {
        line++
        at = 0
        lines[line] ??= []
      } else if (/^\x1b\[\d*A$/.test(token)) up(Number(token.slice(2, -1) || 1))
      else if (token === "\x1b[J") {
        lines.length = line + 1
        lines[line]!.length = at
      } else if (/^[\0-\x1f\x7f-\x9f]/.test(token)) {
        throw new Error(`the terminal was given ${JSON.stringify(token)}`)
      } else {
        for (const { segment } of graphemes.segment(token)) lines[line]![at++] = segment
      }
    }
  }
  return lines.flatMap((cells) => {
    const starts = rowsOf(cells, columns)
    return starts.map((start, i) =>
      cells
        .slice(start, starts[i + 1])
        .join("")
        .trimEnd()
    )
  })
}
