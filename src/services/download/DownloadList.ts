import { isUtf8 } from "node:buffer"
import { Chunk, Data, Effect, Either, Stream } from "effect"
import { codes } from "../host/ExitCodes.js"
import * as Input from "../host/Input.js"
import * as Lines from "../text/Lines.js"
import * as Printable from "../text/Printable.js"
import type * as Download from "./Download.js"
import * as FileName from "./FileName.js"

/** Characters of a wrong text that a message quotes. */
const quotable = 80

/** The text before the last @ may be a user's name and password. */
const withoutUser = (text: string): string => {
  const at = text.lastIndexOf("@")
  return at < 0 ? text : (/^[a-z][a-z0-9+.-]{0,30}:\/\//i.exec(text)?.[0] ?? "") + text.slice(at + 1)
}

/** A text from outside for a message: its beginning, without a password and without control characters. */
const quote = (text: string): string => {
  const shown = withoutUser(text)
  return `'${Printable.line(shown.length > quotable ? `${shown.slice(0, quotable)}…` : shown)}'`
}

/** Most characters of a host name; the time to encode a longer text grows with its square. */
const longestHost = 1024
const hostOf = (text: string): string => {
  const authority = /^[^:]*:[/\\]*([^/\\?#]*)/.exec(text.replace(/[\t\r\n]+/g, ""))?.[1] ?? ""
  return authority.slice(authority.lastIndexOf("@") + 1)
}

/**
 * Reads a URL; the left side is the problem, which quotes `shown` without its password.
 *
 * @since 0.1.0
 * @category parsing
 */
export const parseUrl = (text: string, shown = text): Either.Either<URL, string> => {
  const quoted = () => quote(shown)
  if (text.length > longestHost && hostOf(text).length > longestHost)
    return Either.left(`the host name in ${quoted()} is longer than ${longestHost} characters`)
  let url: URL
  try {
    url = new URL(text)
  } catch {
    return Either.left(`${quoted()} is not a URL; expected https://host/path`)
  }
  return url.protocol === "http:" || url.protocol === "https:"
    ? Either.right(url)
    : Either.left(`${quoted()} is not a web address; expected http:// or https://`)
}

/**
 * Reads `sha256:HEX`; the left side is the problem.
 *
 * @since 0.1.0
 * @category parsing
 */
export const parseChecksum = (text: string): Either.Either<Download.Checksum, string> =>
  /^sha256:[0-9a-f]{64}$/i.test(text)
    ? Either.right({ algorithm: "sha256", hex: text.slice(7).toLowerCase() })
    : Either.left(`${quote(text)} is not a checksum; expected sha256: and 64 hexadecimal digits`)

/**
 * A line of a list that cannot be read; `message` names the list, the line and what is accepted.
 *
 * @since 0.1.0
 * @category errors
 */
export class ListError extends Data.TaggedError("ListError")<{
  readonly list: string
  readonly line: number | undefined
  readonly detail: string
}> {
  readonly exitCode = codes.usage
  override get message() {
    const { detail, line, list } = this
    const name = list === "-" ? "standard input" : list
    return line === undefined ? `cannot read the list ${name}: ${detail}` : `${name}, line ${line}: ${detail}`
  }
}

const parseLine = (line: string): Either.Either<Download.DownloadRequest, string> => {
  const [text = "", ...fields] = line.split("\t").map((field) => field.trim())
  // A password may contain a TAB, with the @ after it.
  const url = parseUrl(text, line.includes("@") ? line : text)
  if (Either.isLeft(url)) return Either.left(url.left)
  const request: { url: URL; name?: string; checksum?: Download.Checksum } = { url: url.right }
  for (const field of fields) {
    if (field === "") continue
    if (/^sha256:/i.test(field)) {
      const checksum = parseChecksum(field)
      if (Either.isLeft(checksum)) return Either.left(checksum.left)
      request.checksum = checksum.right
    } else if (request.name !== undefined) {
      return Either.left(`${quote(field)} is a third field; expected URL, TAB, file name, TAB, sha256:HEX`)
    } else if (FileName.fromNetwork(field) !== field) {
      return Either.left(
        `${quote(field)} is not a plain file name; leave out folders, leading dots and special characters`
      )
    } else request.name = field
  }
  return Either.right(request)
}

/** Most bytes of a line of a list. */
const longestLine = 1024 * 1024
const hash = 0x23

/**
 * Reads a list of downloads: a URL per line, optionally followed by TAB and a file name, and by TAB and `sha256:HEX`;
 * blank lines and lines that start with `#` are skipped. A line is at most 1 MiB long. `-` is standard input. The list is
 * streamed and not kept. Fails with {@link ListError} at the first wrong line, and if the list cannot be read.
 *
 * @since 0.1.0
 * @category streams
 */
export const readList = (list: string): Stream.Stream<Download.DownloadRequest, ListError, Input.Input> => {
  const source = list === "-" ? "standard input" : list
  const fail = (detail: string, line?: number) => new ListError({ list, line, detail })
  return Stream.unwrap(
    Effect.map(Input.Input, ({ open }) => {
      let found: Array<string | { readonly wrong: string }> = []
      let unended = 0 // bytes of the line whose end has not arrived
      const lines = Lines.make({
        maxLine: longestLine,
        onLine: (line, cut) => {
          const wrong = cut
            ? "is longer than 1 MiB"
            : line[0] === hash || isUtf8(line)
              ? undefined
              : "is not UTF-8"
          const text = line.toString("utf8")
          found.push(wrong === undefined ? text : { wrong: `${quote(text)} ${wrong}` })
        }
      })
      const take = () => {
        const taken = found
        found = []
        return Chunk.unsafeFromArray(taken)
      }
      const whole = Stream.mapChunks(open(list), (chunks) => {
        for (const bytes of chunks) {
          lines.push(bytes)
          const last = bytes.lastIndexOf(10)
          unended = last < 0 ? unended + bytes.length : bytes.length - last - 1
          // Its end may never arrive.
          if (unended > longestLine) lines.end()
        }
        return take()
      })
      const rest = Stream.suspend(() => {
        lines.end()
        return Stream.fromChunk(take())
      })
      let number = 0
      return Stream.concat(
        Stream.mapError(whole, (error) => fail(error.detail)),
        rest
      ).pipe(
        // Parsed on demand in small chunks, so that they die young; without waiting for further lines.
        Stream.chunks,
        Stream.mapConcatChunk((lines) => Chunk.chunksOf(lines, 64)),
        Stream.flattenChunks,
        Stream.mapChunksEffect((lines) =>
          Effect.suspend(() => {
            const requests: Array<Download.DownloadRequest> = []
            for (const line of lines) {
              number++
              if (typeof line !== "string") return Effect.fail(fail(line.wrong, number))
              if (line.trim() === "" || line.startsWith("#")) continue
              const request = parseLine(number === 1 ? line.replace(/^\uFEFF/, "") : line)
              if (Either.isLeft(request)) return Effect.fail(fail(request.left, number))
              requests.push({ ...request.right, source: `${source}, line ${number}` })
            }
            return Effect.succeed(Chunk.unsafeFromArray(requests))
          })
        )
      )
    })
  )
}
