import { Effect, type Scope } from "effect"
import * as EventLine from "../../services/host/EventLine.js"
import type { Status } from "../../services/host/Events.js"
import { codes } from "../../services/host/ExitCodes.js"
import * as Output from "../../services/host/Output.js"
import * as Durations from "../../services/text/Durations.js"
import * as Printable from "../../services/text/Printable.js"
import * as Table from "../../services/text/Table.js"
import * as Screen from "./Screen.js"

// From events to the terminal, for all commands. A command has a view, which is plain code from an event to what it shows;
// where that goes is decided here: results to stdout, everything else to stderr, above one live area on a terminal.

/** What is written at once. */
export type Piece = string | Uint8Array

/** What an event shows. Texts are lines; control characters in them are made visible. Bytes pass unchanged. */
export interface Shown {
  /** Results: bytes, with their line ends. */
  readonly bytes?: ReadonlyArray<Piece> | Piece | undefined
  /** A result: a line of ours, with names from outside in it. */
  readonly line?: string | undefined
  /** What a child process wrote to its stderr. */
  readonly errors?: Uint8Array | undefined
  /** Dropped by -qq. */
  readonly failure?: string | undefined
  /** Dropped by -q. */
  readonly note?: string | undefined
  /** The table at the end, of several lines that are safe already; dropped by -q. */
  readonly summary?: string | undefined
}

/** Lines of `--json` with their ends, in pieces: a large value is a piece of its own. */
export class Lines {
  constructor(readonly pieces: ReadonlyArray<Piece>) {}
}

/** The view of a command: its state is its own, and it does no I/O. */
export interface View<E> {
  readonly show: (event: E) => Shown | undefined
  /** The lines of the live area, cut at `columns`; drawn after events, and each second if `ticks`. */
  readonly live?: (columns: number) => ReadonlyArray<string>
  readonly ticks?: boolean
  /** The events of `--json`, or their lines, if that is not the event itself; undefined leaves it out. */
  readonly json?: (event: E) => object | string | Lines | ReadonlyArray<object> | undefined
}

export interface Settings {
  readonly json: boolean
  /** 1 drops notes and the summary, 2 failures too. */
  readonly quiet: number
  /** Draws the live area, on a terminal. */
  readonly progress?: boolean | undefined
}

export interface Reporter<E> {
  /** Draws events, with one write for each run of small results. */
  readonly report: (events: Iterable<E>) => Effect.Effect<void>
  /** A line on stderr that is no event: -q drops it. */
  readonly note: (line: string) => Effect.Effect<void>
  /** Whether progress is drawn: for events that are costly to make. */
  readonly isLive: boolean
}

/** When the reader of stdout has gone the run is cancelled for that, and ends without a word. */
const isUnread = (event: object): boolean =>
  ("reason" in event && event.reason === "SIGPIPE") ||
  ("event" in event && event.event === "summary" && "exitCode" in event && event.exitCode === codes.SIGPIPE)

/** Bytes of pieces that are larger on average are not joined: the copy costs more than the writes. */
const large = 8 * 1024

/** Most bytes of pieces that are joined: two results of 300 MB do not fit in one string. */
const mostJoined = 1 << 24

const joined = (pieces: ReadonlyArray<Piece>): ReadonlyArray<Piece> => {
  let size = 0
  let isText = true
  for (const piece of pieces) {
    size += piece.length
    isText &&= typeof piece === "string"
  }
  if (pieces.length <= 1 || size > mostJoined) return pieces
  if (isText) return [pieces.join("")]
  if (size > large * pieces.length) return pieces
  return [Buffer.concat(pieces.map((piece) => (typeof piece === "string" ? Buffer.from(piece) : piece)))]
}

export const make = <E extends { readonly event: string }>(
  view: View<E>,
  { json, progress = false, quiet }: Settings
): Effect.Effect<Reporter<E>, never, Output.Output | Scope.Scope> =>
  Effect.gen(function* () {
    const output = yield* Output.Output
    const { live } = view
    const draws = live !== undefined && progress && output.stderr.interactive && !json && quiet === 0
    const screen = draws ? yield* Screen.make(live) : undefined
    const shared = screen !== undefined && output.stdout.interactive
    const toErr = (line: string) =>
      screen === undefined ? output.note(line) : Effect.sync(() => screen.log(line))
    const toOut = (piece: Piece) => {
      if (!shared) return output.write(piece)
      return Effect.sync(() => screen.write(typeof piece === "string" ? Buffer.from(piece) : piece))
    }
    if (screen !== undefined && view.ticks === true) {
      const timer = setInterval(screen.refresh, 1000)
      timer.unref()
      yield* Effect.addFinalizer(() => Effect.sync(() => clearInterval(timer)))
    }
    const report = (events: Iterable<E>): Effect.Effect<void> => {
      const steps: Array<Effect.Effect<void>> = []
      let out: Array<Piece> = []
      const flush = () => {
        for (const piece of joined(out)) steps.push(toOut(piece))
        out = []
      }
      const put = (pieces: ReadonlyArray<Piece> | Piece) => {
        if (!Array.isArray(pieces)) out.push(pieces as Piece)
        else for (const piece of pieces) out.push(piece)
      }
      const err = (line: string) => {
        flush()
        steps.push(toErr(line))
      }
      for (const event of events) {
        if (json) {
          const shown = view.json === undefined ? event : (view.json(event) ?? [])
          for (const one of Array.isArray(shown) ? shown : [shown])
            if (one instanceof Lines) put(one.pieces)
            else out.push(`${typeof one === "string" ? one : EventLine.encode(one)}\n`)
          continue
        }
        const shown = view.show(event)
        if (shown === undefined || isUnread(event)) continue
        if (shown.bytes !== undefined) put(shown.bytes)
        if (shown.line !== undefined) out.push(`${Printable.line(shown.line)}\n`)
        if (shown.errors !== undefined) {
          flush()
          const { errors } = shown
          steps.push(
            screen === undefined ? output.writeError(errors) : Effect.sync(() => screen.write(errors))
          )
        }
        if (shown.failure !== undefined && quiet < 2) err(Printable.line(shown.failure))
        if (shown.note !== undefined && quiet < 1) err(Printable.line(shown.note))
        if (shown.summary !== undefined && quiet < 1) err(shown.summary)
      }
      flush()
      screen?.refresh()
      return steps.length > 1 ? Effect.all(steps, { discard: true }) : (steps[0] ?? Effect.void)
    }
    return {
      report,
      note: (line) => (quiet > 0 || json ? Effect.void : toErr(Printable.line(line))),
      isLive: screen !== undefined
    }
  })

/** The event of `--json` for output that is whole lines, or all of it: its bytes as text. */
export const asText = (event: object): object => {
  if (!("bytes" in event && event.bytes instanceof Uint8Array)) return event
  const { bytes, ...others } = event
  return { ...others, text: Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString() }
}

/**
 * The events of `--json` for commands whose output is cut anywhere: output as text, each cut between characters. What is
 * left of a character comes before the event that ends the run or the attempt.
 */
export const withText = () => {
  const texts = EventLine.texts()
  return (event: { readonly event: string } & object): ReadonlyArray<object> => {
    if (!("index" in event && "name" in event)) return [event]
    const { index, name } = event
    const output = (stream: unknown, text: string) =>
      text === "" ? [] : [{ event: "output", index, name, stream, text }]
    if (event.event === "output" && "bytes" in event && "stream" in event) {
      const { bytes, stream } = event
      return output(stream, texts.decode(`${index} ${stream}`, bytes as Uint8Array))
    }
    if (event.event !== "finished" && event.event !== "retrying") return [event]
    return [
      ...["stdout", "stderr"].flatMap((stream) => output(stream, texts.end(`${index} ${stream}`))),
      event
    ]
  }
}

// lines that all commands share

/** Most characters of a name in a line. */
const longest = 240

/** The beginning and the end of a long name. */
export const brief = (text: string): string =>
  text.length <= longest ? text : `${text.slice(0, longest / 2)} … ${text.slice(20 - longest / 2)}`

const words: Readonly<Record<Status, string>> = {
  succeeded: "succeeded",
  failed: "failed",
  cancelled: "cancelled",
  skipped: "skipped",
  timed_out: "timed out"
}

/** The line of a piece of work that did not succeed: `Failed NAME: REASON`. */
export const failed = (event: {
  readonly name: string
  readonly status: Status
  readonly reason?: string | undefined
}): string => {
  const word = words[event.status]
  return `${word[0]!.toUpperCase()}${word.slice(1)} ${brief(event.name)}${event.reason === undefined ? "" : `: ${brief(event.reason)}`}`
}

/** The line of a process that was asked to end. */
export const lingering = (event: {
  readonly name: string
  readonly pid: number
  readonly left: number
}): string =>
  `waiting for ${brief(event.name)} (pid ${event.pid}), which is killed in ${Durations.formatDuration(event.left)}`

/** A run is in a store. */
export interface Submitted {
  readonly event: "submitted"
  readonly run: string
}

export const submitted = ({ run }: Submitted): string =>
  `run ${run}; if this process is killed, --run ${run} continues it`

/** The line before another attempt. */
export const retrying = (event: {
  readonly name: string
  readonly reason: string
  readonly attempt: number
  readonly delay: number
}): string =>
  `${brief(event.name)}: ${brief(event.reason)}; attempt ${event.attempt} in ${Durations.formatDuration(event.delay)}`

/** The counts of a summary: `3 succeeded, 1 failed`. */
export const counts = (summary: Readonly<Record<Status, number>>): string => {
  const parts = (Object.keys(words) as Array<Status>)
    .filter((status) => status === "succeeded" || summary[status] > 0)
    .map((status) => `${summary[status]} ${words[status]}`)
  return parts.join(", ")
}

/** The table of a summary: what was done, by status, then the command's own rows, if they have a value, and the time. */
export const summary = (
  noun: string,
  event: Readonly<Record<Status, number>> & { readonly duration: number },
  rows: ReadonlyArray<readonly [name: string, value: string | undefined]> = []
): string =>
  Table.keyed([[noun, counts(event)], ...rows, ["time", Durations.formatDuration(event.duration)]]).join("\n")
