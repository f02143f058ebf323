import { readFileSync } from "node:fs"
import { createSecureContext } from "node:tls"
import { Effect } from "effect"
import * as Command from "../kernel/Command.js"

const why: Readonly<Record<string, string>> = {
  ENOENT: "no such file",
  EACCES: "permission denied",
  EISDIR: "is a folder"
}

const read = (option: string, path: string) =>
  Effect.try({
    try: () => readFileSync(path),
    catch: (error) => {
      const { code = "unknown" } = error as NodeJS.ErrnoException
      return Command.usage(`option --${option}: '${path}': ${why[code] ?? code}; expected a file in PEM`)
    }
  })

/** The certificate and the key of the two files, which belong together. */
export const load = (cert: string | undefined, key: string | undefined) =>
  Effect.gen(function* () {
    if (cert === undefined && key === undefined) return undefined
    if (cert === undefined) return yield* Command.usage("--key is without --cert; TLS needs both")
    if (key === undefined) return yield* Command.usage("--cert is without --key; TLS needs both")
    const tls = { cert: yield* read("cert", cert), key: yield* read("key", key) }
    yield* Effect.try({
      try: () => createSecureContext(tls),
      catch: (error) =>
        Command.usage(
          `'${cert}' and '${key}' are no certificate and its key (${(error as Error).message.split("\n", 1)[0]}); expected PEM`
        )
    })
    return tls
  })
