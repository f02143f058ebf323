// The rule of imports between the house's rooms (CONTRIBUTING.md draws it), by resolved path: `import`, `export … from`,
// `import()` and `import type` alike. A module may import what is on a lower floor or in its own room; what a room
// keeps in `internal/` is its own; no modules import each other in a circle.
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { dirname, join, normalize } from "node:path"

/** The floors, lowest first. A room imports rooms of lower floors, and of its own floor none but itself. */
export const floors = [
  ["text"],
  ["host"],
  ["task"],
  ["time"],
  ["stream"],
  ["source"],
  ["process"],
  ["record", "thread", "download", "http"],
  ["job", "supervision", "network"],
  // More than one process: runs schedules of supervision and opens the databases and storages of network.
  ["cluster"],
  ["programs", "testing"],
  ["commands"],
  ["main", "watch"]
]
/**
 * Whose internal/ is open to which other rooms: task's holds fiberRuntime.ts, the one file that leans on the inside of
 * Effect's fibers, which clocks, streams, processes and threads need as well.
 */
const open = {
  testing: ["task", "time"],
  time: ["task"],
  stream: ["task"],
  process: ["task"],
  thread: ["task"],
  http: ["task"],
  // An executor of its own: the settings of jobs, and how a map starts them.
  cluster: ["thread"],
  watch: ["task"]
}

const roomOf = (file) => {
  const [first, second] = file.split("/")
  if (first === "services") return second
  return first.replace(/\.ts$/, "")
}
const floorOf = (room) => floors.findIndex((rooms) => rooms.includes(room))

const specifiers = (text) =>
  [
    ...text.matchAll(
      /\bfrom\s*"(\.[^"]+)"|\bimport\s*"(\.[^"]+)"|\bimport\s*\(\s*(?:\/\*.*?\*\/\s*)?["'`](\.[^"'`]+)["'`]/g
    )
  ].map(([, from, bare, dynamic]) => from ?? bare ?? dynamic)

/** Every import of the folder's modules: the importing file and the imported one, as paths below the folder. */
export const importsOf = (src) =>
  readdirSync(src, { recursive: true })
    .filter((file) => file.endsWith(".ts") && !file.endsWith(".d.ts"))
    .flatMap((file) => {
      const text = readFileSync(join(src, file), "utf8").replace(/^\s*(\*|\/\/).*$/gm, "")
      return specifiers(text).map((specifier) => {
        const to = normalize(join(dirname(file), specifier))
        const candidates = [to, to.replace(/\.js$/, ".ts"), to.replace(/\.js$/, ".d.ts")]
        return { file, to: candidates.find((name) => existsSync(join(src, name))) ?? to }
      })
    })

const circle = (imports) => {
  const next = new Map()
  for (const { file, to } of imports) next.set(file, [...(next.get(file) ?? []), to])
  const state = new Map()
  const path = []
  const visit = (file) => {
    state.set(file, "open")
    path.push(file)
    for (const to of next.get(file) ?? []) {
      if (state.get(to) === "open") return [...path.slice(path.indexOf(to)), to]
      if (state.has(to)) continue
      const found = visit(to)
      if (found !== undefined) return found
    }
    path.pop()
    state.set(file, "done")
    return undefined
  }
  for (const file of next.keys()) {
    if (state.has(file)) continue
    const found = visit(file)
    if (found !== undefined) return found
  }
  return undefined
}

/** What in the folder breaks the rule, a sentence each. */
export const problems = (src) => {
  const imports = importsOf(src)
  const found = []
  for (const { file, to } of imports) {
    const sentence = `src/${file} imports src/${to}`
    if (to.startsWith("..")) {
      if (file !== "main.ts" && !to.endsWith("package.json")) found.push(`${sentence}: outside src`)
      continue
    }
    if (to === "manifest.ts" || to.startsWith("virtual")) continue
    const [here, there] = [roomOf(file), roomOf(to)]
    if (here === there) continue
    if (floorOf(here) < 0)
      found.push(`src/${file}: '${here}' is not a room; rooms are ${floors.flat().join(", ")}`)
    else if (floorOf(there) < 0) found.push(`${sentence}: '${there}' is not a room`)
    else if (floorOf(here) <= floorOf(there))
      found.push(`${sentence}: ${here} may import rooms of the floors below only`)
    const internal = /(?:^|\/)internal\//.test(to)
    if (internal && !open[here]?.includes(there))
      found.push(`${sentence}: internal/ belongs to ${there} alone`)
  }
  const round = circle(imports)
  if (round !== undefined) found.push(`a circle of imports: ${round.join(" → ")}`)
  return [...new Set(found)]
}
