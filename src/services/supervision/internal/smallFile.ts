import { isUtf8 } from "node:buffer"
import { Effect, Either, Stream } from "effect"
import * as Input from "../../host/Input.js"
import { formatSize } from "../../text/Sizes.js"

/** The longest file, in bytes. */
const longest = 1024 * 1024

/** A place in a file, and what is wrong there. */
export interface Problem {
  readonly where: string
  readonly detail: string
}

/** The text, without a byte order mark, or the line that is not UTF-8. */
export const decoded = (where: string, text: string | Uint8Array): Either.Either<string, Problem> => {
  if (typeof text === "string") return Either.right(text.replace(/^\uFEFF/, ""))
  const bytes = Buffer.from(text.buffer, text.byteOffset, text.length)
  if (isUtf8(bytes)) return Either.right(bytes.toString().replace(/^\uFEFF/, ""))
  // In latin1 each byte is a character, so that lines keep their bytes.
  const lines = bytes.toString("latin1").split("\n")
  const line = lines.findIndex((line) => !isUtf8(Buffer.from(line, "latin1"))) + 1
  return Either.left({ where: `${where}, line ${line}`, detail: "it is not UTF-8 text" })
}

/** The name for messages, and the bytes of a file of at most 1 MiB; `-` is standard input. */
export const load = (
  path: string
): Effect.Effect<
  { readonly where: string; readonly bytes: Buffer },
  Input.InputError | Problem,
  Input.Input
> =>
  Effect.gen(function* () {
    const input = yield* Input.Input
    const where = path === "-" ? "standard input" : path
    const parts: Array<Uint8Array> = []
    let size = 0
    yield* Stream.runForEach(input.open(path), (bytes) => {
      parts.push(bytes)
      size += bytes.length
      return size > longest
        ? Effect.fail<Problem>({ where, detail: `it is longer than ${formatSize(longest)}` })
        : Effect.void
    })
    return { where, bytes: Buffer.concat(parts) }
  })
