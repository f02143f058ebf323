import * as descendants from "./internal/descendants.js"
import * as guardian from "./internal/guardian.js"
import * as libc from "./internal/libc.js"
import * as nodeSpawn from "./internal/nodeSpawn.js"
import * as posixSpawn from "./internal/posixSpawn.js"

// Processes that need more than `Processes` starts, such as a channel of Node's to each: with them, too, nothing is left
// behind. They must lead a process group (`detached`).

/**
 * A process whose tree ends with this process.
 *
 * @since 0.1.0
 * @category models
 */
export interface Guarded {
  /** Variables that its environment must have. */
  readonly env: Readonly<Record<string, string>>
  /** It runs; KILL ends it if this process is killed. */
  readonly started: (pid: number) => void
  /** Sends KILL to its tree. */
  readonly kill: () => void
  /** It has ended, or was never started: ends the rest of its tree and calls back. */
  readonly ended: (onGone: () => void) => void
}

let shared: { readonly guarding: guardian.Guardian; readonly prefix: string } | undefined
let open = 0
let count = 0

/**
 * The place of a process that is about to be started. One guardian serves all that are open.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (): Guarded => {
  if (shared === undefined) {
    const library = libc.load()
    const backend = library === undefined ? nodeSpawn.backend : posixSpawn.make(library)
    const prefix = guardian.prefix()
    shared = { prefix, guarding: guardian.make(() => backend, prefix, 0) }
  }
  const { guarding, prefix } = shared
  open++
  guarding.begin()
  const marker = `${prefix}${++count};`
  let tree: descendants.Tree | undefined
  return {
    env: { [descendants.variable]: (process.env[descendants.variable] ?? "") + marker },
    started: (pid) => {
      tree = { group: pid, marker, seen: new Map(), ended: false }
      guarding.add(tree, { signal: "SIGKILL", grace: 0 })
    },
    kill: () => {
      if (tree !== undefined) descendants.signalTree(tree, "SIGKILL")
    },
    ended: (onGone) => {
      const gone = () => {
        if (tree !== undefined) guarding.remove(tree)
        if (--open === 0) {
          void guarding.close()
          shared = undefined
        }
        onGone()
      }
      if (tree === undefined) return gone()
      tree.ended = true
      descendants.end(tree, { signal: "SIGKILL", grace: 0, complete: false }, gone)
    }
  }
}
