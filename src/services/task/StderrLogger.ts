import { inspect } from "node:util"
import { Cause, Effect, HashMap, List, Logger } from "effect"
import * as Failures from "../host/Failures.js"
import type { Output } from "../host/Output.js"
import { guarded, printable } from "../text/Foreign.js"
import * as Printable from "../text/Printable.js"
import { headline } from "./Causes.js"

const toText = (value: unknown): string => (typeof value === "string" ? value : inspect(value))

// The same entry as texts: reading one of its values may throw.
const readable = (entry: Logger.Logger.Options<unknown>): Logger.Logger.Options<unknown> => {
  const text = (value: unknown) => printable("a value", () => toText(value))
  const parts: ReadonlyArray<unknown> = Array.isArray(entry.message) ? entry.message : [entry.message]
  return {
    ...entry,
    message: parts.map(text),
    annotations: HashMap.map(entry.annotations, text),
    cause: Cause.isEmpty(entry.cause) ? entry.cause : Cause.fail(headline(entry.cause))
  }
}

/**
 * Effect's log on stderr, after the earlier output on stdout: on a terminal `12:00:00.000 INFO  message key=value`, else
 * logfmt. Paths inside `cwd` are shown relative to it.
 *
 * @since 0.1.0
 * @category functions
 */
export const stderr = (output: Output["Type"], cwd: string): Logger.Logger<unknown, void> => {
  const { colors, interactive } = output.stderr
  const pretty = Logger.make<unknown, string>((entry) => {
    const { annotations, cause, date, logLevel, message, spans } = entry
    const safe = (value: unknown) => Printable.lines(toText(value)).join("\n")
    const fields = [
      ...HashMap.map(annotations, (value, key) => `${key}=${safe(value)}`).pipe(HashMap.values),
      ...List.map(spans, (span) => `${span.label}=${date.getTime() - span.startTime}ms`)
    ]
    const text = (Array.isArray(message) ? message : [message]).map(safe)
    const level = logLevel.label.padEnd(5)
    const line = [
      date.toISOString().slice(11, 23),
      colors ? `\x1b[1m${level}\x1b[0m` : level,
      ...text,
      ...fields
    ].join(" ")
    return [
      line,
      ...(Cause.isEmpty(cause) ? [] : Failures.render(cause, { colors, cwd, label: "error" }))
    ].join("\n")
  })
  const format = interactive || colors ? pretty : Logger.logfmtLogger
  const safe = Logger.make<unknown, string>(
    (entry) => guarded(() => format.log(entry), undefined) ?? format.log(readable(entry))
  )
  return Logger.map(safe, (line) => Effect.runSync(output.note(line)))
}
