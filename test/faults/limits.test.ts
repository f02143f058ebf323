import { spawnSync } from "node:child_process"
import { chmodSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { pathToFileURL } from "node:url"
import { afterAll, describe, expect, it } from "vitest"
import * as Aio from "../support/Aio.js"

// What is larger than the memory that there is for it, and processes that the system refuses to make.

afterAll(Aio.removeFolders)

const folder = Aio.folder()
writeFileSync(
  join(folder, "peak.mjs"),
  `import { writeFileSync } from "node:fs"
import { isMainThread } from "node:worker_threads"
if (isMainThread) process.on("exit", () => writeFileSync(process.env.PEAK, String(process.resourceUsage().maxRSS)))
`
)
writeFileSync(
  join(folder, "f.mjs"),
  "export default (record) => record\nexport const size = (record) => String(record.length)\n"
)
let runs = 0

/** Runs `aio` to its end; `peak` is the most memory that it had resident, in MB. */
const peakOf = async (
  words: ReadonlyArray<string>,
  shell: string,
  env: Readonly<Record<string, string>> = {}
) => {
  const file = join(folder, `peak-${runs++}`)
  const NODE_OPTIONS = `--import ${pathToFileURL(join(folder, "peak.mjs"))} ${env["NODE_OPTIONS"] ?? ""}`
  const running = Aio.start(words, { cwd: folder, shell, env: { ...env, NODE_OPTIONS, PEAK: file } })
  running.end()
  const result = await running.ended
  return { ...result, peak: Number(readFileSync(file, "utf8")) / 1024 }
}

describe("output without a line end, of two jobs at once", () => {
  it.each([
    [["--keep-order"], 200_000_000, 0],
    [["--line-buffer", "--tag"], 60_000_000, "1\t2\t".length]
  ])("is passed on whole by subprocess %j, and not kept in memory", async (words, bytes, more) => {
    const { code, peak, stderr, stdout } = await peakOf(
      ["subprocess", "-q", "-j2", ...words, `head -c ${bytes} /dev/zero; : {}`, ":::", "1", "2"],
      '"$@" | wc -c'
    )
    expect([code, stderr]).toEqual([0, ""])
    expect(Number(stdout)).toBe(2 * bytes + more)
    expect(peak).toBeLessThan(400)
  })
})

describe("a line of 100 MB between two others, in a heap of 60 MB", () => {
  const record = "Failed line 2 of standard input: longer than 16 MiB\n"
  const cases: ReadonlyArray<readonly [ReadonlyArray<string>, number, string, string]> = [
    [["loop", "-q", "--on-failure", "continue", "f.mjs"], 1, "1\n2\n", record],
    [["loop", "-q", "--on-failure", "continue", "--format", "ndjson", "f.mjs"], 1, "1\n2\n", record],
    [["loop", "-q", "--on-failure", "continue", "--format", "csv", "f.mjs"], 1, '{"1":"2"}\n', record],
    [["loop", "-q", "--on-failure", "continue", "--", "echo"], 1, "1\n2\n", record],
    [["loop", "-q", "--max-line", "1G", "f.mjs#size"], 0, "1\n100000000\n1\n", ""],
    [["executor", "-q", "--on-failure", "continue", "f.mjs#size"], 1, "1\n1\n", ""],
    [
      ["subprocess", "-q", "--", "echo"],
      2,
      "1\n",
      "aio subprocess: line 2 of standard input is longer than 16 MiB\n"
    ]
  ]
  it.each(cases)("%j", async (words, code, stdout, stderr) => {
    const line = "head -c 100000000 /dev/zero | tr '\\0' 7"
    const result = await peakOf(words, `{ echo 1; ${line}; echo; echo 2; } | "$@"`, {
      NODE_OPTIONS: "--max-old-space-size=60"
    })
    expect([result.code, result.stdout]).toEqual([code, stdout])
    expect(result.stderr).toContain(stderr)
    if (code !== 0) expect(result.peak).toBeLessThan(150)
  })
})

// The limit holds for all processes and threads of a user together, and not for root: use one without others.
const limited = (most: number) => `exec setpriv --reuid 64321 --clear-groups prlimit --nproc=${most} "$@"`
const possible =
  spawnSync("/bin/sh", ["-c", limited(100), "sh", process.execPath, Aio.command, "--version"]).status === 0

describe.runIf(possible)("if no more processes can be started", () => {
  const numbers = Array.from({ length: 60 }, (_, i) => String(i + 1))
  const job = ["--", "sh", "-c", "exec sleep 0.1"]
  it.each<[string, ReadonlyArray<string>, number, RegExp]>([
    // Fewer run at once, and none is lost.
    ["subprocess", ["subprocess", "-j60", ...job, ":::", ...numbers], 0, /^jobs {5}60 succeeded\n/],
    ["tasks", ["tasks", ...numbers.map((n) => `t${n}=exec sleep 0.1`)], 0, /^tasks +60 succeeded$/m],
    ["loop", ["loop", "-j60", ...job], 0, /^records +60 succeeded\nresults +60\n/],
    // No worker ends that could make room.
    ["executor", ["executor", "-j", "60", "f.mjs", ...numbers], 1, /: none could be started: /],
    [
      "executor --processes",
      ["executor", "-j", "60", "--processes", "f.mjs", ...numbers],
      1,
      /: none could be started: /
    ]
  ])("%s", async (_, words, code, says) => {
    chmodSync(folder, 0o755)
    const result = await Aio.run(words, { cwd: folder, shell: limited(40), stdin: `${numbers.join("\n")}\n` })
    expect([result.code, result.stderr]).toEqual([code, expect.stringMatching(says)])
    expect(result.stderr).not.toContain("    at ")
  })
})

describe.each([
  ["loop", ["loop", "-q", "f.mjs"], "1000000"],
  ["subprocess --dry-run", ["subprocess", "--dry-run", "echo", "{}"], "echo 1000000"]
])("a million lines through aio %s", (_, words, last) => {
  // As objects in memory they would be several times the heap.
  it("need no memory for each", { timeout: 300_000 }, async () => {
    const { code, stderr, stdout } = await Aio.run(words, {
      cwd: folder,
      env: { NODE_OPTIONS: "--max-old-space-size=48" },
      shell: 'seq 1000000 | "$@" | tail -n 1'
    })
    expect([code, stderr, stdout]).toEqual([0, "", `${last}\n`])
  })
})
