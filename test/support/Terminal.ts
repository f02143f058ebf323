import { spawn } from "node:child_process"
import { existsSync } from "node:fs"
import * as Aio from "./Aio.js"

/** Whether there is a program that gives `aio` a terminal. */
export const available = existsSync("/usr/bin/script")

/** Runs `aio` in a terminal of this many columns. */
export const start = (args: ReadonlyArray<string>, columns = 80) => {
  const quoted = [process.execPath, Aio.command, ...args].map((word) => `'${word.replaceAll("'", "'\\''")}'`)
  const child = spawn(
    "/usr/bin/script",
    ["-qec", `stty cols ${columns} rows 24; exec ${quoted.join(" ")}`, "/dev/null"],
    {
      env: { PATH: process.env["PATH"], HOME: process.env["HOME"], SHELL: "/bin/sh", TERM: "xterm" },
      stdio: ["pipe", "pipe", "inherit"]
    }
  )
  let written = ""
  const waiting = new Set<() => void>()
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    written += text
    for (const check of waiting) check()
  })
  return {
    /** Presses keys. */
    press: (keys: string) => void child.stdin.write(keys),
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
    /** What stands in the terminal at the end, scrolled out lines included, and the exit code. */
    ended: new Promise<{ readonly code: number | null; readonly lines: ReadonlyArray<string> }>((resolve) =>
      child.on("close", (code) => resolve({ code, lines: render(written, columns) }))
    )
  }
}

/** The screen of a terminal after these characters; throws on a control sequence that `aio` does not write. */
export const render = (written: string, columns: number): ReadonlyArray<string> => {
  const lines: Array<string> = [""]
  let row = 0
  let column = 0
  for (const [token] of written.matchAll(/\x1b\[\d*[A-Za-z]|./gsu)) {
    if (/^\x1b\[\d*m$/.test(token)) continue // a colour
    if (token === "\r") column = 0
    else if (token === "\n") row++
    else if (/^\x1b\[\d*A$/.test(token)) row = Math.max(0, row - Number(token.slice(2, -1) || 1))
    else if (token === "\x1b[J") {
      lines.length = row + 1
      lines[row] = (lines[row] ?? "").slice(0, column)
    } else if (token < " ") throw new Error(`the terminal was given ${JSON.stringify(token)}`)
    else {
      if (column === columns) {
        row++
        column = 0
      }
      const line = (lines[row] ?? "").padEnd(column)
      lines[row] = line.slice(0, column) + token + line.slice(column + token.length)
      column++
    }
    while (lines.length <= row) lines.push("")
  }
  return lines.map((line) => line.trimEnd())
}
