import { Duration, Effect, Layer } from "effect"
import * as descendants from "./internal/descendants.js"
import * as guardian from "./internal/guardian.js"
import * as libc from "./internal/libc.js"
import * as nodeSpawn from "./internal/nodeSpawn.js"
import * as posixSpawn from "./internal/posixSpawn.js"
import { graceDefault } from "./internal/stopping.js"

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

const killed = { signal: "SIGKILL", grace: 0 } as const
const asked = { signal: "SIGTERM", grace: Duration.toMillis(graceDefault) } as const

/** One guardian serves all that are open. */
const enter = (how: { readonly signal: NodeJS.Signals; readonly grace: number }) => {
  if (shared === undefined) {
    const prefix = guardian.prefix()
    const backend = () => {
      const library = libc.load()
      return library === undefined ? nodeSpawn.backend : posixSpawn.make(library)
    }
    shared = { prefix, guarding: guardian.make(backend, prefix) }
  }
  open++
  const { guarding, prefix } = shared
  const marker = guardian.markerOf(prefix, ++count, how)
  return { guarding, marker, mark: (process.env[descendants.variable] ?? "") + marker }
}
const leave = () => {
  if (--open > 0) return
  void shared?.guarding.close()
  shared = undefined
}

/**
 * The place of a process that is about to be started.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (): Guarded => {
  const { guarding, mark, marker } = enter(killed)
  guarding.begin()
  let tree: descendants.Tree | undefined
  return {
    env: { [descendants.variable]: mark },
    started: (pid) => {
      tree = { group: pid, marker, seen: new Map(), ended: false }
      guarding.add(tree)
    },
    kill: () => {
      if (tree !== undefined) descendants.signalTree(tree, "SIGKILL")
    },
    ended: (onGone) => {
      const gone = () => {
        if (tree !== undefined) guarding.remove(tree)
        leave()
        onGone()
      }
      if (tree === undefined) return gone()
      tree.ended = true
      descendants.end(tree, killed, gone)
    }
  }
}

/** When the guardian of a program's own children is started, in milliseconds: most programs are short and have none. */
const later = 20

/**
 * What the program of this process starts by other means (`node:child_process`, another `CommandExecutor`) ends with the
 * layer: by TERM, and by KILL after 5 seconds; also if this process is killed, unless that comes in its first moments. It
 * is found by the mark in the environment, which is set for this process meanwhile. For programs that own their process.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<never> = Layer.scopedDiscard(
  Effect.acquireRelease(
    Effect.sync(() => {
      const { guarding, mark, marker } = enter(asked)
      process.env[descendants.variable] = mark
      const tree: descendants.Tree = { group: 0, marker, seen: new Map(), ended: true }
      guarding.add(tree)
      const timer = setTimeout(guarding.begin, later).unref()
      return { guarding, timer, tree }
    }),
    ({ guarding, timer, tree }) =>
      Effect.async<void>((resume) => {
        clearTimeout(timer)
        const mark = process.env[descendants.variable]?.replace(tree.marker, "") ?? ""
        if (mark === "") delete process.env[descendants.variable]
        else process.env[descendants.variable] = mark
        descendants.end(tree, asked, () => {
          guarding.remove(tree)
          leave()
          resume(Effect.void)
        })
      })
  )
)
