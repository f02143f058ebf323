import { describe, expect, it } from "@effect/vitest"
import * as ExitCodes from "../../../src/services/host/ExitCodes.js"

describe("ExitCodes", () => {
  it.each([
    [[], undefined, 0],
    [[1], undefined, 1],
    [[3, 3], undefined, 1],
    [[124, 124], undefined, 124],
    [[126], undefined, 126],
    [[127, 127, 127], undefined, 127],
    [[126, 127], undefined, 1],
    [[124, 1], undefined, 1],
    [[130], undefined, 1],
    [[], "SIGINT", 130],
    [[1, 124], "SIGTERM", 143],
    [[], "SIGHUP", 129],
    [[], "it was not needed", 1],
    [[124], "it was not needed", 124]
  ])("the exit code of failures %j, stopped by %s, is %d", (failures, stopped, code) => {
    expect(ExitCodes.ofMany(failures, stopped)).toBe(code)
  })
})
