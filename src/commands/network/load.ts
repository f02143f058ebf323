import * as NetworkLoad from "../../programs/NetworkLoad.js"
import * as Comparison from "../kernel/Comparison.js"

const titles: Record<NetworkLoad.Model, string> = {
  "one-at-a-time": "one at a time",
  "at-once": "all at once",
  blocking: "blocking client"
}

/** How many questions a page asks. */
const parts = 6

/** What the guide says, beside what was measured; what changes by less than a fifth counts as no change. */
const predictions = (
  all: ReadonlyArray<NetworkLoad.Measured>,
  { wait }: NetworkLoad.Settings
): ReadonlyArray<Comparison.Predicted> => {
  const { number, quantile, time } = Comparison
  const [least, most] = [Math.min, Math.max].map((pick) => pick(...all.map(({ connections }) => connections)))
  const of = (model: NetworkLoad.Model, connections: number | undefined) =>
    all.find((one) => one.model === model && one.connections === connections)
  const claim = (
    claim: string,
    one: NetworkLoad.Measured | undefined,
    other: NetworkLoad.Measured | undefined,
    judge: (
      one: NetworkLoad.Measured,
      other: NetworkLoad.Measured
    ) => readonly [measured: string, holds: boolean]
  ): Comparison.Predicted => {
    if (one === undefined || other === undefined) {
      return { event: "predicted", claim, measured: "not measured" }
    }
    const [measured, holds] = judge(one, other)
    return { event: "predicted", claim, measured, holds }
  }
  const ms = ({ p50 }: NetworkLoad.Measured) => p50?.ms ?? Number.POSITIVE_INFINITY
  return [
    claim(
      "Asked at once, the questions of a page take as long as the slowest; one at a time, as long as all together",
      of("at-once", least),
      of("one-at-a-time", least),
      (once, single) => [
        `half of the pages within ${quantile(once.p50)} at once, ${quantile(single.p50)} one at a time; a neighbour takes ${time(wait)}`,
        ms(once) * parts * 0.8 <= ms(single) * 1.2 && ms(single) >= parts * wait
      ]
    ),
    claim(
      "Anywhere in your application server that is not and does network traffic WILL BLOCK all other connections while it is doing its network traffic",
      of("blocking", most),
      of("at-once", most),
      (blocking, once) => [
        `${number(blocking.throughput)} pages a second with a blocking client, ${number(once.throughput)} without`,
        (blocking.throughput * wait) / 1000 <= 1.2 && blocking.throughput < once.throughput * 0.8
      ]
    )
  ]
}

/** What is shown of the measurements. */
export const report = (
  measured: ReadonlyArray<NetworkLoad.Measured>,
  settings: NetworkLoad.Settings
): Comparison.Report => ({
  title: "Ways to ask the network, measured",
  rows: [
    Comparison.header,
    ...measured.map((one) => Comparison.row(titles[one.model], NetworkLoad.path, one))
  ],
  charts: Comparison.charts(measured, titles, {
    answers: "pages a second",
    what: "a page",
    when: `if each of ${parts} neighbours takes ${Comparison.time(settings.wait)}`
  }),
  predictions: predictions(measured, settings)
})

export interface Config extends Comparison.Config, NetworkLoad.LoadOptions {
  /** Columns of the terminal. */
  readonly columns?: number | undefined
}

/** `aio network load`. */
export const run = ({ columns = 80, ...config }: Config) =>
  Comparison.run(Comparison.view(columns, report), NetworkLoad.compare(config), config)

/** What {@link run} needs. */
export const layer = Comparison.layer
