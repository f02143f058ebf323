import { execFileSync, spawn, spawnSync } from "node:child_process"
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  statSync,
  symlinkSync,
  writeFileSync
} from "node:fs"
import { createServer, type Socket } from "node:net"
import { join } from "node:path"
import { afterAll, describe, expect, it } from "vitest"
import * as Aio from "../support/Aio.js"
import * as InProcess from "../support/InProcess.js"

// What goes wrong around processes, as public problem reports of other tools and attacks on this one have it; each with
// real processes. What a unit test covers in less time is there: Supervisor, LongRunning, Timers, JobLog, LogFiles.

afterAll(Aio.removeFolders)

type Words = ReadonlyArray<string>

const lines = (text: string) => text.split("\n").slice(0, -1)
const json = (text: string) => lines(text).map((line) => JSON.parse(line))

const pipe = (folder: string, name: string): string => {
  execFileSync("mkfifo", [join(folder, name)])
  return join(folder, name)
}

/** One command, with each subcommand that can run it: none may leave anything of it behind. */
const runners = (script: string): ReadonlyArray<readonly [string, Words]> => [
  ["subprocess", ["subprocess", "--line-buffer", "--grace", "300ms", "--", "sh", "-c", script, ":::", "x"]],
  ["subprocess -u", ["subprocess", "-u", "--grace", "300ms", "--", "sh", "-c", script, ":::", "x"]],
  ["tasks", ["tasks", "--grace", "300ms", `a=${script}`]],
  ["long-running", ["long-running", "--grace", "300ms", `a=${script}`]],
  ["schedule", ["schedule", "later", "0", "--grace", "300ms", "--", "sh", "-c", script]]
]

describe("a process tree", () => {
  const stubborn =
    "trap '' HUP INT TERM; (setsid sleep 60 &); sleep 60 & echo up; while :; do sleep 0.05; done"
  const late = "trap '(setsid sleep 60 &); (sleep 60 &)' TERM INT HUP; echo up; while :; do sleep 0.05; done"
  const signals = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const
  const cases = [
    ...runners(stubborn).map(([name, words]) => [name, "ignores all", "SIGHUP", words] as const),
    ...runners(late).map(([name, words]) => [name, "forks as it is ended", "SIGTERM", words] as const),
    ["tasks", "floods", "SIGINT", ["tasks", "a=yes", "b=(setsid sleep 60 &); echo up; sleep 60"]] as const
  ]
  it.each(cases)("of %s that %s is gone after %s", async (_name, _what, signal, words) => {
    const marker = Aio.marker()
    const running = Aio.start(words, { env: marker.env })
    await running.shows("up")
    running.kill(signal)
    expect((await running.ended).code).toBe(signals[signal])
    expect(marker.alive()).toEqual([])
  })

  it.each(["SIGINT", "SIGKILL"] as const)(
    "that has left the group, and has nothing of the environment, is gone after %s",
    async (signal) => {
      const cwd = Aio.folder()
      const setsid = execFileSync("/bin/sh", ["-c", "command -v setsid"], { encoding: "utf8" }).trim()
      const stray = `env -i ${setsid} /bin/sh -c 'echo $$ > pid; exec /bin/sleep 60' & until [ -s pid ]; do sleep 0.02; done`
      const running = Aio.start(["tasks", "--grace", "300ms", `a=${stray}; echo up; sleep 60`], { cwd })
      await running.shows("up")
      const pid = Number(readFileSync(join(cwd, "pid"), "utf8"))
      const alive = () =>
        existsSync(`/proc/${pid}`) && !readFileSync(`/proc/${pid}/stat`, "utf8").includes(") Z ")
      expect(alive()).toBe(true)
      running.kill(signal)
      await running.exited
      // If `aio` itself was killed, the child ends a moment later.
      for (let i = 0; i < 500 && signal === "SIGKILL" && alive(); i++)
        await new Promise((done) => setTimeout(done, 20))
      expect(alive()).toBe(false)
    }
  )

  it("is gone after the second signal too, which is not waited for", async () => {
    const marker = Aio.marker()
    const running = Aio.start(["tasks", "--grace", "60s", `a=${stubborn}`], { env: marker.env })
    await running.shows("up")
    running.kill("SIGINT")
    await running.shows("waiting for a")
    running.kill("SIGINT")
    expect(await running.exited).toBe(130)
    expect(await marker.left()).toEqual([])
  })

  it.each(["long-running", "tasks", "schedule"] as const)(
    "of a run whose first process has ended is ended, before %s goes on",
    async (name) => {
      // The child holds the output of its parent, which has crashed.
      const script = "sleep 60 & echo up; exit 3"
      const [words, stdout] = {
        "long-running": [["--raw", "--retries", "1,1ms", `a=${script}`], "up\nup\n"],
        tasks: [["--raw", `a=${script}`, "b=sleep 60"], "up\n"],
        schedule: [["later", "0", "--shell", "--", script], "up\n"]
      }[name] as [Words, string]
      const marker = Aio.marker()
      const result = await Aio.run([name, ...words], { env: marker.env })
      expect([result.code, result.stdout, marker.alive()]).toEqual([1, stdout, []])
    }
  )

  it("of a run is gone before the next one starts", async () => {
    // A process that has ended and is not reaped yet is not left.
    const script =
      "[ -e pid ] && grep -q '^State:.[^ZX]' /proc/$(cat pid)/status 2>/dev/null && echo alive; setsid sleep 60 >&- 2>&- & echo $! > pid; echo run; exit 1"
    const words = ["long-running", "-q", "--raw", "--retries", "2,1ms", `a=${script}`]
    const { stdout } = await InProcess.run(words, { cwd: Aio.folder() })
    expect(stdout).toBe("run\nrun\nrun\n")
  })

  it("that is ended from outside counts as failed, and a signal in the pause ends the wait", async () => {
    const running = Aio.start([
      "long-running",
      "--raw",
      "--retries",
      "unlimited,1h",
      "a=echo pid $$; exec sleep 60"
    ])
    await running.shows("pid")
    await running.shows("\n")
    const events = Aio.start(["long-running", "--json", "--retries", "0", "a=kill -KILL $$"])
    expect(json((await events.ended).stdout).find(({ event }) => event === "exited")).toMatchObject({
      signal: "SIGKILL",
      reason: "ended by SIGKILL"
    })
    running.kill("SIGINT")
    expect((await running.ended).code).toBe(130)
    const pausing = Aio.start(["long-running", "--retries", "unlimited,1h,1h", "a=exit 1"])
    await pausing.shows("a restarts in ")
    pausing.kill("SIGTERM")
    expect((await pausing.ended).code).toBe(143)
  })

  it("takes times of any length", async () => {
    const far = "10000d"
    for (const words of [
      ["subprocess", "-q", "--timeout", far, "--grace", far, "--", "true", ":::", "1"],
      ["tasks", "-q", "--grace", far, "a=true"],
      ["long-running", "-q", "--for", far, "--ready-timeout", far, "--window", far, "a=true"],
      ["schedule", "later", "0", "-q", "--timeout", far, "--", "true"]
    ]) {
      expect(await InProcess.run(words)).toEqual({ code: 0, signal: null, stdout: "", stderr: "" })
    }
  })

  it("has the descriptors 0 to 2, no signal blocked or ignored, and the caller's umask and limits", async () => {
    const script =
      "ls /proc/$$/fd; grep -E 'Sig(Blk|Ign)' /proc/self/status; umask; ulimit -Sn; ulimit -Hn; ulimit -Sc; ulimit -Hf"
    const all = [...runners(script), ["loop", ["loop", "-q", "--", "sh", "-c", script]] as const]
    const results = await Promise.all(
      all.map(([, words]) =>
        Aio.run(words, {
          shell: 'umask 027; ulimit -n 300; ulimit -c 0; ulimit -f 4000000; exec "$@"',
          stdin: "x\n"
        })
      )
    )
    for (const [i, { stdout }] of results.entries()) {
      const said = lines(stdout.replaceAll(/^a \| |\t/gm, ""))
      const after = said.findIndex((line) => line.startsWith("Sig"))
      expect([all[i]![0], ...said.slice(after)]).toEqual([
        ...[all[i]![0], "SigBlk:0000000000000000", "SigIgn:0000000000000000"],
        ...["0027", "300", "300", "0", "4000000"]
      ])
      // Those over 15 are what our own caller has left open for its children.
      expect(said.slice(0, after).filter((line) => Number(line) < 16)).toEqual(["0", "1", "2"])
    }
  })
})

describe("readiness", () => {
  it.each([
    ["echo READY", "a line"],
    ["printf READY", "without a line end"],
    ["echo READY >&2", "on stderr"],
    ["printf 'READY\\r\\n'", "with CR LF"],
    ["head -c 3000000 /dev/zero | tr '\\0' 'x'; echo; echo READY", "behind much"],
    ["(echo READY) & exit 0", "of a child"]
  ])("counts the last words of %s (%s)", async (db) => {
    const words = ["--restart", "never", "--ready-log", "db:^READY$", "--after", "web:db"]
    const runs = Array.from({ length: 3 }, () =>
      Aio.run(["long-running", "-q", ...words, `db=${db} #`, "web=echo started"], {
        shell: '"$@" | grep started'
      })
    )
    for (const { stdout } of await Promise.all(runs)) expect(stdout).toBe("web | started\n")
  })

  it("of a command that has ended well is asked for a last time", async () => {
    const words = ["--ready-exec", "db:test -e done", "--after", "web:db", "db=sleep 0.05; touch done"]
    const { code, stdout } = await InProcess.run(["long-running", "-q", ...words, "web=echo started"], {
      cwd: Aio.folder()
    })
    expect([code, stdout]).toEqual([0, "web | started\n"])
  })

  it("is asked of all in the moment of the start", async () => {
    // db is down while cache gets ready.
    const db = "if [ -e n ]; then echo READY; sleep 60; else touch n; echo READY; sleep 0.1; exit 1; fi"
    const cache = "while [ ! -e n ]; do sleep 0.02; done; sleep 0.4; echo READY; sleep 60"
    const running = Aio.start(
      [
        ...[
          "long-running",
          "--json",
          "--retries",
          "unlimited,1500ms",
          "--ready-log",
          "READY",
          "--after",
          "web:db,cache"
        ],
        ...[`db=${db}`, `cache=${cache}`, "web=echo READY; sleep 60"]
      ],
      { cwd: Aio.folder() }
    )
    await running.shows('"event":"ready","index":3,"name":"web"')
    running.kill("SIGTERM")
    const events = json((await running.ended).stdout)
      .filter(({ event }) => ["ready", "exited", "started"].includes(event))
      .map(({ event, name, run }) => `${name} ${event} ${run}`)
    const at = (event: string) => events.indexOf(event)
    expect(at("cache ready 1")).toBeGreaterThan(at("db exited 1"))
    expect(at("db ready 2")).toBeGreaterThan(at("cache ready 1"))
    expect(at("web started 1")).toBeGreaterThan(at("db ready 2"))
  })

  it("does not hang on a pattern that backtracks, nor on a server that never ends its answer", async () => {
    const sockets = new Set<Socket>()
    const server = createServer((socket) => {
      sockets.add(socket)
      socket.on("error", () => undefined)
      socket.write("HTTP/1.1 200 OK\r\n")
      const more = () =>
        socket.destroyed || socket.write(`x-${"y".repeat(1000)}: z\r\n`, () => setTimeout(more, 5))
      if (sockets.size % 2 === 1) more()
    })
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
    const { port } = server.address() as { port: number }
    const pattern = ["--ready-log", "^(a+)+$", `a=echo ${"a".repeat(60)}!; sleep 60`]
    const url = ["--ready-http", `http://127.0.0.1:${port}/`, "--ready-timeout", "500ms", "a=sleep 60"]
    const [slow, silent] = await Promise.all(
      [pattern, url].map((words) => InProcess.run(["long-running", "--restart", "never", ...words]))
    )
    for (const socket of sockets) socket.destroy()
    server.close()
    expect([slow!.code, silent!.code]).toEqual([1, 1])
    expect(slow!.stderr).toContain("Failed a: not ready: /^(a+)+$/ took longer than 1.0 s for a line\n")
    expect(silent!.stderr).toContain("Failed a: not ready: not within 500 ms\n")
  })
})

describe("the MAX of --retries", () => {
  it("is the longest pause, the first included", async () => {
    const words = ["--retries", "20,1h,10ms", "a=exit 1"]
    const { stdout } = await InProcess.run(["long-running", "--json", ...words])
    const pauses = json(stdout).filter(({ event }) => event === "restarting")
    expect(pauses.length).toBe(20)
    for (const { delay } of pauses) expect(delay).toBeLessThanOrEqual(10)
  })
})

describe("schedule", () => {
  it("counts every run that was missed while it stood still", async () => {
    const running = Aio.start(["schedule", "every", "50ms", "--json", "--times", "4", "--", "true"])
    await running.shows('"finished","index":1')
    running.kill("SIGSTOP")
    await new Promise((resolve) => setTimeout(resolve, 600))
    running.kill("SIGCONT")
    const { stdout } = await running.ended
    const events = json(stdout)
    const skipped = events.filter(({ event }) => event === "skipped")
    const sum = skipped.reduce((sum, { count }) => sum + count, 0)
    expect(sum).toBeGreaterThan(5)
    expect(events.at(-1)).toMatchObject({ event: "summary", skipped: sum })
    for (const { at, count, until } of skipped) {
      expect(Math.round((Date.parse(until) - Date.parse(at)) / 50)).toBeLessThanOrEqual(count)
    }
  })
})

describe("files that the user names", () => {
  it.each<[Words, number, RegExp]>([
    [["long-running", "--log-dir", "/proc/x", "a=true"], 2, /^aio long-running: cannot write \/proc\/x: /],
    [
      ["long-running", "--log-dir", "/proc/x/y", "a=true"],
      2,
      /^aio long-running: cannot write \/proc\/x\/y: /
    ],
    [
      ["subprocess", "--results", "/proc/x", "--", "echo", ":::", "1"],
      2,
      /^cannot save results in \/proc\/x: /
    ],
    [
      ["subprocess", "--results", "/sys/x", "--", "echo", ":::", "1"],
      2,
      /^cannot save results in \/sys\/x: /
    ],
    [
      ["subprocess", "--results", "file", "--", "echo", ":::", "1"],
      2,
      /: a part of the path is not a folder$/
    ],
    [
      ["subprocess", "--results", "file/x", "--", "echo", ":::", "1"],
      2,
      /: a part of the path is not a folder$/
    ],
    [
      ["subprocess", "--joblog", "pipe", "--", "echo", ":::", "1"],
      2,
      /pipe: it is a named pipe that nothing reads/
    ],
    [["subprocess", "--joblog", "none/log", "--", "echo", ":::", "1"], 2, /: no such file or folder$/],
    [
      ["subprocess", "--joblog", "pipe", "--resume", "--", "echo", ":::", "1"],
      2,
      /pipe: it is a named pipe, not a regular file$/
    ],
    [
      ["subprocess", "--joblog", "pipe", "--resume", "--dry-run", "--", "echo", ":::", "1"],
      2,
      /pipe: it is a named pipe, not a regular file$/
    ],
    [
      ["subprocess", "--joblog", "/dev/zero", "--resume", "--", "echo", ":::", "1"],
      2,
      /^cannot use the job log \/dev\/zero, line 1: /
    ],
    [
      ["subprocess", "--joblog", "file", "--resume", "--", "echo", ":::", "1"],
      2,
      /^cannot use the job log file, line 1: 'precious' is not a line of a job log/
    ],
    [
      ["subprocess", "--joblog", "/dev/full", "--", "echo", ":::", "1"],
      1,
      /full: no space left on the disk$/
    ],
    [
      ["long-running", "--log-dir", "logs", "link=echo"],
      2,
      /link.log: it is a symbolic link, not a regular file$/
    ],
    [["long-running", "--log-dir", "logs", "ok=touch ran", "pipe=echo"], 2, /pipe.log: it is a named pipe/],
    [["tasks", "-f", "crlf"], 0, /^$/],
    [["tasks", "-f", "dots"], 2, /^aio tasks: dots, line 1: '..\/x' is not a name/],
    [["tasks", "-f", "nul"], 2, /^aio tasks: nul, line 1: the command contains a null byte/],
    [["tasks", "-f", "noise"], 2, /^aio tasks: noise: it is longer than 1.0 MiB; /],
    [["tasks", "-f", "/dev/zero"], 2, /^aio tasks: \/dev\/zero: it is longer than 1.0 MiB; /],
    [["tasks", "-f", "latin"], 2, /^aio tasks: latin, line 2: it is not UTF-8 text$/],
    [
      ["tasks", "--after", "__proto__:a", "a=true"],
      2,
      /'__proto__:a': unknown name '__proto__'; expected one of a$/
    ],
    [["long-running", "--restart", "__proto__:never", "a=true"], 2, /'__proto__' is not one of the names a$/],
    [["schedule", "at", "9am", "--", "true"], 2, /time '9am' is of the 12-hour clock; write 09:00$/]
  ])("%j: %i, one line", async (words, code, says) => {
    const cwd = mkdtempSync(join(Aio.folder(), "at-"))
    const at = (name: string) => join(cwd, name)
    writeFileSync(at("file"), "precious\n")
    pipe(cwd, "pipe")
    mkdirSync(at("logs"))
    symlinkSync("../file", at("logs/link.log"))
    pipe(cwd, "logs/pipe.log")
    writeFileSync(at("crlf"), "# comment\r\n\r\na: true\r\nb: test x = x\r\n")
    writeFileSync(at("dots"), "../x: true\n")
    writeFileSync(at("latin"), Buffer.from("a: true\nb: echo \xe9\n", "latin1"))
    writeFileSync(at("nul"), "a: true\0\n")
    writeFileSync(at("noise"), Buffer.alloc(3_000_000, "noise "))
    const { code: ended, stderr, stdout } = await InProcess.run(words, { cwd })
    expect([ended, stdout.replaceAll("1\n", "")]).toEqual([code, ""])
    const said = code === 0 ? "" : stderr.replace(/\n$/, "")
    expect(said).toMatch(says)
    expect([said.split("\n").length, said.length < 400]).toEqual([1, true])
    expect([readFileSync(at("file"), "utf8"), existsSync(at("ran"))]).toEqual(["precious\n", false])
  })

  it("may be a pipe that is written to later, and does not delay the end", async () => {
    const cwd = Aio.folder()
    const fifo = pipe(cwd, "fifo")
    const waiting = ["subprocess", "tasks", "long-running"].map((sub) =>
      Aio.start(sub === "subprocess" ? [sub, "-a", fifo, "--", "echo"] : [sub, "-f", fifo])
    )
    const opened = (pid: number) =>
      readdirSync(`/proc/${pid}/fd`).some((fd) => {
        try {
          return readlinkSync(`/proc/${pid}/fd/${fd}`) === realpathSync(fifo)
        } catch {
          return false // closed meanwhile
        }
      })
    for (const one of waiting) while (!opened(one.pid)) await new Promise(setImmediate)
    for (const one of waiting) one.kill("SIGINT")
    for (const one of waiting) expect(await one.exited).toBe(130)
    const running = Aio.start(["subprocess", "-qk", "-a", fifo, "--", "echo", "got"])
    spawnSync("/bin/sh", ["-c", `{ echo a; sleep 0.1; echo b; } > ${fifo}`])
    expect((await running.ended).stdout).toBe("got a\ngot b\n")
  })
})

describe("subprocess", () => {
  it("passes items to the command unchanged, by a shell too", async () => {
    const items = [
      "a b",
      "{}",
      "{#}",
      "-n",
      "~",
      "*",
      "$HOME",
      "$(touch PWNED)",
      "`touch PWNED`",
      "it's",
      '"',
      "a\\b",
      "a\nb"
    ]
    const cwd = Aio.folder()
    for (const words of [["--", "printf", "<%s>"], ["printf '<%s>' {}"]]) {
      const { stdout } = await InProcess.run(["subprocess", "-qk0", ...words], {
        cwd,
        stdin: `${items.join("\0")}\0`
      })
      expect(stdout).toBe(items.map((item) => `<${item}>`).join(""))
    }
    const { stdout } = await InProcess.run(["subprocess", "-q", "--", "printf", "%s"], {
      stdin: "x".repeat(131_000)
    })
    expect(stdout.length).toBe(131_000)
    expect(Aio.names(cwd)).toEqual([])
    // Jobs do not eat the items.
    const eaten = await InProcess.run(["subprocess", "-qk", "-j1", "cat; echo {}"], { stdin: "1\n2\n3\n" })
    expect(eaten.stdout).toBe("1\n2\n3\n")
  })

  it("refuses an item that a shell would interpret within quotes of the command", async () => {
    const cwd = Aio.folder()
    const evil = "$(touch PWNED)"
    for (const [words, code] of [
      [["subprocess", 'ls "{}"', ":::", "a", evil], 2],
      [["subprocess", "ls '{}'", ":::", evil], 2],
      [["subprocess", "--shell", 'ls "$HOME/{/}"', ":::", evil], 2],
      [["subprocess", 'ls "{}"'], 2],
      [["loop", "--", 'ls "{}"'], 1]
    ] as const) {
      const { code: ended, stderr } = await InProcess.run(words, { cwd, stdin: `${evil}\n` })
      expect([words, ended]).toEqual([words, code])
      expect(stderr).toMatch(
        /item "\$\(touch PWNED\)" contains ".", which a shell would interpret, because \{\/?\} stands in quotes/
      )
    }
    expect(Aio.names(cwd)).toEqual([])
    const fine = await InProcess.run(["subprocess", "-qk", 'echo "job {}" "{.}"', ":::", "1", "a.b"])
    expect(fine.stdout).toBe("job 1 1\njob a.b a\n")
  })

  it("logs one line per job, whatever its command, and resumes from GNU parallel's own log", async () => {
    const cwd = Aio.folder()
    const items = ["a\tb", "a\rb", "a\nb", "a\\nb", "\x1b[2J", "1\t:\t1.0\t1.0\t0\t0\t0\t0\tx"]
    const words = ["subprocess", "-qk0", "--joblog", "log", "--resume", "--", "printf", "<%s>"]
    const first = await InProcess.run(words, { cwd, stdin: items.join("\0") })
    expect(first.stdout).toBe(items.map((item) => `<${item}>`).join(""))
    expect(lines(readFileSync(join(cwd, "log"), "utf8")).length).toBe(items.length + 1)
    const again = await InProcess.run(words, { cwd, stdin: [...items, "new"].reverse().join("\0") })
    expect(again.stdout).toBe("<new>")
    const header = "Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\n"
    const rows =
      "1\t:\t1795678901.234\t     0.003\t0\t2\t0\t0\techo a\n2\t:\t1795678901.240\t     0.002\t0\t0\t3\t0\techo b\n"
    writeFileSync(join(cwd, "gnu"), header + rows)
    const gnu = [
      "subprocess",
      "-qk",
      "--joblog",
      "gnu",
      "--resume-failed",
      "--",
      "echo",
      ":::",
      "b",
      "a",
      "c"
    ]
    expect((await InProcess.run(gnu, { cwd })).stdout).toBe("b\nc\n")
  })

  it("saves the results of two processes in one folder, and removes only leftovers of a dead one", async () => {
    const cwd = Aio.folder()
    const words = ["subprocess", "-q", "--results", "R", "-j1", "--line-buffer", "--"]
    const script = "echo start; while [ ! -e go ]; do sleep 0.02; done; echo end"
    const one = Aio.start([...words, "sh", "-c", script, "x", ":::", "1", "2"], { cwd })
    await one.shows("start")
    const killed = Aio.start([...words, "sh", "-c", script, "x", ":::", "3"], { cwd })
    await killed.shows("start")
    const parts = () => Aio.names(join(cwd, "R")).filter((name) => name.startsWith("."))
    expect(parts().length).toBe(2)
    killed.kill("SIGKILL")
    await killed.exited
    const two = Aio.start([...words, "sh", "-c", script, "x", ":::", "1", "2"], { cwd })
    await two.shows("start")
    // Neither has touched the other's; nothing has its name before its job has ended.
    expect([parts().length, Aio.names(join(cwd, "R")).length]).toEqual([2, 2])
    writeFileSync(join(cwd, "go"), "")
    expect([(await one.ended).code, (await two.ended).code]).toEqual([0, 0])
    expect(parts()).toEqual([])
    for (const name of Aio.names(join(cwd, "R"))) {
      const read = (file: string) => readFileSync(join(cwd, "R", name, file), "utf8")
      expect([read("stdout"), read("stderr"), read("exit")]).toEqual(["start\nend\n", "", "0\n"])
    }
  })

  it("saves results of many processes with the same jobs at once", async () => {
    const cwd = Aio.folder()
    const items = Array.from({ length: 60 }, (_, i) => String(i % 20))
    const words = ["subprocess", "-q", "--results", "R", "-j4", "--", "echo", ":::", ...items]
    const all = await Promise.all([1, 2, 3].map(() => Aio.run(words, { cwd })))
    expect(all.map(({ code, stderr }) => [code, stderr])).toEqual([1, 2, 3].map(() => [0, ""]))
    const names = Aio.names(join(cwd, "R"))
    expect([names.length, names.filter((name) => name.startsWith("."))]).toEqual([20, []])
    for (const name of names) {
      expect(Aio.names(join(cwd, "R", name))).toEqual(["command", "exit", "stderr", "stdout"])
    }
  })

  it("saves results under names without slashes, in place of a link and not through it", async () => {
    const cwd = Aio.folder()
    const items = ["../x", "/etc/x", "..", ".", "a\nb", "\x1b[2J", "x".repeat(3000)]
    const words = ["subprocess", "-q0", "--results", "R", "--", "true"]
    expect((await InProcess.run(words, { cwd, stdin: items.join("\0") })).code).toBe(0)
    const names = Aio.names(join(cwd, "R"))
    expect([names.length, Aio.names(cwd)]).toEqual([items.length, ["R"]])
    for (const name of names) expect(name).not.toMatch(/^\.|\p{Cc}|\//u)
    mkdirSync(join(cwd, "victim"))
    writeFileSync(join(cwd, "victim/stdout"), "precious")
    mkdirSync(join(cwd, "S"))
    const [name] = await InProcess.run([...words.slice(0, 3), "T", "--", "echo"], { cwd, stdin: "1" }).then(
      () => Aio.names(join(cwd, "T"))
    )
    symlinkSync("../victim", join(cwd, "S", name!))
    expect((await InProcess.run([...words.slice(0, 3), "S", "--", "echo"], { cwd, stdin: "1" })).code).toBe(0)
    expect(readFileSync(join(cwd, "victim/stdout"), "utf8")).toBe("precious")
    expect(readFileSync(join(cwd, "S", name!, "stdout"), "utf8")).toBe("1\n")
  })

  it("shares a job log with another process: whole lines, all of them", async () => {
    const cwd = Aio.folder()
    const words = (from: number) => [
      ...["subprocess", "-q", "-j4", "--joblog", "log", "--resume", "--", "true", ":::"],
      ...Array.from({ length: 40 }, (_, i) => String(from + i))
    ]
    await Promise.all([0, 100].map((from) => Aio.run(words(from), { cwd })))
    const rows = lines(readFileSync(join(cwd, "log"), "utf8")).filter((line) => !line.startsWith("Seq\t"))
    expect(new Set(rows.map((row) => row.split("\t")[8])).size).toBe(80)
  })

  it("continues after an exit code of 255, and waits for processes that write after their parent's end", async () => {
    const { code, stdout } = await InProcess.run([
      ...[
        "subprocess",
        "-qk",
        "-j1",
        "if [ {} = 1 ]; then exit 255; fi; (sleep 0.2; echo late {}) & echo soon {}"
      ],
      ...[":::", "1", "2"]
    ])
    expect([code, stdout]).toEqual([1, "soon 2\nlate 2\n"])
  })

  it("keeps no further output without a reader, and leaves nothing in the temporary folder", async () => {
    const marker = Aio.marker()
    const TMPDIR = Aio.folder()
    const script = "if [ {} = 1 ]; then echo one; else sleep 0.2; exec yes; fi"
    const { stderr } = await Aio.run(["subprocess", "-j2", script, ":::", "1", "2"], {
      env: { ...marker.env, TMPDIR },
      shell: '{ timeout 30 "$@"; echo "ended with $?" >&2; } | head -1'
    })
    expect(stderr).toContain("ended with 141\n")
    expect([Aio.names(TMPDIR), marker.alive()]).toEqual([[], []])
  })

  it("works in a poor environment", async () => {
    const node = `${process.execPath} ${Aio.command}`
    const echo = "subprocess -q -- echo ::: 1"
    for (const [line, expected] of [
      [`env -i ${node} subprocess -q -- /bin/echo ::: 1`, "1\n"],
      [`PATH= ${node} subprocess -q -- /bin/echo ::: 1`, "1\n"],
      [`env -u HOME ${node} ${echo}`, "1\n"],
      [`TMPDIR=/nowhere ${node} ${echo}`, "1\n"],
      [`${node} ${echo} <&-`, "1\n"],
      [`${node} ${echo} 2>&-`, "1\n"],
      [`${node} ${echo} >&-; echo $?`, "0\n"],
      [`${node} ${echo} <&- >&- 2>&-; echo $?`, "0\n"],
      [`PATH=/nowhere ${node} subprocess -q -- /bin/echo ::: 1`, "1\n"]
    ] as const) {
      const { stdout } = spawnSync("/bin/sh", ["-c", line], { encoding: "utf8", input: "" })
      expect([line, stdout]).toEqual([line, expected])
    }
  })

  it("creates files with the caller's modes", async () => {
    const cwd = Aio.folder()
    const words = ["subprocess", "-q", "--joblog", "log", "--results", "R", "--", "echo", ":::", "1"]
    await Aio.run(words, { cwd, shell: 'umask 077; exec "$@"' })
    const [name] = readdirSync(join(cwd, "R"))
    const modes = ["log", "R", `R/${name}`, `R/${name}/stdout`, `R/${name}/exit`].map(
      (path) => statSync(join(cwd, path)).mode & 0o777
    )
    expect(modes).toEqual([0o600, 0o700, 0o700, 0o600, 0o600])
  })

  it("makes its own temporary files private, whatever the umask", async () => {
    const [cwd, TMPDIR] = [Aio.folder(), Aio.folder()]
    writeFileSync(
      join(cwd, "list.mjs"),
      `import { readdirSync, statSync } from "node:fs"
       export default () => readdirSync(process.env.TMPDIR).map((name) => statSync(process.env.TMPDIR + "/" + name).mode & 0o777)
      `
    )
    const shell = 'umask 000; exec "$@"'
    const { stdout } = await Aio.run(["executor", "--processes", "list.mjs", "1"], {
      cwd,
      env: { TMPDIR },
      shell
    })
    expect(stdout).toBe(`[${0o700}]\n`)
    // Output that waits is in a file without a name.
    const script =
      "if [ {} = 1 ]; then head -c 20000000 /dev/zero; mkfifo go; read x < go; else until [ -p go ]; do sleep 0.02; done; ls -A $TMPDIR; echo > go; fi"
    const waiting = await Aio.run(["subprocess", "-q", "-j2", script, ":::", "1", "2"], {
      cwd,
      env: { TMPDIR },
      shell
    })
    expect(waiting.stdout.replaceAll("\0", "")).toBe("")
    expect(waiting.stdout.length).toBe(20_000_000)
  })
})

describe("killed with KILL", () => {
  const dist = (module: string) => JSON.stringify(new URL(`../../dist/${module}`, import.meta.url).href)
  const feeding = `
    import * as Command from "@effect/platform/Command"
    import * as Effect from "effect/Effect"
    import * as Processes from ${dist("services/process/Processes.js")}
    const command = Command.feed(Command.make("sh", "-c", "read line; echo up >&2; sleep 60"), "x\\n")
    Effect.runFork(Effect.provide(Processes.run(command, { onOutput: (_, bytes) => void process.stdout.write(bytes) }), Processes.layer))
  `
  const module = (at: string) => {
    const file = join(at, "job.mjs")
    writeFileSync(
      file,
      "export const f = () => { process.stderr.write('up\\n'); return new Promise(() => {}) }\n"
    )
    return file
  }
  const spooling = "if [ {} = 1 ]; then head -c 20000000 /dev/zero; echo up; fi; sleep 60"
  it.each<[string, (at: string) => Words]>([
    ["output that waits", () => [Aio.command, "subprocess", "--progress", "-j2", spooling, ":::", "1", "2"]],
    ["a command that is fed", () => ["--input-type=module", "-e", feeding]],
    ["an executor's processes", (at) => [Aio.command, "executor", "--processes", `${module(at)}#f`, "1"]]
  ])("leaves nothing in the temporary folder: %s", async (name, words) => {
    const marker = Aio.marker()
    const TMPDIR = Aio.folder()
    const child = spawn(process.execPath, words(Aio.folder()), {
      cwd: new URL("../..", import.meta.url).pathname,
      env: { PATH: process.env["PATH"], TMPDIR, ...marker.env },
      stdio: ["ignore", "pipe", "pipe"]
    })
    const exited = new Promise((resolve) => child.once("exit", resolve))
    await new Promise<void>((resolve) => {
      const look = (chunk: Buffer) => chunk.includes("up") && resolve()
      child.stdout.on("data", look)
      child.stderr.on("data", look)
      // Output that waits shows nothing: its file is there when the process has it open.
      const open = () => {
        const fds = `/proc/${child.pid}/fd`
        const found = existsSync(fds) && spawnSync("ls", ["-l", fds], { encoding: "utf8" }).stdout
        if (typeof found === "string" && found.includes("aio-spool-")) resolve()
        else setTimeout(open, 20)
      }
      if (name === "output that waits") open()
    })
    child.kill("SIGKILL")
    await exited
    expect(await marker.left()).toEqual([])
    expect(Aio.names(TMPDIR)).toEqual([])
  })
})
