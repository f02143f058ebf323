import { Effect, Stream } from "effect"
import * as Input from "../../services/host/Input.js"
import { usage } from "./Command.js"

// --env-file, for each command that starts programs of others.

/** The variables of the files that are not set yet; of several files the last one that has a variable wins. */
export const read = (files: ReadonlyArray<string>) =>
  Effect.gen(function* () {
    if (files.length === 0) return {}
    const input = yield* Input.Input
    const { parse } = yield* Effect.promise(() => import("dotenv"))
    const found: Record<string, string> = {}
    for (const file of files) {
      const text = yield* Stream.mkString(Stream.decodeText(input.open(file)))
      if (text.includes("\0")) return yield* usage(`option --env-file: ${file} contains a null byte`)
      Object.assign(found, parse(text))
    }
    return Object.fromEntries(Object.entries(found).filter(([name]) => process.env[name] === undefined))
  }).pipe(
    Effect.catchTag("InputError", (error: Input.InputError) => usage(`option --env-file: ${error.message}`))
  )
