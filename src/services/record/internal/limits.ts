import { constants } from "node:buffer"
import { plural } from "../../text/Plural.js"
import type * as Records from "../Records.js"

/** The settings of a splitter of one format. */
export interface Setting {
  readonly format: Records.Format
  /** The place up to which the input was read before. */
  readonly from: Records.Place | undefined
  /** Most bytes of a record. */
  readonly limit: number
  readonly origin: Records.Origin | undefined
}

/** Most bytes of any record: it must fit into a string together with the rest of its --json event. */
export const longest = constants.MAX_STRING_LENGTH - 4096

export const tooLong = (limit: number) => `longer than ${plural(limit, "byte")}`

const noBytes = Buffer.alloc(0)

/** The block of a record whose bytes are not kept. */
export const without = (origin: Records.Origin | undefined): Records.Block => ({
  bytes: noBytes,
  reading: "line",
  text: undefined,
  begin: 0,
  origin
})
