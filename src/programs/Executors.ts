import { Cause, Clock, Effect, Either, Option, Stream } from "effect"
import { codes } from "../services/host/ExitCodes.js"
import * as Output from "../services/host/Output.js"
import * as GuideServer from "../services/http/GuideServer.js"
import { headline } from "../services/task/Causes.js"
import * as Gather from "../services/task/Gather.js"
import * as Executor from "../services/thread/Executor.js"

/**
 * Makes a blocking function an effect: it runs on a thread of the executor while the event loop turns on
 * (asyncio: `loop.run_in_executor(executor, fn, *args)`). The function must be self-contained, because its source is
 * shipped; `Executor.job` names one in a module instead. Fails with the errors of `Executor.blocking`.
 *
 * @example
 * ```ts
 * import { Clock, Effect, Either, Option, Stream } from "effect"
 * import * as Executors from "effect-asyncio/programs/Executors"
 * import * as Executor from "effect-asyncio/services/Executor"
 *
 * const hash = Executors.blocking(async (password: string) => {
 *   const { scryptSync } = await import("node:crypto")
 *   return scryptSync(password, "salt", 64).toString("hex")
 * }, "secret")
 *
 * export const program = hash.pipe(Effect.provide(Executor.layerThreads({ maxWorkers: 2 })))
 * ```
 */
export const blocking: <Args extends ReadonlyArray<any>, A>(
  fn: Executor.Blocking<Args, A>,
  ...args: Args
) => Effect.Effect<A, Executor.ExecutorError, Executor.Executor> = Executor.blocking

/** An input of {@link items}: what a person wrote, and the value that it stands for or why it stands for none. */
export interface ItemInput {
  readonly text: string
  readonly value: Either.Either<unknown, string>
}

/** Settings of {@link items}. */
export interface ItemsOptions extends Executor.EachOptions {
  /** `"cancel"` (default): the first failure ends the jobs under way and starts no others; `"continue"`: they go on. */
  readonly onFailure?: "cancel" | "continue" | undefined
  /** What its event has as the value of a result; what it throws is a failure of the item. Default: the value itself. */
  readonly encode?: ((value: unknown) => unknown) | undefined
}

/** Milliseconds below which so much of all times are. */
export interface Quantiles {
  readonly p50: number
  readonly p95: number
  readonly p99: number
}

/** What happens in {@link items}. `seq` is the item's number in the input, from 1. */
export type ItemEvent =
  | {
      readonly event: "result"
      readonly seq: number
      readonly item: string
      readonly value: unknown
      /** Milliseconds that its job ran, and that it waited for a thread. */
      readonly run: number
      readonly wait: number
      readonly attempts: number
    }
  | {
      readonly event: "failed"
      readonly seq: number
      readonly item: string
      /** The error's tag; `"BadInput"` where the item stands for no value, `"BadResult"` where `encode` has thrown. */
      readonly error: Executor.ExecutorError["_tag"] | "BadInput" | "BadResult"
      readonly message: string
      /** The stack on the thread, where there was one. */
      readonly stack?: string | undefined
      readonly run: number
      readonly wait: number
      readonly attempts: number
    }
  | ItemsSummary

/** The last event: what has become of all. */
export interface ItemsSummary {
  readonly event: "summary"
  readonly ok: number
  readonly failed: number
  /** Milliseconds. */
  readonly elapsed: number
  /** Of the items that were run. */
  readonly run: Quantiles
  readonly wait: Quantiles
  /** Whether a failure has kept items from being run. */
  readonly cancelled: boolean
  /** 0; 124 where all that failed took too long; else 1. */
  readonly exitCode: number
}

/** Milliseconds with so many places as can be told apart. */
const rounded = (ms: number): number => Math.round(ms * 1000) / 1000

// Times in classes of 2 %, however many there are.
const classes = () => {
  const counts = new Map<number, number>()
  let total = 0
  return {
    add: (ms: number) => {
      const key = Math.round(Math.log(Math.max(ms, 1e-4)) / Math.log(1.02))
      counts.set(key, (counts.get(key) ?? 0) + 1)
      total++
    },
    quantiles: (): Quantiles => {
      const sorted = [...counts].sort(([a], [b]) => a - b)
      const at = (share: number) => {
        let seen = 0
        for (const [key, count] of sorted) {
          seen += count
          if (seen >= share * total) return rounded(1.02 ** key)
        }
        return 0
      }
      return { p50: at(0.5), p95: at(0.95), p99: at(0.99) }
    }
  }
}

const stackOf = (error: Executor.ExecutorError): string | undefined =>
  error._tag === "JobFailed"
    ? error.thrown.stack
    : error._tag === "WorkerCrashed"
      ? error.remoteStack
      : undefined

/**
 * Runs a job for each item, as a stream of events: in input order unless `unordered`, and in the end a summary. Items
 * are read as threads get free, so an endless list costs no memory. A failure is an event; the stream itself fails only
 * as the inputs do. Ending it early cancels the jobs under way and waits for them.
 *
 * @example
 * ```ts
 * import { Either, Stream } from "effect"
 * import * as Executors from "effect-asyncio/programs/Executors"
 * import * as Executor from "effect-asyncio/services/Executor"
 *
 * const thumbnail = Executor.job<(file: string) => string>(new URL("./images.js", import.meta.url), "thumbnail")
 * const files = ["a.png", "b.png"].map((text) => ({ text, value: Either.right(text) }))
 *
 * export const failures = Executors.items(thumbnail, files, { timeout: "10 seconds", onFailure: "continue" }).pipe(
 *   Stream.filter((event) => event.event === "failed"),
 *   Stream.provideLayer(Executor.layerThreads({ maxWorkers: 4 }))
 * )
 * ```
 */
export const items = <E = never, R = never>(
  job: Executor.Job<[any], unknown>,
  inputs: Iterable<ItemInput> | Stream.Stream<ItemInput, E, R>,
  options: ItemsOptions = {}
): Stream.Stream<ItemEvent, E, Executor.Executor | R> =>
  Stream.unwrap(
    Effect.gen(function* () {
      const { encode, onFailure = "cancel", unordered = false } = options
      const begun = yield* Clock.currentTimeNanos
      const runs = classes()
      const waits = classes()
      let ok = 0
      let late = 0
      let failed = 0
      let stopped = false
      // Those that are under way, by their numbers among the values; and the bad ones that are still to be told of.
      let count = 0
      let values = 0
      const under = new Map<number, { readonly seq: number; readonly item: string }>()
      let bad: Array<ItemEvent & { event: "failed" }> = []
      const source = Symbol.iterator in inputs ? Stream.fromIterable(inputs) : inputs
      const given = source.pipe(
        // What stands behind a bad item is not begun where the first failure ends all.
        Stream.takeWhile(() => !(onFailure === "cancel" && bad.length > 0)),
        Stream.filterMap(({ text, value }) => {
          const seq = ++count
          if (Either.isRight(value)) {
            under.set(values++, { seq, item: text })
            return Option.some(value.right)
          }
          const nothing = { run: 0, wait: 0, attempts: 0 }
          bad.push({ event: "failed", seq, item: text, error: "BadInput", message: value.left, ...nothing })
          return Option.none()
        })
      )
      const before = (seq: number): ReadonlyArray<ItemEvent> => {
        if (bad.length === 0) return []
        const due = unordered ? bad : bad.filter((event) => event.seq < seq)
        if (due.length > 0) bad = bad.filter((event) => !due.includes(event))
        return due
      }
      const toEvent = (item: Executor.Item<any, unknown>): ItemEvent => {
        const { attempts, index, result, run, wait } = item
        const known = under.get(index)!
        under.delete(index)
        const told = { ...known, run: rounded(run), wait: rounded(wait), attempts }
        if (Either.isRight(result)) {
          if (encode === undefined) return { event: "result", value: result.right, ...told }
          try {
            return { event: "result", value: encode(result.right), ...told }
          } catch (error) {
            const message = `the result cannot be written: ${headline(Cause.fail(error))}`
            return { event: "failed", error: "BadResult", message, ...told }
          }
        }
        const { _tag, message } = result.left
        return { event: "failed", error: _tag, message, stack: stackOf(result.left), ...told }
      }
      const events = Executor.each(job, given, options).pipe(
        Stream.mapConcat((item) => {
          const first = before(under.get(item.index)!.seq)
          return [...first, toEvent(item)]
        }),
        Stream.concat(Stream.suspend(() => Stream.fromIterable(before(Number.POSITIVE_INFINITY)))),
        Stream.takeUntil((event) => {
          stopped = onFailure === "cancel" && event.event === "failed"
          return stopped
        }),
        Stream.map((event) => {
          if (event.event === "summary") return event
          if (event.attempts > 0) {
            if (event.event === "result" || event.run > 0) runs.add(event.run)
            waits.add(event.wait)
          }
          if (event.event === "result") ok++
          else {
            failed++
            if (event.error === "JobTimedOut") late++
          }
          return event
        })
      )
      const summary = Effect.map(
        Clock.currentTimeNanos,
        (now): ItemEvent => ({
          event: "summary",
          ok,
          failed,
          elapsed: Number(now - begun) / 1e6,
          run: runs.quantiles(),
          wait: waits.quantiles(),
          cancelled: stopped,
          exitCode: failed === 0 ? codes.ok : late === failed ? codes.timedOut : codes.failed
        })
      )
      return Stream.concat(events, Stream.fromEffect(summary))
    })
  )

/**
 * Downloads as blocking code does and gives the size in bytes: nothing else happens on the calling thread until the
 * body is there. Node has no blocking sockets, so a thread behind this one reads and wakes it up.
 */
export const downloadSize = async (url: string): Promise<number> => {
  const { MessageChannel, receiveMessageOnPort, Worker } = await import("node:worker_threads")
  const { port1, port2 } = new MessageChannel()
  const woken = new Int32Array(new SharedArrayBuffer(4))
  const read = `
    const { port, url, woken } = require("node:worker_threads").workerData
    fetch(url)
      .then((response) => response.ok ? response.arrayBuffer() : Promise.reject(new Error("status " + response.status)))
      .then((body) => ({ body }), (error) => ({ failure: (error.cause ?? error).message }))
      .then((answer) => {
        port.postMessage(answer)
        Atomics.store(woken, 0, 1)
        Atomics.notify(woken, 0)
      })`
  new Worker(read, { eval: true, workerData: { port: port2, url, woken }, transferList: [port2] })
  Atomics.wait(woken, 0, 0)
  const { body, failure } = receiveMessageOnPort(port1)!.message
  port1.close()
  if (failure !== undefined) throw new Error(`cannot download ${url}: ${failure}`)
  return body.byteLength
}

// #region example
/**
 * The guide's Executors: `foobar`, while four pages are downloaded by a function that blocks, each on a thread of its
 * own. Prints `Downloaded URL, size N` in the order of the pages, each as soon as those before it are there.
 */
export const example: Effect.Effect<
  void,
  Executor.ExecutorError,
  Executor.Executor | GuideServer.GuideServer | Output.Output
> = Effect.gen(function* () {
  const { origin } = yield* GuideServer.GuideServer
  const printed = yield* Effect.forEach(GuideServer.pages, () => Effect.makeLatch())
  const download = ({ url }: { readonly url: string }, index: number) =>
    Effect.gen(function* () {
      const size = yield* blocking(downloadSize, url.replace("https:/", origin))
      if (index > 0) yield* printed[index - 1]!.await
      yield* Output.print(`Downloaded ${url}, size ${size}`)
      yield* printed[index]!.open
    })
  yield* Gather.gather([...GuideServer.pages.map(download), Output.print("foobar")])
})
// #endregion
