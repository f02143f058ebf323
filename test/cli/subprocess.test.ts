import { appendFileSync, chmodSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { Schema } from "effect"
import { afterAll, describe, expect, it } from "vitest"
import * as Events from "../../src/services/host/Events.js"
import * as Aio from "../support/Aio.js"
import * as InProcess from "../support/InProcess.js"

afterAll(Aio.removeFolders)

const aio = (args: ReadonlyArray<string>, options: Parameters<typeof Aio.run>[1] = {}) =>
  InProcess.run(["subprocess", ...args], options)

describe("aio subprocess", () => {
  it("runs a command for each item, from arguments, standard input and files", async () => {
    expect(await aio(["-q", "-k", "--", "echo", "<{}>", ":::", "a b", "$HOME"])).toEqual({
      code: 0,
      signal: null,
      stdout: "<a b>\n<$HOME>\n",
      stderr: ""
    })
    expect((await aio(["-qk", "-j2", "--", "echo"], { stdin: "a\n\nb\r\nc" })).stdout).toBe("a\nb\nc\n")
    expect((await aio(["-qk", "--", "printf", "<%s>"], { stdin: " a\n \n\tb \r\n" })).stdout).toBe(
      "< a><\tb >"
    )
    const list = join(Aio.folder(), "list")
    writeFileSync(list, "x\ny\0z\0")
    expect((await aio(["-qk0", "-a", list, "--", "echo", "{}!"])).stdout).toBe("x\ny!\nz!\n")
    const product = ["-qk", "--", "echo", "{1}{2}", ":::", "a", "b", ":::", "1", "2"]
    expect((await aio(product)).stdout).toBe("a1\na2\nb1\nb2\n")
    expect((await aio(["-qk", "echo {/.} | tr a-z A-Z", ":::", "/x/it's.txt"])).stdout).toBe("IT'S\n")
    expect((await aio(["--dry-run", "--", "echo", "{}", ":::", "a b"])).stdout).toBe("echo 'a b'\n")
    expect((await aio(["--dry-run", "--json", "--", "echo", "{#}", ":::", "a"])).stdout).toBe(
      '{"schema":2,"event":"planned","index":1,"name":"echo 1"}\n'
    )
    const program = join(Aio.folder(), "my program")
    writeFileSync(program, "#!/bin/sh\necho mine $1\n", { mode: 0o755 })
    expect((await aio(["-q", "--", program, ":::", "a"])).stdout).toBe("mine a\n")
  })

  it.each<readonly [ReadonlyArray<string>, string]>([
    [["echo", ":::", "a", "--", "-n"], "echo a\necho --\necho -n\n"],
    [["echo", "{}", ":::", "--dry-run", "--joblog=x", "-q"], "echo --dry-run\necho --joblog=x\necho -q\n"],
    [["echo", "--json", "{}", ":::", "--help", "--version"], "echo --json --help\necho --json --version\n"],
    [["echo", "-k", ":::", "1", ":::+", "--results=R"], "echo -k 1 --results=R\n"],
    [["--", "echo", "--", "{}", ":::", "-j"], "echo -- -j\n"]
  ])("takes no word from the command on for an option: %j", async (words, planned) => {
    const cwd = Aio.folder()
    expect(await aio(["--dry-run", ...words], { cwd })).toEqual({
      code: 0,
      signal: null,
      stdout: planned,
      stderr: ""
    })
    expect(Aio.names(cwd)).toEqual([])
  })

  it("names every place for items in its help, and runs the example alone", async () => {
    const { stdout } = await aio(["--help"])
    for (const place of [":::", ":::+", "{}", "{.}", "{/}", "{//}", "{/.}", "{1}", "{#}", "{%}"]) {
      expect(stdout).toContain(` ${place}`)
    }
    expect((await aio([])).stdout).toBe("Executing: sleep 1\nExecuting: echo hello\nhello\n\n\n")
  })

  it.each<readonly [ReadonlyArray<string>, number, string, string]>([
    [
      ["--retries", "1,0"],
      1,
      "sh -c 'exit $0' 3: exit code 3; attempt 2 in 0 ms\nFailed sh -c 'exit $0' 3: exit code 3\njobs",
      "time"
    ],
    [["-q", "--retries", "1,0"], 1, "Failed sh -c 'exit $0' 3: exit code 3\n", ""],
    [["-qq"], 1, "", ""],
    [["-q", "--quiet"], 1, "", ""]
  ])("is as quiet as it is asked to be: %j", async (options, code, begin, more) => {
    const result = await aio([...options, "--", "sh", "-c", "exit $0", ":::", "3"])
    expect([result.code, result.stdout]).toEqual([code, ""])
    expect(result.stderr.startsWith(begin) && result.stderr.includes(more)).toBe(true)
    if (more === "") expect(result.stderr).toBe(begin)
  })

  it("cancels the others when one fails, with --on-failure cancel", async () => {
    const script = "if [ {} = 1 ]; then sleep 60; else exit 7; fi"
    const { code, stderr } = await aio(["-j2", "--on-failure", "cancel", script, ":::", "1", "2", "3"])
    expect(code).toBe(1)
    expect(stderr).toContain("Failed if [ 2 = 1 ]; then sleep 60; else exit 7; fi: exit code 7\n")
    expect(stderr).toContain("Cancelled if [ 1 = 1 ]; then sleep 60; else exit 7; fi: 1 job has failed\n")
    expect(stderr).toContain("jobs     0 succeeded, 1 failed, 1 cancelled\n")
    const { code: all } = await aio(["-qq", "-j1", "--on-failure", "continue", "exit {}", ":::", "1", "0"])
    expect(all).toBe(1)
  })

  const Line = Schema.Union(
    ...Events.Subprocess.members.map((event) =>
      Schema.extend(Schema.Struct({ schema: Schema.Literal(2) }), event as Schema.Schema<object>)
    )
  )

  it("prints events of the schema, with all fields and no others", async () => {
    const log = join(Aio.folder(), "log")
    const script = "echo out {}; printf 'caf\\351' >&2; if [ {} = 3 ]; then sleep 60; fi; exit {}"
    const words = [
      "--json",
      "-j1",
      "--joblog",
      log,
      "--resume-failed",
      "--timeout",
      "300ms",
      "--retries",
      "1,0"
    ]
    await aio(["-qq", "--joblog", log, script, ":::", "0"])
    const run = await aio([...words, "--halt", "soon,fail=2", script, ":::", "0", "1", "3", "4"])
    const dry = await aio(["--json", "--dry-run", script, ":::", "0"])
    const events = (run.stdout + dry.stdout)
      .trim()
      .split("\n")
      .map((line) => Schema.decodeUnknownSync(Line, { onExcessProperty: "error" })(JSON.parse(line)))
    expect(run.code).toBe(1)
    expect(
      events.map((one) => {
        const { event, index, status, text } = one as unknown as Record<string, string | number>
        return [event, index, status ?? text].filter((part) => part !== undefined).join(" ")
      })
    ).toEqual([
      "finished 1 skipped",
      ...["started 2", "retrying 2", "started 2", "output 2 out 1\n", "output 2 caf", "output 2 \ufffd"],
      "finished 2 failed",
      ...["started 3", "retrying 3", "started 3", "output 3 out 3\n", "output 3 caf", "output 3 \ufffd"],
      "finished 3 timed_out",
      "finished 4 skipped",
      "summary",
      "planned 1"
    ])
    expect(events.at(-2)).toMatchObject({
      ...{ succeeded: 0, failed: 1, cancelled: 0, skipped: 2, timed_out: 1 },
      halted: "2 jobs have failed",
      exitCode: 1
    })
  })

  it("keeps lines whole, and prefixes them with the item", async () => {
    const script = "for i in 1 2 3; do printf '%s' $0; sleep 0.01; echo $i; done"
    const { stdout } = await aio([
      "-q",
      "-j3",
      "--line-buffer",
      "--tag",
      "--",
      "sh",
      "-c",
      script,
      ":::",
      "a",
      "b",
      "c"
    ])
    expect(stdout.split("\n").sort()).toEqual([
      "",
      ...["a", "b", "c"].flatMap((item) => [1, 2, 3].map((i) => `${item}\t${item}${i}`))
    ])
    // They write to the descriptors of the process.
    const own = await Aio.run([
      "subprocess",
      "-q",
      "--ungroup",
      "--",
      "sh",
      "-c",
      "echo out; echo err >&2",
      ":::",
      "x"
    ])
    expect([own.stdout, own.stderr]).toEqual(["out\n", "err\n"])
  })

  it("summarises the jobs, and exits with 1 if one failed", async () => {
    const { code, stderr, stdout } = await aio(["-k", "--", "sh", "-c", "echo $0; exit $0", ":::", "0", "3"])
    expect([code, stdout]).toEqual([1, "0\n3\n"])
    expect(stderr).toMatch(
      /^Failed sh -c 'echo \$0; exit \$0' 3: exit code 3\njobs {5}1 succeeded, 1 failed\nslowest {2}\d+ .*sh -c .*\ntime {5}\d/
    )
    const long = await aio(["-q", "--json", "yes aé€ | head -c 400000 #", ":::", "1"])
    expect([long.stdout.includes("€"), long.stdout.includes("\ufffd")]).toEqual([true, false])
    const late = await aio(["-q", "--timeout", "100ms", "--", "sleep", ":::", "60"])
    expect(late.code).toBe(124)
    // A job that was ended by a signal does not make the exit code that of a signal.
    expect((await aio(["-q", "kill -TERM $$ #", ":::", "1"])).code).toBe(1)
    for (const args of [["-q", "--", "echo", ":::", "1"], ["--help"]]) {
      const full = await aio(args, { shell: '"$@" > /dev/full' })
      expect([full.code, full.stderr]).toEqual([1, "cannot write to stdout: no space left on device\n"])
    }
  })

  it("logs jobs in GNU parallel's columns and resumes from the log", async () => {
    const at = Aio.folder()
    const log = join(at, "log")
    const run = (words: ReadonlyArray<string>, ...items: ReadonlyArray<string>) =>
      aio([
        "-q",
        "-j1",
        "--joblog",
        log,
        ...words,
        "--",
        "sh",
        "-c",
        "echo $0; test $0 != bad",
        ":::",
        ...items
      ])
    expect((await run([], "a", "bad")).code).toBe(1)
    expect((await run(["--resume"], "new", "a", "bad", "b")).stdout).toBe("new\nb\n")
    // What could not be written is not in the log.
    for (const shell of ['"$@" > /dev/full', '"$@" | head -c 1000']) {
      const lost = join(at, "lost")
      const words = ["-q", "-j1", "--joblog", lost, "--", "printf", "%200000s", ":::", "1", "2"]
      await aio(words, { shell })
      expect(readFileSync(lost, "utf8")).toMatch(/^Seq.*\n$/)
    }
    expect((await run(["--resume-failed", "--dry-run"], "a", "bad", "b")).stdout).toMatch(/^sh -c .* bad\n$/)
    expect((await run(["--resume-failed"], "a", "bad", "b")).stdout).toBe("bad\n")
    const lines = readFileSync(log, "utf8").trim().split("\n")
    expect(lines[0]).toBe("Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand")
    expect(lines.slice(1).map((line) => line.split("\t").slice(6, 8).join())).toEqual([
      "0,0",
      "1,0",
      "0,0",
      "0,0",
      "1,0"
    ])
    const results = join(at, "results")
    await aio(["-q", "--results", results, "--", "sh", "-c", "echo $0; echo e >&2; exit 4", ":::", "x/y"])
    const [name] = readdirSync(results)
    expect(
      readdirSync(join(results, name!)).map(
        (file) => `${file} ${readFileSync(join(results, name!, file), "utf8")}`
      )
    ).toEqual(["command sh -c 'echo $0; echo e >&2; exit 4' x/y\n", "exit 4\n", "stderr e\n", "stdout x/y\n"])
    const same = await aio(["-q", "-j4", "--results", results, "--", "echo", ":::", "a", "a", "a", "a"])
    expect([same.code, Aio.names(results).length]).toEqual([0, 2])
  })

  it("keeps ended jobs in order when it is ended itself, and reports the others", async () => {
    const log = join(Aio.folder(), "log")
    const script = "if [ $0 = 1 ]; then echo on >&2; sleep 60; else echo $0; test $0 != bad; fi"
    const words = ["-k", "-j2", "--joblog", log, "--", "sh", "-c", script, ":::", "1", "2", "3"]
    const running = Aio.start(["subprocess", "--json", ...words])
    await running.shows('"finished","index":3')
    running.kill("SIGTERM")
    const { code, stdout } = await running.ended
    const events = stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line))
    expect(code).toBe(143)
    expect(events.slice(-4)).toMatchObject([
      { event: "finished", index: 1, status: "cancelled", reason: "SIGTERM" },
      { event: "output", index: 2, text: "2\n" },
      { event: "output", index: 3, text: "3\n" },
      { event: "summary", succeeded: 2, cancelled: 1, halted: "SIGTERM", exitCode: 143 }
    ])
    expect(readFileSync(log, "utf8").match(/\d$/gm)).toEqual(["2", "3"])
    const halted = await aio(["-kj2", "--halt", "now,fail=1", ...words.slice(4), "bad"])
    expect([halted.code, halted.stdout]).toEqual([1, "2\n3\nbad\n"])
    expect(halted.stderr).toMatch(/^Cancelled sh -c .*: 1 job has failed$/m)
  })

  it("passes items that are not UTF-8 to the command, the log and the output", async () => {
    const log = join(Aio.folder(), "log")
    const piped = (words: ReadonlyArray<string>) =>
      aio([...words, "-qk0", "--", "printf", "%s."], {
        shell: `printf 'a\\377\\0\\303\\251\\0' | "$@" | od -An -c`
      })
    const bytes = ({ stdout }: Aio.Result) => stdout.trim().split(/\s+/).join(" ")
    expect(bytes(await piped(["--joblog", log]))).toBe("a 377 . 303 251 .")
    expect(bytes(await piped(["--joblog", log, "--resume"]))).toBe("")
    expect(bytes(await piped(["--tag"]))).toBe("a 377 \\t a 377 . 303 251 \\t 303 251 .")
    expect(bytes(await piped(["--dry-run"]))).toContain("' a 377 ' \\n")
    const typed = await aio(["-qk", "printf", "%s.", ":::", "\ufffd", "b"], {
      shell: `"$@" "$(printf 'a\\377')" | od -An -c`
    })
    expect(bytes(typed)).toBe("357 277 275 . b . a 377 .")
  })

  it("gives a command several items, runs commands of its input, and feeds blocks to jobs", async () => {
    expect((await aio(["-qkn2", "echo", "{2}", "{}"], { stdin: "a\nb\nc\n" })).stdout).toBe("b a b\n c\n")
    expect((await aio(["-qkP2"], { stdin: "echo a | cat\necho b\n" })).stdout).toBe("a\nb\n")
    expect((await aio(["-qk", "--pipe", "-n2", "wc", "-l"], { stdin: "a\nb\nc\n" })).stdout).toBe("2\n1\n")
    expect((await aio(["-qkj0", "--colsep", ",", "echo", "{2}"], { stdin: "a,b\n" })).stdout).toBe("b\n")
    const unread = await aio(["-q", "--pipe", "true"], { shell: 'seq 300000 | "$@"' })
    expect([unread.code, unread.stderr]).toEqual([0, ""])
  })

  it.each([
    ["its timeout", 124, ["--timeout", "300ms"], "1"],
    ["the failure of another", 1, ["--halt", "now,fail=1"], "0"]
  ] as const)("leaves no process behind after %s", async (_, code, options, last) => {
    const marker = Aio.marker()
    const script =
      "[ $0 = 1 ] || { sleep 0.2; exit 1; }; sleep 60 & (setsid sleep 60 &) ; trap '' TERM; while :; do sleep 0.05; done"
    const result = await aio(
      ["-q", "--grace", "100ms", "-j2", ...options, "--", "sh", "-c", script, ":::", "1", last],
      { env: marker.env }
    )
    expect(marker.alive()).toEqual([])
    expect(result.code).toBe(code)
  })

  it("asks jobs to end with the given stop signal", async () => {
    const script = "trap 'echo int; exit' INT; trap '' TERM; while :; do sleep 0.01; done"
    const ended = await aio([
      "-q",
      "--line-buffer",
      "--stop-signal",
      "int",
      "--timeout",
      "500ms",
      "--",
      "sh",
      "-c",
      script,
      ":::",
      "1"
    ])
    expect([ended.code, ended.stdout]).toEqual([124, "int\n"])
  })

  it.each(["SIGINT", "SIGTERM", "SIGKILL"] as const)("leaves no process behind after %s", async (signal) => {
    const marker = Aio.marker()
    const script =
      "sleep 60 & sleep 60 & sleep 60 & (setsid sleep 60 &) ; trap '' TERM; echo on; while :; do sleep 0.05; done"
    const running = Aio.start(
      ["subprocess", "--line-buffer", "--grace", "100ms", "-j2", "--", "sh", "-c", script, ":::", "1", "2"],
      { env: marker.env }
    )
    await running.shows("on\non")
    running.kill(signal)
    const code = await running.exited
    // The tool returns when no process is left; when it is killed itself, its fork server ends them.
    if (signal !== "SIGKILL") expect(marker.alive()).toEqual([])
    expect(await marker.left()).toEqual([])
    expect(code).toBe({ SIGINT: 130, SIGTERM: 143, SIGKILL: null }[signal])
  })

  it("ends quietly when its output has no reader any more", async () => {
    const { stderr, stdout } = await aio(
      ["-q", "-j1", "--", "echo", ":::", ...Array.from({ length: 50 }, (_, i) => String(i))],
      {
        shell: '"$@" | head -1'
      }
    )
    expect([stdout, stderr]).toEqual(["0\n", ""])
  })

  it("reports in one line that output cannot be kept, and ends running jobs", async () => {
    const marker = Aio.marker()
    const small = { shell: 'ulimit -f 1000; exec "$@"', env: { ...marker.env, TMPDIR: Aio.folder() } }
    const results = join(Aio.folder(), "results")
    const flood = ["sh", "-c", "head -c 20000000 /dev/zero; sleep 60", ":::", "1", "2"]
    const saved = await aio(["-q", "--results", results, "--", ...flood], small)
    expect([saved.code, saved.stdout]).toEqual([1, ""])
    expect(saved.stderr).toMatch(/^cannot save results in .*results: the file is too large\n$/)
    expect(Aio.names(results)).toEqual([])
    const kept = await aio(["-q", "--", ...flood], small)
    expect([kept.code, kept.stdout]).toEqual([1, ""])
    expect(kept.stderr).toMatch(
      /^cannot keep output in \S+ until it is due: the file is too large; set TMPDIR to another folder\n$/
    )
    expect(marker.alive()).toEqual([])
  })

  it("reports wrong usage in one line, before anything runs", async () => {
    const at = Aio.folder()
    const plain = join(at, "plain")
    writeFileSync(plain, "x")
    chmodSync(plain, 0o644)
    const log = join(at, "log")
    appendFileSync(log, "nonsense\n")
    for (const [args, code, line] of [
      [["-j0%", "--", "echo", ":::", "1"], 2, /option --jobs: '0%' is out of range; expected 1 or more/],
      [["--colsep", "(", "echo"], 2, /option --colsep: Invalid regular expression/],
      [["-X", "--colsep", ",", "echo"], 2, /--max-args and --xargs take items of one list, without --colsep/],
      [["--pipe", "wc", "{}"], 2, /with --pipe no item is a word of the command/],
      [["--block", "1M", "wc"], 2, /--block needs --pipe/],
      [["-j", "x", "--", "echo", ":::", "1"], 2, /'x' is not a number of jobs; expected 8, 50% .* or \+2/],
      [["-j", "1000000", "--", "echo", ":::", "1"], 2, /'1000000' is out of range; expected at most 100000/],
      [["-j", "3", ":::", "a"], 2, /no command is given; write CMD ARG\.\.\. ::: ITEM\.\.\./],
      [["--halt", "now,fail=101%", "--", "echo", ":::", "1"], 2, /'now,fail=101%' is not a rule/],
      [["--results", "", "--", "echo", ":::", "1"], 2, /option --results: '' is empty; expected a folder/],
      [["--", "echo", ":::"], 2, /':::' has no items after it/],
      [["--", ":::", "a"], 2, /no command is given; write CMD/],
      [["--", "", ":::", "a"], 2, /the command is empty/],
      [["--", "echo", "{3}", ":::", "a"], 2, /\{3\} refers to list 3 of items; lists given: 1/],
      [
        ["--halt", "later", "--", "echo", ":::", "1"],
        2,
        /'later' is not a rule; expected one like now,fail=1/
      ],
      [["--timeout", "5x", "--", "echo", ":::", "1"], 2, /option --timeout: .*unit 'x'/],
      [["--timeout", "0%", "--", "echo", ":::", "1"], 2, /'0%' is not a percentage; expected one above 0%/],
      [["--timeout", "0", "--", "echo", ":::", "1"], 2, /'0' is out of range; expected a duration above 0/],
      [["--memfree", "64", "--", "echo", ":::", "1"], 2, /option --memfree: '64'/],
      [["--concurrency", "4", "echo", ":::", "1"], 2, /unknown option --concurrency; here it is --jobs N/],
      [
        ["--halt", "now,fail=1", "--on-failure", "cancel", "echo", ":::", "1"],
        2,
        /--halt and --on-failure both say when to end; give one/
      ],
      [
        ["--stop-signal", "TREM", "--", "echo", ":::", "1"],
        2,
        /'TREM' is not a signal; expected one like INT/
      ],
      [["--load", "x", "--", "echo", ":::", "1"], 2, /'x' is not a load/],
      [["--resume", "--", "echo", ":::", "1"], 2, /need --joblog FILE/],
      [
        ["--joblog", log, "--resume", "--", "echo", ":::", "1"],
        2,
        /log, line 1: 'nonsense' is not a line of a job log/
      ],
      [["--joblog", at, "--", "echo", ":::", "1"], 2, /cannot use the job log .*: it is a folder$/m],
      [["-a", join(at, "none"), "--", "echo"], 2, /cannot read .*none: the file does not exist/],
      [
        ["-a", plain, "--", "echo", ":::", "1"],
        2,
        /items come from ::: or from --arg-file, not from both; omit one/
      ],
      [["-k", "-u", "--", "echo", ":::", "1"], 2, /exclude each other; give one/],
      [["-u", "--json", "--", "echo", ":::", "1"], 2, /--ungroup lets jobs write to stdout themselves/],
      [["--results", plain, "--", "echo", ":::", "1"], 2, /cannot save results in .*plain/],
      [["--", "aio-no-such-program", ":::", "1"], 127, /cannot run aio-no-such-program: command not found/],
      [["--", plain, ":::", "1"], 126, /cannot run .*plain: permission denied/]
    ] as const) {
      const result = await aio(args, { stdin: "" })
      expect({ args, code: result.code, stdout: result.stdout }).toEqual({ args, code, stdout: "" })
      expect(result.stderr).toMatch(line)
      expect(result.stderr.trim().split("\n").length).toBe(1)
    }
  }, 60_000)
})
