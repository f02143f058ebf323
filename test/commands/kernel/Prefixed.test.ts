import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Named from "../../../src/commands/kernel/Named.js"
import * as Prefixed from "../../../src/commands/kernel/Prefixed.js"
import * as Reporter from "../../../src/commands/kernel/Reporter.js"
import * as Output from "../../../src/services/host/Output.js"

const plain = { interactive: false, colors: false }
const settings = {
  names: ["web", "worker"],
  prefix: "{name} | ",
  raw: false,
  timestamps: false,
  stdout: plain,
  stderr: plain,
  now: () => new Date(2026, 0, 2, 3, 4, 5, 6).getTime()
}

describe("Prefixed", () => {
  const text = (bytes: unknown) => Buffer.from((bytes ?? "") as string | Uint8Array).toString()
  const play = (
    given: Partial<Prefixed.Settings>,
    lines: ReadonlyArray<readonly [name: string, bytes: string, stream?: "stderr"]>
  ) => {
    const prefixed = Prefixed.make({ ...settings, ...given })
    prefixed.started({ name: "web", pid: 42 })
    return lines.map(([name, bytes, other]) => {
      const stream = other ?? "stdout"
      const index = settings.names.indexOf(name) + 1
      const shown = prefixed.output({ index, name, stream, bytes: Buffer.from(bytes) })
      return stream === "stdout" ? text(shown.bytes) : text(shown.errors)
    })
  }

  it("puts a prefix before each line, in one width, and ends the last one", () => {
    expect(
      play({}, [
        ["web", "a\nb\n"],
        ["worker", "c"],
        ["web", "\xff\n", "stderr"]
      ])
    ).toEqual(["web    | a\nweb    | b\n", "worker | c\n", "web    | \xff\n"])
  })

  it("fills in the words of the template", () => {
    expect(play({ timestamps: true, prefix: "{index} {pid}> " }, [["web", "a\n"]])).toEqual([
      "03:04:05.006 1 42> a\n"
    ])
    expect(play({ prefix: "{pid}> " }, [["worker", "a\n"]])).toEqual(["> a\n"])
  })

  it.scoped("knows the pid of a start that is drawn before an output, whichever effect was made first", () =>
    Effect.gen(function* () {
      const prefixed = Prefixed.make({ ...settings, prefix: "{pid}> " })
      const which = { index: 2, name: "worker" }
      const started = { event: "started", ...which, pid: 7 } as const
      const output = { event: "output", ...which, stream: "stdout", bytes: Buffer.from("a\n") } as const
      const { onEvent } = yield* Named.reporter<typeof started | typeof output>(
        {
          show: (event) => {
            if (event.event === "output") return prefixed.output(event)
            prefixed.started(event)
            return undefined
          }
        },
        { json: false, quiet: 0 }
      )
      const drawn = onEvent(output)
      yield* Effect.zipRight(onEvent(started), drawn)
      expect((yield* Output.Captured).stdout).toEqual(["7> a\n"])
    }).pipe(Effect.provide(Output.layerTest))
  )

  it("colours the prefixes of a stream that has colours, and no other", () => {
    const colors = { interactive: true, colors: true }
    expect(
      play({ stdout: colors }, [
        ["web", "a\n"],
        ["worker", "b\n"],
        ["web", "c\n", "stderr"]
      ])
    ).toEqual(["\x1b[36mweb    | \x1b[0ma\n", "\x1b[33mworker | \x1b[0mb\n", "web    | c\n"])
  })

  it("passes on raw bytes, and separates an open line from another command's", () => {
    expect(
      play({ raw: true }, [
        ["web", "no end"],
        ["web", " yet"],
        ["worker", "x\n"],
        ["web", "y"]
      ])
    ).toEqual(["no end", " yet", "\nx\n", "y"])
  })

  it("decodes output for --json, and leaves other events as they are", () => {
    const output = { event: "output", index: 1, name: "a", stream: "stdout" } as const
    expect(Reporter.asText({ ...output, bytes: Buffer.from("\ufeffé\n") })).toEqual({
      ...output,
      text: "\ufeffé\n"
    })
    const other = { event: "started" }
    expect(Reporter.asText(other)).toBe(other)
  })
})
