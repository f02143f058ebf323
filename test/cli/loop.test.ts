import { execFileSync } from "node:child_process"
import {
  appendFileSync,
  existsSync,
  readFileSync,
  renameSync,
  symlinkSync,
  truncateSync,
  writeFileSync
} from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { Schema } from "effect"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import * as Events from "../../src/services/host/Events.js"
import * as Aio from "../support/Aio.js"
import { idle } from "../support/Idle.js"
import * as InProcess from "../support/InProcess.js"

afterAll(Aio.removeFolders)

const root = fileURLToPath(new URL("../..", import.meta.url))
let cwd: string

beforeAll(() => {
  cwd = Aio.folder()
  symlinkSync(join(root, "node_modules"), join(cwd, "node_modules"))
  writeFileSync(
    join(cwd, "f.ts"),
    `type Row = { n: number; [key: string]: unknown }
export default (line: string): string => line.toUpperCase()
export const added = (row: Row): Row => ({ ...row, added: true })
`
  )
  // Most runs need neither TypeScript nor Effect, which take longer than all that they do.
  writeFileSync(
    join(cwd, "g.mjs"),
    `import { appendFileSync } from "node:fs"
export default (line) => line.toUpperCase()
export const same = (row) => row
export const sameLater = async (row) => row
export const changed = (row) => Object.assign(row, { n: 0 })
export const odd = (row) => (row.n % 2 === 1 ? row : undefined)
export async function* twice(row) {
  yield row
  yield row.n
}
export const noTwo = (row) => {
  if (row.n === 2) throw new Error("no two here")
  return row
}
let failures = 2
export const flaky = (line) => {
  if (failures-- > 0) throw new Error("not yet")
  return line
}
export const never = () => new Promise(() => undefined)
export const size = (lines) => String(lines.length)
export const number = 1
`
  )
  writeFileSync(
    join(cwd, "effects.mjs"),
    `import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
export const effect = (row) => Effect.delay(Effect.succeed(row), 2)
export const stream = (row) => Stream.make(row.n, row.n)
export const slow = (line) => Effect.delay(Effect.sync(() => console.error("did " + line) ?? line), 300)
`
  )
})

const aio = (args: ReadonlyArray<string>, stdin: string | undefined = "", options: Aio.SpawnOptions = {}) =>
  InProcess.run(["loop", ...args], { cwd, stdin, ...options })
const output = async (args: ReadonlyArray<string>, stdin?: string) => {
  const { code, stderr, stdout } = await aio(["-q", ...args], stdin)
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" })
  return stdout
}
const numbers = (count: number) => Array.from({ length: count }, (_, i) => `${i + 1}\n`).join("")

describe("aio loop", () => {
  it("maps a person's function, of every kind, over lines and JSON", async () => {
    expect(await output(["f.ts"], "a\nb\n")).toBe("A\nB\n")
    const rows = '{"n": 1}\n{"n": 2}\n'
    const json = (name: string, file = "g.mjs") => output(["--format", "ndjson", `${file}#${name}`], rows)
    expect(await json("added", "f.ts")).toBe('{"n":1,"added":true}\n{"n":2,"added":true}\n')
    expect(await json("odd")).toBe('{"n": 1}\n')
    expect(await json("effect", "effects.mjs")).toBe(rows)
    expect(await json("twice")).toBe('{"n": 1}\n1\n{"n": 2}\n2\n')
    expect(await json("stream", "effects.mjs")).toBe("1\n1\n2\n2\n")
  })

  it("takes an expression for the function, and files behind it", async () => {
    expect(await output(["-e", "(l) => l.toUpperCase()"], "a\nb\n")).toBe("A\nB\n")
    const rows = '{"n":9007199254740993}\n'
    expect(await output(["--format", "ndjson", "-e", "r => r"], rows)).toBe(rows)
    expect(await output(["--format", "ndjson", "-e", "async (r) => r.n * 2"], '{"n":2}\n')).toBe("4\n")
    // A file without a last line end does not run into the next one.
    writeFileSync(join(cwd, "one"), "a\nb")
    writeFileSync(join(cwd, "two"), "c\n")
    expect(await output(["g.mjs", "one", "two", "one"])).toBe("A\nB\nC\nA\nB\n")
    expect(await output(["-e", "l => l", "one", "-", "two"], "x")).toBe("a\nb\nx\nc\n")
    expect(await output(["-0", "-e", "l => l", "one", "two"])).toBe("a\nb\0c\n")
  })

  it.each<[words: ReadonlyArray<string>, message: RegExp]>([
    [["-e", "r => (", "one"], /option --eval: 'r => \(' is not JavaScript: /],
    [["-e", "1 + 1"], /option --eval: '1 \+ 1' is not a function; write one like/],
    [["-e", "r => r", "--", "cat"], /-e and a command exclude each other/],
    [["--pipe", "g.mjs"], /--pipe is for a command/],
    [["g.mjs", "one", "--json"], /unexpected '--json' behind the function/],
    [["-a", "one", "g.mjs", "two"], /records come from FILEs or from --arg-file or --follow/],
    [["--format", "csv", "g.mjs", "one", "two"], /several files of CSV/],
    [["g.mjs", "nowhere"], /nowhere/]
  ])("refuses %j", async (words, message) => {
    const { code, stderr, stdout } = await aio(words)
    expect([code, stdout, stderr.split("\n").length]).toEqual([2, "", 2])
    expect(stderr).toMatch(message)
  })

  it("takes pretty-printed JSON and the elements of arrays, rounds no integer, and names the line that is wrong", async () => {
    const json = '[\n  {"n": 9007199254740993,\n   "s": ["a"]},\n  2\n]\n{"n":3} "x"'
    expect(await output(["--format", "json", "-e", "r => r"], json)).toBe(
      '{"n":9007199254740993,"s":["a"]}\n2\n{"n":3}\n"x"\n'
    )
    expect(await output(["--format", "json", "--", "echo", "{n}"], '[{"n":1},{"n":2}]')).toBe("1\n2\n")
    const bad = await aio(["-q", "--format", "json", "--on-failure", "continue", "-e", "r => r"], "[1,\n2 3]")
    expect(bad).toMatchObject({ code: 2, stdout: "1\n2\n" })
    expect(bad.stderr).toBe(
      "aio loop: line 2 of standard input is not JSON: unexpected '3'; expected , or ] behind an element\n"
    )
    const one = await aio(
      ["-q", "--format", "json", "--on-failure", "continue", "-e", "r => r"],
      "[1,\nx, 3]"
    )
    expect(one).toMatchObject({ code: 1, stdout: "1\n3\n" })
    expect(one.stderr).toMatch(/^Failed line 2 of standard input: not JSON: /)
    const followed = await aio(["--format", "json", "-F", "one", "-e", "r => r"])
    expect(followed).toMatchObject({ code: 2 })
  })

  it("takes TSV, whose fields may hold commas", async () => {
    const rows = "n\tname\n1\ta\\tb\n2\tc,d\n"
    expect(await output(["--format", "tsv", "-e", "r => r.name"], rows)).toBe('"a\\tb"\n"c,d"\n')
    expect(await output(["--format", "tsv", "--", "echo", "{n} {name}"], "n\tname\n1\tada, b\n")).toBe(
      "1 ada, b\n"
    )
    const bad = await aio(["-q", "--format", "tsv", "-e", "r => r"], "a\tb\n1\n")
    expect(bad).toMatchObject({ code: 2, stdout: "" })
    expect(bad.stderr).toContain(
      "line 2 of standard input is not TSV: another number of fields than columns; give rows like the header, a tab within a field as \\t"
    )
  })

  it("writes objects as CSV and TSV, under one header, and fails the records that are no rows", async () => {
    const rows = '{"id":12345678901234567890,"name":"a,\\"b\\""}\n{"name":"c\\td"}\n{"x":1}\n'
    const all = ["--format", "ndjson", "--on-failure", "continue", "--output-format"]
    const csv = await aio(["-q", ...all, "csv", "-e", "r => r"], rows)
    expect(csv).toEqual({
      code: 1,
      signal: null,
      stdout: 'id,name\n12345678901234567890,"a,""b"""\n,c\td\n',
      stderr: "Failed line 3 of standard input: its field 'x' is not one of the columns id, name\n"
    })
    const tsv = await aio(
      ["-q", ...all, "tsv", "--fields", "name,id", "--dead-letter", "rows.dead", "-e", "r => r"],
      rows
    )
    expect(tsv.stdout).toBe('name\tid\na,"b"\t12345678901234567890\nc\\td\t\n')
    expect(readFileSync(join(cwd, "rows.dead"), "utf8")).toBe('{"x":1}\n')
    const some = ["--format", "csv", "--output-format", "csv"]
    expect(
      await output([...some, "-e", "r => r.a > 1 ? r : undefined"], 'a,b\r\n1,2\r\n"3","x\r\ny"\r\n')
    ).toBe('a,b\n3,"x\r\ny"\n')
    expect(await output([...some, "--no-header", "-e", "r => r"], "a\n1\n")).toBe("1\n")
    expect(await output([...some, "--fields", "a", "-e", "r => undefined"], "a\n1\n")).toBe("a\n")
    expect(await output([...some, "-e", "r => r"], "a\n")).toBe("")
  })

  it("continues in an array of JSON behind a checkpoint", async () => {
    const input = join(cwd, "array.json")
    writeFileSync(input, "[1,\n2,\n3, 4]")
    const args = ["--format", "json", "--checkpoint", join(cwd, "array.checkpoint"), "-e", "r => r * 10"]
    expect(await output(["--take", "2", ...args, input])).toBe("10\n20\n")
    expect(await output([...args, input])).toBe("30\n40\n")
  })

  it("gives a command fields of a record, or the record on its stdin", async () => {
    const rows = '{"user":{"id":9007199254740993,"name":"a b"},"tags":["x"]}\n'
    const json = (...words: ReadonlyArray<string>) => output(["--format", "ndjson", "--", ...words], rows)
    expect(await json("printf", "%s|%s|%s\\n", "{user.name}", "{user.id}", "{tags}")).toBe(
      'a b|9007199254740993|["x"]\n'
    )
    expect(await json("echo {user.name} {tags[0]} | tr a-z A-Z")).toBe("A B X\n")
    const csv = await output(["--format", "csv", "--", "echo", "{name}-{n}"], "n,name\n1,ada\n")
    expect(csv).toBe("ada-1\n")
    expect(await output(["--pipe", "--", "tr", "a-z", "A-Z"], "a\nb")).toBe("A\nB\n")
    expect(await output(["--pipe", "--batch", "2", "--", "wc", "-l"], "a\nb\nc\n")).toMatch(/^\s*2\n\s*1\n$/)
    expect(await output(["--", "echo", "{name}"], "a\n")).toBe("{name} a\n")
    const missing = await aio(["--format", "ndjson", "--", "echo", "{nope}"], rows)
    expect([missing.code, missing.stderr]).toEqual([
      1,
      expect.stringContaining("the record has no field nope")
    ])
    // An item that a shell would read is refused in a field too.
    const quoted = await aio(["--format", "ndjson", "--", "echo '{user.name}'"], '{"user":{"name":"$(x)"}}\n')
    expect([quoted.code, quoted.stderr]).toEqual([1, expect.stringContaining("a shell would interpret")])
  })

  it("passes bytes on untouched when the function does not change them, and rounds no integer", async () => {
    const text = '{ "n" : 1.10, "id":12345678901234567890 }\r\n\n{"é":"\\u00e9"}\n{"n":1e2}'
    const kept = text.replace("\n\n", "\n")
    for (const name of ["same", "sameLater"])
      expect(await output(["--format", "ndjson", `g.mjs#${name}`], text)).toBe(kept)
    expect(await output(["--format", "ndjson", "g.mjs#changed"], '{"id":12345678901234567890}\n')).toBe(
      '{"id":12345678901234567890,"n":0}\n'
    )
    expect(await output(["g.mjs#same"], "a\r\n\nb")).toBe("a\r\n\nb")
    expect(await output(["-0", "g.mjs#same"], "a\nb\0c\0")).toBe("a\nb\0c\0")
    expect(await output(["-0", "f.ts"], "a\nb\0c\0")).toBe("A\nB\0C\0")
    expect(await output(["--output-format", "ndjson", "f.ts"], "a\nb")).toBe('"A"\n"B"\n')
    expect(await output(["--format", "ndjson", "--output-format", "lines", "g.mjs#same"], '"a"\n[1]\n')).toBe(
      "a\n[1]\n"
    )
    expect(await output(["--format", "csv", "g.mjs#same"], 'a,b\n1,"x\ny"\n')).toBe('{"a":"1","b":"x\\ny"}\n')
    const unordered = await output(["--unordered", "-j", "4", "g.mjs#same"], `${numbers(500)}last`)
    expect(unordered.trimEnd().split("\n").sort()).toEqual(`${numbers(500)}last`.split("\n").sort())
  })

  it("runs a command for each record, several at once, in order", async () => {
    // Each goes on when the next one has come: opening a FIFO waits for its other end.
    execFileSync("mkfifo", [join(cwd, "to1"), join(cwd, "to2")])
    const meet = 'case $0 in 1) read x <to1;; 2) read x <to2; echo >to1;; 3) echo >to2;; esac; echo "$0 $1"'
    expect(
      await output(["-j", "3", "--timeout", "20s", "--", "sh", "-c", meet, "{}", "{#}"], "1\n2\n3\n")
    ).toBe("1 1\n2 2\n3 3\n")
    expect(await output(["--", "echo", "<{}>", "{/.}"], "a b/c.txt\n$HOME\n")).toBe(
      "<a b/c.txt> c\n<$HOME> $HOME\n"
    )
    expect(
      await output(
        ["echo {} | tr a-z A-Z"].flatMap((word) => ["--", word]),
        "it's\n"
      )
    ).toBe("IT'S\n")
    expect(
      await output(["--format", "ndjson", "--", "echo", "{}"], '{"id": 12345678901234567890}\n"a b"\n')
    ).toBe('{"id": 12345678901234567890}\na b\n')
    expect(await output(["--format", "csv", "--", "echo", "{2}-{1}"], "a,b\n1,2\n")).toBe("2-1\n")
    expect(await output(["--batch", "2", "--", "echo", "{}"], numbers(5))).toBe("1 2\n3 4\n5\n")
    const failed = await aio(["-q", "--", "sh", "-c", "echo no >&2; exit 3"], "x\n")
    expect(failed).toMatchObject({ code: 1, stdout: "" })
    expect(failed.stderr).toBe("no\nFailed line 1 of standard input: exit code 3\n")
    expect((await aio(["--", "no-such-command"], "x\n")).code).toBe(127)
    expect((await aio(["--timeout", "100ms", "--", "sleep"], "60\n")).code).toBe(124)
  })

  it("treats a record that fails by policy, and names its line", async () => {
    const text = '{"n":1}\n{"n":2}\n{"n":\n{"n":4}\n'
    const words = ["--format", "ndjson", "g.mjs#noTwo"]
    const stop = await aio(words, text)
    expect([stop.code, stop.stdout]).toEqual([1, '{"n":1}\n'])
    expect(stop.stderr).toMatch(
      /^Failed line 2 of standard input: no two here\nrecords +1 succeeded, 1 failed\nresults +1\ntime +.*\n$/
    )
    const carriedOn = { code: 1, signal: null, stdout: '{"n":1}\n{"n":4}\n' }
    const loud = await aio(["--on-failure", "continue", ...words], text)
    expect(loud).toMatchObject(carriedOn)
    expect(loud.stderr).toMatch(
      /^Failed line 2 of standard input: no two here\nFailed line 3 of standard input: not JSON: .*\nrecords +2 succeeded, 2 failed\nresults +2\ntime +.*\n$/
    )
    const quiet = await aio(["-q", "--on-failure", "continue", ...words], text)
    expect(quiet).toEqual({
      ...carriedOn,
      stderr: loud.stderr
        .split(/(?<=\n)/)
        .slice(0, 2)
        .join("")
    })
    const dead = join(cwd, "dead")
    expect(await aio(["-qq", "--dead-letter", "dead", ...words], text)).toEqual({ ...carriedOn, stderr: "" })
    expect(readFileSync(dead, "utf8")).toBe('{"n":2}\n{"n":\n')
  })

  it("prints events of the schema, the last of which is the summary", async () => {
    const event = Schema.extend(Schema.Struct({ schema: Schema.Literal(2) }), Events.Loop)
    const decode = Schema.decodeUnknownSync(event, { onExcessProperty: "error" })
    const run = async (words: ReadonlyArray<string>, stdin: string) => {
      const { code, stderr, stdout } = await aio(["--json", ...words], stdin)
      const lines = stdout.trim().split("\n")
      return { code, stderr, lines, events: lines.map((line) => decode(JSON.parse(line))) }
    }
    const rows = '{"n":1}\n{"n":2}\n{"n":\n{"n":4}\n'
    expect(await run(["--format", "ndjson", "--on-failure", "continue", "g.mjs#noTwo"], rows)).toMatchObject({
      code: 1,
      stderr: "",
      events: [
        { event: "result", index: 1, line: 1, value: { n: 1 } },
        { event: "finished", index: 2, line: 2, status: "failed", reason: "no two here" },
        { event: "finished", index: 3, line: 3, status: "failed" },
        { event: "result", index: 4, line: 4, value: { n: 4 } },
        { event: "summary", succeeded: 2, failed: 2, cancelled: 0, timed_out: 0, results: 2, exitCode: 1 }
      ]
    })
    const refused = await run(["--format", "ndjson", "g.mjs#same"], "1\n{\n")
    expect(refused).toMatchObject({
      code: 2,
      events: [
        { event: "result" },
        { event: "finished", index: 2, line: 2, status: "failed" },
        { event: "summary", succeeded: 1, failed: 1, exitCode: 2 }
      ]
    })
    expect(refused.stderr).toMatch(/^aio loop: line 2 of standard input is not JSON: .*\n$/)
    expect(await run(["--retries", "1,1ms", "--timeout", "20ms", "g.mjs#never"], "a\n")).toMatchObject({
      code: 124,
      stderr: "",
      events: [
        { event: "retrying", index: 1, line: 1, attempt: 2, reason: "not done in 20ms" },
        { event: "finished", status: "timed_out", reason: "not done in 20ms" },
        { event: "summary", timed_out: 1, failed: 0, exitCode: 124 }
      ]
    })
    const words = ["--on-failure", "continue", "--", "sh", "-c", "echo {} >&2; exit {}"]
    expect(await run(words, "0\n3\n")).toMatchObject({
      code: 1,
      stderr: "",
      events: [
        { event: "output", index: 1, line: 1, stream: "stderr", text: "0\n" },
        { event: "result", value: "" },
        { event: "output", index: 2, text: "3\n" },
        { event: "finished", index: 2, reason: "exit code 3" },
        { event: "summary", succeeded: 1, failed: 1 }
      ]
    })
    const big = await run(["--format", "ndjson", "g.mjs#same"], "12345678901234567890\n")
    expect(big.lines[0]).toContain('"value":12345678901234567890}')
  })

  it("refuses input that is not of its format, at the first record, with one line", async () => {
    const bad = (text: string, ...words: ReadonlyArray<string>) => aio([...words, "g.mjs#same"], text)
    const json = await bad('{"a":1}\n{a:1}\n', "--format", "ndjson")
    expect([json.code, json.stdout]).toEqual([2, '{"a":1}\n'])
    expect(json.stderr).toMatch(
      /^aio loop: line 2 of standard input is not JSON: .*; give a JSON value a line, .*\n$/
    )
    const long = await bad(`ok\n${"x".repeat(2000)}\n`, "--max-line", "1K")
    expect([long.code, long.stdout]).toEqual([2, "ok\n"])
    expect(long.stderr).toMatch(/^aio loop: line 2 of standard input is longer than 1 KiB; allow more .*\n$/)
    const running = Aio.start(["loop", "g.mjs#same"], { cwd, shell: "{ printf 'a\\n\\377\\n'; } | \"$@\"" })
    running.end()
    expect(await running.ended).toMatchObject({ code: 2, stdout: "a\n" })
    const through = Aio.start(["loop", "-q", "--", "printf", "%s."], {
      cwd,
      shell: "{ printf '\\377\\n\\303\\251\\n'; } | \"$@\" | od -An -tx1"
    })
    through.end()
    expect((await through.ended).stdout).toBe(" ff 2e c3 a9 2e\n") // a command takes bytes
    const endless = Aio.start(["loop", "g.mjs#same"], { cwd, shell: 'head -c 200000000 /dev/zero | "$@"' })
    endless.end()
    const { code, stderr } = await endless.ended
    expect(code).toBe(2)
    expect(stderr).toMatch(/^aio loop: line 1 of standard input is longer than 16 MiB; .*\n$/)
    const csv = await bad("a,b\n1\n", "--format", "csv")
    expect(csv.stderr).toMatch(
      /^aio loop: line 2 of standard input is not CSV: another number of fields than columns; .*\n$/
    )
  })

  it("reports wrong usage in one line, before anything runs", async () => {
    const wrong = [
      [["no.ts"], /no\.ts: no such file/],
      [["g.mjs#nope"], /g\.mjs: no export 'nope'/],
      [["g.mjs#number"], /g\.mjs: export 'number' is a number; expected a function that takes a record/],
      [["f.ts", "g.ts"], /cannot read g\.ts: the file does not exist/],
      [["--checkpoint", "c"], /no function is given/],
      [["--within", "1s", "f.ts"], /--within applies to --batch N only/],
      [["--key", "a", "--batch", "2", "f.ts"], /--key and --batch exclude each other/],
      [["--key", "a b", "f.ts"], /'a b' is not an expression/],
      [["--rate", "fast", "f.ts"], /'fast' is not a rate; expected one like 10\/s/],
      [["--on-failure", "panic", "f.ts"], /'panic' is not accepted; expected cancel or continue/],
      [["--fields", "a", "f.ts"], /--fields applies to --output-format csv and tsv only/],
      [["--no-header", "f.ts"], /--header applies to --output-format csv and tsv only/],
      [["--output-format", "csv", "--fields", "a,a", "f.ts"], /columns 1 and 2 are both named 'a'/],
      [["--output-format", "csv", "--json", "f.ts"], /--json writes events and --output-format csv rows/],
      [
        ["--output-format", "tsv", "--checkpoint", "c", "f.ts"],
        /--checkpoint with .* tsv needs --fields NAME/
      ],
      [["--output-format", "csv", "--", "cat"], /csv is for the objects of a function/],
      [["--dead-letter", "--json", "f.ts"], /--dead-letter needs a value/],
      [["--dead-letter", "x", "--on-failure", "cancel", "f.ts"], /omit --on-failure cancel/],
      [
        ["-0", "--format", "csv", "f.ts"],
        /-0 is --format null, which excludes --format csv; omit one of them/
      ],
      [["-a", "x", "--follow", "y", "f.ts"], /--arg-file and --follow exclude each other/],
      [["-a", "x", "f.ts"], /cannot read x: the file does not exist/],
      [["-i", "ndjson", "f.ts"], /unknown option -i; here it is .*--format FORMAT/],
      [["--on-error", "skip", "f.ts"], /unknown option --on-error; here it is --on-failure/],
      [["f.ts", "-j", "2"], /unexpected '-j' behind the function; options go before it/],
      [["echo", "{}"], /unexpected '{}'; a command goes after --: aio loop -- echo '{}'/],
      [
        ["echo {} | tr a-z A-Z"],
        /no such file .*; a command goes after --: aio loop -- 'echo {} \| tr a-z A-Z'/
      ],
      [["--dead-letter", "no/such/file", "f.ts"], /cannot write failed records to no\/such\/file/],
      [["--follow", ".", "f.ts"], /it is not a regular file/],
      [["--rotate-wait", "1s", "f.ts"], /--rotate-wait applies to --follow FILE only/],
      [["--on-gap", "fail", "f.ts"], /--on-gap applies to --follow FILE only/],
      [["--follow", "x", "--on-gap", "ask", "f.ts"], /'ask' is not accepted; expected warn or fail/],
      [["--follow", "x", "--format", "csv", "f.ts"], /--follow takes lines, ndjson or null/],
      [["--checkpoint", "f.ts", "f.ts"], /cannot use the checkpoint f\.ts: it is not a checkpoint/],
      [["--", ""], /the command is empty/]
    ] as const
    const found = await Promise.all(wrong.map(([words]) => aio([...words], "a\n")))
    for (const [i, { code, stderr, stdout }] of found.entries()) {
      expect([code, stdout], stderr).toEqual([2, ""])
      expect(stderr).toMatch(wrong[i]![1])
      expect(stderr).toMatch(/^aio loop: [^\n]*\n$/)
    }
  })

  it("skips, takes, batches, limits and tries again", async () => {
    expect(await output(["--skip", "2", "--take", "3", "g.mjs#same"], numbers(10))).toBe("3\n4\n5\n")
    expect(await output(["--take", "0", "g.mjs#same"], numbers(10))).toBe("")
    expect(await output(["--batch", "4", "g.mjs#size"], numbers(10))).toBe("4\n4\n2\n")
    expect(await output(["--rate", "1000/s", "-j", "4", "g.mjs#same"], numbers(20))).toBe(numbers(20))
    // Processes of their own, because the function counts its calls.
    const flaky = (retries: string) =>
      Aio.run(["loop", "-q", "--retries", `${retries},1ms`, "g.mjs#flaky"], { cwd, stdin: "a\n" })
    expect(await flaky("2")).toMatchObject({ code: 0, stdout: "a\n" })
    expect((await flaky("1")).stderr).toBe("Failed line 1 of standard input: not yet\n")
    const late = await aio(["-q", "--timeout", "50ms", "g.mjs#never"], "a\n")
    expect([late.code, late.stderr]).toEqual([124, "Timed out line 1 of standard input: not done in 50ms\n"])
    const open = Aio.start(["loop", "-q", "--batch", "9", "--within", "50ms", "g.mjs#size"], { cwd })
    await open.send("1\n2\n")
    await open.shows("2\n")
    const early = Aio.start(["loop", "-q", "--take", "1", "g.mjs"], { cwd })
    await early.send("a\nb\n") // and its input stays open
    expect(await early.ended).toMatchObject({ code: 0, stdout: "A\n" })
    open.end()
    expect((await open.ended).stdout).toBe("2\n")
  })

  it("keeps the records of one key in order while other keys run concurrently", async () => {
    const gate = join(cwd, "gate")
    execFileSync("mkfifo", [gate])
    const script = 'case $0 in "a 1") read x <gate;; esac; echo "$0"'
    const words = ["loop", "-q", "-j", "4", "--timeout", "20s", "--unordered", "--", "sh", "-c", script]
    for (const key of ["1", "record[0]", "record.split(' ')[0]"]) {
      const running = Aio.start(words.toSpliced(2, 0, "--key", key), { cwd })
      await running.send("a 1\nb 1\na 2\nb 2\n")
      running.end()
      await running.shows("b 2\n")
      await idle(running.pid) // a second one of a that did not wait for the first would be there by now
      writeFileSync(gate, "\n")
      expect((await running.ended).stdout).toBe("b 1\nb 2\na 1\na 2\n")
    }
    const rows = '{"user":{"id":1},"n":1}\n{"user":{"id":2},"n":2}\n{"user":{"id":1},"n":3}\n'
    expect(
      await output(["--format", "ndjson", "-j", "4", "--key", "user.id", "effects.mjs#effect"], rows)
    ).toBe(rows)
  })

  it("stops quietly when its reader has left, and holds the input back when the reader is slow", async () => {
    const alone = Aio.start(["loop", "g.mjs#same"], {
      cwd,
      shell: '{ yes | "$@" 2>err; echo $? >code; } | head -2'
    })
    alone.end()
    expect((await alone.ended).stdout).toBe("y\ny\n")
    for (let i = 0; i < 500 && !existsSync(join(cwd, "code")); i++)
      await new Promise((r) => setTimeout(r, 10))
    expect(readFileSync(join(cwd, "code"), "utf8").trim()).toBe("141")
    expect(readFileSync(join(cwd, "err"), "utf8")).toBe("")
    const mute = Aio.start(["loop", "g.mjs#same"], { cwd, mute: true })
    let taken = 0
    const pieces = Array.from({ length: 256 }, () => mute.send("x\n".repeat(32 << 10)).then(() => taken++))
    await pieces[0]
    await idle(mute.pid)
    expect(taken).toBeLessThan(pieces.length / 2)
    mute.kill("SIGKILL")
    await mute.exited
  })

  it("drains running records on SIGINT, and starts no further ones", async () => {
    const running = Aio.start(["loop", "-j", "2", "effects.mjs#slow"], { cwd })
    await running.send(numbers(50))
    await running.shows("did 2")
    running.kill("SIGINT")
    const { code, stderr, stdout } = await running.ended
    expect(code).toBe(130)
    const done = stdout.trim().split("\n")
    expect(done).toEqual(Array.from({ length: done.length }, (_, i) => `${i + 1}`))
    expect(done.length).toBeLessThan(10)
    expect(stderr.match(/did/g)?.length).toBe(done.length)
    const stopped = Aio.start(["loop", "--", "sh", "-c", "touch begun; sleep 60"], { cwd })
    await stopped.send("1\n")
    for (let i = 0; i < 1000 && !existsSync(join(cwd, "begun")); i++)
      await new Promise((r) => setTimeout(r, 10))
    stopped.kill("SIGTERM")
    expect((await stopped.ended).code).toBe(143)
  })

  it("reads a file, resumes after its checkpoint, and takes - for standard input", async () => {
    const at = Aio.folder()
    writeFileSync(join(at, "in"), numbers(3))
    const words = ["-q", "--checkpoint", "check", "-a"]
    const run = (...more: ReadonlyArray<string>) =>
      InProcess.run(["loop", ...words, ...more, join(cwd, "g.mjs")], { cwd: at, stdin: "b\n" })
    expect(await run("in", "--take", "2")).toMatchObject({ code: 0, stdout: "1\n2\n", stderr: "" })
    expect(await run("in")).toMatchObject({ code: 0, stdout: "3\n", stderr: "" })
    expect(await run("-", "--checkpoint", "other")).toMatchObject({ code: 0, stdout: "B\n", stderr: "" })
    expect((await run("in", "-a", "-")).stderr).toMatch(/it is of another input, .*in, not standard input\n$/)
    expect((await run("--follow", "in")).code).toBe(2)
  })

  it("follows a file through rotation and truncation, and resumes from a checkpoint", async () => {
    const file = join(cwd, "app.log")
    writeFileSync(file, "one\n")
    const words = ["loop", "-q", "--follow", "app.log", "--rotate-wait", "100ms"]
    words.push("--checkpoint", "follow.check", "g.mjs")
    const first = Aio.start(words, { cwd })
    await first.shows("ONE\n")
    appendFileSync(file, "two\n")
    await first.shows("TWO\n")
    renameSync(file, `${file}.1`)
    writeFileSync(file, "three\n")
    await first.shows("THREE\n")
    truncateSync(file)
    appendFileSync(file, "4\n")
    await first.shows("4\n")
    first.kill("SIGINT")
    expect((await first.ended).code).toBe(130)
    appendFileSync(file, "five\n")
    const again = Aio.start(words, { cwd })
    await again.shows("FIVE\n")
    again.kill("SIGINT")
    expect((await again.ended).stdout).toBe("FIVE\n")
  })
})
