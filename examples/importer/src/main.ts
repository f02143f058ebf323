import { Effect, Layer } from "effect"
import * as Run from "effect-asyncio/programs/Run"
import * as Executor from "effect-asyncio/services/Executor"
import * as Processes from "effect-asyncio/services/Processes"
import * as SafeHttpClient from "effect-asyncio/services/SafeHttpClient"
import * as Tail from "effect-asyncio/services/Tail"
import * as Timers from "effect-asyncio/services/Timers"
import { importOrders } from "./importer.js"
import * as Totals from "./Totals.js"

// node dist/src/main.js orders.ndjson https://api.example.org tee -a invoices.ndjson
const [file, api, command, ...args] = process.argv.slice(2)
if (file === undefined || api === undefined || command === undefined) {
  console.error("usage: importer FILE API COMMAND [ARG …]")
  process.exit(2)
}

// SIGTERM interrupts the import, which delivers its batch and reports; the exit code is 143.
importOrders({ file, api, deliver: [command, ...args] }).pipe(
  Effect.provide(
    Layer.mergeAll(
      SafeHttpClient.layer,
      Executor.layerThreads(),
      Processes.layer,
      Tail.layer,
      Timers.layer,
      Totals.layer
    )
  ),
  Run.runMain()
)
