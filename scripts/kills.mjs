// npm run kills -- [--rounds 1000] [--seed 1] [--lanes 4]: random kills of the tool, a first process, a descendant or the
// guardian, while the tool starts, while there is output, and within the grace period. Each must leave no process
// behind. A failure names the seed that repeats its run.
import { spawn } from "node:child_process"
import { readdirSync, readFileSync } from "node:fs"
import { setTimeout as setTimeoutPromise } from "node:timers/promises"
import { parseArgs } from "node:util"
import { aio, build } from "./project.mjs"

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "1000" },
    seed: { type: "string", default: "1" },
    lanes: { type: "string", default: "4" }
  }
})
const [rounds, firstSeed, lanes] = [values.rounds, values.seed, values.lanes].map(Number)
build()

const grace = 300
/** Milliseconds after the grace period within which everything is gone; more where the machine is busy. */
const allowance = 2000 * 5
/** Milliseconds that an orderly end may take. */
const longest = 30_000

/** mulberry32 */
const random = (seed) => {
  let state = seed
  const next = () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
  return { below: (n) => Math.floor(next() * n), pick: (items) => items[Math.floor(next() * items.length)] }
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms))
const read = (file) => {
  try {
    return readFileSync(file, "latin1")
  } catch {
    return "" // gone
  }
}
const isZombie = (pid) => /^State:\s+[ZX]/m.test(read(`/proc/${pid}/status`))
const list = (folder) => {
  try {
    return readdirSync(folder)
  } catch {
    return [] // gone
  }
}
const children = (pid) =>
  list(`/proc/${pid}/task`).flatMap((thread) =>
    read(`/proc/${pid}/task/${thread}/children`).split(" ").filter(Boolean).map(Number)
  )
const isGuardian = (pid) => /aio guardian|guardianMain/.test(read(`/proc/${pid}/cmdline`))
const send = (pid, signal) => {
  try {
    process.kill(pid, signal)
  } catch {
    // gone
  }
}

/** The processes of a run: by a variable of their environment, and by a number in their words. */
const processesOf = (mark) =>
  readdirSync("/proc")
    .filter((entry) => /^\d+$/.test(entry))
    .map(Number)
    .filter(
      (pid) =>
        (read(`/proc/${pid}/environ`).includes(mark.variable) ||
          read(`/proc/${pid}/cmdline`).includes(mark.number)) &&
        !isZombie(pid)
    )

// `sleep N` sleeps for a minute, and its number is the run's own.
const scripts = [
  "trap '' HUP INT TERM; (setsid sleep N &); sleep N & echo up; while :; do sleep 0.05; done",
  "trap '(setsid sleep N &); (sleep N &)' TERM INT HUP; echo up; while :; do sleep 0.05; done",
  "(setsid sleep N &); echo up; exec yes",
  "setsid sleep N & sleep N & echo up",
  "env -i $(command -v setsid) $(command -v sleep) N & echo up; sleep N"
]
const runners = [
  (script) => ["subprocess", "--line-buffer", "--grace", "300ms", "--", "sh", "-c", script, ":::", "x"],
  (script) => ["subprocess", "-u", "-j2", "--grace", "300ms", "--", "sh", "-c", script, ":::", "x", "y"],
  (script) => ["tasks", "--grace", "300ms", `a=${script}`, "b=sleep N"],
  (script) => ["long-running", "--grace", "300ms", "--backoff", "10ms", `a=${script}`],
  (script) => ["schedule", "later", "0", "--grace", "300ms", "--", "sh", "-c", script]
]
const signals = ["SIGINT", "SIGTERM", "SIGHUP", "SIGKILL"]

/** One run of the tool with one kill, or two; what was left, or undefined. */
const run = async (seed) => {
  const { below, pick } = random(seed)
  const mark = { variable: `AIO_KILLS=${process.pid}.${seed}.`, number: `60.${process.pid}${seed}` }
  const script = pick(scripts)
  const words = pick(runners)(script).map((word) => word.replaceAll(/\bN\b/g, mark.number))
  const moment = pick(["start", "output", "grace"])
  const victim = pick(["tool", "leader", "descendant", "guardian"])
  const [signal, last] = [pick(signals), pick(signals)]
  const [early, late] = [below(400), below(250)]
  const description = `seed ${seed}: ${signal} for the ${victim} at ${moment}, ${victim === "tool" ? "" : `then ${last} for the tool; `}${words.join(" ")}`

  const [name, value] = mark.variable.split("=")
  const tool = spawn(process.execPath, [aio, ...words], {
    env: { PATH: process.env.PATH, HOME: process.env.HOME, [name]: value },
    stdio: ["ignore", "pipe", "pipe"]
  })
  let ended = false
  let onUp
  const up = new Promise((resolve) => (onUp = resolve))
  const exited = new Promise((resolve) =>
    tool.once("exit", (code, signal) => {
      ended = true
      onUp()
      resolve(signal ?? code)
    })
  )
  let written = ""
  tool.stdout.on("data", (bytes) => {
    if (written.length < 4096) written += bytes
    if (written.includes("up")) onUp()
  })
  tool.stderr.resume()

  if (moment === "start") await pause(early)
  else {
    // Aborted once it is up: a timer that is left over would hold a single seed for 30 s.
    const waited = new AbortController()
    const timedOut = setTimeoutPromise(longest, undefined, { signal: waited.signal }).catch(() => undefined)
    await Promise.race([up, timedOut])
    waited.abort()
    await pause(below(100))
  }
  let kills = 0
  const kill = (pid, signal) => {
    if (pid === undefined || ended) return
    kills++
    send(pid, signal)
  }
  let asked = 0
  const askTool = (signal) => {
    asked++
    kill(tool.pid, signal)
  }
  if (moment === "grace") {
    askTool("SIGTERM")
    await pause(late)
  }
  const [guardian] = children(tool.pid).filter(isGuardian)
  const victims = {
    tool: () => tool.pid,
    leader: () => children(tool.pid).find((pid) => !isGuardian(pid)),
    descendant: () => pick(processesOf(mark).filter((pid) => pid !== tool.pid)),
    guardian: () => guardian
  }
  if (victim === "tool") askTool(signal)
  else {
    kill(victims[victim](), signal)
    await pause(below(100))
    // The guardian and the tool must not be killed at one moment: nothing else knows what runs.
    for (let i = 0; i < 500 && victim === "guardian" && !ended && !children(tool.pid).some(isGuardian); i++)
      await pause(10)
    askTool(last)
  }
  const guardians = children(tool.pid).filter(isGuardian)
  const timer = setTimeout(() => tool.kill("SIGKILL"), longest)
  const how = await exited
  clearTimeout(timer)
  if (how === "SIGKILL" && signal !== "SIGKILL" && last !== "SIGKILL") {
    return { kills, problem: `the tool has not ended; ${description}` }
  }
  const left = () => [
    ...processesOf(mark),
    ...[guardian, ...guardians].filter((pid) => pid && isGuardian(pid))
  ]
  // A process without the variable may escape a tool that is killed before it was seen.
  const unseen = how === "SIGKILL" && moment === "start" && script.startsWith("env -i")
  const orderly = asked === 1 && how !== "SIGKILL"
  for (const until = Date.now() + (orderly ? 0 : grace + allowance); ; await pause(20)) {
    const pids = left()
    if (pids.length === 0) return { kills }
    if (Date.now() < until) continue
    const lines = pids.map((pid) => `${pid} ${read(`/proc/${pid}/cmdline`).replaceAll("\0", " ")}`)
    for (const pid of pids) send(pid, "SIGKILL")
    if (unseen && pids.every((pid) => !read(`/proc/${pid}/environ`).includes(mark.variable))) return { kills }
    return {
      kills,
      problem: `${how === null ? "" : `ended with ${how}; `}left: ${lines.join(", ")}; ${description}`
    }
  }
}

let seed = firstSeed
let kills = 0
const problems = []
const lane = async () => {
  while (kills < rounds) {
    const result = await run(seed++)
    kills += result.kills
    if (result.problem !== undefined) {
      problems.push(result.problem)
      console.error(result.problem)
    }
  }
}
await Promise.all(Array.from({ length: lanes }, lane))
console.log(
  `${kills} kills in ${seed - firstSeed} runs from seed ${firstSeed}: ${problems.length} left processes behind`
)
process.exitCode = problems.length === 0 ? 0 : 1
