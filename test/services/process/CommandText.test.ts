import * as Command from "@effect/platform/Command"
import { assert, describe, it } from "@effect/vitest"
import { FastCheck } from "effect"
import * as CommandText from "../../../src/services/process/CommandText.js"

describe("CommandText", () => {
  it("quotes a command line so that a shell reads the same words", () => {
    const word = FastCheck.string({ minLength: 1 }).filter((word) => !word.includes("\0"))
    FastCheck.assert(
      FastCheck.property(FastCheck.array(word), (words) => {
        const line = CommandText.commandLine(Command.make("x", ...words))
        // A POSIX shell's own reading, for lines of plain and single-quoted parts only.
        const read = [...line.matchAll(/((?:[^\s'\\]|'[^']*'|\\')+)/g)].map(([part]) =>
          part.replace(/'([^']*)'|\\'/g, (all, inner) => (all === "\\'" ? "'" : inner))
        )
        assert.deepStrictEqual(read, ["x", ...words])
      })
    )
  })
})
