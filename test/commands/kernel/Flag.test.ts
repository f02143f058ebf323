import * as CliConfig from "@effect/cli/CliConfig"
import * as CommandDescriptor from "@effect/cli/CommandDescriptor"
import * as NodeContext from "@effect/platform-node/NodeContext"
import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Flag from "../../../src/commands/kernel/Flag.js"

describe("Flag", () => {
  const flags = { resume: Flag.negatable("resume", "continue"), json: Flag.toggle("json", "events") }
  const descriptor = CommandDescriptor.make("x", Flag.all(flags))

  it.effect.each([
    [[], { resume: undefined, json: false }],
    [["--resume"], { resume: true, json: false }],
    [["--no-resume", "--json"], { resume: false, json: true }]
  ] as const)("negatable is true, false, or undefined without either: %j", ([words, options]) =>
    Effect.gen(function* () {
      const parsed = yield* CommandDescriptor.parse(descriptor, ["x", ...words], CliConfig.defaultConfig)
      expect(parsed).toMatchObject({ _tag: "UserDefined", value: { options } })
    }).pipe(Effect.provide(NodeContext.layer))
  )
})
