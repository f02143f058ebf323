import { Effect } from "effect"
import * as EventLine from "../../services/host/EventLine.js"
import type { ServerEvent } from "../../services/host/Events.js"
import { codes, ExitError } from "../../services/host/ExitCodes.js"
import * as Output from "../../services/host/Output.js"
import { plural } from "../../services/text/Plural.js"
import * as Flags from "./Flags.js"

// --watch-loop, for each command that runs code of others in its own process.

export const flags = { watchLoop: Flags.watchLoop, failOnBlock: Flags.failOnBlock }

export interface Config {
  readonly watchLoop: number | undefined
  readonly failOnBlock: boolean
  /** Reports are NDJSON. */
  readonly json: boolean
}

/** The threshold without a value, in milliseconds. */
const standard = 100

/** Milliseconds after which a loop that is still blocked is reported. */
const hangs = 10_000

/** A report as an event of `--json`. */
export type Event = Extract<ServerEvent, { readonly event: "blocked" | "starved" | "hanging" }>

/**
 * Runs the program with {@link flags}. `called` are the words that call the command. Reports go to stderr; the events of
 * `--json` go to `emit`, if the command has its events on stdout.
 */
export const watched = <A, E, R>(
  called: string,
  program: Effect.Effect<A, E, R>,
  { failOnBlock, json, watchLoop }: Config,
  emit?: (event: Event) => Effect.Effect<void>
): Effect.Effect<A, E | ExitError, R | Output.Output> => {
  if (watchLoop === undefined && !failOnBlock) return program
  return Effect.gen(function* () {
    const output = yield* Output.Output
    const cwd = process.cwd()
    // Loaded on demand: a run without the option starts faster.
    const LoopWatch = yield* Effect.promise(() => import("../../services/task/LoopWatch.js"))
    let reports = 0
    const result = yield* Effect.scoped(
      Effect.zipRight(
        LoopWatch.make({
          threshold: watchLoop ?? standard,
          hanging: hangs,
          json,
          descriptor: json && emit !== undefined ? 1 : 2,
          onReport: (report) => {
            reports++
            if (!json) return output.note(`LoopWatch: ${LoopWatch.text(report, cwd)}`)
            const event = LoopWatch.event(report) as Event
            return emit?.(event) ?? output.note(EventLine.encode(event))
          }
        }),
        program
      )
    )
    if (!failOnBlock || reports === 0) return result
    return yield* new ExitError({
      exitCode: codes.failed,
      message: `${called}: --fail-on-block: ${plural(reports, "report")} of a blocked event loop`
    })
  })
}
