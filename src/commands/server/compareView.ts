import type { Event, Measured, Model } from "../../programs/ServerCompare.js"
import * as Chart from "../../services/text/Chart.js"
import { formatDuration } from "../../services/text/Durations.js"
import { plural } from "../../services/text/Plural.js"
import * as Table from "../../services/text/Table.js"
import * as Reporter from "../kernel/Reporter.js"
import {
  integer,
  memory,
  number,
  type Predicted,
  predictions,
  quantile,
  type Settings,
  time
} from "./predictions.js"

/** All that a comparison has measured. */
export interface Compared extends Settings {
  readonly measured: ReadonlyArray<Measured>
}

const titles: Record<Model, string> = { "event-loop": "event loop", threads: "threads", blocking: "blocking" }

/** Words of the table that are no header: numbers stand at the right. */
const rightAligned = (rows: ReadonlyArray<ReadonlyArray<string>>, from: number) => {
  const widths: Array<number> = []
  for (const row of rows)
    for (const [i, cell] of row.entries()) widths[i] = Math.max(widths[i] ?? 0, cell.length)
  return rows.map((row) => row.map((cell, i) => (i < from ? cell : cell.padStart(widths[i]!))))
}

const header = [
  ...["model", "load", "connections", "answers/s", "p50", "p99", "CPU"],
  ...["CPU each", "memory", "each", "errors", "TIME_WAIT"]
]

const loadOf = ({ load, webSockets }: Measured, wait: number) =>
  ({ hello: "/", wait: `/wait?ms=${wait}`, sockets: `/ and ${integer(webSockets)} idle WebSockets` })[load]

const or = <A>(value: A | undefined, show: (value: A) => string) => (value === undefined ? "-" : show(value))

const problemsOf = ({ errors, failures, refused }: Measured) =>
  [
    errors > 0 ? `${integer(errors)} ${failures.slice(0, 2).join(", ")}` : "",
    refused > 0 ? `${integer(refused)} not 2xx` : ""
  ]
    .filter((text) => text !== "")
    .join("; ") || "0"

/** The measurements as rows of texts, the first one the header. */
export const rows = ({ measured, wait }: Compared): ReadonlyArray<ReadonlyArray<string>> => [
  header,
  ...measured.map((one) => [
    titles[one.model],
    loadOf(one, wait),
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
  ])
]

const seriesOf = (measured: ReadonlyArray<Measured>, value: (one: Measured) => number | undefined) =>
  [...new Set(measured.map(({ model }) => model))].map((model) => ({
    name: titles[model],
    points: measured
      .filter((one) => one.load === "wait" && one.model === model)
      .flatMap((one): ReadonlyArray<readonly [number, number]> => {
        const y = value(one)
        return y === undefined ? [] : [[one.connections, y]]
      })
  }))

/** What the pictures show: throughput, and the slowest of a hundred, over connections. */
export const charts = ({ measured, threads, wait }: Compared): ReadonlyArray<Chart.Chart> => {
  const x = { label: "connections, each waiting for its answer before it asks again", log: true }
  const each = (value: (one: Measured) => string) =>
    measured
      .filter(({ load }) => load === "wait")
      .map((one) => `${titles[one.model]} with ${integer(one.connections)}: ${value(one)}`)
      .join("; ")
  return [
    {
      title: `answers a second, if a request waits ${time(wait)} (threads: ${threads})`,
      description: `Answers a second by number of connections. ${each(({ throughput }) => number(throughput))}.`,
      x,
      y: { label: "answers a second", log: true },
      series: seriesOf(measured, ({ throughput }) => throughput)
    },
    {
      title: "time to an answer: 99 of 100 are quicker (where answers stop coming: at least)",
      description: `The 99th percentile of the time to an answer by number of connections. ${each(({ p99 }) => quantile(p99))}.`,
      x,
      y: { label: "time", log: true, format: time },
      series: seriesOf(measured, ({ p99 }) => p99?.ms)
    }
  ]
}

const verdict = ({ holds }: Predicted) =>
  holds === undefined ? "unknown" : holds ? "holds" : "does not hold"

/** Table, pictures and predictions as lines for a terminal of so many columns. */
export const lines = (compared: Compared, columns: number): ReadonlyArray<string> => [
  ...Table.aligned(rightAligned(rows(compared), 2)),
  ...charts(compared).flatMap((chart) => ["", ...Chart.lines(chart, { columns, rows: 10 })]),
  "",
  "what the guide says, and what was measured",
  ...predictions(compared.measured, compared).flatMap((one) => [
    "",
    `${one.claim}`,
    `  ${verdict(one)}: ${one.measured}`
  ])
]

const title = "Models of web servers, measured"

const page = `:root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse;font-size:.85rem}th,td{padding:.2rem .6rem;text-align:right;border-bottom:1px solid #8886}th:nth-child(-n+2),td:nth-child(-n+2){text-align:left}
svg{max-width:100%;height:auto}div{overflow-x:auto}dt{margin-top:1rem;font-style:italic}`

const html = (compared: Compared): string => {
  const cells = (row: ReadonlyArray<string>, kind: "td" | "th") =>
    `<tr>${row.map((cell) => `<${kind}${kind === "th" ? ' scope="col"' : ""}>${Chart.escape(cell)}</${kind}>`).join("")}</tr>`
  const [head = [], ...body] = rows(compared)
  return `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${title}</title><style>${page}</style></head>
<body>
<h1>${title}</h1>
${Chart.svg(charts(compared), title)}
<div><table>
<thead>${cells(head, "th")}</thead>
<tbody>
${body.map((row) => cells(row, "td")).join("\n")}
</tbody>
</table></div>
<h2>What the guide says, and what was measured</h2>
<dl>
${predictions(compared.measured, compared)
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
export const pictures: Readonly<Record<string, (compared: Compared) => string>> = {
  ".svg": (compared) => Chart.svg(charts(compared), title),
  ".html": html
}

/** The view of the command: the table and the rest when all is measured; `columns` of the terminal. */
export const make = (
  columns: number
): Reporter.View<Event> & { readonly compared: () => Compared | undefined } => {
  const measured: Array<Measured> = []
  let settings: Settings | undefined
  let current = ""
  const end = (event: Extract<Event, { event: "compared" }>): Compared => {
    settings = { threads: event.threads, wait: event.wait }
    return { measured, ...settings }
  }
  return {
    compared: () => settings && { measured, ...settings },
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
          const predicted = predictions(measured, end(event))
          const { duration, exitCode, failed } = event
          const held = predicted.filter(({ holds }) => holds === true).length
          const summary = {
            measured: measured.length,
            failed,
            predictions: predicted.length,
            held,
            duration,
            exitCode
          }
          return [...predicted, { event: "summary", ...summary }]
        }
        default:
          return event
      }
    }
  }
}
