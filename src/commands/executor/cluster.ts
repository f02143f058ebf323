import { Duration, type Effect, type Layer } from "effect"
import * as ClusterExecutor from "../../services/cluster/ClusterExecutor.js"
import type { Executor } from "../../services/thread/Executor.js"
import type * as Values from "../kernel/Values.js"

/** The executor of `--cluster`: loaded only for it. */
export const layer = (
  config: {
    readonly cluster: string
    readonly group: string | undefined
    readonly code: string | undefined
    readonly run: string | undefined
    readonly tries: number | undefined
    readonly retries: Values.Retries
  },
  onRun: (id: string) => Effect.Effect<void>
): Layer.Layer<Executor, Layer.Layer.Error<ReturnType<typeof ClusterExecutor.layer>>> => {
  const { code, group, retries, run, tries } = config
  const { first, max } = retries.backoff
  const ms = (duration: Duration.DurationInput | undefined) =>
    duration === undefined ? {} : Duration.toMillis(duration)
  return ClusterExecutor.layer({
    store: config.cluster,
    group,
    code,
    run,
    tries,
    onRun,
    resumable: true,
    retries: retries.retries,
    backoff: {
      ...(first === undefined ? {} : { first: ms(first) as number }),
      ...(max === undefined ? {} : { max: ms(max) as number })
    }
  })
}
