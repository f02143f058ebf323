import { deserialize, serialize } from "node:v8"
import { Duration, Either } from "effect"
import { formatSize } from "../../text/Sizes.js"
import {
  type ExecutorError,
  JobFailed,
  JobTimedOut,
  NotSerializable,
  WorkerCrashed
} from "../../thread/ExecutorError.js"
import type { Order } from "../../thread/internal/protocol.js"
import { reasonOf, whereUncloneable } from "../../thread/internal/task.js"
import type { Settled } from "../../thread/Job.js"

// Inputs and results as text in the store: structured clone, as between threads, in V8's format, as base64. Reading it makes
// plain values and evaluates nothing.

const write = (value: unknown): string => serialize(value).toString("base64")
const read = (text: string): unknown => deserialize(Buffer.from(text, "base64"))

/** Characters of base64 that a limit in bytes allows. */
const within = (text: string, limit: number) => text.length <= Math.ceil(limit / 3) * 4

const tooLarge = (text: string, limit: number) =>
  `it takes ${formatSize(Math.floor((text.length * 3) / 4))}, and at most ${formatSize(limit)} goes through the store; ` +
  "put it into Storage and pass its key"

/** What a row asks for: the arguments of each call, and what else the requesting fiber sends along. */
export interface Request {
  readonly inputs: ReadonlyArray<ReadonlyArray<unknown>>
  readonly context: Order["context"]
  /** Milliseconds of each call. */
  readonly timeout: number | undefined
}

/** The text of a request, the inputs first; the left is why they cannot cross. */
export const encodeRequest = (
  job: string,
  { inputs, ...rest }: Request,
  limit: number
): Either.Either<string, NotSerializable> => {
  const refuse = (detail: string) => Either.left(new NotSerializable({ job, part: "arguments", detail }))
  try {
    const text = write(inputs)
    return within(text, limit) ? Either.right(`${text} ${write(rest)}`) : refuse(tooLarge(text, limit))
  } catch (error) {
    return refuse(whereUncloneable(inputs.length === 1 ? inputs[0] : inputs, "arguments", error))
  }
}

/** The part of a request that a resumed submitter must ask for again. */
export const inputsOf = (text: string): string => text.slice(0, text.indexOf(" "))

/** Throws if the text cannot be read. */
export const decodeRequest = (text: string): Request => {
  const [inputs, rest] = text.split(" ").map(read)
  if (!Array.isArray(inputs) || inputs.length === 0 || !inputs.every((args) => Array.isArray(args))) {
    throw new TypeError("they are no list")
  }
  return { ...(rest as Omit<Request, "inputs">), inputs }
}

type Ended = { readonly run: number; readonly attempts: number } & (
  | { readonly value: unknown }
  | { readonly error: Omit<ExecutorError, "name" | "stack"> }
)

/** What became of each input of a row, or why nothing did. */
type Result = ReadonlyArray<Ended> | { readonly lost: number } | { readonly unreadable: string }

/** The result of a row under which this many runners died. */
export const poison = (tries: number): string => write({ lost: tries } satisfies Result)
export const unreadable = (reason: string): string => write({ unreadable: reason } satisfies Result)

const plain = (error: ExecutorError): Omit<ExecutorError, "name" | "stack"> => {
  const fields: Record<string, unknown> = { ...error }
  return (
    error._tag === "JobTimedOut" ? { ...fields, after: Duration.toMillis(error.after) } : fields
  ) as never
}

const ofPlain = (error: Record<string, any>): ExecutorError => {
  switch (error["_tag"]) {
    case "JobFailed":
      return new JobFailed(error as never)
    case "JobTimedOut":
      return new JobTimedOut({ job: error["job"], after: Duration.millis(error["after"]) })
    case "NotSerializable":
      return new NotSerializable(error as never)
    default:
      return new WorkerCrashed(error as never)
  }
}

/** A result of more bytes than the limit is a failure of its inputs. */
export const encodeResult = (
  job: string,
  settled: ReadonlyArray<Settled<unknown>>,
  limit: number
): string => {
  const refuse = (run: number, attempts: number, detail: string): Ended => ({
    run,
    attempts,
    error: plain(new NotSerializable({ job, part: "result", detail }))
  })
  const one = ({ attempts = 1, result, run }: Settled<unknown>): Ended =>
    Either.isRight(result)
      ? { run, attempts, value: result.right }
      : { run, attempts, error: plain(result.left) }
  const attempt = (list: ReadonlyArray<Ended>, most: number): string => {
    const text = write(list)
    if (!within(text, most)) throw new RangeError(tooLarge(text, most))
    return text
  }
  try {
    return attempt(settled.map(one), limit)
  } catch {
    // Each by itself: those that cannot cross, or take more than their share, fail.
    const share = Math.floor(limit / settled.length)
    return write(
      settled.map((item) => {
        try {
          attempt([one(item)], share)
          return one(item)
        } catch (error) {
          return refuse(item.run, item.attempts ?? 1, reasonOf(error))
        }
      })
    )
  }
}

/** The results of a row of `count` inputs. */
export const decodeResult = (job: string, count: number, text: string): ReadonlyArray<Settled<any>> => {
  const all = (detail: string, reason: "signal" | "start") =>
    Array.from({ length: count }, () => ({
      run: 0,
      result: Either.left(new WorkerCrashed({ job, reason, detail }))
    }))
  try {
    const result = read(text) as Result
    if ("lost" in result)
      return all(`${result.lost} runners died while they had it; it is not tried again`, "signal")
    if ("unreadable" in result) return all(`its inputs cannot be read: ${result.unreadable}`, "start")
    if (!Array.isArray(result) || result.length !== count)
      throw new RangeError("it has another number of results")
    return result.map((ended: Ended) => ({
      run: ended.run,
      attempts: ended.attempts,
      result: "error" in ended ? Either.left(ofPlain(ended.error)) : Either.right(ended.value)
    }))
  } catch (error) {
    return all(`its result cannot be read: ${reasonOf(error)}`, "start")
  }
}
