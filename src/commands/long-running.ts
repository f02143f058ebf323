import { Effect, Layer } from "effect"
import * as LongRunning from "../programs/LongRunning.js"
import { ExitError } from "../services/host/ExitCodes.js"
import * as Output from "../services/host/Output.js"
import * as Probes from "../services/supervision/Probes.js"
import * as Services from "../services/supervision/Services.js"
import * as Command from "./kernel/Command.js"
import type * as Flag from "./kernel/Flag.js"
import * as Named from "./kernel/Named.js"
import * as ProcessServices from "./kernel/ProcessServices.js"
import * as Timestamps from "./kernel/Timestamps.js"
import * as Control from "./long-running/control.js"
import { checks, flags } from "./long-running/flags.js"
import * as ProcfileOptions from "./long-running/procfileOptions.js"
import * as States from "./long-running/states.js"
import * as View from "./long-running/view.js"
import * as Watch from "./long-running/watch.js"

const run = (given: Flag.Values<typeof flags>, operands: ReadonlyArray<string>) =>
  Effect.gen(function* () {
    if (given.virtual || given.seed !== undefined) {
      return yield* Command.usage(
        "--virtual and --seed apply to the guide's example only; commands run in real time"
      )
    }
    const entries = yield* Named.entries(given, operands)
    const config = yield* ProcfileOptions.merged(given, entries)
    const { groups, requests } = yield* Named.read(config, entries, config)
    const names = requests.map(({ name }) => name)
    const { health, policies, ready } = yield* Effect.all(checks(config, groups))
    const clock = yield* Effect.clock
    const now = () => clock.unsafeCurrentTimeMillis()
    const states = States.make(names, now)
    const logs = Control.makeLogs()
    const watched = Named.collect(groups, config.watch)
    const watch = yield* Watch.make(watched, config.logDir)
    const view = View.make({
      states,
      checked: ready,
      prefixed: yield* Named.prefixed(config, names),
      now
    })
    const { grace, onFailure, readyTimeout, resetAfter, retries, window } = config
    const { json, logDir: directory, progress = true, quiet } = config
    const { isLive, onEvent } = yield* Named.reporter(view, { json, progress, quiet })
    const output = yield* Output.Output
    let exitCode = 0
    yield* Services.run(
      requests.map((request) => ({
        ...request,
        restart: policies.get(request.name),
        ready: ready.get(request.name),
        health: health.get(request.name),
        stays: watched.has(request.name)
      })),
      {
        onEvent: (event) => {
          if (event.event === "summary") exitCode = event.exitCode
          states.take(event)
          logs.take(event)
          return onEvent(event)
        },
        control: (controls) =>
          Effect.zip(
            watch(controls),
            Effect.catchAll(Control.serve(groups, states, logs, controls), ({ message }) =>
              quiet > 0 || json ? Effect.void : output.note(`no control socket: ${message}`)
            ),
            { concurrent: true }
          ),
        duration: config.for,
        grace,
        maxRestarts: retries.retries,
        onFailure,
        readyTimeout,
        resetAfter,
        window,
        backoff: retries.backoff,
        health: { every: config.healthEvery, timeout: config.healthTimeout, failures: config.healthFailures },
        sample: isLive || json ? "1 second" : undefined,
        logs:
          directory === undefined ? undefined : { directory, maxSize: config.logSize, keep: config.logKeep }
      }
    ).pipe(
      Effect.catchTag("LogFilesError", ({ exitCode, message }) =>
        Effect.fail(new ExitError({ exitCode, message: `aio long-running: ${message}` }))
      )
    )
    yield* Command.exit(exitCode)
  }).pipe(Effect.scoped)

export const command = Command.provide(
  Command.make(
    "long-running",
    {
      summary: "keep named commands running: restart, readiness, health, logs; leaves no process behind",
      ...Named.described,
      flags,
      examples: [
        ["long-running --restart never job='echo done'", "run a command once"],
        [
          "long-running --for 300ms --ready-log db:ready --after web:db db='echo ready; sleep 9' web='sleep 9'",
          "start web when db is ready, and stop both when the time is up"
        ],
        ["long-running --restart never -f Procfile", "run the commands of a Procfile, each once"]
      ]
    },
    (config, { operands }) => run(config, operands),
    {
      example: {
        run: (config) => Timestamps.timed(LongRunning.example({ seed: config.seed }), config),
        flags: ["seed", "virtual", "timestamps"],
        instead: Named.instead
      },
      children: Control.children
    }
  ),
  Layer.merge(ProcessServices.layer, Probes.layer)
)
