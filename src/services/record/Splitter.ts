import { checkOptions, countOrInfinity } from "../text/Numbers.js"
import { rows } from "./internal/csv.js"
import { values } from "./internal/json.js"
import { longest } from "./internal/limits.js"
import { lines } from "./internal/lines.js"
import type * as Records from "./Records.js"

/**
 * Settings of {@link make}.
 *
 * @since 0.1.0
 * @category options
 */
export interface Options {
  readonly format: Records.Format
  /** Most bytes of a record; a longer one is a problem, and is not kept. Default 16 MiB. */
  readonly maxLine?: number | undefined
  /** `"raw"`: lines and texts between NUL bytes may have bytes that are not UTF-8, as `RawText`. Default `"utf8"`. */
  readonly encoding?: "raw" | "utf8" | undefined
  /** The place up to which the input was read before. */
  readonly from?: Records.Place | undefined
  /** The origin of all records. */
  readonly origin?: Records.Origin | undefined
}

/**
 * Splits bytes into records.
 *
 * @since 0.1.0
 * @category models
 */
export interface Splitter {
  /**
   * The records that end in these bytes, which they keep. A record with the index 0 is an unusable header of a CSV, or a
   * place where JSON values cannot be told apart: none follows it.
   */
  readonly push: (bytes: Uint8Array) => ReadonlyArray<Records.Record>
  /** The last record, if it has no end. */
  readonly end: () => ReadonlyArray<Records.Record>
}

const maxLineDefault = 16 * 1024 * 1024

/**
 * Makes a splitter, which takes time proportional to the bytes.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options): Splitter => {
  checkOptions(options, { maxLine: countOrInfinity })
  const { encoding, format, from, maxLine = maxLineDefault, origin } = options
  const setting = { format, from, limit: Math.min(maxLine, longest), origin, isRaw: encoding === "raw" }
  return format === "csv" || format === "tsv"
    ? rows(setting)
    : format === "json"
      ? values(setting)
      : lines(setting)
}
