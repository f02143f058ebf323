import { parentPort, workerData } from "node:worker_threads"
import { Cause, Effect } from "effect"
import * as Modules from "../../source/Modules.js"
import * as Causes from "../../task/Causes.js"
import * as AppFile from "../AppFile.js"
import type * as Protocol from "./blockingProtocol.js"
import { post, serve } from "./blockingWorker.js"

// The entry of a worker thread that serves the app of a file.

const { exportName, file } = workerData as Protocol.Target
Effect.runFork(
  Effect.matchCause(AppFile.load(file, exportName), {
    onSuccess: serve,
    onFailure: (cause) => {
      const error = Cause.squash(cause)
      const thrown = (error as { readonly cause?: unknown }).cause
      post({
        type: "refused",
        isUsage: error instanceof Modules.ModuleError,
        message: `${Causes.headline(cause)}${thrown === undefined ? "" : `: ${Causes.headline(Cause.fail(thrown))}`}`
      })
      parentPort?.close()
    }
  }).pipe(Effect.provide(Modules.layer))
)
