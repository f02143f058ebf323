import { StringDecoder } from "node:string_decoder"
import type { Status } from "./Events.js"

/**
 * The version that every NDJSON event of `--json` carries as `schema`; `Events` has its schemas.
 *
 * @since 0.1.0
 * @category constants
 */
export const schemaVersion = 2

/**
 * An event as a line of NDJSON, without the line end: `{"schema":2,"event":…}`. Control characters and lone surrogates
 * are escaped, as JSON requires.
 *
 * @since 0.1.0
 * @category formatting
 */
export const encode = (event: { readonly event: string }): string =>
  JSON.stringify({ schema: schemaVersion, ...event })

/**
 * An event whose `value` is JSON already: it is inserted as text, so that its integers keep all digits.
 *
 * @since 0.1.0
 * @category formatting
 */
export const encodeWith = (event: { readonly event: string }, value: string): string =>
  `${encode(event).slice(0, -1)},"value":${value}}`

/**
 * Milliseconds as events carry them: rounded to microseconds.
 *
 * @since 0.1.0
 * @category formatting
 */
export const ms = (milliseconds: number): number => Math.round(milliseconds * 1000) / 1000

/**
 * How many of each status: the counts of a summary.
 *
 * @since 0.1.0
 * @category functions
 */
export const tally = (statuses: Iterable<Status>): Record<Status, number> => {
  const counts = { succeeded: 0, failed: 0, cancelled: 0, skipped: 0, timed_out: 0 }
  for (const status of statuses) counts[status]++
  return counts
}

/**
 * Decodes the output of several sources to text, each cut between characters: the bytes of a character that is cut wait
 * for the rest of it. `end` gives what is left of a source.
 *
 * @since 0.1.0
 * @category constructors
 */
export const texts = () => {
  const decoders = new Map<string, StringDecoder>()
  return {
    decode: (source: string, bytes: Uint8Array): string => {
      const decoder = decoders.get(source) ?? new StringDecoder("utf8")
      decoders.set(source, decoder)
      return decoder.write(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length))
    },
    end: (source: string): string => {
      const left = decoders.get(source)?.end() ?? ""
      decoders.delete(source)
      return left
    }
  }
}
