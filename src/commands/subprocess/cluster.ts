import { Effect } from "effect"
import * as ClusterProcesses from "../../services/cluster/ClusterProcesses.js"
import { codes, ExitError } from "../../services/host/ExitCodes.js"
import type { Config } from "./flags.js"

/** The processes of `--cluster`: loaded only for it. `check` fails when none can run any more. */
export const make = (
  { cluster, group, run, timeout, tries }: Config & { readonly cluster: string },
  onRun: (id: string) => Effect.Effect<void>
) => {
  let refused: string | undefined
  return {
    check: Effect.suspend(() =>
      refused === undefined
        ? Effect.void
        : new ExitError({ exitCode: codes.failed, message: `aio subprocess: ${refused}` })
    ),
    layer: ClusterProcesses.layer({
      store: cluster,
      group: group === undefined || group === "" ? undefined : group,
      run,
      tries,
      timeout: typeof timeout === "number" ? timeout : undefined,
      resumable: true,
      onRun,
      onRefused: ({ reason }) => {
        refused = reason
      }
    })
  }
}
