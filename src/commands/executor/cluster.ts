import type { Effect, Layer } from "effect"
import * as ClusterExecutor from "../../services/cluster/ClusterExecutor.js"
import type { Executor } from "../../services/thread/Executor.js"
import type { Job } from "../../services/thread/Job.js"
import type * as Values from "../kernel/Values.js"

/** The executor of `--cluster`: loaded only for it. */
export const layer = (
  config: {
    readonly cluster: string
    readonly group: string | undefined
    readonly code: string | undefined
    readonly storage: string | undefined
    readonly run: string | undefined
    readonly tries: number | undefined
    readonly retries: Values.Retries
  },
  job: Job<any, unknown>,
  onRun: (id: string) => Effect.Effect<void>
): Layer.Layer<Executor, Layer.Layer.Error<ReturnType<typeof ClusterExecutor.layer>>> => {
  const { code, group, retries, run, storage, tries } = config
  return ClusterExecutor.layer({
    store: config.cluster,
    group,
    code,
    storage,
    run,
    job,
    tries,
    onRun,
    resumable: true,
    ...retries
  })
}
