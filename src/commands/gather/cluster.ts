import { Effect } from "effect"
import * as ClusterDownloader from "../../services/cluster/ClusterDownloader.js"
import { codes, ExitError } from "../../services/host/ExitCodes.js"

/** The downloader of `--cluster`: loaded only for it. `check` fails when no download can be made any more. */
export const make = (store: string, group: string | undefined) => {
  let refused: string | undefined
  return {
    check: Effect.suspend(() =>
      refused === undefined
        ? Effect.void
        : new ExitError({ exitCode: codes.failed, message: `aio gather: ${refused}` })
    ),
    layer: ClusterDownloader.layer({
      store,
      group,
      onRefused: ({ reason }) => {
        refused = reason
      }
    })
  }
}
