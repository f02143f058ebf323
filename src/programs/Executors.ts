import { Effect } from "effect"
import * as Executor from "../services/Executor.js"
import * as GuideServer from "../services/GuideServer.js"
import * as Output from "../services/Output.js"
import * as Gather from "./Gather.js"

/**
 * Makes a blocking function an effect: it runs on a thread of the executor while the event loop turns on
 * (asyncio: `loop.run_in_executor(executor, fn, *args)`). The function must be self-contained, because its source is
 * shipped; `Executor.job` names one in a module instead. Fails with the errors of `Executor.blocking`.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
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
