import { X509Certificate } from "node:crypto"
import { Effect } from "effect"
import { describe, readNamed } from "../../services/host/OwnFiles.js"
import * as Command from "../kernel/Command.js"

/** Most bytes of a file of certificates. */
const most = 16 * 1024 * 1024

const check = (certificate: string) => {
  try {
    new X509Certificate(certificate)
  } catch {
    throw new Error("a certificate in it is damaged")
  }
}

/** Reads `--cacert FILE`: certificates as PEM. */
export const readAuthorities = (file: string): Effect.Effect<string, Command.Problem> =>
  Effect.try({
    try: () => {
      const text = readNamed(file, most).toString("utf8")
      const certificates = text.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g)
      if (certificates === null) throw new Error("it has no certificate; expected PEM")
      for (const certificate of certificates) check(certificate)
      return certificates.join("\n")
    },
    catch: (error) => Command.usage(`option --cacert: cannot read ${file}: ${describe(error)}`)
  })
