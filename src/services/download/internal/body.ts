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

/** The body of a 2xx answer, as its head describes it. */
export interface Body {
  /** Whether it is joined to the piece that is there; else it is the whole file. */
  readonly rest: boolean
  readonly encodings: Encodings
  readonly validator: string | undefined
  /** Bytes of the whole file as it is sent; undefined where the head does not say. */
  readonly sent: number | undefined
  /** Bytes of the whole file as it is saved; undefined where it comes encoded, too. */
  readonly total: number | undefined
}

/**
 * Reads the head of a 2xx answer. Gives `"end"` where only the connection's end ends the body and that end proves
 * nothing, `"range"` where the answer to a range is not proved to be the same version, so that the whole file has to be
 * asked for. Throws where the body is of no use.
 */
export const readBody = (
  status: number,
  headers: Headers,
  {
    endProves,
    names,
    piece,
    ranged
  }: {
    /** Whether the end of the connection can be told from its breaking. */
    readonly endProves: boolean
    /** Names of the file, where `identity` was asked for. */
    readonly names: ReadonlyArray<string> | undefined
    readonly piece: Piece | undefined
    /** Whether a range was asked for. */
    readonly ranged: boolean
  }
): Body | "end" | "range" => {
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
  const validator = strongValidator(headers)
  if (status === 206) {
    const why = whyNotJoined(headers, piece, length) ?? (encoded ? "the part sent is compressed" : undefined)
    if (why !== undefined) throw new Failure("range", why, ranged)
    return { rest: true, encodings, validator, sent: piece!.total, total: piece!.total }
  }
  const whole = isWhole(headers, length)
  const total = encoded ? undefined : (length ?? contentRange(headers)?.end)
  // Anything else may be the rest alone, under a status that claims to be all.
  if (ranged && !(whole && validator === piece?.validator && total === piece?.total)) return "range"
  if (!whole) {
    const range = one(headers["content-range"])
    throw new Failure("range", `Content-Range '${range}' is not that of a whole file`, false)
  }
  return { rest: false, encodings, validator, sent: encoded ? length : total, total }
}
