import {
  appendFileSync,
  existsSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync
} from "node:fs"
import { join } from "node:path"
import { setImmediate as nextTurn } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { afterAll, afterEach, describe, expect, it } from "vitest"
import * as Aio from "../support/Aio.js"
import * as FaultServer from "../support/FaultServer.js"

// Several processes with one file, and processes that are killed with KILL at any moment and started again: what is on
// disk is whole at any time, and claims no more than what is done.

afterAll(Aio.removeFolders)

const modules = fileURLToPath(new URL("../../node_modules", import.meta.url))
const lines = (file: string) => (existsSync(file) ? readFileSync(file, "utf8").split("\n").slice(0, -1) : [])
const numbers = (count: number) => Array.from({ length: count }, (_, i) => String(i + 1))

/** Resolves when this is so; rejects after twenty seconds. */
const until = async (holds: () => boolean) => {
  for (let i = 0; i < 2000 && !holds(); i++) await new Promise((resolve) => setTimeout(resolve, 10))
  expect(holds()).toBe(true)
}

/** A folder with `in`, and functions that log each record; every third one fails. */
const folder = (count: number) => {
  const cwd = Aio.folder()
  symlinkSync(modules, join(cwd, "node_modules"))
  writeFileSync(join(cwd, "in"), `${numbers(count).join("\n")}\n`)
  writeFileSync(
    join(cwd, "f.mjs"),
    `import { appendFileSync, statSync } from "node:fs"
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms))
let met
const meet = async () => {
  appendFileSync("met", "x")
  while (statSync("met").size < 2) await pause(5)
}
// Each process begins its first record when both have read their checkpoint.
export const together = async (line) => {
  await (met ??= meet())
  return each(line)
}
export const logged = async (line) => {
  appendFileSync("log", line + "\\n")
  await pause(1)
  return line
}
export default async function each(line) {
  await pause(5 + (line % 4))
  appendFileSync("log", line + "\\n")
  if (line % 3 === 0) throw new Error("no")
  return line
}
`
  )
  return { cwd, at: (name: string) => join(cwd, name) }
}
const loop = (...words: ReadonlyArray<string>) => ["loop", "-q", "--checkpoint", "ck", ...words]

describe("aio loop", () => {
  it("killed again and again, with results in any order and dead letters: no record is lost", async () => {
    const count = 4000
    const { at, cwd } = folder(count)
    const words = loop("-j8", "--unordered", "--dead-letter", "dead", "f.mjs")
    const shell = 'exec "$@" < in >> out'
    const checkpoint = () => (existsSync(at("ck")) ? readFileSync(at("ck"), "utf8") : "")
    for (let round = 1; round <= 2; round++) {
      const before = checkpoint()
      const running = Aio.start(words, { cwd, shell })
      await until(() => checkpoint() !== before)
      running.kill("SIGKILL")
      await running.exited
      JSON.parse(checkpoint())
    }
    expect((await Aio.start(words, { cwd, shell }).ended).code).toBe(1)
    const all = numbers(count)
    expect(new Set(lines(at("out")))).toEqual(new Set(all.filter((n) => Number(n) % 3 > 0)))
    expect(new Set(lines(at("dead")))).toEqual(new Set(all.filter((n) => Number(n) % 3 === 0)))
    expect(lines(at("log")).length).toBeLessThan(1.5 * count) // it did go on
  })

  it("twice at once with one checkpoint: both have all, and the checkpoint is whole", async () => {
    const { at, cwd } = folder(400)
    const words = loop("-j4", "--on-failure", "continue", "f.mjs#together")
    const two = await Promise.all([0, 1].map(() => Aio.start(words, { cwd, shell: 'exec "$@" < in' }).ended))
    const wanted = numbers(400).filter((n) => Number(n) % 3 > 0)
    for (const { code, stdout } of two) expect([code, stdout.trim().split("\n")]).toEqual([1, wanted])
    expect(JSON.parse(readFileSync(at("ck"), "utf8")).position).toMatchObject({ index: 400 })
    expect(Aio.names(cwd)).toEqual(["ck", "f.mjs", "in", "log", "met", "node_modules"])
  })

  it("resumes after a kill -9: each record at least once, none out of order", async () => {
    const { at, cwd } = folder(3000)
    const words = loop("-j4", "f.mjs#logged")
    const seen = () => lines(at("log")).length
    for (let round = 0; round < 3; round++) {
      const before = seen()
      const running = Aio.start(words, { cwd, shell: 'exec "$@" <in >>out' })
      await until(() => seen() >= before + 700 && existsSync(at("ck")))
      running.kill("SIGKILL")
      await running.ended
    }
    const last = Aio.start(words, { cwd, shell: 'exec "$@" <in >>out' })
    expect((await last.ended).code).toBe(0)
    const out = lines(at("out")).map(Number)
    expect([...new Set(out)]).toEqual(Array.from({ length: 3000 }, (_, i) => i + 1))
    expect(out.length).toBeLessThan(3 * 3000) // it did go on, rather than begin anew
    // Nothing is left to do, and what is appended is.
    appendFileSync(at("in"), "more\n")
    writeFileSync(at("out"), "")
    expect((await Aio.start(words, { cwd, shell: 'exec "$@" <in >>out' }).ended).code).toBe(0)
    expect(readFileSync(at("out"), "utf8")).toBe("more\n")
    const text = (count: number) => `${numbers(count).join("\n")}\n`
    // Another input is refused, and nothing is written.
    const refused = async (stdin: string, ...more: ReadonlyArray<string>) => {
      const { code, stderr, stdout } = await Aio.run(words.toSpliced(1, 0, ...more), { cwd, stdin })
      expect([code, stdout]).toEqual([2, ""])
      return stderr
    }
    const other = "aio loop: cannot use the checkpoint ck: it is of another input: this one"
    expect(await refused(`x${text(3000)}`)).toBe(`${other} begins with something else\n`)
    expect(await refused(text(3000))).toBe(`${other} is shorter\n`)
    expect(await refused(text(3))).toBe(`${other} is shorter\n`)
    expect(await refused(text(3000), "--format", "ndjson")).toBe(
      "aio loop: cannot use the checkpoint ck: it is of records as lines, not ndjson\n"
    )
    expect(await refused(text(3000), "--follow", "in")).toMatch(
      /it is of another input, standard input, not .*in\n$/
    )
    expect(await refused("", "-a", "in")).toMatch(/it is of another input, standard input, not .*in\n$/)
  }, 120_000)

  it.each([
    ["a file", ">> out"],
    ["a pipe", "| tee -a out > /dev/null"]
  ])(
    "killed and resumed, a CSV in %s has one header",
    async (kind, to) => {
      const { at, cwd } = folder(8000)
      writeFileSync(
        at("row.mjs"),
        `import { logged } from "./f.mjs"\nexport default async (n) => ({ n: await logged(n) })`
      )
      const words = loop("-j4", "--output-format", "csv", "--fields", "n,more", "row.mjs")
      const start = () =>
        Aio.start(words, { cwd, shell: `sh -c 'echo $$ > pid; exec "$0" "$@"' "$@" < in ${to}` })
      const checkpoint = () => (existsSync(at("ck")) ? readFileSync(at("ck"), "utf8") : "")
      for (let round = 1; round <= 3; round++) {
        const before = checkpoint()
        const running = start()
        // In a file the header shows before the first checkpoint, too.
        if (round === 1 && kind === "a file") await until(() => lines(at("out")).length > 20)
        else await until(() => checkpoint() !== before)
        process.kill(Number(readFileSync(at("pid"), "utf8")), "SIGKILL")
        await running.ended
      }
      expect((await start().ended).code).toBe(0)
      const [header, ...rows] = lines(at("out"))
      expect([header, new Set(rows)]).toEqual(["n,more", new Set(numbers(8000).map((n) => `${n},`))])
    },
    60_000
  )
})

describe("aio subprocess", () => {
  it("killed again and again, with a job log and results: logged jobs have their results", async () => {
    const cwd = Aio.folder()
    const at = (name: string) => join(cwd, name)
    const items = numbers(160)
    const words = [
      ...["subprocess", "-q", "-j4", "--joblog", "log", "--resume", "--results", "R", "--"],
      ...["sh", "-c", 'echo "out $0"; echo "err $0" >&2; echo "$0" >> ran', ":::", ...items]
    ]
    const logged = () => lines(at("log")).filter((line) => !line.startsWith("Seq\t"))
    const saved = () =>
      existsSync(at("R")) ? Aio.names(at("R")).filter((name) => !name.startsWith(".")) : []
    const files = (name: string) =>
      ["stdout", "stderr", "exit"].map((file) => readFileSync(join(at("R"), name, file), "utf8")).join("")
    for (let round = 1; round <= 5; round++) {
      const running = Aio.start(words, { cwd })
      await until(() => lines(at("ran")).length >= round * 25)
      running.kill("SIGKILL")
      await running.exited
      for (const name of saved()) expect(files(name)).toMatch(/^out (\d+)\nerr \1\n0\n$/)
      expect(saved().length).toBeGreaterThanOrEqual(logged().length)
    }
    expect((await Aio.run(words, { cwd })).code).toBe(0)
    expect([logged().length, saved().length]).toEqual([160, 160])
    expect(new Set(saved().map((name) => files(name).split("\n")[0]!.slice(4)))).toEqual(new Set(items))
    // Those that a killed one has left are gone, too.
    expect(Aio.names(at("R")).length).toBe(160)
  })

  it("runs no job again that was logged before it was killed", async () => {
    const cwd = Aio.folder()
    const [log, ran] = [join(cwd, "log"), join(cwd, "ran")]
    const items = numbers(120)
    const job = ["--", "sh", "-c", `echo $0; echo $0 >> ${ran}`, ":::", ...items]
    const words = ["subprocess", "-j2", "--json", "--joblog", log, "--resume", ...job]
    for (const index of [20, 40, 60, 80, 100]) {
      const running = Aio.start(words)
      await running.shows(`"event":"finished","index":${index},`)
      running.kill("SIGKILL")
      await running.exited
    }
    const { code, stdout } = await Aio.run(words)
    expect([code, stdout.match(/"reason":"it is in the job log"/g)!.length >= 80]).toEqual([0, true])
    const runs = lines(ran)
    expect([...new Set(runs)].sort()).toEqual([...items].sort())
    // What was running or on its way to the log at a kill runs again: few jobs each time, not all before it.
    expect(runs.length).toBeLessThan(120 + 5 * 15)
  }, 60_000)
})

describe("aio gather", () => {
  let server: FaultServer.FaultServer | undefined
  afterEach(() => server?.close())
  const { bytes, file, inTurn, ok } = FaultServer
  const parts = (dir: string) => readdirSync(dir).filter((name) => name.endsWith(".aio-part"))

  it("kill -9 at any moment, then the same command, produces the right bytes and leaves no other file", async () => {
    const body = bytes(6_000_000, 11)
    const sum = FaultServer.sha256(body)
    // Each attempt is served up to its mark, by what the client has taken, and then killed.
    const marks = [0, 100_000, 1_300_000, 2_500_000, 4_100_000, 5_999_999, 6_000_000]
    let mark = 0
    let reached: () => void = () => undefined
    server = await FaultServer.start({
      "/f": file(body, '"v1"', (response, part) => {
        const from = body.length - part.length
        const end = Math.max(mark, from)
        let at = from
        const write = () => {
          if (at >= end) {
            if (end === body.length) response.end(reached)
            else response.write("", reached)
            return
          }
          const piece = body.subarray(at, Math.min(at + 50_000, end))
          at += piece.length
          response.write(piece, write)
        }
        response.flushHeaders()
        write()
      })
    })
    const dir = Aio.folder()
    const args = ["gather", "-q", "-d", dir, server.url("/f")]
    for (mark of marks) {
      const served = new Promise<void>((resolve) => {
        reached = resolve
      })
      const aio = Aio.start(args)
      await served
      // In one of the rounds there is surely something on the disk to go on with.
      if (mark === 4_100_000)
        while (parts(dir).every((name) => statSync(join(dir, name)).size === 0)) await nextTurn()
      aio.kill("SIGKILL")
      await aio.ended
      if (existsSync(join(dir, "f"))) break // it was done before the last blow
    }
    mark = body.length
    const { code, stderr } = await Aio.run(args)
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" })
    expect(FaultServer.sha256(readFileSync(join(dir, "f")))).toBe(sum)
    expect(Aio.names(dir)).toEqual(["f"])
    expect(server.seenAt("/f").some(({ headers }) => headers.range !== undefined)).toBe(true)
  })

  it("leftovers of a killed process that cannot be continued are removed", async () => {
    const body = bytes(3_000_000)
    server = await FaultServer.start({
      "/f": inTurn(
        file(body, null, (response, part) => void response.write(part.subarray(0, 2_500_000))),
        file(body)
      ),
      "/other": ok("other")
    })
    const dir = Aio.folder()
    const aio = Aio.start(["gather", "-q", "-d", dir, server.url("/f")])
    while (!Aio.names(dir).some((name) => name.endsWith(".aio-tmp"))) await nextTurn()
    // Another process does not take a living one's file for a leftover.
    await Aio.run(["gather", "-q", "-d", dir, server.url("/other")])
    expect(Aio.names(dir).filter((name) => name.endsWith(".aio-tmp"))).toHaveLength(1)
    aio.kill("SIGKILL")
    await aio.ended
    await Aio.run(["gather", "-q", "-d", dir, server.url("/other")])
    expect(Aio.names(dir)).toEqual(["other"])
  })
})
