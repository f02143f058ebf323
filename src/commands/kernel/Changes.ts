import { stat } from "node:fs/promises"
import { resolve, sep } from "node:path"
import { Effect, Queue } from "effect"
import { usage } from "./Command.js"

// --watch: what has changed below files and folders.

/** How long nothing has changed before a change is reported, in milliseconds. */
const quiet = 100

/** node_modules, dot folders and dot files below a watched folder; not what is watched itself. */
const isIgnored = (roots: ReadonlyArray<string>) => {
  const innermost = [...roots].sort((a, b) => b.length - a.length)
  return (path: string) => {
    const root = innermost.find((root) => path === root || path.startsWith(root + sep)) ?? ""
    return path
      .slice(root.length)
      .split(sep)
      .some((part) => part === "node_modules" || part.startsWith("."))
  }
}

/** How a change is named: the first path, and how many more. */
const named = (paths: ReadonlySet<string>): string => {
  const [first = "", ...more] = paths
  const path = first.startsWith(process.cwd() + sep) ? first.slice(process.cwd().length + 1) : first
  return more.length === 0 ? `${path} has changed` : `${path} and ${more.length} more have changed`
}

/**
 * Watches files and folders until the scope closes. `changed` waits for the next change, and names what has changed since
 * the last one, when nothing has for 100 ms.
 */
export const watch = (given: ReadonlyArray<string>, matters: (path: string) => boolean = () => true) =>
  Effect.gen(function* () {
    const roots = given.map((path) => resolve(path))
    yield* Effect.forEach(roots, (root, i) =>
      Effect.tryPromise({
        try: () => stat(root),
        catch: (error) => {
          const missing = (error as NodeJS.ErrnoException).code === "ENOENT"
          return usage(
            `option --watch: cannot watch ${given[i]}: ${missing ? "it does not exist" : (error as Error).message}`
          )
        }
      })
    )
    const { watch } = yield* Effect.promise(() => import("chokidar"))
    const found = yield* Queue.sliding<string>(1)
    const paths = new Set<string>()
    let timer: NodeJS.Timeout | undefined
    yield* Effect.acquireRelease(
      Effect.async<ReturnType<typeof watch>>((resume) => {
        const watcher = watch(roots, { ignored: isIgnored(roots), ignoreInitial: true })
        watcher.on("all", (_event, path) => {
          if (!matters(path)) return
          paths.add(path)
          clearTimeout(timer)
          timer = setTimeout(() => {
            const text = named(paths)
            paths.clear()
            Queue.unsafeOffer(found, text)
          }, quiet)
        })
        // A folder that cannot be read is not watched; the others are.
        watcher.on("error", () => undefined)
        watcher.once("ready", () => resume(Effect.succeed(watcher)))
      }),
      (watcher) =>
        Effect.promise(() => {
          clearTimeout(timer)
          return watcher.close()
        })
    )
    return { changed: Queue.take(found) }
  })
