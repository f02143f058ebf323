import { Effect, Metric, MetricKeyType, MetricState } from "effect"

// Metrics as text for Prometheus (exposition format 0.0.4).

const escaped = (text: string) => text.replace(/[\\"\n]/g, (one) => (one === "\n" ? "\\n" : `\\${one}`))
const named = (name: string) => name.replace(/[^\w:]/g, "_")
const labelled = (labels: ReadonlyArray<readonly [string, string]>) =>
  labels.length === 0
    ? ""
    : `{${labels.map(([key, value]) => `${named(key)}="${escaped(value)}"`).join(",")}}`

/** All metrics of the process that are counters, gauges or histograms, each kind once. */
export const snapshot: Effect.Effect<string> = Effect.map(Metric.snapshot, (pairs) => {
  const kinds = new Map<string, { readonly type: string; readonly lines: Array<string> }>()
  for (const { metricKey, metricState } of pairs) {
    const name = named(metricKey.name)
    const labels = metricKey.tags.map(({ key, value }) => [key, value] as const)
    const kind = (type: string) => {
      const found = kinds.get(name) ?? { type, lines: [] }
      kinds.set(name, found)
      return found.lines
    }
    if (MetricState.isCounterState(metricState))
      kind("counter").push(`${name}${labelled(labels)} ${metricState.count}`)
    else if (MetricState.isGaugeState(metricState))
      kind("gauge").push(`${name}${labelled(labels)} ${metricState.value}`)
    else if (MetricState.isHistogramState(metricState) && MetricKeyType.isHistogramKey(metricKey.keyType)) {
      const lines = kind("histogram")
      for (const [bound, count] of metricState.buckets) {
        const le = bound === Number.POSITIVE_INFINITY ? "+Inf" : String(bound)
        if (le !== "+Inf") lines.push(`${name}_bucket${labelled([...labels, ["le", le]])} ${count}`)
      }
      lines.push(
        `${name}_bucket${labelled([...labels, ["le", "+Inf"]])} ${metricState.count}`,
        `${name}_sum${labelled(labels)} ${metricState.sum}`,
        `${name}_count${labelled(labels)} ${metricState.count}`
      )
    }
  }
  return Array.from(kinds, ([name, { lines, type }]) => `# TYPE ${name} ${type}\n${lines.join("\n")}\n`).join(
    ""
  )
})
