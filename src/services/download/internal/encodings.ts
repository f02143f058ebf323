import { Transform } from "node:stream"
import * as zlib from "node:zlib"
import { type Headers, one } from "./answers.js"

// The meaning of a Content-Encoding for a file. Three kinds: an encoding of the transfer, which is decoded; an encoding of
// the file itself (Apache's AddEncoding sends src.tar.gz as a gzip encoded tar), which is kept; and words that are not
// encodings.

type Coding = "gzip" | "deflate" | "br"

/** The encodings to decode, in order, and the ignored ones. */
export interface Encodings {
  readonly undo: ReadonlyArray<Coding>
  readonly note?: string | undefined
  /** An encoding that can neither be kept nor decoded. */
  readonly unknown?: string | undefined
}

const codings: Readonly<Record<string, Coding>> = {
  gzip: "gzip",
  "x-gzip": "gzip",
  deflate: "deflate",
  br: "br"
}

/** Seen in the wild, mostly as metadata of stored objects. */
const none = new Set([
  ...["identity", "none", "null", "undefined", "default", "raw", "plain", "text", "binary", "7bit", "8bit"],
  ...["base64", "chunked", "aws-chunked"]
])

/** Whether the token is not an encoding: a character set, a media type, or a word for "not encoded". */
const isNone = (token: string): boolean => {
  if (none.has(token) || !/^[\w!#$%&'*+.^`|~-]+$/.test(token)) return true
  try {
    return new TextDecoder(token).encoding !== ""
  } catch {
    return false
  }
}

/** Names and types of files that are encoded so themselves. */
const ownNames: Readonly<Record<string, RegExp>> = {
  gzip: /\.(gz|gzip|tgz|taz|svgz|bgz|emz|wmz|cpgz|dz)$/i,
  deflate: /\.(zz|zlib)$/i,
  br: /\.(br|tbr)$/i,
  zstd: /\.(zst|zstd|tzst|tzstd)$/i,
  compress: /\.(z|taz|tz)$/i,
  bzip2: /\.(bz|bz2|tbz|tbz2|tb2)$/i,
  xz: /\.(xz|txz)$/i,
  lzma: /\.(lzma|tlz)$/i
}
const ownTypes: Readonly<Record<string, RegExp>> = {
  gzip: /gzip|gunzip|tgz|compressed/,
  deflate: /zlib|deflate/,
  br: /brotli|[/-]br$/,
  zstd: /zstd/,
  compress: /compress/,
  bzip2: /bzip/,
  xz: /[/-]xz/,
  lzma: /lzma/
}

const isOwn = (token: string, names: ReadonlyArray<string>, type: string): boolean => {
  const plain = token.replace(/^x-/, "")
  const coding = plain === "bzip" ? "bzip2" : plain
  return (
    ownTypes[coding]?.test(type) === true ||
    names.some((name) => ownNames[coding]?.test(name) === true || name.toLowerCase().endsWith(`.${plain}`))
  )
}

/** Most layers of encodings; more are a bomb, or nonsense. */
const mostLayers = 4

/**
 * Reads `Content-Encoding`; `names` are the file's names if `identity` was requested, so that an encoding can only be the
 * file's own.
 */
export const readEncodings = (headers: Headers, names: ReadonlyArray<string> | undefined): Encodings => {
  const sent = [headers["content-encoding"] ?? []].flat().join(",")
  if (sent === "") return { undo: [] }
  const tokens = sent
    .split(",")
    .map((token) => token.replace(/;.*/, "").trim().toLowerCase())
    .filter((token) => token !== "")
  const encodings = tokens.filter((token) => !isNone(token))
  const [first] = encodings // the one next to the file
  const type = (one(headers["content-type"]) ?? "").replace(/;.*/s, "").trim().toLowerCase()
  if (first !== undefined && names !== undefined && isOwn(first, names, type)) encodings.shift()
  const unknown = encodings.find((token) => codings[token] === undefined)
  const passed = tokens.filter(isNone)
  return {
    undo: encodings.reverse().map((token) => codings[token]!),
    note:
      passed.length === 0
        ? undefined
        : `Content-Encoding '${passed.join(", ")}' is not an encoding; the body is read as sent`,
    unknown: unknown ?? (encodings.length > mostLayers ? sent : undefined)
  }
}

/** The chunk size of decoders: eight times the default, which takes a quarter of the time. */
const chunkSize = 128 * 1024

/** `deflate` is zlib's format (RFC 9110, 8.4.1.2), but some servers send that of RFC 1951, without the two-byte header. */
class Inflate extends Transform {
  #inner: zlib.Inflate | zlib.InflateRaw | undefined
  #first: Buffer = Buffer.alloc(0)

  #begin(): zlib.Inflate | zlib.InflateRaw {
    const [method = 0, flags = 0] = this.#first
    const hasHeader = this.#first.length < 2 || ((method & 15) === 8 && (method * 256 + flags) % 31 === 0)
    this.#inner = hasHeader ? zlib.createInflate({ chunkSize }) : zlib.createInflateRaw({ chunkSize })
    this.#inner
      .on("data", (chunk) => {
        if (!this.push(chunk)) this.#inner!.pause()
      })
      .on("error", (error) => this.destroy(error))
    return this.#inner
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: () => void) {
    let bytes = chunk
    if (this.#inner === undefined) {
      bytes = Buffer.concat([this.#first, chunk])
      this.#first = bytes
      if (bytes.length < 2) return done()
    }
    const inner = this.#inner ?? this.#begin()
    if (inner.write(bytes)) done()
    else inner.once("drain", done)
  }

  override _flush(done: () => void) {
    const inner = this.#inner ?? this.#begin()
    if (this.#first.length === 1) inner.write(this.#first)
    inner.once("end", done).end()
  }

  override _read(size: number) {
    this.#inner?.resume()
    super._read(size)
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void) {
    this.#inner?.destroy()
    done(error)
  }
}

const makeLayer = (coding: Coding): Transform =>
  coding === "gzip"
    ? zlib.createGunzip({ chunkSize })
    : coding === "br"
      ? zlib.createBrotliDecompress({ chunkSize })
      : new Inflate()

/** Decodes a body, one stream per layer of encoding. */
export class Decoder {
  readonly #layers: ReadonlyArray<Transform>
  readonly #first: Transform
  readonly #last: Transform

  constructor(
    undo: ReadonlyArray<Coding>,
    on: {
      readonly data: (chunk: Buffer) => void
      readonly end: () => void
      readonly error: (error: Error) => void
      readonly drain: () => void
    }
  ) {
    this.#layers = undo.map(makeLayer)
    this.#first = this.#layers[0]!
    this.#last = this.#layers.reduce((from, to) => from.pipe(to))
    for (const layer of this.#layers) layer.on("error", on.error)
    this.#first.on("drain", on.drain)
    this.#last.on("data", on.data).on("end", on.end)
  }

  /** Copies the chunk; false asks for a pause until `drain`. */
  write(chunk: Buffer): boolean {
    return this.#first.write(Buffer.from(chunk))
  }
  end() {
    this.#first.end()
  }
  pause() {
    this.#last.pause()
  }
  resume() {
    this.#last.resume()
  }
  destroy() {
    for (const layer of this.#layers) layer.destroy()
  }
}
