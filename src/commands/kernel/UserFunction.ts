import { Cause, Effect, Either } from "effect"
import * as Modules from "../../services/source/Modules.js"
import { headline } from "../../services/task/Causes.js"
import { usage } from "./Command.js"
import * as Values from "./Values.js"

/**
 * Loads the function that a word `FILE[#EXPORT]` names: its default export, or main, without an export. `takes` is what it
 * is called with, and `otherwise` ends the message for a file that is not there.
 */
export const load = (word: string, takes: string, otherwise = "") =>
  Effect.gen(function* () {
    const { file, name } = yield* Either.mapLeft(Values.moduleExport(word), usage)
    const modules = yield* Modules.Modules
    const found = yield* modules
      .load(file, name === undefined ? undefined : [name])
      .pipe(Effect.catchTag("ModuleError", ({ message }) => usage(message + otherwise)))
    const { path, value } = found
    if (typeof value === "function")
      return { path, name: found.name, value: value as (...given: ReadonlyArray<unknown>) => unknown }
    const kind = value === null ? "null" : `a ${typeof value}`
    return yield* usage(`${file}: export '${found.name}' is ${kind}; expected a function that takes ${takes}`)
  })

/** The function that an expression is: `r => r.n * 2`. */
export const evaluate = (text: string) =>
  Effect.gen(function* () {
    const value = yield* Effect.try({
      try: (): unknown => new Function(`"use strict"; return (${text}\n)`)(),
      catch: (error) => usage(`option --eval: '${text}' is not JavaScript: ${headline(Cause.fail(error))}`)
    })
    if (typeof value === "function") return value as (...given: ReadonlyArray<unknown>) => unknown
    return yield* usage(`option --eval: '${text}' is not a function; write one like 'r => r.n * 2'`)
  })
