import { readFileSync } from "node:fs"
import { join } from "node:path"
import * as PlatformCommand from "@effect/platform/Command"
import { afterAll, describe, expect, it } from "@effect/vitest"
import { Effect, Either, Layer, Schema } from "effect"
import * as Load from "../../../src/commands/network/load.js"
import * as Events from "../../../src/services/host/Events.js"
import * as Output from "../../../src/services/host/Output.js"
import * as SystemLoad from "../../../src/services/host/SystemLoad.js"
import * as LoadDriver from "../../../src/services/http/LoadDriver.js"
import * as Processes from "../../../src/services/process/Processes.js"
import * as Aio from "../../support/Aio.js"

afterAll(Aio.removeFolders)

/** A server of each model that prints its name as its port, and what the load on it comes to. */
const ports = { "one-at-a-time": 1, "at-once": 2, blocking: 3 }
const took = [0, 125, 21, 25]
const run = (config: Partial<Load.Config>, most?: number) =>
  Effect.gen(function* () {
    const driven: Array<string> = []
    const driver = LoadDriver.layerTest((url, { connections = 0 }) => {
      driven.push(`${new URL(url).port}${new URL(url).pathname} ${connections}`)
      const ms = took[Number(new URL(url).port)]!
      const requests = url.includes(":3/") ? 40 : (connections * 1000) / ms
      return { requests: Math.round(requests), time: 1000, p50: { ms, atLeast: false } }
    }, most)
    const layers = Layer.mergeAll(
      driver,
      Processes.layer,
      Output.layerTest,
      SystemLoad.layerTest({ load: Effect.succeed(0) })
    )
    return yield* Effect.gen(function* () {
      const result = yield* Effect.either(
        Load.run({
          ...{ json: false, quiet: 0, connections: [1, 10] },
          command: (model) =>
            PlatformCommand.make(
              "sh",
              "-c",
              `echo listening on http://127.0.0.1:${ports[model]}; exec sleep 60`
            ),
          ...config
        })
      )
      const { stderr, stdout } = yield* Output.Captured
      return { driven, result, stdout: stdout.join("\n"), stderr: stderr.join("\n") }
    }).pipe(Effect.provide(layers))
  })

describe("aio network load", () => {
  it.live(
    "drives each way to ask with the same loads, and prints table, pictures and what the guide says",
    () =>
      Effect.gen(function* () {
        const { driven, result, stderr, stdout } = yield* run({ columns: 80 })
        expect(Either.isRight(result)).toBe(true)
        expect(driven).toEqual(
          [1, 2, 3].flatMap((port) => [`${port}/api/page/ada 1`, `${port}/api/page/ada 10`])
        )
        expect(stdout).toMatch(/^one at a time {4}\/api\/page\/ada {12}1 {10}8 {2}125 ms/m)
        expect(stdout).toContain("o one at a time")
        expect(stdout.match(/^ {2}holds: /gm)).toHaveLength(2)
        expect(stdout).toContain("40 pages a second with a blocking client, 476 without")
        expect(stderr).toMatch(/^6 loads measured, 0 failed, in /)
      })
  )

  it.live("prints events that the schema accepts with --json, and writes the picture", () =>
    Effect.gen(function* () {
      const out = join(Aio.folder(), "load.html")
      const { stdout } = yield* run({ json: true, out }, 5)
      const events = stdout
        .split("\n")
        .filter((line) => line !== "")
        .map((line) => JSON.parse(line) as { event: string; schema: number })
      const decode = Schema.decodeUnknownEither(Events.NetworkLoad, { onExcessProperty: "error" })
      for (const { schema, ...event } of events) {
        expect([schema, Either.mapLeft(decode(event), String)]).toEqual([2, Either.right(event)])
      }
      expect(events[0]).toMatchObject({ event: "note", reason: expect.stringContaining("at most 5") })
      expect(events.at(-1)).toMatchObject({ measured: 6, failed: 0, predictions: 2, held: 2, exitCode: 0 })
      expect(readFileSync(out, "utf8")).toMatch(
        /^<!doctype html>[\s\S]*<td>blocking client<\/td>[\s\S]*<\/html>\n$/
      )
    })
  )

  it.live("fails with 1 when a server does not start, and measures the others", () =>
    Effect.gen(function* () {
      const { result, stderr } = yield* run({
        connections: [2],
        command: (model) =>
          PlatformCommand.make(
            "sh",
            "-c",
            model === "blocking"
              ? "exit 3"
              : `echo listening on http://127.0.0.1:${ports[model]}; exec sleep 60`
          )
      })
      expect(Either.getLeft(result)).toMatchObject({ value: { exitCode: 1 } })
      expect(stderr).toMatch(/2 loads measured, 1 failed/)
    })
  )
})
