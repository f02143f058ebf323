// A PostgreSQL of its own on loopback, with its data in a folder: for the tests on real servers and the benches.
import { spawnSync } from "node:child_process"
import { chownSync, mkdirSync } from "node:fs"
import { join } from "node:path"

const id = (flag) => Number(spawnSync("id", [flag, "nobody"], { encoding: "utf8" }).stdout)
/** PostgreSQL refuses to run as root. */
const user = process.getuid?.() === 0 ? { uid: id("-u"), gid: id("-g") } : {}

/**
 * Makes the data in `folder/postgres`. Returns the words behind `postgres` that start it, the options of its process, and the
 * URL at which it then answers.
 */
export const prepare = ({ folder, initdb, port, settings }) => {
  const data = join(folder, "postgres")
  mkdirSync(data, { mode: 0o700 })
  if (user.uid !== undefined) for (const path of [folder, data]) chownSync(path, user.uid, user.gid)
  const options = { ...user, cwd: folder }
  const words = ["-D", data, "-U", "aio", "-A", "trust", "-E", "UTF8", "--locale=C", "-N"]
  const made = spawnSync(initdb, words, { ...options, encoding: "utf8" })
  if (made.status !== 0) throw new Error(`initdb: ${made.stderr}`)
  // Each test and bench is of processes that end, not of a machine that does.
  const all = {
    fsync: "off",
    listen_addresses: "127.0.0.1",
    port,
    unix_socket_directories: data,
    ...settings
  }
  return {
    words: ["-D", data, ...Object.entries(all).flatMap(([name, value]) => ["-c", `${name}=${value}`])],
    options,
    url: `postgres://aio@127.0.0.1:${port}/postgres`
  }
}
