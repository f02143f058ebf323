import * as FileSystem from "@effect/platform/FileSystem"
import { Effect } from "effect"
import { ProcfileError } from "./Procfile.js"

const short = /^(npm|pnpm|yarn|bun|node):(\S+)(.*)$/s

/** A script of package.json and the words that follow it, as a command. */
const commandOf = (runner: string, script: string, rest: string): string =>
  `${runner} ${runner === "node" ? "--run" : "run"} ${script}${rest}`

/**
 * Writes out short forms among `NAME=COMMAND` words and commands, as `concurrently` has them: `npm:lint` is `npm run lint`, and
 * `npm:lint:*` is a word for each script of ./package.json whose name matches, each named by what the `*` stands for. Also
 * for pnpm, yarn, bun and node. Words behind the script are passed on.
 *
 * @example
 * ```ts
 * import * as NpmScripts from "effect-asyncio/services/NpmScripts"
 *
 * export const words = NpmScripts.expand(["npm:lint:*", "web=npm:dev", "sleep 1"])
 * ```
 *
 * @since 0.1.0
 * @category effects
 */
export const expand = (
  words: ReadonlyArray<string>
): Effect.Effect<ReadonlyArray<string>, ProcfileError, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const expanded: Array<string> = []
    let names: ReadonlyArray<string> | undefined
    for (const word of words) {
      const [, given = "", command = word] = /^([^\s=:]*=)(.*)$/s.exec(word) ?? []
      const [, runner, script, rest] = short.exec(command) ?? []
      if (runner === undefined || script === undefined || rest === undefined) {
        expanded.push(word)
        continue
      }
      const fail = (detail: string) => new ProcfileError({ where: `'${word}'`, detail })
      names ??= yield* scripts.pipe(Effect.mapError(fail))
      const [before = "", ...behind] = script.split("*")
      const after = behind.join("*")
      const found = names.filter((name) =>
        behind.length === 0
          ? name === script
          : name.length > before.length + after.length && name.startsWith(before) && name.endsWith(after)
      )
      if (found.length === 0) {
        const known = names.length === 0 ? "it has none" : `it has ${names.join(", ")}`
        return yield* fail(`package.json has no script ${script}; ${known}`)
      }
      for (const name of found) {
        const own = behind.length === 0 ? name : name.slice(before.length, name.length - after.length)
        const label = given === "" ? `${own.replace(/[^A-Za-z0-9_.-]+/g, "-")}=` : given
        expanded.push(`${label}${commandOf(runner, name, rest)}`)
      }
    }
    return expanded
  })

/** The names of the scripts of ./package.json. */
const scripts: Effect.Effect<ReadonlyArray<string>, string, FileSystem.FileSystem> = Effect.gen(function* () {
  const text = yield* Effect.mapError(
    (yield* FileSystem.FileSystem).readFileString("package.json"),
    () => "there is no package.json here that can be read"
  )
  const json: unknown = yield* Effect.try({
    try: () => JSON.parse(text),
    catch: () => "package.json is not JSON"
  })
  const found = typeof json === "object" && json !== null && "scripts" in json ? json.scripts : undefined
  return typeof found === "object" && found !== null ? Object.keys(found) : []
})
