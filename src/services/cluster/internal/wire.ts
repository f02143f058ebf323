import { isDeepStrictEqual } from "node:util"
import { deserialize, serialize } from "node:v8"
import { Duration, Effect, Either } from "effect"
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
import * as Objects from "./objects.js"

// Inputs and results as text in the store: structured clone, as between threads, in V8's format, as base64; those that are too
// large are objects in a storage. Reading them makes plain values and evaluates nothing.

const write = (value: unknown): string => serialize(value).toString("base64")
const read = (given: string | Uint8Array): unknown =>
  deserialize(typeof given === "string" ? Buffer.from(given, "base64") : given)

/** What a row has room for, in bytes, and whether there is a storage for more. */
export interface Room {
  readonly limit: number
  readonly isStored: boolean
}

const most = ({ isStored, limit }: Room) => (isStored ? Math.max(limit, Objects.largest) : limit)

const tooLarge = (bytes: number, limit: number, { isStored }: Room) =>
  `it takes ${formatSize(bytes)}, and at most ${formatSize(limit)} goes through the ` +
  (isStored
    ? "storage"
    : "store; give a storage for more to submitter and runners: --storage, or Options.storage")

/** What a row asks for: the arguments of each call, and what else the requesting fiber sends along. */
export interface Request {
  readonly inputs: ReadonlyArray<ReadonlyArray<unknown>>
  readonly context: Order["context"]
  /** Milliseconds of each call. */
  readonly timeout: number | undefined
}

/** The text of a request, the inputs first. Inputs for the storage are not in it: it begins with the space behind them. */
export interface EncodedRequest {
  readonly args: string
  readonly large: Uint8Array | undefined
}

/** The left is why the inputs cannot cross. */
export const encodeRequest = (
  job: string,
  { inputs, ...rest }: Request,
  room: Room
): Either.Either<EncodedRequest, NotSerializable> => {
  const refuse = (detail: string) => Either.left(new NotSerializable({ job, part: "arguments", detail }))
  try {
    const bytes = serialize(inputs)
    const behind = ` ${write(rest)}`
    if (bytes.length > most(room)) return refuse(tooLarge(bytes.length, most(room), room))
    return Either.right(
      bytes.length > room.limit
        ? { args: behind, large: bytes }
        : { args: bytes.toString("base64") + behind, large: undefined }
    )
  } catch (error) {
    return refuse(whereUncloneable(inputs.length === 1 ? inputs[0] : inputs, "arguments", error))
  }
}

/** The inputs in the text of a request, or the reference to their object. */
const inputsOf = (text: string): string => text.slice(0, text.indexOf(" "))

/**
 * Whether the inputs of two requests are the same, as those of a run that is continued must be. V8 writes one value in several
 * ways, by how it holds it, so texts that differ are read. `get` reads an object.
 */
export const areSame = (
  one: string,
  other: string,
  get: (text: string) => Effect.Effect<Uint8Array, string>
): Effect.Effect<boolean> => {
  if (inputsOf(one) === inputsOf(other)) return Effect.succeed(true)
  const inputs = (text: string): Effect.Effect<unknown, unknown> =>
    Objects.isReference(text)
      ? Effect.flatMap(get(text), (bytes) => Effect.try(() => read(bytes)))
      : Effect.try(() => read(inputsOf(text)))
  return Effect.orElseSucceed(Effect.zipWith(inputs(one), inputs(other), isDeepStrictEqual), () => false)
}

/** Throws if the text, or the inputs from the storage, cannot be read. */
export const decodeRequest = (text: string, stored?: Uint8Array): Request => {
  const [first = "", behind = ""] = text.split(" ")
  const [inputs, rest] = [read(stored ?? first), read(behind)]
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

const refuse = (job: string, { attempts = 1, run }: Settled<unknown>, detail: string): Ended => ({
  run,
  attempts,
  error: plain(new NotSerializable({ job, part: "result", detail }))
})

/** The result of a row whose results cannot be stored. */
export const unstored = (job: string, settled: ReadonlyArray<Settled<unknown>>, detail: string): string =>
  write(settled.map((item) => refuse(job, item, detail)))

/** The results of a row as bytes: for the row, or above its limit for the storage. One that is too large fails its input. */
export const encodeResult = (
  job: string,
  settled: ReadonlyArray<Settled<unknown>>,
  room: Room
): Uint8Array => {
  const one = ({ attempts = 1, result, run }: Settled<unknown>): Ended =>
    Either.isRight(result)
      ? { run, attempts, value: result.right }
      : { run, attempts, error: plain(result.left) }
  const attempt = (list: ReadonlyArray<Ended>, limit: number): Uint8Array => {
    const bytes = serialize(list)
    if (bytes.length > limit) throw new RangeError(tooLarge(bytes.length, limit, room))
    return bytes
  }
  try {
    return attempt(settled.map(one), most(room))
  } catch {
    // Each by itself: those that cannot cross, or take more than their share, fail.
    const share = Math.floor(most(room) / settled.length)
    return serialize(
      settled.map((item) => {
        try {
          attempt([one(item)], share)
          return one(item)
        } catch (error) {
          return refuse(job, item, reasonOf(error))
        }
      })
    )
  }
}

/** The results of a row of `count` inputs: of its text, or of the bytes in the storage. */
export const decodeResult = (
  job: string,
  count: number,
  given: string | Uint8Array
): ReadonlyArray<Settled<any>> => {
  const all = (detail: string, reason: "signal" | "start") =>
    Array.from({ length: count }, () => ({
      run: 0,
      result: Either.left(new WorkerCrashed({ job, reason, detail }))
    }))
  try {
    const result = read(given) as Result
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
