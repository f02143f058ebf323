// Installs the shells in which the tests try completions, where they are missing and apt-get is there.
import { spawnSync } from "node:child_process"

const has = (command) => spawnSync(command, ["--version"]).error === undefined
const missing = ["bash", "zsh", "fish"].filter((shell) => !has(shell))
const prefix = process.getuid?.() === 0 || !has("sudo") ? [] : ["sudo"]
const apt = (...words) => {
  const [command, ...args] = [...prefix, "apt-get", "-qq", ...words]
  return spawnSync(command, args, { stdio: ["ignore", "ignore", "inherit"] }).status === 0
}
if (missing.length > 0 && !(apt("update") && apt("install", "-y", "--no-install-recommends", ...missing))) {
  console.error(`${missing.join(", ")} could not be installed`)
  process.exit(1)
}
