import { constants } from "node:os"
import { Either } from "effect"
import type * as Backoff from "../../services/task/Backoff.js"
import * as Durations from "../../services/text/Durations.js"
import * as Sizes from "../../services/text/Sizes.js"
import type { Parse } from "./Flag.js"

// The parsers of the values of options: one for each kind of value. Ranges are checked here, before anything starts.

/** Any text but an empty one; `what` names it in the message. */
export const text =
  (what: string): Parse<string> =>
  (given) =>
    given === "" ? Either.left(`'' is empty; expected ${what}`) : Either.right(given)

/** A duration in milliseconds: `90s`, `1h30m`; a bare number is seconds. */
export const duration: Parse<number> = Durations.duration

/** A duration above 0. A limit of 0 would fail everything; no limit is the absence of the option. */
export const span: Parse<number> = (given) =>
  Either.filterOrLeft(
    Durations.duration(given),
    (ms) => ms > 0,
    () => `'${given}' is out of range; expected a duration above 0, like 90s or 1h30m`
  )

/** A size in bytes, `least` or more. */
export const size =
  (least: number): Parse<number> =>
  (given) =>
    Sizes.sizeFrom(least)(given)

/** A whole number from `least` to `most`. */
export const integer =
  (least: number, most = Number.MAX_SAFE_INTEGER): Parse<number> =>
  (given) => {
    const number = Number(given)
    if (/^\d+$/.test(given.trim()) && number >= least && number <= most) return Either.right(number)
    const range = most === Number.MAX_SAFE_INTEGER ? `${least} or more` : `${least} to ${most}`
    return Either.left(`'${given}': expected a whole number, ${range}`)
  }

/** The names of signals, for completions. */
export const signals = Object.keys(constants.signals).map((name) => name.slice(3))

/** The name of a signal: `INT`, `sigint`. */
export const signal: Parse<NodeJS.Signals> = (given) => {
  const name = `SIG${given.trim().toUpperCase().replace(/^SIG/, "")}`
  return Object.hasOwn(constants.signals, name)
    ? Either.right(name as NodeJS.Signals)
    : Either.left(`'${given}' is not a signal; expected one like INT, TERM or QUIT`)
}

/** A URL of HTTP. */
export const url: Parse<string> = (given) =>
  URL.canParse(given) && /^https?:$/.test(new URL(given).protocol)
    ? Either.right(given)
    : Either.left(`'${given}' is not a URL; expected http or https, like http://localhost:8080/health`)

/** A TCP port, or `least` 0 for any free one. */
export const port =
  (least: 0 | 1): Parse<number> =>
  (given) =>
    /^\d{1,5}$/.test(given) && Number(given) >= least && Number(given) < 65_536
      ? Either.right(Number(given))
      : Either.left(`'${given}' is not a port; expected ${least} to 65535`)

/** A number of jobs at once, absolute or relative to the processors. */
export interface Jobs {
  readonly of: "number" | "percent" | "more"
  readonly n: number
}

/** The most jobs at once. */
const mostJobs = 100_000

export const jobs: Parse<Jobs> = (given) => {
  const match = /^(\+?)(\d+)(%?)$/.exec(given.trim())
  if (match === null || (match[1] !== "" && match[3] !== "")) {
    return Either.left(
      `'${given}' is not a number of jobs; expected 8, 50% (of the processors) or +2 (more than these)`
    )
  }
  const n = Number(match[2])
  if (n === 0 && match[1] === "") return Either.left(`'${given}' is out of range; expected 1 or more`)
  if (n > mostJobs) return Either.left(`'${given}' is out of range; expected at most ${mostJobs}`)
  return Either.right({ of: match[1] !== "" ? "more" : match[3] !== "" ? "percent" : "number", n })
}

/** The number of jobs on a machine with so many processors. */
export const jobCount = ({ n, of }: Jobs, cpus: number): number =>
  of === "number" ? n : of === "more" ? cpus + n : Math.max(1, Math.round((cpus * n) / 100))

/** Further attempts, and the pauses before them. */
export interface Retries {
  readonly retries: number
  readonly backoff: Backoff.Backoff
}

/** `N[,FIRST[,MAX]]`: `3`, `5,1s`, `5,200ms,10s`. */
export const retries: Parse<Retries> = (given) =>
  Either.gen(function* () {
    const [times = "", first, max, ...more] = given.split(",")
    if (more.length > 0)
      yield* Either.left(`'${given}' has too many parts; expected N[,FIRST[,MAX]], like 5,1s,1m`)
    const count = yield* integer(0)(times)
    const backoff = {
      ...(first === undefined ? {} : { first: yield* duration(first) }),
      ...(max === undefined ? {} : { max: yield* span(max) })
    }
    return { retries: count, backoff }
  })

/** {@link retries}, whose N may be `unlimited`. */
export const restarts: Parse<Retries> = (given) => {
  const rest = /^unlimited(?=,|$)(.*)/.exec(given)?.[1]
  return rest === undefined
    ? Either.mapLeft(retries(given), (problem) =>
        problem.replace("whole number", "whole number or unlimited")
      )
    : Either.map(retries(`0${rest}`), (found) => ({ ...found, retries: Number.POSITIVE_INFINITY }))
}

/** An export of a file. */
export interface ModuleExport {
  readonly file: string
  /** Undefined: the default export, or main. */
  readonly name: string | undefined
}

/** `FILE[#EXPORT]`; the last `#` counts, so that the name of a file may contain one if an export follows. */
export const moduleExport: Parse<ModuleExport> = (given) => {
  const hash = given.lastIndexOf("#")
  const [file, name] = hash < 0 ? [given, undefined] : [given.slice(0, hash), given.slice(hash + 1)]
  return file === "" || name === ""
    ? Either.left(
        `'${given}' names no ${file === "" ? "file" : "export"}; expected FILE or FILE#EXPORT, like ./images.ts#thumbnail`
      )
    : Either.right({ file, name })
}

/** A rate: `10/s`, `100/m`, `5/10s`; a bare number is per second. */
export const rate: Parse<{ readonly limit: number; readonly interval: number }> = (given) => {
  const match = /^(\d+(?:\.\d+)?)(?:\/(\d*)(ms|s|m|h|d))?$/.exec(given.trim())
  const limit = Number(match?.[1] ?? 0)
  if (match === null || !(limit > 0)) {
    return Either.left(`'${given}' is not a rate; expected one like 10/s, 100/m or 5/10s`)
  }
  return Either.map(span(`${match[2] || 1}${match[3] ?? "s"}`), (interval) => ({ limit, interval }))
}

/** A share in percent, above 0 and at most `most`. */
export const percent =
  (most: number): Parse<number> =>
  (given) => {
    const share = Number(/^(\d+(?:\.\d+)?)%$/.exec(given.trim())?.[1] ?? Number.NaN)
    return share > 0 && share <= most
      ? Either.right(share / 100)
      : Either.left(
          `'${given}' is not a percentage; expected one above 0%${most === Infinity ? "" : `, at most ${most}%`}`
        )
  }
