import { existsSync, readFileSync, symlinkSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll, describe, expect, it } from "vitest"
import * as Aio from "../support/Aio.js"

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
})
