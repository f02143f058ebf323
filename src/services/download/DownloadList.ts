import { Data, Either } from "effect"
import { codes } from "../host/ExitCodes.js"
import * as Printable from "../text/Printable.js"
import * as Checksums from "./Checksums.js"
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
 * Reads `sha256:HEX`, `sha512:HEX`, `sha1:HEX` or `md5:HEX`; the left side is the problem.
 *
 * @since 0.1.0
 * @category parsing
 */
export const parseChecksum = (text: string): Either.Either<Download.Checksum, string> =>
  Either.fromNullable(
    Checksums.parse(text),
    () =>
      `${quote(text)} is not a checksum; expected sha256: and 64 hexadecimal digits, sha512: and 128, sha1: and 40, or md5: and 32`
  )

/**
 * A list that cannot be read, or a line of one that is not a download; `message` names it and what is accepted.
 *
 * @since 0.1.0
 * @category errors
 */
export class ListError extends Data.TaggedError("ListError")<{
  readonly list: string
  /** `line 3 of urls.txt`; undefined if the list itself cannot be read. */
  readonly place: string | undefined
  readonly detail: string
}> {
  readonly exitCode = codes.usage
  override get message() {
    const { detail, list, place } = this
    const name = list === "-" ? "standard input" : Printable.line(list)
    return place === undefined ? `cannot read the list ${name}: ${detail}` : `${place}: ${detail}`
  }
}

/**
 * Reads a line of a list: a URL, optionally followed by TAB and a file name, which may have folders (`a/b.bin`), and by TAB and a checksum like `sha256:HEX`. The left side is
 * the problem.
 *
 * @since 0.1.0
 * @category parsing
 */
export const parseLine = (line: string): Either.Either<Download.DownloadRequest, string> => {
  const [text = "", ...fields] = line.split("\t").map((field) => field.trim())
  // A password may contain a TAB, with the @ after it.
  const url = parseUrl(text, line.includes("@") ? line : text)
  if (Either.isLeft(url)) return Either.left(url.left)
  const request: { url: URL; name?: string; checksum?: Download.Checksum } = { url: url.right }
  for (const field of fields) {
    if (field === "") continue
    if (/^(md5|sha1|sha256|sha512):/i.test(field)) {
      const checksum = parseChecksum(field)
      if (Either.isLeft(checksum)) return Either.left(checksum.left)
      request.checksum = checksum.right
    } else if (request.name !== undefined) {
      return Either.left(`${quote(field)} is a third field; expected URL, TAB, file name, TAB, checksum`)
    } else if (!FileName.isSafePath(field)) {
      return Either.left(
        `${quote(field)} is not a file name within the folder; leave out '..', a / in front, leading dots and special characters`
      )
    } else request.name = field
  }
  return Either.right(request)
}
