import type * as Command from "@effect/platform/Command"
import { Deferred, Effect, Exit, Option } from "effect"
import { codes } from "../../host/ExitCodes.js"
import type * as Processes from "../../process/Processes.js"
import * as Sleep from "../../task/Sleep.js"
import type * as Probes from "../Probes.js"
import type * as Supervisor from "../Supervisor.js"
import * as serviceRun from "./serviceRun.js"

type Probe =
  | { readonly http: string }
  | { readonly port: number; readonly host?: string | undefined }
  | { readonly exec: Command.Command }

/** The pause between two readiness checks. */
const every = "250 millis"
/** Time limit of the last readiness check of a service that has ended well. */
const lastAnswer = "5 seconds"
/** How many checks in a row may find another program on the port of a service: about 10 s. */
const mostStrangers = 40

/** How many turns the end of a command may come after the failed health check that it caused: about 20 ms. */
const endTurns = 20

/** The checks of services. */
export const make = (
  processes: Processes.Processes["Type"],
  probes: Probes.Probes["Type"],
  grace: Processes.StopOptions["grace"]
) => {
  const ask = (probe: Probe): Effect.Effect<void, unknown> => {
    if ("http" in probe) return probes.http(probe.http)
    if ("port" in probe) return probes.port(probe.port, probe.host)
    return Effect.flatMap(processes.run(probe.exec, { onTooLarge: "truncate", grace }), ({ exitCode }) =>
      exitCode === 0
        ? Effect.void
        : new serviceRun.ServiceEnded({ message: `exit code ${exitCode}`, exitCode })
    )
  }
  /** Whether the port belongs to the run; true where the system does not show it, and for a host that is named. */
  const isOwn = (probe: Probe, { child }: serviceRun.RunState): Effect.Effect<boolean> =>
    "port" in probe && probe.host === undefined && child !== undefined
      ? Effect.map(
          child.listens(probe.port),
          Option.getOrElse(() => true)
        )
      : Effect.succeed(true)

  const untilItAnswers = (
    probe: Probe,
    state: serviceRun.RunState,
    strangers = 0
  ): Effect.Effect<void, serviceRun.ServiceEnded> =>
    Effect.flatMap(Effect.isSuccess(ask(probe)), (answered) =>
      Effect.flatMap(answered ? isOwn(probe, state) : Effect.succeed(false), (own) => {
        if (own) return Effect.void
        if (answered && strangers + 1 >= mostStrangers && "port" in probe) {
          const message = `port ${probe.port} is open, but no process of this service listens on it`
          return Effect.fail(new serviceRun.ServiceEnded({ message, exitCode: codes.failed }))
        }
        return Effect.zipRight(Sleep.sleep(every), untilItAnswers(probe, state, answered ? strangers + 1 : 0))
      })
    )
  return {
    untilItAnswers,
    /** The checks of a service; `state` gives that of its current run. */
    of: (
      request: {
        readonly ready?: Probe | { readonly log: RegExp } | undefined
        readonly health?: Probe | undefined
      },
      restart: Supervisor.Restart,
      state: () => serviceRun.RunState
    ) => ({
      isReady: Effect.suspend(() => {
        const { logged, spawned } = state()
        const probe = request.ready
        const answered =
          probe === undefined
            ? Effect.void
            : "log" in probe
              ? Deferred.await(logged)
              : untilItAnswers(probe, state())
        return Effect.zipRight(Deferred.await(spawned), answered)
      }),
      health:
        request.health &&
        Effect.catchAll(ask(request.health), (error) =>
          // A check that fails because the command has just ended adds nothing to the end of the run.
          Effect.gen(function* () {
            const checked = state()
            for (let turns = 0; turns < endTurns && !checked.over; turns++) yield* Sleep.sleep(0)
            if (!checked.over) return yield* Effect.fail(error)
          })
        ),
      /** Whether a run that ended before it was reported ready was ready nevertheless. */
      wasReady: (exit: Exit.Exit<unknown, unknown>): Effect.Effect<boolean> => {
        const probe = request.ready
        if (probe === undefined) return Deferred.isDone(state().spawned)
        if ("log" in probe) return Effect.succeed(state().matched)
        // It may have ended between two checks. The answer matters only when the service has ended for good.
        if (restart === "always" || Exit.isFailure(exit)) return Effect.succeed(false)
        return Effect.raceFirst(
          Effect.zipRight(ask(probe), isOwn(probe, state())).pipe(Effect.orElseSucceed(() => false)),
          Effect.as(Sleep.sleep(lastAnswer), false)
        )
      }
    })
  }
}
