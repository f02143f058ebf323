import { Cause, Effect, Exit } from "effect"
import * as Output from "../services/Output.js"

/** The guide's first program: prints `hi`. */
export const example: Effect.Effect<void, never, Output.Output> = Output.print("hi")

export const runMain = <A, E>(effect: Effect.Effect<A, E>): void => {
  Effect.runCallback(effect, {
    onExit: (exit) => {
      if (Exit.isFailure(exit)) {
        const error = Cause.squash(exit.cause) as { message: string; exitCode?: number }
        console.error(error.message)
        process.exitCode = error.exitCode ?? 1
      }
    }
  })
}
