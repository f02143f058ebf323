// The command: many small jobs beside GNU parallel and xargs, and the memory of much output and of many items.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { aio, command, compare, which } from "./harness.mjs"

const parallel = which("parallel")
const xargs = which("xargs")
const bash = which("bash")
const node = process.execPath
const items = (count) => Array.from({ length: count }, (_, i) => String(i))

const inParallel = [parallel, "--will-cite", "-j4", "/bin/true", ":::", ...items(400)]
await compare(
  "aio subprocess: 400 × /bin/true, 4 at once, whole process",
  [
    {
      name: "aio subprocess",
      run: command([node, aio, "subprocess", "-q", "-j4", "--", "/bin/true", ":::", ...items(400)])
    },
    // It runs each job in the shell that it was called from: npm's is sh, most people's is bash.
    { name: "GNU parallel", run: parallel && command(inParallel) },
    {
      name: "GNU parallel, from bash",
      run: parallel && bash && command(inParallel, { env: { ...process.env, PARALLEL_SHELL: bash } })
    },
    { name: "xargs -P4", run: xargs && command(["sh", "-c", `seq 400 | ${xargs} -P4 -n1 /bin/true`]) }
  ],
  { rounds: 9, targets: { "GNU parallel": 0.2, "GNU parallel, from bash": 0.2, "xargs -P4": 1 } }
)

// 200 MB of lines from each of 2 jobs, thrown away by us: what is held is ours.
const flood = ["sh", "-c", "yes a line of output that is not very long | head -c 200000000"]
const mode = (...options) =>
  command([
    "sh",
    "-c",
    `"$@" > /dev/null`,
    "sh",
    node,
    aio,
    "subprocess",
    "-q",
    "-j2",
    ...options,
    "--",
    ...flood,
    ":::",
    "1",
    "2"
  ])
await compare(
  "aio subprocess: 2 × 200 MB of output; memory at most 110 MiB",
  [
    { name: "--group", run: mode("--group") },
    { name: "--line-buffer", run: mode("--line-buffer") },
    { name: "--line-buffer --tag", run: mode("--line-buffer", "--tag") },
    { name: "--keep-order", run: mode("--keep-order") },
    { name: "--ungroup", run: mode("--ungroup") }
  ],
  { rounds: 3 }
)

const many = (count) =>
  command(["sh", "-c", `seq ${count} | "$@"`, "sh", node, aio, "subprocess", "-q", "-j4", "--", "/bin/true"])
await compare(
  "aio subprocess: memory of many items",
  [
    { name: "10,000 items", run: many(10_000) },
    { name: "100 items", run: many(100) }
  ],
  { rounds: 1 }
)

// 256 MiB of lines in blocks of 1 MiB, each the stdin of a job.
const folder = mkdtempSync(join(tmpdir(), "aio-bench-"))
try {
  const input = join(folder, "in")
  writeFileSync(input, "a line of input that is not very long, as logs have them\n".repeat(4_700_000))
  const fed = (argv) => command(["sh", "-c", `"$@" < ${input} > /dev/null`, "sh", ...argv])
  await compare(
    "aio subprocess --pipe: 256 MiB in blocks of 1 MiB through wc -l, 4 at once, whole process",
    [
      {
        name: "aio subprocess --pipe",
        run: fed([node, aio, "subprocess", "-q", "-j4", "--pipe", "--block", "1M", "wc", "-l"])
      },
      {
        name: "parallel --pipe",
        run: parallel && fed([parallel, "--will-cite", "-j4", "--pipe", "--block", "1M", "wc", "-l"])
      }
    ],
    { rounds: Number(process.env.ROUNDS ?? 5), targets: { "parallel --pipe": 1 } }
  )
} finally {
  rmSync(folder, { recursive: true, force: true })
}
