import {
  contentRange,
  type Headers,
  isWhole,
  one,
  type Piece,
  strongValidator,
  whyNotJoined
} from "./answers.js"
import { type Encodings, readEncodings } from "./encodings.js"
import { Failure } from "./failure.js"

/** The body of a 2xx response, as its head describes it. */
export interface Body {
  /** Whether it is joined to the existing piece; else it is the whole file. */
  readonly rest: boolean
  readonly encodings: Encodings
  readonly validator: string | undefined
  /** Bytes of the whole file as it is sent; undefined if the head has no length. */
  readonly sent: number | undefined
  /** Bytes of the whole file as it is saved; also undefined if the body is encoded. */
  readonly total: number | undefined
}

/**
 * Reads the head of a 2xx response. Returns `"end"` if only the connection's end ends the body and that end proves
 * nothing, `"range"` if the response to a range is not proved to be of the same version, so that the whole file has to be
 * requested. Throws if the body cannot be used.
 */
export const readBody = (
  status: number,
  headers: Headers,
  {
    empty = false,
    endProves,
    names,
    piece,
    ranged,
    received = false
  }: {
    /** Whether there is no body, whatever the head says. */
    readonly empty?: boolean
    /** Whether an orderly end of the connection can be distinguished from a broken one. */
    readonly endProves: boolean
    /** Names of the file, if `identity` was requested. */
    readonly names: ReadonlyArray<string> | undefined
    readonly piece: Piece | undefined
    /** Whether a range was requested. */
    readonly ranged: boolean
    /** Whether a caller takes the body as it is, a part of a file or not. */
    readonly received?: boolean
  }
): Body | "end" | "range" => {
  if (empty)
    return { rest: false, encodings: { undo: [] }, validator: undefined, sent: undefined, total: undefined }
  const given = one(headers["content-length"])
  const length = given === undefined ? undefined : Number(given)
  const transfer = one(headers["transfer-encoding"])?.trim().toLowerCase() ?? "identity"
  if (transfer !== "chunked" && transfer !== "identity") {
    throw new Failure("decode", `Transfer-Encoding '${transfer}' is unknown`, false)
  }
  if (length === undefined && transfer === "identity" && !endProves) return "end"
  const encodings = readEncodings(headers, names)
  if (encodings.unknown !== undefined) {
    throw new Failure("decode", `Content-Encoding '${encodings.unknown}' is unknown`, false)
  }
  const encoded = encodings.undo.length > 0
  if (received) return { rest: false, encodings, validator: undefined, sent: length, total: undefined }
  const validator = strongValidator(headers)
  if (status === 206) {
    const why = whyNotJoined(headers, piece, length) ?? (encoded ? "the part sent is compressed" : undefined)
    if (why !== undefined) throw new Failure("range", why, ranged)
    return { rest: true, encodings, validator, sent: piece!.total, total: piece!.total }
  }
  const whole = isWhole(headers, length)
  const total = encoded ? undefined : (length ?? contentRange(headers)?.end)
  // Any other 200 may be only the rest of the file.
  if (ranged && !(whole && validator === piece?.validator && total === piece?.total)) return "range"
  if (!whole) {
    const range = one(headers["content-range"])
    throw new Failure("range", `Content-Range '${range}' is not that of a whole file`, false)
  }
  return { rest: false, encodings, validator, sent: encoded ? length : total, total }
}
