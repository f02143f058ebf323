import * as Printable from "../text/Printable.js"

const reserved = /^(con|prn|aux|nul|com\d|lpt\d)(\.|$)/i

/** Most bytes of a name. */
const mostBytes = 200
/** Characters of a longer text that are used: of its beginning, and of its end for the extension. */
const head = 1024
const tail = 64

// The work below grows faster than the text (normalizing alone takes 18 s for 200,000 combining marks), so only the part
// that can contribute to a name is used.
const shorten = (text: string): string =>
  text.length <= head + tail ? text : text.slice(0, head) + text.slice(-tail)

const isEdge = (character: string): boolean => character === "." || character.trim() === ""

/** Without dots and blanks at either end. */
const trimmed = (name: string): string => {
  let from = 0
  let to = name.length
  while (from < to && isEdge(name[from]!)) from++
  while (to > from && isEdge(name[to - 1]!)) to--
  return name.slice(from, to)
}

/** As many whole characters from the beginning as fit in these bytes. */
const cut = (text: string, bytes: number): string => {
  const encoded = Buffer.from(text)
  let end = Math.min(bytes, encoded.length)
  while (end > 0 && end < encoded.length && (encoded[end]! & 0xc0) === 0x80) end--
  return encoded.toString("utf8", 0, end)
}

const unreserved = (name: string): string => (reserved.test(name) ? `_${name}` : name)

const extensionOf = (name: string): string => {
  const double = /.(\.tar\.[a-z0-9]{1,8})$/i.exec(name.slice(-32))
  if (double !== null) return double[1]!
  const dot = name.lastIndexOf(".")
  return dot > 0 && name.length - dot <= 16 ? name.slice(dot) : ""
}

const truncate = (name: string): string => {
  if (Buffer.byteLength(name) <= mostBytes) return name
  const extension = extensionOf(name)
  const stem = name.slice(0, name.length - extension.length)
  return trimmed(cut(stem, mostBytes - Buffer.byteLength(extension))) + extension
}

/**
 * Reduces a name from the network to a file name that is safe in any folder: the part after the last
 * `/` or `\`, without control bytes, leading dots and trailing dots or blanks, not one that Windows reserves, at
 * most 200 bytes. Undefined when nothing is left.
 *
 * @since 0.1.0
 * @category constructors
 */
export const fromNetwork = (name: string): string | undefined => {
  const base = trimmed(
    Printable.removed(shorten(name.slice(Math.max(name.lastIndexOf("/"), name.lastIndexOf("\\")) + 1)))
      .normalize("NFC")
      .replace(/[<>:"|?*]/g, "_")
  )
  if (base === "") return undefined
  const short = truncate(unreserved(base))
  return unreserved(short) // the cut may have left a reserved name
}

/** Percent-decoded, unless its bytes are not UTF-8. */
const decode = (segment: string): string => {
  try {
    return decodeURIComponent(segment)
  } catch {
    return segment
  }
}

/**
 * The file name that a URL suggests: its last path segment, percent-decoded; `index.html` if that is empty.
 *
 * @since 0.1.0
 * @category constructors
 */
export const fromUrl = (url: URL): string => {
  const segment = url.pathname.slice(url.pathname.lastIndexOf("/") + 1)
  return fromNetwork(decode(segment)) ?? "index.html"
}

/**
 * Whether a name needs no change to be safe below any folder: a file name, or a path of such with `/` between them.
 *
 * @since 0.1.0
 * @category predicates
 */
export const isSafePath = (name: string): boolean =>
  name.split("/").every((part) => fromNetwork(part) === part)

/** A segment of a URL's path as a name: decoded if that is safe, else with all that is not plain encoded. */
const fromSegment = (segment: string): string => {
  const decoded = decode(segment)
  if (fromNetwork(decoded) === decoded) return decoded
  const encode = (character: string) =>
    [...Buffer.from(character)].map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, "0")}`).join("")
  // A `%` of the URL's own spelling stays.
  const plain = shorten(segment)
    .replace(/[^\w.~%+-]/gu, encode)
    .replace(/^\.+|\.+$/g, (dots) => "%2E".repeat(dots.length))
  return fromNetwork(plain) ?? encode(segment)
}

/** Segments of a longer path that count: the last ones. */
const deepest = 64

/**
 * The path that mirrors a URL: its host (with `+PORT` if it has one), the folders of its path and the name, all percent-decoded
 * where that is safe, and encoded where not. Without the query, as {@link fromUrl}.
 *
 * @since 0.1.0
 * @category constructors
 */
export const mirrored = (url: URL): string => {
  const segments = url.pathname.split("/").slice(1)
  const folders = segments
    .slice(0, -1)
    .filter((segment) => segment !== "")
    .slice(-deepest)
  const host = fromSegment(url.hostname.replace(/[[\]]/g, "").replaceAll(":", "-"))
  const name = segments.at(-1)!
  return [
    url.port === "" ? host : `${host}+${url.port}`,
    ...folders.map(fromSegment),
    name === "" ? "index.html" : fromSegment(name)
  ].join("/")
}

/** The parameters of a header such as `attachment; filename="a b"`, names in lower case, in one pass. */
const parametersOf = function* (header: string): Generator<readonly [name: string, value: string]> {
  let unclosed = false // a quote that is not closed is an ordinary character; its end is not searched again
  let at = 0
  while (at < header.length) {
    let end = at
    while (end < header.length && header[end] !== ";" && header[end] !== "=") end++
    const name = header.slice(at, end).trim().toLowerCase()
    at = end + 1
    if (header[end] !== "=") continue
    while (at < header.length && header[at]!.trim() === "") at++
    let value: string | undefined
    if (header[at] === '"' && !unclosed) {
      const parts: Array<string> = []
      let close = at + 1
      for (; close < header.length && header[close] !== '"'; close++) {
        if (header[close] === "\\" && close + 1 < header.length) close++
        parts.push(header[close]!)
      }
      if (close < header.length) {
        value = parts.join("")
        at = close + 1
      } else unclosed = true
    }
    const semicolon = header.indexOf(";", at)
    const next = semicolon < 0 ? header.length : semicolon
    // Outside of quotes a value ends with the first blank.
    yield [name, value ?? header.slice(at, next).trimStart().split(/\s/, 1)[0]!]
    at = next + 1
  }
}

const extended = (value: string): string | undefined => {
  const language = value.indexOf("'")
  const text = value.indexOf("'", language + 1)
  if (language < 0 || text < 0 || value.slice(0, language).toUpperCase() !== "UTF-8") return undefined
  try {
    return fromNetwork(decodeURIComponent(value.slice(text + 1)))
  } catch {
    return undefined // malformed: the plain form may still be usable
  }
}

/**
 * The file name in a `Content-Disposition` header (RFC 6266: `filename*` before `filename`), made safe.
 *
 * @since 0.1.0
 * @category constructors
 */
export const fromContentDisposition = (header: string): string | undefined => {
  let plain: string | undefined
  for (const [name, value] of parametersOf(header)) {
    if (name === "filename*") {
      const found = extended(value)
      if (found !== undefined) return found
    } else if (name === "filename") plain ??= fromNetwork(value)
  }
  return plain
}
