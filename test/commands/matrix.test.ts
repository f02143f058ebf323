import { mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { createServer, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import * as Aio from "../support/Aio.js"
import * as InProcess from "../support/InProcess.js"

// Every command that takes items, over the same hostile inputs: one rule for each.

let server: Server
let port = 0
beforeAll(async () => {
  server = createServer((_, response) => response.end("body"))
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  port = (server.address() as AddressInfo).port
})
afterAll(() => {
  server.closeAllConnections()
  server.close()
  Aio.removeFolders()
})

interface Reader {
  readonly name: string
  /** The options and the operands of a command that prints each item as it is. */
  readonly options: ReadonlyArray<string>
  readonly words: ReadonlyArray<string>
  /** Makes an item of a letter. */
  readonly item: (letter: string) => string
  /** What stdout has for an item. */
  readonly out: (letter: string) => string
}

const readers: ReadonlyArray<Reader> = [
  { name: "loop", options: ["-q"], words: ["f.mjs"], item: (a) => a, out: (a) => `${a}\n` },
  { name: "executor", options: ["-q", "-j1"], words: ["f.mjs"], item: (a) => a, out: (a) => `${a}\n` },
  {
    name: "subprocess",
    options: ["-q", "-k"],
    words: ["printf", "%s\\n"],
    item: (a) => a,
    out: (a) => `${a}\n`
  },
  {
    name: "gather",
    options: ["-q", "-j1", "--discard", "-a", "-"],
    words: [],
    item: (a) => `http://127.0.0.1:${port}/${a}`,
    out: (a) => `http://127.0.0.1:${port}/${a}`
  }
]

const folder = () => {
  const path = Aio.folder()
  writeFileSync(join(path, "f.mjs"), "export default (line) => line\n")
  return path
}

/** Runs the command with these bytes as standard input; with `redirect`, which a shell reads, they are a file's. */
const run = (
  { name, options, words }: Reader,
  bytes: string | Buffer,
  more: { readonly options?: ReadonlyArray<string>; readonly redirect?: string } = {}
) => {
  const cwd = folder()
  const args = [name, ...options, ...(more.options ?? []), ...words]
  if (more.redirect === undefined) return InProcess.run(args, { cwd, stdin: bytes })
  writeFileSync(join(cwd, "stdin"), bytes)
  return Aio.run(args, { cwd, shell: `"$@" <stdin ${more.redirect}` })
}

const lines = (reader: Reader, ...letters: ReadonlyArray<string>) =>
  letters.map((letter) => reader.out(letter))

describe.each(readers)("aio $name, on every input", (reader) => {
  const { item } = reader
  const all = async (bytes: string | Buffer, ...letters: ReadonlyArray<string>) => {
    const { code, stderr, stdout } = await run(reader, bytes)
    expect([code, stderr]).toEqual([0, ""])
    // A record that is not changed keeps its missing end.
    for (const line of lines(reader, ...letters)) expect(`${stdout}\n`).toContain(line)
    expect(stdout.trimEnd() === "" ? 0 : stdout.trimEnd().split("\n").length).toBe(letters.length)
  }

  it("an empty input is no work, and no failure", () => all(""))

  it("a last line without its end is an item", () => all(`${item("a")}\n${item("b")}`, "a", "b"))

  it("a line may end with CRLF", async () => {
    const { code, stdout } = await run(reader, `${item("a")}\r\n${item("b")}\r\n`)
    expect(code).toBe(0)
    // A record that is not changed keeps its bytes.
    expect(reader.name === "loop" ? stdout.replaceAll("\r", "") : stdout).toContain(reader.out("a"))
    if (reader.name !== "loop") expect(stdout).not.toContain("\r")
  })

  it("blank lines are no items", async () => {
    const { code, stdout } = await run(reader, `\n${item("a")}\n\n`)
    expect(code).toBe(0)
    expect(stdout.split("\n").filter((line) => line !== "").length).toBe(1)
  })

  it("a byte order mark is no part of the first item", async () => {
    const { code, stdout } = await run(reader, `\ufeff${item("a")}\n`)
    expect(code).toBe(0)
    expect(stdout.replace("\ufeff", "")).toContain(reader.out("a"))
    if (reader.name !== "loop") expect(stdout).not.toContain("\ufeff")
  })

  it("bytes that are not UTF-8 pass to a command, and are an error with the line where text is needed", async () => {
    const bytes = Buffer.from(`${item("a")}\n${item("caf\xe9")}\n`, "latin1")
    const { code, stderr, stdout } = await run(reader, bytes, { redirect: ">out" })
    if (reader.name === "subprocess") {
      expect([code, stderr, stdout]).toEqual([0, "", ""])
    } else {
      expect(code).not.toBe(0)
      expect(stderr).toMatch(/line 2.*(not UTF-8|is not a URL)/)
      expect(stderr.trimEnd().split("\n").length).toBe(1)
    }
  })

  it("items may end with NUL", () =>
    reader.name === "loop"
      ? Promise.resolve(expect(reader.name).toBe("loop"))
      : run(reader, `${item("a")}\0${item("b")}\0`, { options: ["-0"] }).then(({ code, stdout }) => {
          expect(code).toBe(0)
          for (const line of lines(reader, "a", "b")) expect(stdout).toContain(line)
        }))

  it("a line beyond --max-line is one clear error", async () => {
    const { code, stderr } = await run(reader, `${item("a")}\n${"x".repeat(100_000)}\n`, {
      options: ["--max-line", "1K"]
    })
    expect(code).not.toBe(0)
    expect(stderr).toMatch(/(line|item) 2.*longer than 1(\.0)? KiB/)
    expect(stderr.length).toBeLessThan(400)
  })

  it("closed standard input is no work", async () => {
    const { code, stdout } = await Aio.run([reader.name, ...reader.options, ...reader.words], {
      cwd: folder(),
      shell: '"$@" <&-'
    })
    expect([code, stdout]).toEqual([0, ""])
  })

  it("closed stderr changes nothing else", async () => {
    const { code, stdout } = await run(reader, `${item("a")}\n`, { redirect: "2>&-" })
    expect(code).toBe(0)
    expect(stdout).toContain(reader.out("a"))
  })

  it("a full disk behind stdout is one line, and exit code 1", async () => {
    const { code, stderr } = await run(reader, `${item("a")}\n`, { redirect: ">/dev/full" })
    expect([code, stderr]).toEqual([1, "cannot write to stdout: no space left on device\n"])
  })

  it.each([
    ["an unknown option", ["--nonsense"], /unknown option --nonsense/],
    ["an option without its value", ["--timeout"], /option --timeout needs a value|is not a number/],
    ["a limit of zero", ["--timeout", "0"], /option --timeout: '0' is out of range/],
    ["no number of jobs", ["--jobs", "none"], /option --jobs: 'none' is not a number of jobs/],
    ["too many jobs at once", ["--jobs", "1000000"], /option --jobs: '1000000' is out of range/],
    ["a negative count", ["--retries", "-1"], /option --retries/],
    ["a size without a meaning", ["--max-line", "ten"], /option --max-line: 'ten' is not a size/],
    ["an unknown word", ["--on-failure", "explode"], /option --on-failure: 'explode' is not accepted/],
    ["an unknown format", ["--format", "yaml"], /option --format: 'yaml' is not accepted/],
    ["an old spelling", ["--concurrency", "2"], /unknown option --concurrency; here it is --jobs N/]
  ])("%s is refused with one line before anything runs", async (_, options, message) => {
    const words = [reader.name, ...reader.options, ...options, ...reader.words]
    const { code, stderr, stdout } = await InProcess.run(words, { cwd: folder(), stdin: `${item("a")}\n` })
    expect([code, stdout]).toEqual([2, ""])
    expect(stderr).toMatch(message)
    expect(stderr).toMatch(new RegExp(`^aio ${reader.name}: [^\\n]*\\n$`))
  })

  it("of a repeated option the last counts", async () => {
    const { code } = await run(reader, `${item("a")}\n`, { options: ["--jobs", "3", "--jobs", "2"] })
    expect(code).toBe(0)
  })

  it("a variable sets an option, the command line wins, and a wrong value is blamed on the variable", async () => {
    const cwd = folder()
    const words = [reader.name, ...reader.options]
    const bad = await InProcess.run([...words, ...reader.words], {
      cwd,
      env: { AIO_TIMEOUT: "none" },
      stdin: ""
    })
    expect([bad.code, bad.stderr]).toEqual([
      2,
      expect.stringContaining("AIO_TIMEOUT: 'none' in duration 'none' is not a number")
    ])
    const own = `AIO_${reader.name.toUpperCase()}_TIMEOUT`
    const also = await InProcess.run([...words, ...reader.words], {
      cwd,
      env: { [own]: "0", AIO_TIMEOUT: "9s" },
      stdin: ""
    })
    expect([also.code, also.stderr]).toEqual([2, expect.stringContaining(`${own}: '0' is out of range`)])
    const won = await InProcess.run([...words, "--timeout", "9s", ...reader.words], {
      cwd,
      env: { [own]: "0" },
      stdin: ""
    })
    expect(won.code).toBe(0)
  })

  it("without words it runs no example when something is piped in", async () => {
    const { code, stderr, stdout } = await InProcess.run([reader.name], { cwd: folder(), stdin: "echo a\n" })
    // Here the lines are commands, as they are for GNU parallel.
    if (reader.name === "subprocess") return expect([code, stdout]).toEqual([0, "a\n"])
    expect([code, stdout]).toEqual([2, ""])
    expect(stderr).toMatch(new RegExp(`^aio ${reader.name}: no work is given; `))
  })

  it("an empty word is no example either", async () => {
    const { code, stdout } = await InProcess.run([reader.name, ""], { cwd: folder() })
    expect([code, stdout]).toEqual([2, ""])
  })
})

describe.each(["loop", "executor"])("aio %s, integers", (name) => {
  it("beyond 2^53 keep all their digits", async () => {
    const stdin = '{"id":9007199254740993,"big":123456789012345678901234567890}\n'
    const words = [name, "-q", "--format", "ndjson"]
    const plain = await InProcess.run([...words, "f.mjs"], { cwd: folder(), stdin })
    expect([plain.code, plain.stdout]).toEqual([0, stdin])
    const json = await InProcess.run([...words, "--json", "f.mjs"], { cwd: folder(), stdin })
    expect(json.stdout).toContain('"value":{"id":9007199254740993,"big":123456789012345678901234567890}')
  })
})

describe("items that look like options", () => {
  const hostile = ["--dry-run", "--joblog=x", "-q", "--", "-j", "--help", ":::x"]

  it("are items behind ::: and behind a function", async () => {
    const cwd = folder()
    mkdirSync(join(cwd, "in"))
    const subprocess = await InProcess.run(["subprocess", "-q", "-k", "printf", "%s\\n", ":::", ...hostile], {
      cwd
    })
    expect(subprocess.stdout).toBe(`${hostile.join("\n")}\n`)
    const executor = await InProcess.run(["executor", "-q", "-j1", "f.mjs", ...hostile], { cwd })
    expect(executor.stdout).toBe(`${hostile.join("\n")}\n`)
    expect(() => readFileSync(join(cwd, "x"))).toThrow()
  })

  it("are operands of every list", async () => {
    const cwd = folder()
    const gather = await InProcess.run(["gather", "http://127.0.0.1:1/", "--dry-run"], { cwd })
    expect([gather.code, gather.stderr]).toEqual([2, expect.stringContaining("'--dry-run'")])
    const files = await InProcess.run(["await", "a.ts", "--json"], { cwd })
    expect(files.code).toBe(2)
    const tasks = await InProcess.run(["tasks", "a=true", "--json"], { cwd })
    expect([tasks.code, tasks.stdout]).toEqual([2, ""])
  })
})
