/** The name of a command line: its npm script, or its program. */
const nameOf = (command: string): string => {
  const [first = "", second, third] = command.trim().split(/\s+/)
  const script = /^(?:npm|pnpm|yarn|bun)$/.test(first) ? (second === "run" ? third : second) : undefined
  const name = (script ?? first.slice(first.lastIndexOf("/") + 1))
    .replace(/[^A-Za-z0-9_.-]+/g, "-")
    .replace(/-$/, "")
  return /^\w/.test(name) ? name : "command"
}

/** The name of a command line, with a number if it is taken; it is taken then. */
export const take = (taken: Set<string>, command: string): string => {
  const name = nameOf(command)
  let free = name
  for (let nth = 2; taken.has(free); nth++) free = `${name}-${nth}`
  taken.add(free)
  return free
}
