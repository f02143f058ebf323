import { closeSync, existsSync } from "node:fs"
import { constants } from "node:os"
import { resolve } from "node:path"
import * as RawText from "../../text/RawText.js"
import type { Backend, Request } from "./backend.js"
import { errorName, type Libc } from "./libc.js"
import * as nodeSpawn from "./nodeSpawn.js"
import * as pipes from "./pipes.js"
import * as reaper from "./reaper.js"

// posix_spawn shares its memory with the child until exec, so its time does not depend on Node's size. It knows no user
// and no group: those are for Node.

const { EACCES, ENOENT, ENOEXEC, ENOTDIR } = constants.errno

/** The paths at which execvp would look for a program. */
const places = (file: string, path: string | undefined): ReadonlyArray<string> =>
  file.includes("/") || file === ""
    ? [file]
    : (path ?? "/bin:/usr/bin").split(":").map((folder) => `${folder || "."}/${file}`)

const cString = (text: string): Buffer => {
  if (text.includes("\0")) throw new Error("its words, folder and environment must not contain null bytes")
  return RawText.encode(`${text}\0`)
}

/** Spawns the first of the places that can be executed, as execvp does; gives the pid, or minus the error number. */
const search = async (
  libc: Libc,
  { args, cwd, env, extendEnv, file }: Request,
  stdio: ReadonlyArray<number | undefined>
): Promise<number> => {
  const variables: NodeJS.ProcessEnv = extendEnv ? { ...process.env, ...env } : env
  const words = args.map(cString)
  const envp = Object.entries(variables).map(([name, value]) => cString(`${name}=${value}`))
  const folder = cwd === process.cwd() ? undefined : cString(cwd)
  const spawn = (path: string, argv: ReadonlyArray<Buffer>) =>
    new Promise<number>((resolve) => {
      libc.spawn({ path: cString(path), argv, envp, cwd: folder, stdio }, resolve)
    })
  const all = places(file, variables["PATH"])
  let error = -ENOENT
  for (const place of all) {
    // A spawn that fails costs as much as one that succeeds.
    if (all.length > 1 && !existsSync(resolve(cwd, place))) continue
    let pid = await spawn(place, [cString(file), ...words])
    // A script without a first line.
    if (pid === -ENOEXEC) pid = await spawn("/bin/sh", [cString("/bin/sh"), cString(place), ...words])
    if (pid === -EACCES) error = pid
    else if (pid !== -ENOENT && pid !== -ENOTDIR) return pid
  }
  return error
}

/** Starts processes by libc's posix_spawn. */
export const make = (libc: Libc): Backend => ({
  name: "posix_spawn",
  spawn: (request, listener) => {
    const { cwd, gid, uid } = request
    if (uid !== undefined || gid !== undefined || (!libc.changesFolder && cwd !== process.cwd())) {
      return nodeSpawn.backend.spawn(request, listener)
    }
    const [ours, theirs]: [Array<number | undefined>, Array<number | undefined>] = [[], []]
    const close = (fds: ReadonlyArray<number | undefined>) => {
      for (const fd of fds) if (fd !== undefined && fd > 2) closeSync(fd)
    }
    const fail = (code: string, message: string) => {
      close([...ours, ...theirs])
      listener.failed(code, message)
    }
    for (const [fd, how] of [request.stdin, request.stdout, request.stderr].entries()) {
      if (how === "inherit") {
        libc.block(fd)
        theirs[fd] = fd
      } else if (how === "pipe") {
        const pipe = libc.pipe()
        if (typeof pipe === "number") return fail(errorName(-pipe), errorName(-pipe))
        ;[ours[fd], theirs[fd]] = fd === 0 ? [pipe[1], pipe[0]] : pipe
      }
    }
    const spawned = (pid: number) => {
      if (pid < 0) return fail(errorName(-pid), errorName(-pid))
      close(theirs)
      const [to, out, err] = ours
      listener.started({
        pid,
        stdin: to === undefined ? undefined : pipes.writer(to),
        stdout: out === undefined ? undefined : pipes.reader(out),
        stderr: err === undefined ? undefined : pipes.reader(err)
      })
      reaper.watch(libc, pid, listener.exited, request.background !== true)
    }
    search(libc, request, theirs).then(spawned, ({ message }: Error) => fail("", message))
  }
})
