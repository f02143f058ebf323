// Side by side: every contender runs once a round, in turn, so that a slow minute of the machine meets all of them.
// Medians over the rounds, and ratios: absolute times hold for one machine only.
import { spawnSync } from "node:child_process"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"

export const root = dirname(dirname(fileURLToPath(import.meta.url)))
export const aio = join(root, "dist/bin/aio.cjs")

const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]

/** The command's path, or undefined when it is not installed. */
export const which = (name) => {
  const { stdout, status } = spawnSync("sh", ["-c", `command -v ${name}`], { encoding: "utf8" })
  return status === 0 ? stdout.trim() : undefined
}

/** A python3 that has the module, or undefined; the system's first, because others are often built unoptimised. */
export const pythonWith = (module) =>
  ["/usr/bin/python3", "python3"].find((python) => spawnSync(python, ["-c", `import ${module}`]).status === 0)

// The folder of an older checkout that is built: each contender of ours runs from there too.
export const older = process.env["AIO_BENCH_BEFORE"]
/** The same measurement, and that of the older build as `before`. */
const paired = (make, argv) => {
  const before = older && argv.map((word) => word.replaceAll(root, older))
  const isOurs = before?.some((word, i) => word !== argv[i])
  return Object.assign(make(argv), isOurs && { before: make(before) })
}

/** Runs a whole process and gives its wall time in ms and its peak memory in MiB (0 where GNU time is missing). */
export const command = (argv, options = {}) => paired((argv) => measured(argv, options), argv)
const measured =
  (argv, options = {}) =>
  () => {
    const words = which("/usr/bin/time") ? ["/usr/bin/time", "-f", "%M", ...argv] : argv
    const started = performance.now()
    const { status, stdout, stderr, error } = spawnSync(words[0], words.slice(1), {
      encoding: "utf8",
      maxBuffer: 1 << 30,
      stdio: [options.input === undefined ? "ignore" : "pipe", "pipe", "pipe"],
      ...options
    })
    const time = performance.now() - started
    if (error || status !== 0)
      throw new Error(`${argv.join(" ")}: ${error?.message ?? `exit ${status}`}\n${stderr}`)
    return { time, memory: words === argv ? 0 : Number(stderr.trim().split("\n").at(-1)) / 1024, stdout }
  }

/** Runs a process that prints its own measurement, in ms, as the last line of stdout. */
export const selfTimed = (argv) =>
  paired((argv) => {
    const run = measured(argv)
    return () => {
      const { memory, stdout } = run()
      return { time: Number(stdout.trim().split("\n").at(-1)), memory }
    }
  }, argv)

/**
 * Prints a table: the first contender is ours. A contender without `run` is not installed, and its row says missing.
 * `targets` maps a peer's name to the largest ratio (ours / peer) that is claimed.
 */
export const compare = async (
  title,
  contenders,
  { rounds = Number(process.env["ROUNDS"] ?? 7), targets = {} } = {}
) => {
  console.log(`\n${title} (median of ${rounds} rounds)`)
  const present = contenders
    .filter(({ run }) => run !== undefined)
    .flatMap(({ name, prepare, run }) => [
      { name, prepare, run },
      ...(run.before === undefined
        ? []
        : [{ name: `${name}, before`, prepare, run: run.before, isOlder: true }])
    ])
  const times = new Map(present.map(({ name }) => [name, []]))
  const memories = new Map(present.map(({ name }) => [name, []]))
  for (let round = -1; round < rounds; round++) {
    for (const { isOlder, name, prepare, run } of present) {
      if (!times.has(name)) continue
      await prepare?.()
      try {
        const { memory, time } = await run()
        if (round < 0) continue // warm-up
        times.get(name).push(time)
        memories.get(name).push(memory ?? 0)
      } catch (error) {
        // It has other options.
        if (!isOlder) throw error
        times.delete(name)
      }
    }
  }
  const show = (name, other, target) => {
    const values = times.get(name)
    if (values === undefined) {
      console.log(`  ${name.padEnd(28)} missing`)
      return
    }
    const time = median(values)
    const memory = median(memories.get(name))
    const spread = `${Math.min(...values).toFixed(0)}–${Math.max(...values).toFixed(0)}`
    const ratio = median(times.get(other)) / time
    const verdict =
      target === undefined ? "" : ratio <= target ? `  (at most ${target}: yes)` : `  (at most ${target}: NO)`
    console.log(
      `  ${name.padEnd(28)} ${time.toFixed(1).padStart(9)} ms  [${spread}]` +
        (memory > 0 ? `  ${memory.toFixed(0).padStart(4)} MiB` : "") +
        (name === other
          ? ""
          : `  ${name.endsWith(", before") ? "now" : "ours"} is ${ratio.toFixed(2)} of it${verdict}`)
    )
  }
  for (const { name } of contenders) {
    show(name, contenders[0].name, targets[name])
    if (present.some((one) => one.name === `${name}, before`)) show(`${name}, before`, name)
  }
}
