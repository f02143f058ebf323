import { Effect } from "effect"
import * as Output from "../services/host/Output.js"
import * as GuideServer from "../services/http/GuideServer.js"
import * as Gather from "../services/task/Gather.js"
import * as Executor from "../services/thread/Executor.js"
import type { ExecutorError } from "../services/thread/ExecutorError.js"

/**
 * Downloads as blocking code does and returns the size in bytes: the calling thread is blocked until the body has
 * arrived. Node has no blocking sockets, so a second thread reads and wakes the first one.
 *
 * @since 0.1.0
 * @category functions
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
 * own. Prints `Downloaded URL, size N` in the order of the pages, each as soon as the pages before it are printed.
 *
 * @since 0.1.0
 * @category examples
 */
export const example: Effect.Effect<
  void,
  ExecutorError,
  Executor.Executor | GuideServer.GuideServer | Output.Output
> = Effect.gen(function* () {
  const { origin } = yield* GuideServer.GuideServer
  const printed = yield* Effect.forEach(GuideServer.pages, () => Effect.makeLatch())
  const download = ({ url }: { readonly url: string }, index: number) =>
    Effect.gen(function* () {
      const size = yield* Executor.blocking(downloadSize, url.replace("https:/", origin))
      if (index > 0) yield* printed[index - 1]!.await
      yield* Output.print(`Downloaded ${url}, size ${size}`)
      yield* printed[index]!.open
    })
  yield* Gather.gather([...GuideServer.pages.map(download), Output.print("foobar")])
})
// #endregion
