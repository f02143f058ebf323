import type { Measured, Model } from "../../programs/ServerCompare.js"
import * as Comparison from "../kernel/Comparison.js"
import { predictions, type Settings } from "./predictions.js"

const titles: Record<Model, string> = { "event-loop": "event loop", threads: "threads", blocking: "blocking" }

const loadOf = ({ load, webSockets }: Measured, wait: number) =>
  ({
    hello: "/",
    wait: `/wait?ms=${wait}`,
    sockets: `/ and ${Comparison.integer(webSockets)} idle WebSockets`
  })[load]

/** What is shown of the measurements. */
export const report = (measured: ReadonlyArray<Measured>, settings: Settings): Comparison.Report => {
  const { threads, wait } = settings
  const waiting = measured.filter(({ load }) => load === "wait")
  return {
    title: "Models of web servers, measured",
    rows: [
      Comparison.header,
      ...measured.map((one) => Comparison.row(titles[one.model], loadOf(one, wait), one))
    ],
    charts: Comparison.charts(waiting, titles, {
      answers: "answers a second",
      what: "an answer",
      when: `if a request waits ${Comparison.time(wait)} (threads: ${threads})`
    }),
    predictions: predictions(measured, settings)
  }
}
