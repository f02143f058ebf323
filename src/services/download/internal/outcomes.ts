import { Cause, type Clock, Option } from "effect"
import * as EventLine from "../../host/EventLine.js"
import type * as Events from "../../host/Events.js"
import { codes, isFailureCode, ofMany } from "../../host/ExitCodes.js"
import * as Printable from "../../text/Printable.js"
import type * as Download from "../Download.js"

// What becomes of each download: its last event, and the counts of the summary.

type Event = Exclude<typeof Events.Gather.Type, { readonly event: "planned" }>
type Finished = Extract<Event, { readonly event: "finished" }>

/** Why a download with `existing: "newer"` is skipped. */
export const notModified = "not modified"

/** What the events of a download tell of it. */
export interface Item {
  readonly index: number
  readonly request: Download.DownloadRequest
  readonly url: string
  /** Notes that were emitted already. */
  readonly notes: Set<string>
  /** Attempts so far, and when the last one began. */
  attempts: number
  begun: bigint
  /** Bytes on the disk with which a further attempt continues. */
  kept: number
}

/** Makes the counts of a run that begins now. */
export const make = (clock: Clock.Clock, emit: (event: Event) => void) => {
  const begun = clock.unsafeCurrentTimeNanos()
  const since = (nanos: bigint) => EventLine.ms(Number(clock.unsafeCurrentTimeNanos() - nanos) / 1e6)
  const counts = EventLine.tally([])
  const causes: Record<string, number> = {}
  const keptParts = { files: 0, bytes: 0 }
  let retries = 0
  let bytes = 0

  const finish = (
    { attempts, begun, index, url }: Item,
    status: Events.Status,
    more: Partial<Omit<Finished, "event">>
  ) => {
    counts[status]++
    const duration = attempts === 0 ? 0 : since(begun)
    const made = attempts === 0 || status === "skipped" ? {} : { attempts }
    emit({ event: "finished", index, name: url, status, duration, ...more, ...made })
  }
  /** The end of a download that did not succeed, with what is left of it on the disk. */
  const lost = (item: Item, status: "failed" | "cancelled" | "timed_out", more: Partial<Finished>) => {
    if (item.kept === 0) return finish(item, status, more)
    keptParts.files++
    keptParts.bytes += item.kept
    finish(item, status, { ...more, kept: item.kept })
  }
  const note = ({ index, notes, url }: Item, text: string) => {
    const reason = Printable.line(text) // it may quote file names that another program chose
    if (notes.has(reason)) return
    notes.add(reason)
    emit({ event: "note", index, name: url, reason })
  }
  const exitCode = (stopped: string | undefined, broken: Cause.Cause<unknown> | undefined): number => {
    if (broken !== undefined) {
      const error = Option.getOrUndefined(Cause.failureOption(broken)) as
        | { readonly exitCode?: unknown }
        | undefined
      return isFailureCode(error?.exitCode) ? error.exitCode : codes.failed
    }
    const failures = [
      ...(counts.failed === 0 ? [] : [codes.failed]),
      ...(counts.timed_out === 0 ? [] : [codes.timedOut])
    ]
    return ofMany(failures, stopped)
  }

  return {
    begun,
    note,
    succeeded: (item: Item, downloaded: Download.Downloaded) => {
      const { host, path, resumedFrom, size, skipped, status } = downloaded
      if (downloaded.note !== undefined) note(item, downloaded.note)
      const { checksum } = item.request
      const file = {
        bytes: size,
        ...(path === undefined ? {} : { path }),
        ...(host === undefined ? {} : { host }),
        ...(checksum === undefined ? {} : { [checksum.algorithm]: checksum.hex })
      }
      if (skipped) {
        const reason = status === 304 ? notModified : "it already exists"
        return finish(item, "skipped", { reason, ...file })
      }
      bytes += size - resumedFrom
      const resumed = resumedFrom === 0 ? {} : { resumedFrom }
      finish(item, "succeeded", { ...file, ...resumed, httpStatus: status })
    },
    failed: (item: Item, { detail, reason: cause, status }: Download.DownloadError) => {
      causes[cause] = (causes[cause] ?? 0) + 1
      const http = status === undefined ? {} : { httpStatus: status }
      lost(item, cause === "timeout" ? "timed_out" : "failed", { reason: detail, cause, ...http })
    },
    skipped: (item: Item, reason: string) => finish(item, "skipped", { reason }),
    cancelled: (item: Item, reason: string | undefined) =>
      lost(item, "cancelled", reason === undefined ? {} : { reason }),
    retrying: (item: Item, attempt: number, delay: number, { detail, reason }: Download.DownloadError) => {
      retries++
      item.attempts = attempt
      const { index, url } = item
      emit({ event: "retrying", index, name: url, attempt, delay, reason: detail, cause: reason })
    },
    /** The last event. `stopped`: why the run was stopped from outside. `broken`: how the list failed. */
    summary: (stopped: string | undefined, broken: Cause.Cause<unknown> | undefined) =>
      emit({
        event: "summary",
        ...counts,
        duration: since(begun),
        exitCode: exitCode(stopped, broken),
        bytes,
        retries,
        causes,
        ...(keptParts.files === 0 ? {} : { kept: keptParts })
      })
  }
}
