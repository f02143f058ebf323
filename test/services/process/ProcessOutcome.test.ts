import { assert, describe, it } from "@effect/vitest"
import { Duration, Either, Option } from "effect"
import * as ProcessError from "../../../src/services/process/ProcessError.js"
import * as ProcessOutcome from "../../../src/services/process/ProcessOutcome.js"

describe("ProcessOutcome", () => {
  const exited = (exitCode: number, signal?: NodeJS.Signals) =>
    Either.right({ exitCode, signal, duration: Duration.zero, usage: Option.none() })
  const shown = (ended: Parameters<typeof ProcessOutcome.of>[0]) => {
    const { detail, exitCode, failureCode } = ProcessOutcome.of(ended)
    return [exitCode, failureCode, detail]
  }

  it("has one shape for processes that ended and commands that did not run", () => {
    assert.deepStrictEqual(shown(exited(0)), [0, 1, undefined])
    assert.deepStrictEqual(shown(exited(3)), [3, 1, "exit code 3"])
    assert.deepStrictEqual(shown(exited(143, "SIGTERM")), [143, 1, "ended by SIGTERM"])
    const missing = new ProcessError.CommandNotFound({ command: "x" })
    assert.deepStrictEqual(shown(Either.left(missing)), [127, 127, "cannot run x: command not found"])
    const late = new ProcessError.CommandTimedOut({ command: "x", after: Duration.seconds(1) })
    assert.deepStrictEqual(shown(Either.left(late)), [124, 124, "not done in 1s"])
    const lost = new ProcessError.CommandLost({ command: "x", detail: "its helper was killed" })
    assert.deepStrictEqual(shown(Either.left(lost)), [1, 1, "x was lost: its helper was killed"])
  })
})
