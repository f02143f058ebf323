import { plural } from "../../text/Plural.js"
import type { Failure as Report, Request } from "../Download.js"
import { contentRange, type Headers, one, strongValidator } from "./answers.js"
import { Failure } from "./failure.js"
import type { FileSink } from "./fileSink.js"

// A file in segments. Its first response goes on as that of any file, and its bytes are the first segment; further connections
// request the others, each with the same strong validator in `If-Range`, and write them at their places in the same partial
// file. A response is taken only if it proves the version, the total length and the range (as in answers.ts). The first
// connection stops where the next segment begins; if the server sends no ranges, it goes on through all of them. A segment whose
// connection breaks is requested again from where it stopped, without the others; so is the first.

/** No segment is smaller, in bytes. */
const smallest = 1024 * 1024
/** Further requests for a segment after failures in a row, and the pause before the first of them, in ms, which doubles. */
const retries = 3
const firstPause = 500
/** Between two records of what is written, in ms. */
const recordEvery = 1000
/** Between two reports of progress, in ms. */
const progressEvery = 100

type Range = readonly [from: number, end: number]

const noSegments = new Failure("dropped", "the server does not send the segments of the file", true)

/** A range that is not written yet: `at` moves towards `end`. */
interface Gap {
  at: number
  end: number
  /** Whether a connection fetches it. */
  taken: boolean
}

export interface Split {
  /** How many of these bytes at this position the first connection writes: fewer than all if another has the rest. */
  readonly take: (position: number, length: number) => number
  /** Whether the first connection has nothing more to do at this position. */
  readonly enough: (position: number) => boolean
  /** The first connection has ended at this position, in order or not: its segment is whole, or fetched by another one. */
  readonly leave: (position: number) => void
  /** The disk accepts more bytes. */
  readonly resume: () => void
  readonly progress: () => void
  /** Ends all connections; what is written stays. */
  readonly stop: () => Promise<void>
}

/** Divides ranges into at most so many, none of them small. */
export const divide = (ranges: ReadonlyArray<Range>, most: number): ReadonlyArray<Range> => {
  const all = ranges.reduce((sum, [from, end]) => sum + (end - from), 0)
  return ranges.flatMap(([from, end]) => {
    const length = end - from
    const share = Math.floor((most * length) / all)
    const parts = Math.max(1, Math.min(share, Math.floor(length / smallest)))
    const edge = (i: number) => from + Math.floor((length * i) / parts)
    return Array.from({ length: parts }, (_, i): Range => [edge(i), edge(i + 1)])
  })
}

/** Why the response is not that range of that version; `"changed"` if it is of another one. */
const whyNot = (
  status: number,
  headers: Headers,
  wanted: { readonly from: number; readonly end: number; readonly total: number; readonly validator: string }
): "changed" | "refused" | undefined => {
  const validator = strongValidator(headers)
  if (validator !== undefined && validator !== wanted.validator) return "changed"
  if (status !== 206) return "refused"
  const range = contentRange(headers)
  if (range?.total !== undefined && range.total !== wanted.total) return "changed"
  const length = one(headers["content-length"])
  const right =
    validator !== undefined &&
    range?.total !== undefined &&
    range.from === wanted.from &&
    range.end === wanted.end &&
    (length === undefined || Number(length) === range.end - range.from) &&
    (headers["content-encoding"] === undefined || one(headers["content-encoding"]) === "identity")
  return right ? undefined : "refused"
}

export const make = (options: {
  /** Connections, the first one included. */
  readonly most: number
  /** What is not written; the first response begins with the first of them. */
  readonly missing: ReadonlyArray<Range>
  readonly total: number
  readonly validator: string
  readonly sink: FileSink
  /** The request for a segment, without its range. */
  readonly request: Pick<Request, "url" | "headers" | "secrets">
  readonly start: (
    request: Request,
    callbacks: { readonly succeed: () => void; readonly fail: (report: Report) => void }
  ) => () => Promise<void>
  readonly onProgress: Request["onProgress"]
  /** All of the file is written. */
  readonly whole: () => void
  readonly fail: (error: unknown) => void
}): Split => {
  const { onProgress, request, sink, total, validator } = options
  const gaps: Array<Gap> = divide(options.missing, options.most).map(([at, end]) => ({
    at,
    end,
    taken: false
  }))
  /** The segment of the first connection. */
  let first: Gap | undefined = gaps[0]
  if (first !== undefined) first.taken = true
  /** Connections at once: fewer after the server has refused one. */
  let most = options.most
  /** Whether a response has proved that the server sends segments; until then the first connection goes on. */
  let proven = false
  let over = false
  let running = 0
  let progressAt = 0
  const aborts = new Set<() => Promise<void>>()
  const resumes = new Set<() => void>()
  const pauses = new Set<NodeJS.Timeout>()

  const missing = (next: number): ReadonlyArray<Range> =>
    gaps.map((gap): Range => [gap === first ? next : gap.at, gap.end]).filter(([at, end]) => at < end)
  const recording = setInterval(() => sink.save(), recordEvery)

  const stop = async () => {
    over = true
    clearInterval(recording)
    for (const pause of pauses) clearTimeout(pause)
    await Promise.all([...aborts].map((abort) => abort()))
  }
  const fail = (error: unknown) => {
    if (!over) options.fail(error)
  }
  const close = (gap: Gap) => {
    gaps.splice(gaps.indexOf(gap), 1)
    if (gaps.length > 0) return
    over = true
    clearInterval(recording)
    options.whole()
  }

  const refuse = (gap: Gap, why: unknown) => {
    gap.taken = false
    most = running + (first === undefined ? 0 : 1)
    if (most === 0) fail(why)
  }

  const fetch = (gap: Gap, failed: number) => {
    const from = gap.at
    const { end } = gap
    let abort: (() => Promise<void>) | undefined
    let ended = false
    let more: () => void = () => undefined
    const finish = () => {
      if (ended) return false
      ended = true
      running--
      if (abort !== undefined) aborts.delete(abort)
      resumes.delete(resume)
      return !over
    }
    const resume = () => more()
    const cut = (why: "changed" | "refused") => {
      if (!finish()) return
      void abort?.()
      const changed = new Failure("range", "the file has changed while its segments were downloaded", true)
      if (why === "changed") return fail(changed)
      refuse(gap, noSegments)
    }
    const retry = ({ detail, reason, retryAfter = 0, retryable, status }: Report) => {
      if (!finish()) return
      const times = gap.at > from ? 0 : failed
      const failure = new Failure(reason, detail, retryable, {
        retryAfter,
        ...(status === undefined ? {} : { status })
      })
      if (!retryable || times >= retries) return refuse(gap, retryable ? failure : noSegments)
      running++ // its slot stays
      const pause = setTimeout(
        () => {
          pauses.delete(pause)
          running--
          if (!over) fetch(gap, times + 1)
        },
        Math.max(firstPause * 2 ** times, Math.min(retryAfter, 30_000))
      )
      pauses.add(pause)
    }
    running++
    resumes.add(resume)
    abort = options.start(
      {
        ...request,
        headers: {
          ...request.headers,
          "accept-encoding": "identity",
          range: `bytes=${from}-${end - 1}`,
          "if-range": validator
        },
        receiver: {
          head: ({ headers, status }, resume) => {
            more = resume
            const why = whyNot(status, headers, { from, end, total, validator })
            if (why !== undefined) cut(why)
            else proven = true
          },
          data: (piece) => {
            if (over || ended) return true
            if (piece.length > end - gap.at) {
              cut("refused")
              return true
            }
            const full = sink.writeAt(piece as Buffer, gap.at)
            gap.at += piece.length
            progress()
            return !full
          }
        }
      },
      {
        succeed: () => {
          if (gap.at < end) {
            const detail = `${gap.at - from} of ${plural(end - from, "byte")} of a segment arrived`
            return retry({ reason: "dropped", url: "", detail, retryable: true })
          }
          if (!finish()) return
          close(gap)
          fill()
        },
        fail: retry
      }
    )
    if (ended) void abort()
    else aborts.add(abort)
  }

  /** Begins as many segments as there are free connections. */
  const fill = () => {
    const free = () => !over && running + (first === undefined ? 0 : 1) < most
    for (const gap of [...gaps]) {
      if (!free()) return
      if (gap.taken) continue
      gap.taken = true
      fetch(gap, 0)
    }
  }

  const progress = () => {
    if (onProgress === undefined) return
    const now = Date.now()
    if (now - progressAt < progressEvery) return
    progressAt = now
    onProgress(
      gaps.reduce((sum, { at, end }) => sum - (end - at), total),
      total
    )
  }

  /** Lets the first connection go on through a segment that no other one fetches; what is written of it is written again. */
  const extend = () => {
    const next = gaps[1]
    if (first === undefined || gaps[0] !== first || next === undefined || next.taken) return false
    first.end = next.end
    gaps.splice(1, 1)
    return true
  }

  // The partial file says what it is before anything is written to it; the requests need not wait for that.
  sink.inSegments(missing).then(() => {
    if (!over) sink.save()
  }, fail)
  fill()

  return {
    take: (position, length) => {
      if (first === undefined) return 0
      while (position + length > first.end && extend());
      const taken = proven ? Math.min(length, Math.max(0, first.end - position)) : length
      first.at = Math.min(position + taken, first.end)
      return taken
    },
    enough: (position) => {
      if (first === undefined) return true
      while (position >= first.end && extend());
      return proven && position >= first.end
    },
    leave: (position) => {
      const gap = first
      if (gap === undefined || over) return
      sink.flush()
      first = undefined
      if (!proven && position === total) {
        gaps.length = 0
        void stop()
        return options.whole()
      }
      if (position < gap.end) {
        gap.at = position
        gap.taken = false
      } else close(gap)
      fill()
    },
    resume: () => {
      for (const resume of [...resumes]) resume()
    },
    progress,
    stop
  }
}
