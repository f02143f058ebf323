import { Data } from "effect"
import { codes } from "../host/ExitCodes.js"

/**
 * A run cannot be continued, or a group has no valid name. Exit code 2.
 *
 * @since 0.1.0
 * @category errors
 */
export class RunError extends Data.TaggedError("RunError")<{
  readonly message: string
}> {
  readonly exitCode = codes.usage
}
