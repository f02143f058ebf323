import type { ChildProcess } from "node:child_process"
import { once } from "node:events"
import { dirname, join } from "node:path"
import { Effect } from "effect"
import { AnalyserFailed, AnalyserMissing } from "../DiagnosticsError.js"
import { readJson, resolveFrom } from "./packages.js"
import * as TypeScript from "./typescript.js"

// Locates the two analysers, and their common parts: each fails with one line, and runs as a process that is killed.

/** The analysers of a project. */
export interface Analysers {
  /** The script behind the command `effect-tsgo`. */
  readonly tsgo: string
  /** The folder from which TypeScript was found: effect-tsgo looks for it in its working directory. */
  readonly home: string
  readonly api: typeof TypeScript.Api
  readonly ast: typeof TypeScript.Ast
}

/** Looks for the analysers from the project's folder first, then from `home`. */
export const locate = (
  directory: string,
  home: string
): Effect.Effect<Analysers, AnalyserMissing | AnalyserFailed> =>
  Effect.gen(function* () {
    const places = [directory, home]
    const tsgo = places.map((place) => resolveFrom(place, "@effect/tsgo/package.json")).find(Boolean)
    const native = TypeScript.find(places)
    if (tsgo === undefined || native === undefined) {
      // The project keeps compiling with its older TypeScript; the new one is installed beside it.
      const older = resolveFrom(directory, "typescript/package.json") !== undefined
      return yield* new AnalyserMissing({
        packages: [
          ...(tsgo === undefined ? ["@effect/tsgo"] : []),
          ...(native === undefined ? [older ? "@typescript/native@npm:typescript@7" : "typescript@7"] : [])
        ]
      })
    }
    return yield* Effect.tryPromise({
      try: async () => ({
        tsgo: join(dirname(tsgo), readJson(tsgo).bin["effect-tsgo"]),
        home: native.home,
        ...(await TypeScript.load(native))
      }),
      catch: failed(native.name)
    })
  })

/** The error of an analyser that failed this way. */
export const failed = (analyser: string) => (error: unknown) =>
  new AnalyserFailed({ analyser, problem: error instanceof Error ? firstLine(error.message) : String(error) })

export const firstLine = (text: string) =>
  text
    .split("\n")
    .find((line) => line.trim() !== "")
    ?.trim() ?? "it printed nothing"

/** Kills the process, with its group if it leads one, and waits for its end. An analyser only reads: KILL is safe. */
export const killed = (child: ChildProcess): Effect.Effect<void> =>
  Effect.promise(async () => {
    if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return
    const gone = once(child, child.stdout ? "close" : "exit")
    try {
      process.kill(-child.pid, "SIGKILL")
    } catch {
      child.kill("SIGKILL")
    }
    await gone
  })
