import { Effect } from "effect"
import * as Output from "../host/Output.js"
import type * as Download from "./Download.js"

/** Bytes that are written before the reader of stdout is waited for. */
const mostAhead = 1024 * 1024

/**
 * Writes a body to stdout as it arrives: for `receive` of `Downloads.downloads`. Pauses a transfer while the reader of
 * stdout is behind.
 *
 * @since 0.1.0
 * @category effects
 */
export const receiver: Effect.Effect<() => Download.Receiver, never, Output.Output> = Effect.map(
  Output.Output,
  ({ drained, write }) =>
    () => {
      let resume: (() => void) | undefined
      let ahead = 0
      return {
        asFile: true,
        head: (_, more) => {
          resume = more
        },
        data: (piece) => {
          Effect.runSync(write(Buffer.from(piece)))
          ahead += piece.length
          if (ahead < mostAhead) return true
          ahead = 0
          Effect.runFork(Effect.map(drained, () => resume?.()))
          return false
        }
      }
    }
)
