import { spawn } from "node:child_process"
import { existsSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { setTimeout as pause } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { afterAll, describe, expect, it } from "vitest"
import * as Aio from "../support/Aio.js"
import * as Terminal from "../support/Terminal.js"

// A terminal that gets another width; and one that goes away: its window is closed, or the connection to it breaks. The kernel sends SIGHUP to the
// foreground processes, and every write to the terminal fails from then on.

afterAll(Aio.removeFolders)

/** Resolves when the file has been written, and rejects after ten seconds. */
const content = async (file: string): Promise<string> => {
  for (let i = 0; i < 500; i++) {
    if (existsSync(file) && readFileSync(file, "utf8") !== "") return readFileSync(file, "utf8")
    await pause(20)
  }
  throw new Error(`${file} was never written`)
}

const stubborn = "trap '' HUP; (setsid sleep 60 &); echo up > up; while :; do sleep 0.05; done"
const command = ["--", "sh", "-c", stubborn]
const soon = ["--grace", "300ms"]
const cases: ReadonlyArray<readonly [what: string, words: ReadonlyArray<string>]> = [
  ["subprocess", ["subprocess", ...soon, ...command, ":::", "x"]],
  ["subprocess -u", ["subprocess", "-u", ...soon, ...command, ":::", "x"]],
  ["subprocess --progress", ["subprocess", "--progress", ...soon, ...command, ":::", "x"]],
  ["tasks", ["tasks", ...soon, `a=${stubborn}`]],
  ["tasks beside a command that floods the terminal", ["tasks", ...soon, "b=yes", `a=${stubborn}`]],
  ["long-running", ["long-running", ...soon, `a=${stubborn}`]],
  ["schedule", ["schedule", "later", "0", ...soon, ...command]],
  ["loop", ["loop", "-F", "input", ...command]]
]

describe.runIf(Terminal.available)("a terminal that goes away", { concurrent: true }, () => {
  it.each(cases)("ends %s and the processes that it started", async (_, words) => {
    const cwd = Aio.folder()
    const marker = Aio.marker()
    writeFileSync(join(cwd, "input"), "record\n")
    const quoted = [process.execPath, Aio.command, ...words].map(
      (word) => `'${word.replaceAll("'", "'\\''")}'`
    )
    // The shell that leads the session ends by SIGHUP, which lets the kernel signal the foreground processes.
    writeFileSync(join(cwd, "run.sh"), `trap : HUP\n${quoted.join(" ")}\necho $? > code\n`)
    const terminal = spawn("/usr/bin/script", ["-qec", "sh run.sh; :", "/dev/null"], {
      cwd,
      env: { PATH: process.env["PATH"], SHELL: "/bin/sh", TERM: "xterm", ...marker.env },
      stdio: ["pipe", "pipe", "inherit"]
    })
    terminal.stdout.resume()
    await content(join(cwd, "up"))
    terminal.kill("SIGKILL")
    expect(await content(join(cwd, "code"))).toBe("129\n")
    expect(await marker.left()).toEqual([])
  })
})

const fixture = fileURLToPath(new URL("../commands/kernel/fixtures/screen.ts", import.meta.url))

describe.runIf(Terminal.available)("a live area in a real terminal", { concurrent: true }, () => {
  it.each([
    [80, 30],
    [40, 120],
    [100, 41],
    [25, 24]
  ])("of %i columns that gets %i leaves its log and nothing else", async (before, after) => {
    const terminal = Terminal.command(["--import", "tsx", fixture], before)
    await terminal.shows(`LAST ${before - 1}`)
    terminal.resize(after)
    await terminal.shows(`LAST ${after - 1}`)
    terminal.press("\n")
    const { code, lines, written } = await terminal.ended
    expect(code).toBe(0)
    expect(lines.filter((line) => line !== "")).toEqual(["first", `now ${after}`, "last without a line end"])
    expect(written).not.toContain("\x1b[2J")
  })
})
