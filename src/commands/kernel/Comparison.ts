import { closeSync, rmSync, statSync } from "node:fs"
import { extname } from "node:path"
import { Effect, Layer, Stream } from "effect"
import { codes, ExitError } from "../../services/host/ExitCodes.js"
import * as OwnFiles from "../../services/host/OwnFiles.js"
import * as SystemLoad from "../../services/host/SystemLoad.js"
import * as LoadDriver from "../../services/http/LoadDriver.js"
import type * as ServerMeasurement from "../../services/http/ServerMeasurement.js"
import * as Chart from "../../services/text/Chart.js"
import { formatDuration } from "../../services/text/Durations.js"
import { plural } from "../../services/text/Plural.js"
import { formatSize } from "../../services/text/Sizes.js"
import * as Table from "../../services/text/Table.js"
import * as Command from "./Command.js"
import * as ProcessServices from "./ProcessServices.js"
import * as Reporter from "./Reporter.js"

// Servers under the same loads, side by side: a table, pictures and what the guide says, on the terminal and in a file.

// texts

export const integer = (value: number): string => Math.round(value).toLocaleString("en")

/** A number of two digits, or a whole one: `0.031`, `1.9`, `15,204`. */
export const number = (value: number): string =>
  Math.abs(value) >= 10 ? integer(value) : `${Number(value.toPrecision(2))}`

/** Milliseconds, also less than one. */
export const time = (ms: number): string =>
  ms < 1 ? `${integer(ms * 1000)} µs` : ms < 10 ? `${number(ms)} ms` : formatDuration(ms)

export const quantile = (value: { readonly ms: number; readonly atLeast: boolean } | undefined): string =>
  value === undefined ? "-" : `${value.atLeast ? "≥" : ""}${time(value.ms)}`

export const memory = (bytes: number): string => formatSize(Math.round(bytes))

// report

/** A sentence of the guide beside what was measured; `holds` is undefined if what it needs was not measured. */
export interface Predicted {
  readonly event: "predicted"
  readonly claim: string
  readonly measured: string
  readonly holds?: boolean
}

/** All that is shown of a comparison. */
export interface Report {
  readonly title: string
  /** The first row is the header. */
  readonly rows: ReadonlyArray<ReadonlyArray<string>>
  readonly charts: ReadonlyArray<Chart.Chart>
  readonly predictions: ReadonlyArray<Predicted>
}

/** A measurement of a series whose loads are known by their model and their connections. */
export type Measured<Model extends string> = ServerMeasurement.Measurement & {
  readonly model: Model
  readonly connections: number
}

export const header: ReadonlyArray<string> = [
  ...["model", "load", "connections", "answers/s", "p50", "p99", "CPU"],
  ...["CPU each", "memory", "each", "errors", "TIME_WAIT"]
]

/** Columns of words, at the left; those of numbers stand at the right. */
const words = 2

const or = <A>(value: A | undefined, show: (value: A) => string) => (value === undefined ? "-" : show(value))

const problemsOf = ({ errors, failures, refused }: ServerMeasurement.Measurement) =>
  [
    errors > 0 ? `${integer(errors)} ${failures.slice(0, 2).join(", ")}` : "",
    refused > 0 ? `${integer(refused)} not 2xx` : ""
  ]
    .filter((text) => text !== "")
    .join("; ") || "0"

/** A measurement as a row below {@link header}. */
export const row = (model: string, load: string, one: Measured<string>): ReadonlyArray<string> => [
  model,
  load,
  one.connected < one.connections
    ? `${integer(one.connected)} of ${integer(one.connections)}`
    : integer(one.connections),
  number(one.throughput),
  quantile(one.p50),
  quantile(one.p99),
  or(one.cpu, (cpu) => `${integer(cpu * 100)} %`),
  or(one.cpuPerRequest, time),
  or(one.memory, memory),
  or(one.memoryPerConnection, memory),
  problemsOf(one),
  or(one.timeWait, integer)
]

/** Pictures of throughput, and of the slowest of a hundred, over connections, with a line for each model. */
export const charts = <Model extends string>(
  measured: ReadonlyArray<Measured<Model>>,
  titles: Readonly<Record<Model, string>>,
  texts: { readonly answers: string; readonly what: string; readonly when: string }
): ReadonlyArray<Chart.Chart> => {
  const x = { label: "connections, each waiting for its answer before it asks again", log: true }
  const series = (value: (one: Measured<Model>) => number | undefined) =>
    [...new Set(measured.map(({ model }) => model))].map((model) => ({
      name: titles[model],
      points: measured
        .filter((one) => one.model === model)
        .flatMap((one): ReadonlyArray<readonly [number, number]> => {
          const y = value(one)
          return y === undefined ? [] : [[one.connections, y]]
        })
    }))
  const each = (value: (one: Measured<Model>) => string) =>
    measured.map((one) => `${titles[one.model]} with ${integer(one.connections)}: ${value(one)}`).join("; ")
  return [
    {
      title: `${texts.answers}, ${texts.when}`,
      description: `Number of ${texts.answers} by number of connections. ${each(({ throughput }) => number(throughput))}.`,
      x,
      y: { label: texts.answers, log: true },
      series: series(({ throughput }) => throughput)
    },
    {
      title: `time to ${texts.what}: 99 of 100 are quicker (where answers stop coming: at least)`,
      description: `The 99th percentile of the time to ${texts.what} by number of connections. ${each(({ p99 }) => quantile(p99))}.`,
      x,
      y: { label: "time", log: true, format: time },
      series: series(({ p99 }) => p99?.ms)
    }
  ]
}

/** Numbers at the right of their columns. */
const aligned = (rows: ReadonlyArray<ReadonlyArray<string>>) => {
  const widths: Array<number> = []
  for (const row of rows)
    for (const [i, cell] of row.entries()) widths[i] = Math.max(widths[i] ?? 0, cell.length)
  return Table.aligned(
    rows.map((row) => row.map((cell, i) => (i < words ? cell : cell.padStart(widths[i]!))))
  )
}

const verdict = ({ holds }: Predicted) =>
  holds === undefined ? "unknown" : holds ? "holds" : "does not hold"

/** Table, pictures and predictions as lines for a terminal of so many columns. */
export const lines = (report: Report, columns: number): ReadonlyArray<string> => [
  ...aligned(report.rows),
  ...report.charts.flatMap((chart) => ["", ...Chart.lines(chart, { columns, rows: 10 })]),
  "",
  "what the guide says, and what was measured",
  ...report.predictions.flatMap((one) => ["", `${one.claim}`, `  ${verdict(one)}: ${one.measured}`])
]

const style = `:root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse;font-size:.85rem}th,td{padding:.2rem .6rem;text-align:right;border-bottom:1px solid #8886}th:nth-child(-n+2),td:nth-child(-n+2){text-align:left}
svg{max-width:100%;height:auto}div{overflow-x:auto}dt{margin-top:1rem;font-style:italic}`

const html = ({ charts, predictions, rows, title }: Report): string => {
  const cells = (row: ReadonlyArray<string>, kind: "td" | "th") =>
    `<tr>${row.map((cell) => `<${kind}${kind === "th" ? ' scope="col"' : ""}>${Chart.escape(cell)}</${kind}>`).join("")}</tr>`
  const [head = [], ...body] = rows
  return `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${title}</title><style>${style}</style></head>
<body>
<h1>${title}</h1>
${Chart.svg(charts, title)}
<div><table>
<thead>${cells(head, "th")}</thead>
<tbody>
${body.map((row) => cells(row, "td")).join("\n")}
</tbody>
</table></div>
<h2>What the guide says, and what was measured</h2>
<dl>
${predictions
  .map(
    (one) =>
      `<dt>${Chart.escape(one.claim)}</dt><dd><strong>${verdict(one)}</strong>: ${Chart.escape(one.measured)}</dd>`
  )
  .join("\n")}
</dl>
</body>
</html>
`
}

/** The file that `--out` writes, by its ending. */
export const pictures: Readonly<Record<string, (report: Report) => string>> = {
  ".svg": ({ charts, title }) => Chart.svg(charts, title),
  ".html": html
}

// view

interface View<E> extends Reporter.View<E> {
  /** What was measured, once all is. */
  readonly compared: () => Report | undefined
}

/** The view of a comparison: the report when all is measured; `columns` of the terminal. */
export const view = <Labels extends object, Settings extends object>(
  columns: number,
  report: (measured: ReadonlyArray<ServerMeasurement.Measurement & Labels>, settings: Settings) => Report
): View<ServerMeasurement.SeriesEvent<Labels, Settings>> => {
  const measured: Array<ServerMeasurement.Measurement & Labels> = []
  let compared: Report | undefined
  let current = ""
  const end = (settings: Settings) => {
    compared = report(measured, settings)
    return compared
  }
  return {
    compared: () => compared,
    live: () => (current === "" ? [] : [current]),
    show: (event) => {
      switch (event.event) {
        case "started":
          current = `${event.index} of ${event.total}  ${event.name}`
          return undefined
        case "note":
          return { note: event.reason }
        case "measured":
          measured.push(event)
          return undefined
        case "finished":
          return { failure: Reporter.failed(event) }
        case "compared": {
          current = ""
          const text = measured.length === 0 ? [] : lines(end(event), columns)
          const loads = plural(measured.length, "load")
          return {
            bytes: text.map((line) => `${line}\n`),
            summary: `${loads} measured, ${event.failed} failed, in ${formatDuration(event.duration)}`
          }
        }
      }
    },
    json: (event) => {
      switch (event.event) {
        case "started": {
          const { index, name } = event
          return { event: "started", index, name }
        }
        case "measured":
          measured.push(event)
          return event
        case "compared": {
          const { predictions } = end(event)
          const { duration, exitCode, failed } = event
          const held = predictions.filter(({ holds }) => holds === true).length
          const counts = { measured: measured.length, failed, predictions: predictions.length, held }
          return [...predictions, { event: "summary", ...counts, duration, exitCode }]
        }
        default:
          return event
      }
    }
  }
}

// run

export interface Config extends Reporter.Settings {
  /** The file for the picture. */
  readonly out?: string | undefined
}

const endings = Object.keys(pictures)

/** How the picture is made; refuses a file that cannot be written, before anything is measured. */
const pictureOf = (out: string) =>
  Effect.gen(function* () {
    const picture = pictures[extname(out).toLowerCase()]
    if (picture === undefined) {
      return yield* Command.usage(`--out '${out}' has an unknown ending; expected ${endings.join(" or ")}`)
    }
    yield* Effect.try({
      try: () => {
        if (statSync(out, { throwIfNoEntry: false })?.isDirectory() === true) {
          throw Object.assign(new Error(), { code: "EISDIR" })
        }
        const trial = OwnFiles.temporaryName(out)
        closeSync(OwnFiles.createExclusive(trial))
        rmSync(trial)
      },
      catch: (error) => Command.usage(`--out '${out}' cannot be written: ${OwnFiles.describe(error)}`)
    })
    return picture
  })

/** Measures, prints table, pictures and predictions, and writes the picture. */
export const run = <E extends { readonly event: string }, Failure, R>(
  view: View<E>,
  events: Stream.Stream<E, Failure, R>,
  { out, ...config }: Config
) =>
  Effect.gen(function* () {
    const picture = out === undefined ? undefined : yield* pictureOf(out)
    const { note, report } = yield* Reporter.make(view, config)
    const { cpus, load } = yield* SystemLoad.SystemLoad
    const busy = yield* load
    if (busy > cpus / 2) {
      const reason = `the machine is busy (load ${busy.toFixed(1)} on ${plural(cpus, "processor")}): figures are worse than on an idle one`
      yield* report([{ event: "note", reason } as never])
    }
    let exitCode: number = codes.ok
    yield* Stream.runForEach(events, (event) => {
      if (event.event === "compared") exitCode = (event as E & { readonly exitCode: number }).exitCode
      return report([event])
    })
    const compared = view.compared()
    if (out !== undefined && picture !== undefined && compared !== undefined) {
      yield* Effect.try({
        try: () => OwnFiles.replaceFile(out, Buffer.from(picture(compared))),
        catch: (error) =>
          new ExitError({
            exitCode: codes.failed,
            message: `--out '${out}' cannot be written: ${OwnFiles.describe(error)}`
          })
      })
      yield* note(`picture: ${out}`)
    }
    if (exitCode !== codes.ok) return yield* new ExitError({ exitCode, message: "" })
  }).pipe(Effect.scoped)

/** What {@link run} and a series of loads need. */
export const layer = Layer.mergeAll(
  SystemLoad.layer,
  Layer.provideMerge(LoadDriver.layer, ProcessServices.layer)
)
