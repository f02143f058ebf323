import { existsSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { afterAll, describe, expect, it } from "vitest"
import * as Aio from "../support/Aio.js"

afterAll(Aio.removeFolders)

/** A soak sets more. */
const kills = Number(process.env["AIO_SOAK_KILLS"] ?? 5)

const aio = (args: ReadonlyArray<string>, options: Parameters<typeof Aio.run>[1] = {}) =>
  Aio.run(["subprocess", ...args], options)

describe("aio subprocess", () => {
  it("starts the other jobs once there are descriptors again", async () => {
    const { code, stderr } = await aio(
      ["-j60", "sleep 0.1 #", ":::", ...Array.from({ length: 80 }, (_, i) => String(i))],
      {
        shell: 'ulimit -n 64; exec "$@"'
      }
    )
    expect([code, stderr]).toEqual([0, expect.stringMatching(/^jobs {5}80 succeeded\n/)])
    // Background children keep the pipes of a job that has ended.
    const held = await aio(
      ["-j60", "(sleep 0.3; echo) & exit 0 #", ":::", ...Array.from({ length: 60 }, (_, i) => String(i))],
      {
        shell: 'ulimit -n 64; exec "$@"'
      }
    )
    expect([held.code, held.stdout.length]).toEqual([0, 60])
    // Our own are few too: for results, and for output that waits.
    const results = join(Aio.folder(), "results")
    const flood = `sleep 0.{%}; head -c 600000 /dev/zero; echo {} >&2`
    const saved = await aio(
      [
        "-q",
        "-k",
        "-j50",
        "--results",
        results,
        flood,
        ":::",
        ...Array.from({ length: 50 }, (_, i) => String(i))
      ],
      {
        shell: 'ulimit -n 64; exec "$@" | wc -c'
      }
    )
    expect([saved.code, Number(saved.stdout), Aio.names(results).length]).toEqual([0, 30_000_000, 50])
  }, 60_000)

  it("starts no job that still waits for descriptors when it is ended", async () => {
    const ran = join(Aio.folder(), "ran")
    const count = () => (existsSync(ran) ? readFileSync(ran, "utf8").length : 0)
    const running = Aio.start(
      [
        "subprocess",
        "-q",
        "-j60",
        `printf x >> ${ran}; exec sleep 60 #`,
        ":::",
        ...Array.from({ length: 60 }, (_, i) => String(i))
      ],
      { shell: 'ulimit -n 64; exec "$@"' }
    )
    while (count() < 10) await new Promise(setImmediate)
    running.kill("SIGTERM")
    expect((await running.ended).code).toBe(143)
    expect(count()).toBeLessThan(32)
  })

  it(
    "loses no job when it is killed at any moment and called again",
    async () => {
      const at = Aio.folder()
      const [log, ran] = [join(at, "log"), join(at, "ran")]
      const items = Array.from({ length: 40 * kills }, (_, i) => String(i + 1))
      const job = ["--", "sh", "-c", `echo $0 >> ${ran}`, ":::", ...items]
      const words = ["subprocess", "-q", "-j3", "--json", "--joblog", log, "--resume", ...job]
      const lines = (path: string) =>
        existsSync(path) ? readFileSync(path, "utf8").split("\n").slice(0, -1) : []
      const logged = () =>
        lines(log)
          .slice(1)
          .map((line) => line.split("\t")[0]!)
      const again: Array<string> = []
      // Killed at the n-th event of a job that has begun or ended: what was under way may run again.
      for (let i = 0; i <= kills; i++) {
        const [done, before] = [new Set(logged()), lines(ran).length]
        const running = Aio.start(words)
        if (i < kills) {
          await running.shows(`"event":"${i % 2 === 0 ? "started" : "finished"}"`, 1 + ((i * 5) % 13))
          running.kill("SIGKILL")
          await running.exited
        } else expect((await running.ended).code).toBe(0)
        again.push(
          ...lines(ran)
            .slice(before)
            .filter((item) => done.has(item))
        )
      }
      expect(again).toEqual([])
      expect([...new Set(lines(ran))].sort()).toEqual([...items].sort())
      expect(logged().sort()).toEqual([...items].sort())
    },
    60_000 + 5000 * kills
  )

  // The job writes what it is given to `ran`, with its number; its name in the log has these items.
  it.each<[how: string, options: ReadonlyArray<string>, command: ReadonlyArray<string>]>([
    ["items by number", ["-n", "3"], ["sh", "-c", 'echo "$@" >> ran', "sh"]],
    ["items by size", ["-X", "-s", "48"], ["sh", "-c", 'echo "$@" >> ran', "sh"]],
    ["blocks by size", ["--pipe", "--block", "24"], ["sh", "-c", "echo $(cat) >> ran"]],
    ["blocks by number", ["--pipe", "-n", "3"], ["sh", "-c", "echo $(cat) >> ran"]],
    ["whole commands", [], []]
  ])(
    "killed and resumed, %s: no job of the log runs again, and no item is lost",
    async (_, options, command) => {
      const cwd = Aio.folder()
      const numbers = Array.from({ length: 150 }, (_, i) => String(i + 1))
      const items = command.length === 0 ? numbers.map((item) => `echo ${item} >> ran`) : numbers
      writeFileSync(join(cwd, "in"), `${items.join("\n")}\n`)
      const words = [
        "subprocess",
        "-q",
        "-j3",
        "--json",
        "--joblog",
        "log",
        "--resume",
        ...options,
        ...command
      ]
      const lines = (name: string) =>
        existsSync(join(cwd, name)) ? readFileSync(join(cwd, name), "utf8").split("\n").slice(0, -1) : []
      const start = () => Aio.start(words, { cwd, shell: 'exec "$@" < in' })
      const name = (line: string) => line.split("\t")[8]!
      let before: ReadonlyArray<string> = []
      for (let i = 0; i < 3; i++) {
        const running = start()
        await running.shows('"event":"finished"', lines("log").length + 1 + ((i * 5) % 7))
        running.kill("SIGKILL")
        await running.exited
        expect(lines("log").slice(0, before.length)).toEqual(before)
        before = lines("log")
      }
      const logged = lines("log").slice(1).map(name)
      expect(logged.length).toBeGreaterThan(6)
      const last = await start().ended
      expect(last.code).toBe(0)
      const skipped = [...last.stdout.matchAll(/"event":"finished".*"reason":"it is in the job log"/g)]
      expect(skipped.length).toBe(logged.length)
      // The last run has logged each other job once.
      const all = lines("log").slice(1).map(name)
      expect(new Set(all).size).toBe(all.length)
      // A block may end early where the job outlives its aio for a moment: an empty line, of a job that runs again.
      const ran = lines("ran").filter((line) => line !== "")
      expect(new Set(ran.flatMap((line) => line.split(" ")))).toEqual(new Set(numbers))
      // Nothing is left to do.
      expect((await start().ended).stdout).not.toContain('"event":"started"')
    }
  )

  it("runs a block again whose content or number is another, and reads the items of a resumed run as before", async () => {
    const cwd = Aio.folder()
    const run = (stdin: string, ...words: ReadonlyArray<string>) =>
      Aio.run(["subprocess", "-qk", "--joblog", "log", "--resume", ...words], { cwd, stdin })
    const pipe = ["--pipe", "-n", "2", "sh", "-c", "echo $(cat)"]
    expect((await run("1\n2\n3\n4\n", ...pipe)).stdout).toBe("1 2\n3 4\n")
    expect((await run("1\n2\n3\n4\n5\n", ...pipe)).stdout).toBe("5\n")
    expect((await run("1\n2\n3\nx\n5\n", ...pipe)).stdout).toBe("3 x\n")
    expect((await run("1\n2\n", "--pipe", "-n", "1", "sh", "-c", "echo $(cat)")).stdout).toBe("1\n2\n")
    expect((await run("1\n2\n3\n", "-n", "2", "echo")).stdout).toBe("1 2\n3\n")
    expect((await run("1\n2\n3\n4\n", "-n", "2", "echo")).stdout).toBe("3 4\n") // the command is another one
  })
})
