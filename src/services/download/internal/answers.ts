// What the heads of responses prove. Two pieces of a file are joined only on proof: the same strong validator in both
// responses, the same total length, and the requested range. The absence of a contradiction is not a proof.

import { plural } from "../../text/Plural.js"

/** As in undici: lower-case names, an array for a repeated header. */
export type Headers = Readonly<Record<string, string | Array<string> | undefined>>

export const one = (header: string | Array<string> | undefined): string | undefined =>
  Array.isArray(header) ? header[0] : header

/** A validator that `If-Range` may carry: a strong entity tag, or a date that is strong by RFC 9110, 8.8.2.2. */
export const strongValidator = (headers: Headers): string | undefined => {
  const { date, etag, "last-modified": modified } = headers
  if (etag !== undefined) {
    return typeof etag === "string" && /^"[\x21\x23-\x7e\x80-\xff]*"$/.test(etag) ? etag : undefined
  }
  if (typeof modified !== "string" || typeof date !== "string") return undefined
  return Date.parse(date) - Date.parse(modified) >= 60_000 ? modified : undefined
}

/** The time of `Last-Modified`, if it is one. */
export const lastModified = (headers: Headers): Date | undefined => {
  const time = Date.parse(one(headers["last-modified"]) ?? "")
  return Number.isNaN(time) ? undefined : new Date(time)
}

/** The wait that `Retry-After` asks for, in ms. */
export const retryAfter = (header: string | undefined): number | undefined => {
  if (header === undefined) return undefined
  const ms = /^\d+$/.test(header.trim()) ? Number(header) * 1000 : Date.parse(header) - Date.now()
  return Number.isFinite(ms) ? Math.max(0, ms) : undefined
}

/** Bytes `from` up to, not including, `end`. */
export interface Range {
  readonly from: number
  readonly end: number
  readonly total: number | undefined
}

/** `Content-Range`; undefined if it is missing or malformed. */
export const contentRange = (headers: Headers): Range | undefined => {
  const sent = headers["content-range"]
  const match = typeof sent === "string" ? /^bytes +(\d+)-(\d+)\/(\d+|\*)$/i.exec(sent.trim()) : null
  if (match === null) return undefined
  const range = {
    from: Number(match[1]),
    end: Number(match[2]) + 1,
    total: match[3] === "*" ? undefined : Number(match[3])
  }
  return range.from < range.end && range.end <= Math.min(range.total ?? Infinity, Number.MAX_SAFE_INTEGER)
    ? range
    : undefined
}

/** Whether the body is the whole file by its `Content-Range`, or without one; `length` is the body's. */
export const isWhole = (headers: Headers, length: number | undefined): boolean => {
  if (headers["content-range"] === undefined) return true
  const range = contentRange(headers)
  return (
    range !== undefined &&
    range.from === 0 &&
    range.end === range.total &&
    (length ?? range.end) === range.end
  )
}

/** A partial file of an earlier response, and what that response proved. */
export interface Piece {
  readonly offset: number
  readonly validator: string
  readonly total: number
}

/** Why the body of this 206 may not be joined to the continued piece; undefined if it may. */
export const whyNotJoined = (
  headers: Headers,
  piece: Piece | undefined,
  length: number | undefined
): string | undefined => {
  if (piece === undefined) return "a part was sent that was not requested"
  const range = contentRange(headers)
  if (range === undefined) return `Content-Range '${one(headers["content-range"]) ?? ""}' is malformed`
  if (range.from !== piece.offset) return `asked for bytes from ${piece.offset}, got bytes from ${range.from}`
  if (range.end !== (range.total ?? piece.total)) return "the part sent does not reach the end"
  if (range.total === undefined) return "the part sent does not say how long the whole file is"
  if (range.total !== piece.total) {
    return `the file was ${plural(piece.total, "byte")} long, and is ${range.total} now`
  }
  const validator = strongValidator(headers)
  if (validator === undefined) return "the part sent does not prove which version it is of"
  if (validator !== piece.validator) return "the part sent is of another version"
  if (length !== undefined && length !== range.end - range.from) {
    return "Content-Length and Content-Range disagree"
  }
  return undefined
}
