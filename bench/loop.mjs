// `MapConcurrent.mapConcurrent` beside Stream.mapEffect, asyncio and p-map; `aio loop` beside a bare splitter and jq.
import { spawnSync } from "node:child_process"
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync, writeSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { aio, command, compare, pythonWith, root, selfTimed, which } from "./harness.mjs"

const python = pythonWith("asyncio")
const peer = (name) => join(root, "bench/peers", name)
const map = (name, count) => selfTimed([process.execPath, peer("loop.mjs"), name, String(count)])

await compare(
  "MapConcurrent.mapConcurrent: 1,000,000 elements, ready at once, in order, 8 at a time",
  [
    { name: "MapConcurrent.mapConcurrent", run: map("ours", 1_000_000) },
    { name: "out of order", run: map("unordered", 1_000_000) },
    { name: "asyncio, semaphore", run: python && selfTimed([python, peer("asyncio_loop.py"), "1000000"]) },
    { name: "p-map's iterable", run: map("pMap", 1_000_000) },
    { name: "p-map of an array", run: map("pMapArray", 1_000_000) }
  ],
  { rounds: 5, targets: { "asyncio, semaphore": 1, "p-map's iterable": 1 } }
)
await compare(
  "the same of 20,000 elements: Effect's own would take minutes for a million",
  [
    { name: "MapConcurrent.mapConcurrent", run: map("ours", 20_000) },
    { name: "Stream.mapEffect", run: map("effect", 20_000) }
  ],
  { rounds: 3, targets: { "Stream.mapEffect": 0.02 } }
)

const work = mkdtempSync(join(tmpdir(), "aio-bench-"))
try {
  // Records of 190 bytes, as logs and exports have them.
  const record = (n) =>
    `${JSON.stringify({
      id: n,
      name: `user name ${n}`,
      email: `user${n}@example.com`,
      active: n % 2 === 0,
      score: n * 1.5,
      tags: ["a", "b", "c"],
      address: { city: "Paris", zip: "75001" },
      at: "2024-01-01T00:00:00Z"
    })}\n`
  const big = join(work, "big.ndjson")
  const fd = openSync(big, "w")
  for (let size = 0, n = 0; size < Number(process.env.BYTES ?? 2 ** 30); ) {
    let block = ""
    while (block.length < 1 << 20) block += record(n++)
    size += writeSync(fd, block)
  }
  closeSync(fd)
  writeFileSync(
    join(work, "f.mjs"),
    `export const same = (record) => record
export const asked = (record) => { if (record.id < 0) throw new Error("no"); return record }`
  )
  const piped = (argv) => command(["sh", "-c", `exec "$@" <${big} >${join(work, "out")}`, "sh", ...argv])
  const checked = (argv) => {
    const run = piped(argv)
    return () => {
      const result = run()
      if (spawnSync("cmp", [big, join(work, "out")]).status !== 0) throw new Error("not the same bytes")
      return result
    }
  }
  const ours = (name) =>
    checked([process.execPath, aio, "loop", "-q", "--format", "ndjson", `${join(work, "f.mjs")}#${name}`])
  const jq = which("jq")
  await compare(
    "aio loop: 1 GiB of NDJSON through the identity, whole process",
    [
      { name: "aio loop", run: ours("same") },
      { name: "a function with a body", run: ours("asked") },
      { name: "bare: split, parse", run: piped([process.execPath, peer("ndjson.mjs")]) },
      {
        name: "bare: split, parse, stringify",
        run: piped([process.execPath, peer("ndjson.mjs"), "stringify"])
      },
      { name: "jq -c .", run: jq && piped([jq, "-c", "."]) }
    ],
    { rounds: Number(process.env.ROUNDS ?? 3), targets: { "jq -c .": 1 } }
  )
  // The same work in each language: a filter, a field, and a table.
  const some = join(work, "some.ndjson")
  const lines = Number(process.env.RECORDS ?? 500_000)
  const out = openSync(some, "w")
  for (let n = 0; n < lines; n += 1000) {
    writeSync(out, Array.from({ length: 1000 }, (_, i) => record(n + i)).join(""))
  }
  closeSync(out)
  const mlr = which("mlr")
  const quiet = (argv) => command(["sh", "-c", '"$@" >/dev/null', "sh", ...argv])
  const evaluated = (...words) =>
    quiet([process.execPath, aio, "loop", "-q", "--format", "ndjson", ...words, some])
  const compared = (title, ours, theirs, miller) =>
    compare(
      `aio loop -e: ${title} of ${lines} records, whole process`,
      [
        { name: "aio loop -e", run: ours },
        { name: "jq", run: jq && quiet([jq, ...theirs, some]) },
        { name: "Miller", run: mlr && quiet([mlr, ...miller, some]) }
      ],
      { rounds: Number(process.env.ROUNDS ?? 3), targets: { jq: 1, Miller: 1 } }
    )
  await compared(
    "those that are active",
    evaluated("-e", "r => r.active ? r : undefined"),
    ["-c", "select(.active)"],
    ["--ijsonl", "--ojsonl", "filter", "$active"]
  )
  await compared(
    "one field",
    evaluated("--output-format", "lines", "-e", "r => r.name"),
    ["-r", ".name"],
    ["--ijsonl", "--onidx", "cut", "-f", "name"]
  )
  await compared(
    "two fields as CSV",
    evaluated("--output-format", "csv", "-e", "r => ({ id: r.id, name: r.name })"),
    ["-r", "[.id, .name] | @csv"],
    ["--ijsonl", "--ocsv", "cut", "-f", "id,name"]
  )
  // A line that never ends: refused at 16 MiB, whatever follows.
  const long = join(work, "long")
  const half = join(work, "half")
  writeFileSync(long, Buffer.alloc(200_000_000, "x"))
  writeFileSync(half, Buffer.alloc(100_000_000, "x"))
  const one = (file, ...words) =>
    command([
      "sh",
      "-c",
      `"$@" <${file} >/dev/null || test $? = ${words.length > 0 ? 0 : 2}`,
      "sh",
      process.execPath,
      aio,
      "loop",
      ...words,
      `${join(work, "f.mjs")}#same`
    ])
  await compare(
    "aio loop: one line of 200 MB",
    [
      { name: "allowed, 200 MB", run: one(long, "--max-line", "1G") },
      { name: "allowed, 100 MB", run: one(half, "--max-line", "1G") },
      { name: "refused", run: one(long) }
    ],
    { rounds: 3, targets: { "allowed, 100 MB": 2.5 } }
  )
} finally {
  rmSync(work, { recursive: true, force: true })
}
