import { constants } from "node:buffer"
import { plural } from "../../text/Plural.js"
import { formatGiven } from "../../text/Sizes.js"
import type * as Records from "../Records.js"

/** The settings of a splitter of one format. */
export interface Setting {
  readonly format: Records.Format
  /** The place up to which the input was read before. */
  readonly from: Records.Place | undefined
  /** Most bytes of a record. */
  readonly limit: number
  readonly origin: Records.Origin | undefined
  /** Whether lines and texts between NUL bytes may have bytes that are not UTF-8. */
  readonly isRaw?: boolean
}

/** Most bytes of any record: it must fit into a string together with the rest of its --json event. */
export const longest = constants.MAX_STRING_LENGTH - 4096

export const tooLong = (limit: number) =>
  `longer than ${limit < 1024 ? plural(limit, "byte") : formatGiven(limit)}`

const noBytes = Buffer.alloc(0)

/** The block of a record whose bytes are not kept. */
export const without = (origin: Records.Origin | undefined): Records.Block => ({
  bytes: noBytes,
  reading: "line",
  text: undefined,
  begin: 0,
  origin
})
